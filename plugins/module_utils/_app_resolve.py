# Copyright: (c) 2025, flaskhost contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a person wrote to what roles render: every derived value of an app is computed here, once.

Pure functions. Input is expected to be free of mistakes (see _app_check).
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from ansible_collections.flaskhost.stack.plugins.module_utils._app_schema import (
    DATABASE_PORTS,
    DATABASE_SCHEMES,
    DRIVER_PACKAGES,
    LOCAL_ADDRESSES,
    ROOT,
    SERVER_PACKAGES,
    plain_default,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._certificates import ACME_DIRECTORY, DIRECTORY
from ansible_collections.flaskhost.stack.plugins.module_utils._database_servers import DATABASE_CA
from ansible_collections.flaskhost.stack.plugins.module_utils._database_url import Database, parse
from ansible_collections.flaskhost.stack.plugins.module_utils._plan import Plan, plan

# seconds; the shortest time that the usual tests of a site call long
HSTS = 15552000


class ResolveError(ValueError):
    """An app that cannot be resolved; the text says which and why."""


def merged(apps: Iterable[Mapping[str, Any]], vault: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The apps with the entry of vault_flask_apps of the same name merged in, deeply; the vault wins."""
    return [_merge(app, (vault or {}).get(app["name"]) or {}) for app in apps]


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(low)
    for name, value in high.items():
        if value is None:  # a key without a value counts as not given
            continue
        old = result.get(name)
        result[name] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def at_server(apps: Iterable[Mapping[str, Any]], server: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The merged apps of one web host, each with the database server that it uses.

    server: {address, names}: of the server that apps use which name none (empty: the host itself), and all names and
    addresses of database servers of ours. Those are spoken to by TLS.
    """
    address, names = (server or {}).get("address") or "", (server or {}).get("names") or ()
    result = []
    for app in apps:
        database = app.get("database") or {}
        if database.get("engine") == "mysql":
            database = {**database, "host": database.get("host") or address or plain_default("database.host")}
            if database["host"] in names and database["host"] not in LOCAL_ADDRESSES:
                database["ca"] = DATABASE_CA
            app = {**app, "database": database}
        result.append(dict(app))
    return result


def present(apps: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The apps that are to be on the host."""
    return [app for app in apps if app.get("state", "present") != "absent"]


def plan_of(
    apps: Iterable[Mapping[str, Any]], host: Mapping[str, Any] | None = None, database: str = "", web: bool = True
) -> Plan:
    """How the memory and the processors of a host are shared out.

    host: {memory_mb, cpus, services} of the host; 1024 MiB and 1 processor where unknown, and services by name.
    database: mariadb or mysql where the host runs that, else empty. web: whether the host runs the apps.
    """
    sized = [
        {
            "name": app["name"],
            **{key: _get(app, key) for key in ("workers", "port", "processes")},
            "threads": threads_of(app),
        }
        for app in present(apps)
    ]
    facts = host or {}
    return plan(
        sized, int(facts.get("memory_mb") or 0), int(facts.get("cpus") or 0),
        web=web, database=database, services=facts.get("services") or (),
    )  # fmt: skip


def resolve(
    apps: Iterable[Mapping[str, Any]],
    host: Mapping[str, Any] | None = None,
    address: str = "",
    base: str = "",
    database: str = "",
) -> list[dict[str, Any]]:
    """The resolved apps of one host, without the absent ones and without any secret.

    host: {memory_mb, cpus, services} of the host; 1024 MiB and 1 processor where unknown.
    database: mariadb or mysql where the host runs that, which leaves less memory for workers.
    address: how people reach the host when an app has no domain.
    base: the directory that relative paths of the control node start from (that of the inventory).
    """
    wanted = present(apps)
    workers = plan_of(wanted, host, database).workers
    return [_resolve_app(app, workers[app["name"]], address, base) for app in wanted]


def _resolve_app(app: Mapping[str, Any], workers: int, address: str, base: str) -> dict[str, Any]:
    name = app["name"]
    server = _get(app, "server")
    paths = _paths(name)
    database = _database(app, paths["shared"])
    tls = _tls(app, base)
    domains = [str(domain) for domain in _get(app, "domains")]
    port = _get(app, "port") or 0
    return {
        "name": name,
        "user": name,
        "group": name,
        "paths": paths,
        "source": _source(app["source"], base),
        "wsgi": app["wsgi"],
        "server": server,
        # 0 where nginx is in front
        "port": port,
        "workers": workers,
        "threads": threads_of(app),
        "timeout": _get(app, "timeout"),
        "drain": _get(app, "drain") or _get(app, "timeout"),
        "domains": domains,
        # web hosts that a balancer gives it to (_balancer); the addresses of balancers before this host
        "hosts": [],
        "balancers": [],
        "url": _url(domains[0] if domains else address, tls["mode"], port),
        "tls": tls,
        "database": database,
        "python": {
            "requirements": _get(app, "python.requirements"),
            "packages": _packages(_get(app, "python.packages"), database["engine"], server),
        },
        "build": list(_get(app, "build")),
        "migrate": list(_get(app, "migrate")),
        "snapshot": bool(_get(app, "snapshot")),
        "snapshot_client": _snapshot_client(app, database),
        "processes": {process: command for process, command in _get(app, "processes").items() if process != "web"},
        "static": [
            {
                "url": item["url"].rstrip("/"),
                "path": item["path"].rstrip("/"),
                "expires": item.get("expires", plain_default("static[].expires")),
            }
            for item in _get(app, "static")
        ],
        "shared": {
            "dirs": [path.rstrip("/") for path in _get(app, "shared.dirs")],
            "files": list(_get(app, "shared.files")),
        },
        "healthcheck": {key: _get(app, f"healthcheck.{key}") for key in ("path", "status", "timeout", "steady")},
        **{key: _get(app, key) for key in ("watch", "watch_limit", "watch_requests")},
        "keep_releases": _get(app, "keep_releases"),
        "max_body": str(_get(app, "max_body")),
        "limits": _limits(app),
        "headers": {str(header): str(value) for header, value in _get(app, "headers").items() if value is not None},
    }


def _get(app: Mapping[str, Any], path: str) -> Any:
    """The value a person gave at a dotted path, else the default of the schema."""
    value: Any = app
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
        if value is None:
            return plain_default(path)
    return value


def _paths(name: str) -> dict[str, str]:
    root = f"{ROOT}/{name}"
    inside = ("releases", "venvs", "shared", "current", "cache", "environments")
    return {
        "root": root,
        "repo": f"{root}/repo.git",
        **{part: f"{root}/{part}" for part in inside},
        "lock": f"{root}/deploy.lock",
        "run": f"/run/{name}",
        "log": f"/var/log/{name}",
    }


def control_path(path: str, base: str) -> str:
    """A path of the control node made absolute: `~` expanded, relative ones from the directory of the inventory."""
    return os.path.abspath(os.path.join(base or os.curdir, os.path.expanduser(path)))


def _source(source: Mapping[str, Any], base: str) -> dict[str, str]:
    subdir = (source.get("subdir") or "").rstrip("/")
    if source.get("path"):
        return {"kind": "path", "path": control_path(source["path"], base), "version": "", "subdir": subdir}
    return {"kind": "git", "git": source["git"], "version": str(source.get("version") or "HEAD"), "subdir": subdir}


def _url(name: str, mode: str, port: int) -> str:
    scheme = "http" if mode == "none" else "https"
    end = f":{port}" if port not in (0, 80) else ""
    return f"{scheme}://[{name}]{end}" if ":" in name else f"{scheme}://{name or 'localhost'}{end}"


def threads_of(app: Mapping[str, Any]) -> int:
    """Threads of each worker. Where browsers come to it themselves, one connection that says nothing must not hold up all others."""
    return int(_get(app, "threads") or (4 if _get(app, "port") else 1))


def _limits(app: Mapping[str, Any]) -> dict[str, int]:
    requests = _get(app, "limits.requests")
    return {
        "requests": requests,
        "burst": _get(app, "limits.burst") or 10 * requests,
        "connections": _get(app, "limits.connections"),
    }


def _tls(app: Mapping[str, Any], base: str) -> dict[str, Any]:
    mode, hsts = "none" if _get(app, "port") else _get(app, "tls.mode"), _get(app, "tls.hsts")
    if hsts is None:
        # a placeholder or a certificate of one's own making would shut visitors out; browsers ignore it there anyway
        hsts = HSTS if mode in ("acme", "provided") else 0
    result = {"hsts": hsts, "mode": mode, "certificate": "", "key": "", "source_certificate": "", "source_key": ""}
    if mode != "none":
        folder = ACME_DIRECTORY if mode == "acme" else DIRECTORY
        result["certificate"] = f"{folder}/{app['name']}.pem"
        result["key"] = f"{folder}/{app['name']}.key"
    if mode == "provided":
        result["source_certificate"] = control_path(_get(app, "tls.certificate"), base)
        result["source_key"] = control_path(_get(app, "tls.key"), base)
    return result


def database_of(app: Mapping[str, Any]) -> dict[str, Any]:
    """Engine, name, user, host, port, path and ca of an app's database; what an engine does not have is empty.

    ca: the file on the web host that vouches for the server; empty for a local one and for one that is not ours.
    """
    return _database(app, _paths(app["name"])["shared"])


def _database(app: Mapping[str, Any], shared: str) -> dict[str, Any]:
    engine = _get(app, "database.engine")
    result: dict[str, Any] = {"engine": engine, "name": "", "user": "", "host": "", "port": 0, "path": "", "ca": ""}
    if engine == "sqlite":
        result["path"] = f"{shared}/{app['name']}.sqlite3"
    elif engine != "none":
        identifier = app["name"].replace("-", "_")
        result["name"] = _get(app, "database.name") or identifier
        result["user"] = _get(app, "database.user") or identifier
        result["host"] = _get(app, "database.host")
        result["port"] = _get(app, "database.port") or DATABASE_PORTS[engine]
        if result["host"] in LOCAL_ADDRESSES:
            # `localhost` would mean a socket to some drivers and ::1 to others.
            result["host"] = "127.0.0.1"
        result["ca"] = app["database"].get("ca", "")
    return result


def _snapshot_client(app: Mapping[str, Any], database: Mapping[str, Any]) -> str:
    """The engine whose client programs snapshots need on the web host; empty where its database server brings them."""
    if not _get(app, "snapshot"):
        return ""
    url = _get(app, "env").get("DATABASE_URL")
    found = parse(str(url)) if url else Database(database["engine"], host=database["host"])
    return "" if found.engine == "sqlite" or found.host in LOCAL_ADDRESSES else found.engine


def _packages(given: Iterable[str], engine: str, server: str) -> list[str]:
    """The packages a person asked for, then the driver and the server unless they are among them already."""
    packages = list(given)
    known = {_distribution(package) for package in packages}
    for package in (*DRIVER_PACKAGES.get(engine, ()), SERVER_PACKAGES[server]):
        stands_in = {package, package.replace("-binary", "")}  # psycopg2 built from source is fine as well
        if not known & stands_in:
            packages.append(package)
    return packages


def _distribution(requirement: str) -> str:
    """The normalised name in a requirement: `Sentry_SDK[flask]>=2` is `sentry-sdk`."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    return re.sub(r"[-_.]+", "-", found.group()).lower() if found else ""


def environment(app: Mapping[str, Any], secrets: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The whole environment of one merged app (see `merged`): what the user gave wins over what is set by default.

    secrets: {secret_key, database_password} generated for the app; only what the user did not give is taken from it.
    """
    given = {name: as_text(value) for name, value in _get(app, "env").items()}
    result = {"FLASK_APP": app["wsgi"], "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    if "SECRET_KEY" not in given:
        result["SECRET_KEY"] = _secret(app, secrets, "secret_key", "env.SECRET_KEY")
    if "DATABASE_URL" not in given and _get(app, "database.engine") != "none":
        result["DATABASE_URL"] = database_url(app, secrets)
    return dict(sorted({**result, **given}.items()))


def database_password(app: Mapping[str, Any], secrets: Mapping[str, Any] | None) -> str:
    """The password of a merged app's database user: the vault's, else the generated one."""
    password = _get(app, "database.password")
    return str(password) if password else _secret(app, secrets, "database_password", "database.password")


def _secret(app: Mapping[str, Any], secrets: Mapping[str, Any] | None, kind: str, key: str) -> str:
    value = (secrets or {}).get(kind)
    if not value:
        name = app["name"]
        raise ResolveError(
            f"app {name}: no {kind}. Give {key} in vault_flask_apps.{name}, or pass what lookup('flaskhost.stack.generated_secrets') made."
        )
    return str(value)


def database_url(app: Mapping[str, Any], secrets: Mapping[str, Any] | None) -> str:
    """What SQLAlchemy connects to."""
    database = database_of(app)
    if database["engine"] == "sqlite":
        return f"sqlite:///{database['path']}"
    user, password = (quote(text, safe="") for text in (database["user"], database_password(app, secrets)))
    host = f"[{database['host']}]" if ":" in database["host"] else database["host"]
    url = f"{DATABASE_SCHEMES[database['engine']]}://{user}:{password}@{host}:{database['port']}/{database['name']}"
    if database["engine"] != "mysql":
        return url
    # with it, drivers insist on a certificate that has this address; PyMySQL before 1.2 does so only where the server says that it has TLS
    trust = f"&ssl_ca={quote(database['ca'])}" if database["ca"] else ""
    return f"{url}?charset=utf8mb4{trust}"


def as_text(value: Any) -> str:
    """A YAML scalar as an environment carries it; booleans as JSON writes them, which Flask's from_prefixed_env reads back."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def databases(
    hosts: Mapping[str, Iterable[Mapping[str, Any]]],
    here: str,
    names: Iterable[str] = (),
    addresses: Mapping[str, Any] | None = None,
    secrets: Mapping[str, Any] | None = None,
    group: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """What the database server on host `here` must hold: {engine, name, user, password, hosts} merged over the web hosts.

    hosts: apps by web host, see `at_server`. names: what apps may call this server in database.host, beside `here`.
    addresses: address or addresses each web host comes from. secrets: generated secrets by app name.
    group: the database hosts that hold the same data; each of them has the users of all.
    """
    own, same = {here, *names}, {here, *group}
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for web, apps in hosts.items():
        for app in present(apps):
            database = database_of(app)
            local = database["host"] in LOCAL_ADDRESSES
            if database["engine"] not in DATABASE_PORTS or not (web in same if local else database["host"] in own):
                continue
            password = database_password(app, (secrets or {}).get(app["name"]))
            key = (database["engine"], database["name"], database["user"])
            entry = found.setdefault(
                key, {"engine": key[0], "name": key[1], "user": key[2], "password": password, "hosts": []}
            )
            if entry["password"] != password:
                raise ResolveError(
                    f"database user {database['user']} on {here} has two passwords; app {app['name']} on {web} brings another one."
                )
            come_from = ["127.0.0.1", "localhost"] if web == here else []
            if not local or web != here:
                come_from += _addresses(web, addresses, needed=web != here)
            entry["hosts"] += [address for address in come_from if address not in entry["hosts"]]
    return list(found.values())


def _addresses(web: str, addresses: Mapping[str, Any] | None, needed: bool) -> list[str]:
    given = (addresses or {}).get(web) or []
    if needed and not given:
        raise ResolveError(
            f"no address of web host {web}: give it in addresses, so that its database users may come from there."
        )
    found = [given] if isinstance(given, str) else list(given)
    for address in found if needed else ():
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise ResolveError(
                f"web host {web} is known by the name {address}, but database users are limited to addresses: "
                f"give {web} the address from which it connects, as flaskhost_internal_address."
            ) from None
    return found
