# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory says of the hosts of the group `db`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean


def addresses(hosts: Iterable[str], hostvars: Any) -> dict[str, list[str]]:
    """The addresses of each host, that for other hosts first: ``flaskhost_internal_address`` and ``ansible_host``, as far as there are any."""
    found = {}
    for host in hosts:
        known = (hostvars[host].get(name) for name in ("flaskhost_internal_address", "ansible_host"))
        found[host] = list(dict.fromkeys(str(address) for address in known if address))
    return found


def primary(hosts: list[str], hostvars: Any) -> str:
    """The host that takes what is written: ``mysql_primary``, else the first one; empty where each is a server of its own, or there is none."""
    if len(hosts) < 2:
        return hosts[0] if hosts else ""
    variables = hostvars[hosts[0]]
    if not boolean(variables.get("mysql_replication", True), strict=False):
        return ""
    return str(variables.get("mysql_primary", hosts[0]))
