# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory says of the hosts of the group `db`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import Missing, plain


def addresses(hosts: Iterable[str], hostvars: Any) -> dict[str, list[str]]:
    """The addresses of each host, that for other hosts first: ``flaskhost_internal_address`` and ``ansible_host``, as far as there are any."""
    found = {}
    for host in hosts:
        variables = hostvars[host]
        known = (_of(variables, name) for name in ("flaskhost_internal_address", "ansible_host"))
        found[host] = list(dict.fromkeys(str(address) for address in known if address))
    return found


def primary(hosts: list[str], hostvars: Any) -> str:
    """The host that takes what is written: ``mysql_primary``, else the first one; empty where each is a server of its own, or there is none."""
    if len(hosts) < 2:
        return hosts[0] if hosts else ""
    variables = hostvars[hosts[0]]
    if not boolean(_of(variables, "mysql_replication", True), strict=False):
        return ""
    return str(_of(variables, "mysql_primary", hosts[0]) or "")


def _of(variables: Any, name: str, default: Any = None) -> Any:
    """A variable of a host; the default where it has none, or where that says by another that it has not, or not yet."""
    value = plain(variables.get(name, default))
    return default if isinstance(value, Missing) else value
