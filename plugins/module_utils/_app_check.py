# Copyright: (c) 2025, flaskhost contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every mistake in the flask_apps and vault_flask_apps of a whole inventory, told at once.

Pure functions; whether a file of the control node exists is asked through a function that tests replace.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import Missing, plain
from ansible_collections.flaskhost.stack.plugins.module_utils._app_report import (
    Report,
    label,
    looks_secret,
    nearest,
    one_of,
    show,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._app_rules import (
    App,
    Site,
    app_rules,
    host_rules,
    inventory_rules,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._app_schema import (
    BY_PATH,
    KEYS,
    RESERVED_ENV,
    RESERVED_HEADERS,
    RULES,
    Key,
    children,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._database_servers import Servers, servers

# what preflight hands over for a web host without the variable: an empty list would be an order to stop all its apps
MISSING = "(missing)"
EXAMPLE_APP = 'flask_apps: [{name: blog, source: {path: ../blog}, wsgi: "blog:create_app()"}]'
# mappings whose keys a person chooses, and the rule of these keys
FREE = {"env": "env", "processes": "process", "headers": "header_name"}
_WORDS = {
    "text": "a text",
    "integer": "a whole number",
    "boolean": "true or false",
    "workers": "a whole number or auto",
    "choice": "one of the known words",
    "list": "a list",
    "mapping": "a mapping",
    "scalar": "a text, a number or a boolean",
}


def mistakes(
    by_host: Mapping[str, Any],
    vault_by_host: Mapping[str, Any] | None = None,
    base: str = "",
    database_hosts: Mapping[str, Any] | None = None,
    exists: Callable[[str], bool] = os.path.exists,
    primary: str = "",
) -> list[str]:
    """All mistakes; none means that the apps can be resolved.

    by_host, vault_by_host: what each host has in flask_apps and vault_flask_apps, of any type.
    base: where relative paths of the control node start. database_hosts: the addresses of each host that gets a database
    server from us, by its name; None when unknown, which leaves out the checks that need it. primary: the one of them that
    takes what is written, where all hold the same data.
    """
    report = Report()
    if database_hosts and primary and primary not in database_hosts:
        known_hosts = one_of(sorted(map(str, database_hosts)))
        report.add(
            "group db", f"mysql_primary: {show(primary)} is no host of it. Write one of {known_hosts}, or remove it."
        )
        primary = next(iter(database_hosts))
    site = Site(base, exists, None if database_hosts is None else _servers(database_hosts, primary))
    hosts = {str(host): _apps_of(str(host), plain(raw), report) for host, raw in by_host.items()}
    known = {app.name for apps in hosts.values() for app in apps if app.name}
    for host, raw in (vault_by_host or {}).items():
        _vault_of(str(host), plain(raw), hosts.get(str(host), []), known, report)
    for host, apps in hosts.items():
        for app in apps:
            app_rules(app, site)
        host_rules(host, apps)
    inventory_rules([app for apps in hosts.values() for app in apps], site)
    return report.lines()


def _servers(database_hosts: Mapping[str, Any], primary: str) -> Servers:
    given = {str(host): plain(addresses) or [] for host, addresses in database_hosts.items()}
    return servers({host: [one] if isinstance(one, str) else one for host, one in given.items()}, primary)


def _apps_of(host: str, raw: Any, report: Report) -> list[App]:
    if raw == MISSING:
        report.add(
            host,
            "flask_apps: is not there, though the host is in group web. Is the name of the variable mistyped? "
            "Write `flask_apps: []` where a host has no app; that also stops the apps it has now.",
        )
        return []
    if not isinstance(raw, list):
        hint = "Write `flask_apps: []` where a host has no app." if raw is None else f"Example: {EXAMPLE_APP}"
        report.add(host, f"flask_apps: must be a list, not {show(raw)}. {hint}")
        return []
    apps = []
    for index, entry in enumerate(raw):
        where = f"flask_apps[{index}]"
        if not isinstance(entry, dict):
            report.add(
                host,
                f"{where}: must be a mapping with name, source and wsgi, not {show(entry)}. Example: {EXAMPLE_APP}",
            )
            continue
        name = entry.get("name")
        app = App(host, where, name if isinstance(name, str) else "", entry, report)
        _Walk(app, report).mapping("", "", where, entry)
        apps.append(app)
    return apps


def _vault_of(host: str, raw: Any, apps: list[App], known: set[str], report: Report) -> None:
    if raw is None:
        return
    if not isinstance(raw, dict):
        report.add(
            host,
            f"vault_flask_apps: must be a mapping by app name, not {show(raw, True)}. Example: vault_flask_apps: {{blog: {{env: {{...}}}}}}",
        )
        return
    for name, entry in raw.items():
        where = f"vault_flask_apps.{label(name)}"
        if name not in known:
            near = nearest(name, known)
            hint = (
                f"Did you mean {label(near)}?"
                if near
                else f"Known apps: {one_of(sorted(map(label, known))) or 'none'}."
            )
            report.add(host, f"{where}: there is no app {label(name)} in flask_apps of any host. {hint}")
        if entry is None:
            continue
        own = next((app for app in apps if app.name == name), None)
        app = own or App(host, where, str(name), {}, report)
        if not isinstance(entry, dict):
            report.add(
                host,
                f"{where}{app.who}: must be a mapping, not {show(entry, True)}. Example: {label(name)}: {{env: {{MAIL_PASSWORD: ...}}}}",
            )
            continue
        app.vault = entry
        _Walk(app, report, vault=True).mapping("", "", where, entry)


@dataclass
class _Walk:
    """Compares one entry with the table of keys."""

    app: App
    report: Report
    vault: bool = False
    absent: bool = field(init=False)

    def __post_init__(self) -> None:
        self.absent = self.app.value.get("state") == "absent"

    def tell(self, path: str, where: str, text: str) -> None:
        self.app.bad.add(f"vault:{path}" if self.vault else path)
        self.report.add(self.app.host, f"{where}{self.app.who}: {text}")

    def secret(self, path: str) -> bool:
        return self.vault or looks_secret(path)

    def mapping(self, schema: str, path: str, where: str, value: dict[Any, Any]) -> None:
        """The keys of a mapping with fixed keys; `schema` is its path in the table, `path` the same with the indexes of lists."""
        known = children(schema)
        for name, found in value.items():
            inner, place = f"{path}.{name}" if path else str(name), f"{where}.{label(name)}"
            if name not in known:
                self.tell(inner, place, self._unknown(name, known))
                continue
            key = known[name]
            if self.vault and not key.vault:
                self.tell(inner, place, "is not a secret. Move it to the entry of the app in flask_apps.")
            elif key.vault_only and not self.vault:
                self.tell(
                    inner,
                    place,
                    f"a secret in the open, {show(found, True)}. Move it to vault_flask_apps.{self.app.label or '<app>'}.{inner}.",
                )
            elif found is not None:
                self.value(key, inner, place, found)
        if self.vault:
            return
        for name, key in known.items():
            if key.required and value.get(name) is None and not (self.absent and name != "name"):
                self.tell(f"{path}.{name}" if path else name, f"{where}.{name}", f"is missing. Example: {key.example}")

    def _unknown(self, name: Any, known: dict[str, Key]) -> str:
        near = nearest(name, known)
        if near:
            return f"unknown key. Did you mean {near}?"
        elsewhere = [key.path for key in KEYS if key.path.rsplit(".", maxsplit=1)[-1] == name]
        if elsewhere:
            return f"unknown key here. Did you mean {' or '.join(elsewhere)}?"
        return f"unknown key. Known here: {one_of(sorted(known))}."

    def value(self, key: Key, path: str, where: str, value: Any) -> None:
        """One value against the kind of its key."""
        if isinstance(value, Missing):
            self.tell(path, where, f"refers to a variable that is not defined. {value.why}".rstrip())
        elif key.kind == "mapping":
            self._mapping(key, path, where, value)
        elif key.kind == "list":
            self._list(key, path, where, value)
        elif key.kind in ("integer", "workers"):
            self._integer(key, path, where, value)
        elif key.kind == "boolean":
            self._boolean(key, path, where, value)
        elif key.kind == "choice":
            self._choice(key, path, where, value)
        elif key.kind == "scalar":
            self._scalar(path, where, value)
        else:
            self._text(key, path, where, value)

    def _wrong(self, key: Key, path: str, where: str, value: Any, hint: str = "") -> None:
        # The whole env may be a list of NAME=secret or one such text.
        shown = show(value, self.secret(path) or path == "env")
        self.tell(path, where, f"must be {_WORDS[key.kind]}, not {shown}. {hint or f'Example: {key.example}'}")

    def _mapping(self, key: Key, path: str, where: str, value: Any) -> None:
        if not isinstance(value, dict):
            self._wrong(key, path, where, value)
        elif key.path in FREE:
            for name, item in value.items():
                self._named(key, name, f"{where}.{label(name)}", item)
        else:
            self.mapping(key.path, path, where, value)

    def _named(self, key: Key, name: Any, where: str, item: Any) -> None:
        """One entry of a mapping whose keys a person chooses."""
        inner = BY_PATH[f"{key.path}{{}}"]
        rule = RULES[FREE[key.path]]
        path = f"{key.path}.{name}"
        if not isinstance(name, str) or not rule.pattern.fullmatch(name):
            self.tell(path, where, f"the name {show(label(name))} is malformed. It must be {rule.says}.")
        elif key.path == "env" and name in RESERVED_ENV:
            self.tell(path, where, f"{name} is set by the release itself. Use another name.")
        elif key.path == "headers" and name.lower() in RESERVED_HEADERS:
            hint = "Use tls.hsts" if name.lower().startswith("strict") else "Remove it; the app says it itself"
            self.tell(path, where, f"{name} is not for all answers alike, or has a key of its own. {hint}.")
        elif key.path == "processes" and name == "web":
            self.tell(
                path,
                where,
                "the process web is the app itself. Remove it; `wsgi`, `server` and `workers` say how it runs.",
            )
        else:
            self.value(inner, path, where, item)

    def _list(self, key: Key, path: str, where: str, value: Any) -> None:
        if not isinstance(value, list):
            hint = (
                f"Example: {key.example}"
                if not isinstance(value, str)
                else f"Put it in brackets: {key.path.rsplit('.', maxsplit=1)[-1]}: [...]"
            )
            self._wrong(key, path, where, value, hint)
            return
        inner = BY_PATH[f"{key.path}[]"]
        for index, item in enumerate(value):
            self.value(inner, f"{path}[{index}]", f"{where}[{index}]", item)

    def _integer(self, key: Key, path: str, where: str, value: Any) -> None:
        if key.kind == "workers" and value == "auto":
            return
        words = f"{key.low} to {key.high}" + (" or auto" if key.kind == "workers" else "")
        if isinstance(value, str) and value.strip().isdecimal():
            self._wrong(key, path, where, value, "Write it without quotes.")
        elif isinstance(value, bool) or not isinstance(value, int):
            self._wrong(key, path, where, value, f"Allowed: {words}. Example: {key.example}")
        elif not key.low <= value <= key.high:
            self.tell(path, where, f"{show(value)} is out of range. Allowed: {words}.")

    def _boolean(self, key: Key, path: str, where: str, value: Any) -> None:
        if not isinstance(value, bool):
            quoted = isinstance(value, str) and value.strip().lower() in ("true", "false", "yes", "no")
            self._wrong(key, path, where, value, "Write it without quotes." if quoted else "")

    def _choice(self, key: Key, path: str, where: str, value: Any) -> None:
        if isinstance(value, str) and value in key.choices:
            return
        near = nearest(value, key.choices) if isinstance(value, str) else ""
        hint = f" Did you mean {near}?" if near else ""
        self.tell(path, where, f"{show(value, self.secret(path))} is unknown.{hint} Allowed: {one_of(key.choices)}.")

    def _scalar(self, path: str, where: str, value: Any) -> None:
        if value is None:
            self.tell(path, where, 'has no value. Write "" for an empty one, or remove the line.')
        elif isinstance(value, (dict, list)):
            self.tell(
                path, where, f"must be one value, not {show(value)}. Write lists and mappings as one text, in quotes."
            )
        elif not isinstance(value, (str, int, float)):
            self.tell(
                path,
                where,
                f"must be a text, a number or a boolean, not {show(value, self.secret(path))}. Put it in quotes.",
            )
        elif isinstance(value, str) and "\0" in value:
            self.tell(
                path,
                where,
                "contains a NUL character, which no environment can carry. Encode the value, for example with base64.",
            )

    def _text(self, key: Key, path: str, where: str, value: Any) -> None:
        if not isinstance(value, str):
            scalar = value is not None and not isinstance(value, (dict, list))
            self._wrong(key, path, where, value, "Put it in quotes." if scalar else "")
        elif key.rule and not RULES[key.rule].pattern.fullmatch(value) and not (value == "" and key.default == ""):
            self.tell(
                path,
                where,
                f"{show(value, self.secret(path))} is malformed. It must be {RULES[key.rule].says}. Example: {key.example}",
            )
