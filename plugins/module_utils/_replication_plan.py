# SPDX-License-Identifier: GPL-3.0-or-later
"""Who of several database hosts takes what is written, from what they say of themselves. Pure functions.

Each host keeps its role in a file (ROLE_FILE) with a term: a number that grows with each failover. Of two hosts that take writes,
as when a lost primary comes back, the one with the higher term is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._gtid_sets import holds

# read by the server at its start; in a folder of its own, since a change of it is no reason to restart the server
ROLE_FILE = "/etc/mysql/flaskhost-role/role.cnf"
# there while a host's data is half a copy
COPYING_FILE = "/etc/mysql/flaskhost-role/copying"


def role_text(*, read_only: bool, term: int) -> str:
    """The file that keeps the role of a host."""
    return f"# changed by failover.yml; term {term}\n[mysqld]\nread_only = {'ON' if read_only else 'OFF'}\n"


def parse(lines: Iterable[str]) -> dict[str, Any]:
    """What the facts say of the database of a host.

    ``role`` (primary or replica, as its file has it; empty where it never was one of several), ``term``, ``writes`` (whether the server takes
    writes now, which a failover that was cut off may have left otherwise; none where the server does not answer), ``copying`` (whether its
    data is half a copy), ``source`` (the address it replicates from), ``receives``, ``applies`` (Yes, No, Connecting, ...), ``error``,
    ``replicas`` (from where replicas may come), ``holds`` (databases with tables, told where there is no role yet), and of MySQL ``uuid`` (what
    the server calls itself) and ``gtids`` (all transactions that it has).
    """
    found: dict[str, Any] = {
        "role": "", "term": 0, "writes": None, "copying": False, "source": "", "receives": "", "applies": "", "error": "", "replicas": [], "holds": [],
        "uuid": "", "gtids": "",
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
        elif line.startswith("read_only is "):
            found["writes"] = line.endswith((" 0", " OFF"))
        elif line == "copying":
            found["copying"] = True
        elif colon and name in names:
            found[names[name]] = value.strip()
        elif colon and name in ("Last_IO_Error", "Last_SQL_Error") and value.strip():
            found["error"] = value.strip()
        elif line.startswith("gtids "):
            found["uuid"], found["gtids"] = line.split(" ")[1], "".join(line.split(" ")[2:])
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
            if state.get("role") != "primary" or not state.get("writes") or state.get("source"):
                return False
        elif (
            state.get("role") != "replica"
            or state.get("writes")
            or state.get("copying")
            or state.get("source") not in addresses.get(primary, [])
            or (state.get("receives"), state.get("applies")) != ("Yes", "Yes")
            or _astray(state, states.get(primary, {}))
        ):
            return False
    return True


def contradictions(
    states: Mapping[str, Mapping[str, Any]],
    addresses: Mapping[str, list[str]],
    primary: str,
    rebuilt: str = "",
    engines: Mapping[str, str] | None = None,
) -> list[str]:
    """Where the inventory's primary is not what the hosts are; none means that everything can go on.

    :param states: by host, see `parse`; empty for one that did not answer.
    :param rebuilt: a host whose data may be thrown away.
    :param engines: mariadb or mysql, of each host that is known to run it.
    """
    states = {host: state for host, state in states.items() if state}
    told = []
    if len(set((engines or {}).values())) > 1:
        listed = ", ".join(f"{host} {engine}" for host, engine in sorted((engines or {}).items()))
        told.append(
            f"The database hosts are to hold the same data, but run different servers ({listed}), and neither replicates from the other. "
            "Set the same mysql_provider for the whole group db, or mysql_replication: false, where each is a server of its own."
        )
    own = states.get(primary, {})
    leader = _leader(states)
    back = f"To make {primary} the primary: failover.yml -e mysql_primary={primary}"
    if own.get("role") and not _leads(own):
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
    """What a failover to `primary` has to do, also where an earlier one was cut off.

    :param absent: hosts that do not answer. One whose server is down is told from its state, and counts as such.
    :param skip: whether it may go on without them.
    :returns: ``old``, the host that takes writes now, or did until an earlier failover held it, or empty; ``planned``, whether it takes writes
        now; ``lead``, whether `primary` has to become the primary; ``hold``, the hosts that must not take writes; ``follow``, those that can
        replicate from it; ``trouble``, why nothing may be done.
    """
    absent = sorted({*absent, *(host for host, state in states.items() if not state)})
    here = {host: state for host, state in states.items() if state.get("role") and host not in absent}
    down = sorted(host for host, state in here.items() if state.get("writes") is None)
    up = {host: state for host, state in here.items() if host not in down}
    leader = _leader(up)
    hold = sorted(host for host, state in up.items() if host != primary and not state.get("source"))
    old = leader or max(hold, key=lambda host: up[host].get("term", 0), default="")
    state = states.get(primary) or {}
    told = ""
    if primary in absent:
        told = f"{primary} does not answer, so it cannot become the primary."
    elif not state.get("role"):
        told = f"{primary} is no replica of anything. Run site.yml first."
    elif primary in down:
        told = f"The server of {primary} does not answer, so it cannot become the primary. See there: systemctl status mariadb, or mysql."
    elif state.get("copying"):
        told = f"{primary} has half a copy of the data only. Have site.yml copy it anew first."
    elif (absent or down) and not skip:
        missing = [f"{host} does not answer" for host in absent] + [
            f"the server of {host} does not answer" for host in down
        ]
        told = (
            f"{'; '.join(missing)}. What was written there in its last moments may be missing on {primary}. To go on without: "
            "-e flask_skip_unreachable=true. Make sure that nobody can write there: keep it off, until site.yml makes it a replica."
        )
    elif leader != primary and _astray(state, up.get(leader, {})):
        told = f"{primary} has writes that {leader} lacks, and would hand them out. Mend that first: site.yml tells what they are."
    elif leader != primary:
        told = _lags(primary, state, leader, bool(hold) or skip)
    return {
        "old": old if old != primary else "",
        "planned": bool(leader and leader != primary),
        "lead": bool(state.get("role")) and leader != primary,
        "hold": hold,
        "follow": sorted(host for host in up if host != primary),
        "trouble": [told] if told else [],
    }


def _astray(state: Mapping[str, Any], primary: Mapping[str, Any]) -> bool:
    """Whether writes began on a replica of MySQL that its primary does not have. MariaDB tells of that by itself, and does not go on."""
    known = state.get("gtids") and primary.get("gtids")
    return bool(known) and not holds(primary["gtids"], state["gtids"], state["uuid"])


def _lags(host: str, state: Mapping[str, Any], leader: str, known: bool) -> str:
    """Why a host may lack what was written; empty where it does not, or where it will be asked by a position.

    :param known: whether a host that answers tells a position, or nobody is waited for.
    """
    why = state.get("error") or "its replication is stopped"
    if leader and not state.get("source"):
        return (
            f"{host} replicates from nobody, while {leader} takes writes. Run site.yml first, which makes it a replica."
        )
    # stopped without an error: by a failover that was cut off, and the next one starts it
    if state.get("source") and state.get("applies") != "Yes" and (leader or state.get("error")):
        return f"{host} does not keep up: {why}. Mend that first: site.yml."
    if state.get("source") and state.get("receives") != "Yes" and (leader or not known):
        return f"{host} does not get what is written: {why}. Mend that first: site.yml."
    return ""


def _leads(state: Mapping[str, Any]) -> bool:
    """Whether a host takes writes: as its server says, or its file where that does not answer."""
    writes = state.get("writes")
    return state.get("role") == "primary" if writes is None else bool(state.get("role") and writes)


def _leader(states: Mapping[str, Mapping[str, Any]]) -> str:
    """The host that takes writes; of several the one that was made it last."""
    writable = [host for host, state in states.items() if _leads(state)]
    return max(
        writable, key=lambda host: (states[host].get("term", 0), states[host].get("role") == "primary"), default=""
    )


def _name(address: str, addresses: Mapping[str, list[str]]) -> str:
    return next((host for host, found in addresses.items() if address and address in found), address)
