# Copyright: (c) 2025, flaskhost contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of flask_apps that look at more than one key: within an app, between the apps of a host, across the inventory."""

from __future__ import annotations

import ast
import keyword
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._app_report import Report, label, show
from ansible_collections.flaskhost.stack.plugins.module_utils._app_resolve import control_path, database_of
from ansible_collections.flaskhost.stack.plugins.module_utils._app_schema import (
    DATABASE_PORTS,
    LOCAL_ADDRESSES,
    RESERVED_NAMES,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._database_servers import Servers
from ansible_collections.flaskhost.stack.plugins.module_utils._database_url import parse

WSGI_EXAMPLES = "Examples: blog:app, blog.wsgi:application, blog:create_app(), blog:create_app('production')"
# names in one certificate, as Let's Encrypt has it
_ACME_NAMES = 100
# what nginx does for the apps behind it
_OF_NGINX = ("static", "limits", "headers", "max_body", "watch", "tls.hsts")
_WITHOUT_ONE = "Remove it, or remove port."
_SSH_PORT = 22
_NGINX_PORTS = (80, 443)


@dataclass
class App:
    """One entry while it is looked at. `bad` holds the paths that are wrong already, so that no rule repeats it."""

    host: str
    where: str
    name: str
    value: dict[str, Any]
    report: Report
    vault: dict[str, Any] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)

    def tell(self, path: str, text: str) -> None:
        where = f"{self.where}.{path}" if path else self.where
        self.report.add(self.host, f"{where}{self.who}: {text}")

    def get(self, path: str, default: Any = None) -> Any:
        """The value at a dotted path; `default` where it is missing or known to be wrong."""
        return default if self.is_bad(path) else _dig(self.value, path, default)

    def given(self, path: str) -> bool:
        return _dig(self.value, path, None) is not None

    def secret(self, path: str) -> Any:
        return _dig(self.vault, path, None)

    def good_items(self, path: str) -> Iterator[tuple[int, Any]]:
        """Index and value of the items of a list that are not wrong."""
        items = self.get(path)
        for index, item in enumerate(items if isinstance(items, list) else []):
            if not any(bad == f"{path}[{index}]" or bad.startswith(f"{path}[{index}].") for bad in self.bad):
                yield index, item

    def is_bad(self, path: str) -> bool:
        return any(path == bad or path.startswith(f"{bad}.") for bad in self.bad if bad)

    @property
    def label(self) -> str:
        return label(self.name)

    @property
    def who(self) -> str:
        return f" (app {self.label})" if self.name else ""

    @property
    def absent(self) -> bool:
        return self.value.get("state") == "absent"

    @property
    def usable_name(self) -> str:
        name = self.get("name")
        return name if isinstance(name, str) else ""


def _dig(value: Any, path: str, default: Any) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return default if value is None else value


@dataclass(frozen=True)
class Site:
    """What is known beside the apps: where relative paths start, which files exist, which hosts get a database server from us."""

    base: str
    exists: Callable[[str], bool]
    servers: Servers | None

    def server(self, app: App, host: str) -> str:
        """One name for a database server, however apps call it."""
        if host in LOCAL_ADDRESSES:
            return app.host
        return (self.servers.owner(host, app.host) if self.servers else "") or host

    def host_of(self, app: App) -> str:
        """The database server of an app: the one it names, or the one for all."""
        default = self.servers.default(app.host) if self.servers and app.get("database.engine") == "mysql" else ""
        return str(app.get("database.host") or default or LOCAL_ADDRESSES[0])

    def is_ours(self, host: str) -> bool:
        return self.servers is not None and host in self.servers.names


def app_rules(app: App, site: Site) -> None:
    """What must hold within one app."""
    name = app.usable_name
    if name in RESERVED_NAMES:
        app.tell(
            "name", f"{show(name)} is the name of a system account or group. Choose another, for example {name}-app."
        )
    if app.absent:
        return
    _source(app, site)
    _wsgi(app)
    _tls(app, site)
    _port(app)
    _database(app, site)
    _snapshot(app)
    _processes(app)
    _static(app)
    if app.given("limits.burst") and not app.get("limits.requests") and not app.is_bad("limits"):
        app.tell("limits.burst", "has no meaning without limits.requests. Example: limits: {requests: 20, burst: 100}")
    _shared(app)


def _source(app: App, site: Site) -> None:
    if not isinstance(app.get("source"), dict):
        return
    git, path = app.given("source.git"), app.given("source.path")
    if git and path:
        app.tell("source", "has both git and path. Keep one of them.")
    elif not git and not path:
        app.tell("source", "has neither git nor path. Example: source: {path: ../blog}")
    elif path and app.given("source.version"):
        app.tell("source.version", "has no meaning with path, which is shipped as it is. Remove it.")
    url = app.get("source.git")
    if isinstance(url, str) and re.match(r"https?://[^/]*@|[a-z]+://[^/@]*:[^/@]*@", url):
        app.tell(
            "source.git",
            f"{show(url)} has a login inside, which would end up in process lists and logs. Use an ssh URL and a deploy key.",
        )
    _must_exist(app, site, "source.path", "directory")


def _must_exist(app: App, site: Site, path: str, what: str) -> None:
    value = app.get(path)
    if isinstance(value, str) and value:
        absolute = control_path(value, site.base)
        if not site.exists(absolute):
            app.tell(
                path,
                f"the {what} {show(value)} does not exist on the control node; looked for {absolute}. Relative paths start at the inventory.",
            )


def _wsgi(app: App) -> None:
    target = app.get("wsgi")
    if not isinstance(target, str):
        return
    problem = wsgi_problem(target)
    if problem:
        app.tell("wsgi", f"{show(target)} {problem}. {WSGI_EXAMPLES}")
    elif app.get("server") == "uwsgi" and "(" in target and not target.endswith("()"):
        app.tell(
            "wsgi",
            f"{show(target)} has arguments, but uWSGI calls a factory without any. Use server: gunicorn, or a module that makes the call.",
        )


def wsgi_problem(target: str) -> str:
    """What is wrong with a WSGI target, or ''. The form gunicorn and Flask agree on."""
    module, colon, wanted = target.partition(":")
    if not colon or not wanted:
        return "is not module:callable"
    if module.endswith(".py") or "/" in module:
        return "names a file instead of a module"
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in module.split(".")):
        return f"has a malformed module {module!r}"
    if wanted != wanted.strip() or "\n" in wanted:
        return "has stray spaces"
    try:
        tree = ast.parse(wanted, mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        return "has a malformed callable"
    if isinstance(tree, ast.Name):
        return ""
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        return "must end in a name or in a call of a name"
    try:
        for value in [*tree.args, *(item.value for item in tree.keywords)]:
            ast.literal_eval(value)
    except ValueError:
        return "must have literal arguments only"
    return "" if all(item.arg for item in tree.keywords) else "must have literal arguments only"


def _tls(app: App, site: Site) -> None:
    mode = app.get("tls.mode", "self_signed")
    if "tls" in app.bad or "tls.mode" in app.bad:
        return
    if mode == "acme":
        _acme(app)
    if mode == "none" and app.get("tls.hsts"):
        app.tell("tls.hsts", "has no meaning in mode none, which speaks plain http. Remove it.")
    for key in ("tls.certificate", "tls.key"):
        given = _dig(app.value, key, "")
        if mode == "provided" and not given:
            app.tell(
                key,
                "is missing; mode provided needs a file on the control node. Example: tls: {mode: provided, certificate: blog.pem, key: blog.key}",
            )
        elif mode != "provided" and given:
            app.tell(key, f"has no meaning in mode {mode}. Write mode: provided, or remove it.")
        elif mode == "provided":
            _must_exist(app, site, key, "file")


def _port(app: App) -> None:
    """What an app without nginx cannot have."""
    if not app.get("port"):
        return
    if app.get("server") == "uwsgi":
        app.tell(
            "server",
            "uwsgi cannot share its port with the next release. Use server: gunicorn, or remove port, so that nginx is in front.",
        )
    mode = app.get("tls.mode", "none")
    if mode != "none":
        app.tell("tls.mode", f"{mode} is nginx's work, and with port the app answers by itself. {_WITHOUT_ONE}")
    for key in _OF_NGINX:
        if app.get(key):
            app.tell(key, f"is nginx's work, and with port the app answers by itself. {_WITHOUT_ONE}")


def _acme(app: App) -> None:
    """What an authority would refuse in any case: every try counts against its limits."""
    domains = [domain for _index, domain in app.good_items("domains")]
    if not app.get("domains") and not app.is_bad("domains"):
        app.tell(
            "tls.mode",
            "acme: a certificate is fetched for names, and the app has none. Example: domains: [example.com], or use self_signed.",
        )
    elif len(domains) > _ACME_NAMES:
        app.tell(
            "domains",
            f"{len(domains)} names, but a certificate that is fetched has {_ACME_NAMES} at most. Make two apps of it.",
        )
    for index, domain in app.good_items("domains"):
        if "." not in domain:
            app.tell(
                f"domains[{index}]",
                f"{show(domain)} has no dot: no authority vouches for it. Give its full name, or use tls: {{mode: self_signed}}.",
            )


def _database(app: App, site: Site) -> None:
    engine = app.get("database.engine", "none")
    if app.is_bad("database.engine"):
        return
    if engine not in DATABASE_PORTS:
        for key in ("name", "user", "host", "port"):
            if app.given(f"database.{key}"):
                app.tell(
                    f"database.{key}",
                    f"has no meaning with engine {engine}. Say which engine: database: {{engine: mysql, ...}}, or remove it.",
                )
        if app.secret("database.password"):
            app.tell(
                "database.engine",
                f"engine {engine} has no password, but vault_flask_apps.{app.label} gives one. Write engine: mysql, or remove it.",
            )
        return
    host = site.host_of(app)
    if app.is_bad("database.host"):
        return
    local = host in LOCAL_ADDRESSES
    if engine == "postgresql" and (local or site.is_ours(host)):
        app.tell(
            "database.engine",
            "postgresql: there is no role for it yet. Name an external server in database.host, or use mysql or sqlite.",
        )
    elif local:
        if site.servers is not None and app.host not in site.servers.hosts:
            app.tell(
                "database.host",
                f"{show(host)} means {app.host} itself, which has no database server. Put the host into the group db, name a server, "
                "or write engine: sqlite, which needs none and is right for a small host.",
            )
    elif not site.is_ours(host) and not _can_log_in(app):
        app.tell(
            "database",
            f"no password for the external server {host}. Put it into vault_flask_apps.{app.label or '<app>'}.database.password.",
        )
    if site.servers and site.servers.replicated:
        _primary(app, host, site.servers)


def _primary(app: App, host: str, servers: Servers) -> None:
    owner = servers.owner(host, app.host)
    if owner and owner != servers.primary and servers.primary in servers.hosts:
        app.tell(
            "database.host",
            f"{show(host)} is {owner}, a replica that takes nothing: the group db has its primary on {servers.primary}. Leave database.host out, "
            "and it is always the primary; or set mysql_replication: false, where each host of db is a server of its own.",
        )


def _can_log_in(app: App) -> bool:
    """Whether a person gave the password of an external server, or the whole URL. A malformed password is told already."""
    given = app.secret("database.password") or app.given("env.DATABASE_URL") or app.secret("env.DATABASE_URL")
    return bool(given) or "vault:database.password" in app.bad


def _snapshot(app: App) -> None:
    if app.get("snapshot") is not True:
        return
    if not app.is_bad("migrate") and not app.get("migrate"):
        # a person who writes it counts on it
        app.tell(
            "snapshot",
            "true, but the app has no migrate commands, before which a snapshot is taken. "
            "Write migrate: [flask db upgrade], or remove it.",
        )
    url = app.secret("env.DATABASE_URL") or app.get("env.DATABASE_URL")
    if url is None and app.get("database.engine", "none") == "none" and not app.is_bad("database.engine"):
        app.tell(
            "snapshot",
            "true, but the app has no database to take a snapshot of. Write database: {engine: mysql}, or remove it.",
        )
    elif isinstance(url, str):
        try:
            parse(url)
        except ValueError as error:
            app.tell("snapshot", f"true, but no snapshot can be taken: {error}. Change env.DATABASE_URL, or remove it.")


def _processes(app: App) -> None:
    processes = app.get("processes")
    for name, command in processes.items() if isinstance(processes, dict) else ():
        path = f"processes.{name}"
        if path in app.bad or not isinstance(command, str):
            continue
        try:
            shlex.split(command)
        except ValueError as error:
            app.tell(path, f"{show(command)} is malformed: {str(error).lower()}. Close the quotes.")


def _static(app: App) -> None:
    seen: dict[str, int] = {}
    for index, item in app.good_items("static"):
        url = item.get("url") if isinstance(item, dict) else None
        if isinstance(url, str):
            first = seen.setdefault(url.rstrip("/"), index)
            if first != index:
                app.tell(
                    f"static[{index}].url", f"{show(url)} is the url of static[{first}] already. Remove one of them."
                )


def _shared(app: App) -> None:
    seen: list[tuple[str, str]] = []
    for part in ("dirs", "files"):
        for index, path in app.good_items(f"shared.{part}"):
            here, clean = f"shared.{part}[{index}]", str(path).strip("/")
            for there, other in seen:
                if f"{clean}/".startswith(f"{other}/") or f"{other}/".startswith(f"{clean}/"):
                    app.tell(here, f"{show(path)} overlaps with {there}, {show(other)}. Keep the outer one.")
            seen.append((here, clean))


def host_rules(host: str, apps: list[App]) -> None:
    """What must hold between the apps of a host."""
    names: dict[str, App] = {}
    domains: dict[str, App] = {}
    anywhere: App | None = None
    _ports(apps)
    for app in apps:
        name = app.usable_name
        first = names.setdefault(name, app) if name else app
        if first is not app:
            app.tell(
                "name", f"{show(name)} is the name of {first.where} already. Give each app of a host its own name."
            )
        # with a port of its own, an app answers for every name there
        if app.absent or app.get("port"):
            continue
        for index, domain in app.good_items("domains"):
            owner = domains.get(domain)
            if owner is app:
                app.tell(f"domains[{index}]", f"{show(domain)} is given twice. Remove one of them.")
            elif owner:
                app.tell(
                    f"domains[{index}]",
                    f"{show(domain)} belongs to {owner.where} (app {owner.label}) already. Give each name to one app of a host.",
                )
            domains.setdefault(domain, app)
        if not app.given("domains") or app.value["domains"] == []:
            if anywhere:
                app.tell(
                    "domains",
                    f"empty, as in {anywhere.where} (app {anywhere.label}). Only one app of a host can answer for every name; give it domains.",
                )
            anywhere = anywhere or app


def _ports(apps: list[App]) -> None:
    """Each port belongs to one."""
    here = [app for app in apps if not app.absent]
    behind = next((app for app in here if not app.given("port")), None)
    owners: dict[int, App] = {}
    for app in here:
        port = app.get("port")
        if not isinstance(port, int):
            continue
        first = owners.setdefault(port, app)
        if first is not app:
            app.tell("port", f"{port} belongs to {first.where} (app {first.label}) already. Give each app its own.")
        elif port == _SSH_PORT:
            app.tell("port", f"{port} belongs to ssh. Choose another, such as 80 or 8000.")
        elif behind and port in _NGINX_PORTS:
            app.tell(
                "port",
                f"{port} belongs to nginx, which {behind.where} (app {behind.label}) is behind. Choose another, such as 8000.",
            )


def inventory_rules(apps: list[App], site: Site) -> None:
    """What must hold between apps that share a database server, on whatever host they run."""
    names: dict[tuple[str, str, str], App] = {}
    users: dict[tuple[str, str, str], App] = {}
    for app in apps:
        engine = app.get("database.engine")
        if (
            app.absent
            or not app.usable_name
            or engine not in DATABASE_PORTS
            or any(bad.startswith("database") for bad in app.bad)
        ):
            continue
        database = database_of(app.value)
        server = site.server(app, site.host_of(app))
        for kind, seen in (("name", names), ("user", users)):
            first = seen.setdefault((engine, server, database[kind]), app)
            if first is not app:
                _share(app, first, kind, database[kind], server)


def _share(app: App, first: App, kind: str, value: str, server: str) -> None:
    passwords = first.secret("database.password"), app.secret("database.password")
    if first.name == app.name:
        if kind == "user" and passwords[0] != passwords[1]:
            app.tell(
                "database.user",
                f"{show(value)} on {server} has another password in vault_flask_apps of {first.host}. Give all hosts the same.",
            )
        return
    if kind == "name" and first.given("database.name") and app.given("database.name"):
        return  # written out in both: two apps on one database, on purpose
    if kind == "user" and all(passwords) and passwords[0] == passwords[1]:
        return
    what = "database" if kind == "name" else "database user"
    app.tell(
        f"database.{kind}",
        f"the {what} {show(value)} on {server} is that of app {first.name} ({first.host}) already. Choose another database.{kind}.",
    )
