# SPDX-License-Identifier: GPL-3.0-or-later
"""Who of several database hosts takes what is written, from what they say of themselves. Pure functions.

Each host keeps its role in a file (ROLE_FILE) with a term: a number that grows with each failover. Of two hosts that take writes,
as when a lost primary comes back, the one with the higher term is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# read by the server at its start; in a folder of its own, since a change of it is no reason to restart the server
ROLE_FILE = "/etc/mysql/flaskhost-role/role.cnf"


def role_text(*, read_only: bool, term: int) -> str:
    """The file that keeps the role of a host."""
    return f"# changed by failover.yml; term {term}\n[mysqld]\nread_only = {'ON' if read_only else 'OFF'}\n"


def parse(lines: Iterable[str]) -> dict[str, Any]:
    """What the facts say of the database of a host.

    ``role`` (primary or replica; empty where it never was one of several), ``term``, ``source`` (the address it replicates from),
    ``receives``, ``applies`` (Yes, No, Connecting, ...), ``error``, ``replicas`` (from where replicas may come), ``holds`` (databases with
    tables, told where there is no role yet).
    """
    found: dict[str, Any] = {
        "role": "", "term": 0, "source": "", "receives": "", "applies": "", "error": "", "replicas": [], "holds": [],
    }  # fmt: skip
    names = {
        "Master_Host": "source", "Source_Host": "source", "Slave_IO_Running": "receives", "Replica_IO_Running": "receives",
        "Slave_SQL_Running": "applies", "Replica_SQL_Running": "applies",
    }  # fmt: skip
    for raw in lines:
        line = raw.strip()
        name, colon, value = line.partition(":")
        if line.startswith("# ") and "; term " in line:
            found["term"] = int(line.rpartition(" ")[2]) if line.rpartition(" ")[2].isdigit() else 0
        elif line.startswith("read_only = "):
            found["role"] = "replica" if line.endswith("ON") else "primary"
        elif colon and name in names:
            found[names[name]] = value.strip()
        elif colon and name in ("Last_IO_Error", "Last_SQL_Error") and value.strip():
            found["error"] = value.strip()
        elif line.startswith("from "):
            found["replicas"].append(line[5:])
        elif line.startswith("/var/lib/mysql/"):
            found["holds"].append(line.rpartition("/")[2])
    return found


def settled(states: Mapping[str, Mapping[str, Any]], addresses: Mapping[str, list[str]], primary: str) -> bool:
    """Whether each host is what it should be, so that nothing has to be done."""
    for host, state in states.items():
        others = sorted(found[0] for name, found in addresses.items() if name != host and found)
        if sorted(state.get("replicas") or []) != others:
            return False
        if host == primary:
            if state.get("role") != "primary" or state.get("source"):
                return False
        elif (
            state.get("role") != "replica"
            or state.get("source") not in addresses.get(primary, [])
            or (state.get("receives"), state.get("applies")) != ("Yes", "Yes")
        ):
            return False
    return True


def contradictions(
    states: Mapping[str, Mapping[str, Any]], addresses: Mapping[str, list[str]], primary: str, rebuilt: str = ""
) -> list[str]:
    """Where the inventory's primary is not what the hosts are; none means that everything can go on.

    :param states: by host, see `parse`; empty for one that did not answer.
    :param rebuilt: a host whose data may be thrown away.
    """
    states = {host: state for host, state in states.items() if state}
    told = []
    own = states.get(primary, {})
    leader = _leader(states)
    back = f"To make {primary} the primary: failover.yml -e mysql_primary={primary}"
    if own.get("role") == "replica":
        source = _name(own.get("source", ""), addresses)
        instead = leader or source
        if instead and instead != primary:
            told.append(
                f"The inventory says that {primary} is the primary of the database hosts, but that is {instead}. "
                f"After a failover, write mysql_primary: {instead} into the inventory. {back}"
            )
        else:
            told.append(f"{primary} takes no writes: a failover did not come to its end. {back}")
    elif own and leader and leader != primary and states[leader]["term"] > own.get("term", 0):
        told.append(
            f"The inventory says that {primary} is the primary of the database hosts, but {leader} became it since. "
            f"Write mysql_primary: {leader} into the inventory; {primary} becomes its replica then. {back}"
        )
    elif not own and leader and leader != primary:
        told.append(
            f"{primary} does not answer, and {leader} became the primary since. Write mysql_primary: {leader} into the inventory."
        )
    if rebuilt and rebuilt == primary:
        told.append(f"mysql_rebuild: {rebuilt} is the primary, whose data the others have. Name a replica.")
    elif rebuilt and rebuilt not in addresses:
        told.append(f"mysql_rebuild: {rebuilt} is no host of the group db. Name one of {', '.join(sorted(addresses))}.")
    for host, state in sorted(states.items()):
        if host not in (primary, rebuilt) and not state.get("role") and state.get("holds"):
            told.append(
                f"{host} has databases of its own ({', '.join(state['holds'])}) and cannot become a replica of {primary}. "
                f"If it is the one with the data: mysql_primary: {host}. If each of them is a server of its own: mysql_replication: false. "
                f"If nobody needs what {host} has: -e mysql_rebuild={host}, which deletes it."
            )
    return told


def failover(
    states: Mapping[str, Mapping[str, Any]], primary: str, absent: Iterable[str] = (), *, skip: bool = False
) -> dict[str, Any]:
    """What a failover to `primary` has to do.

    :param absent: hosts that do not answer.
    :param skip: whether it may go on without them.
    :returns: ``old``, the host that takes writes now and answers, or empty; ``lead``, whether `primary` has to become the primary;
        ``trouble``, why nothing may be done.
    """
    absent = sorted(absent)
    state = states.get(primary) or {}
    trouble = []
    if primary in absent:
        trouble.append(f"{primary} does not answer, so it cannot become the primary.")
    elif not state.get("role"):
        trouble.append(f"{primary} is no replica of anything. Run site.yml first.")
    elif absent and not skip:
        trouble.append(
            f"{', '.join(absent)} does not answer. What was written there in its last moments may be missing on {primary}. To go on without: "
            "-e flask_skip_unreachable=true. Make sure that nobody can write there: keep it off, until site.yml makes it a replica."
        )
    elif state["role"] == "replica" and state.get("applies") != "Yes":
        trouble.append(
            f"{primary} does not keep up: {state.get('error') or 'its replication is stopped'}. Mend that first: site.yml."
        )
    leader = _leader(states)
    return {
        "old": leader if leader != primary else "",
        "lead": state.get("role") == "replica" or bool(leader and leader != primary),
        "trouble": trouble,
    }


def _leader(states: Mapping[str, Mapping[str, Any]]) -> str:
    """The host that takes writes; of several the one that was made it last."""
    writable = [host for host, state in states.items() if state and state.get("role") == "primary"]
    return max(writable, key=lambda host: states[host].get("term", 0), default="")


def _name(address: str, addresses: Mapping[str, list[str]]) -> str:
    return next((host for host, found in addresses.items() if address and address in found), address)
