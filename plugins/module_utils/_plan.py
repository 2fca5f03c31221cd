# SPDX-License-Identifier: GPL-3.0-or-later
"""How the memory and the processors of a host are shared out. Pure functions; all sizes are MiB.

What makes a host run out of memory is a deploy: for a moment the new release of one app runs beside the old one. So the
plan counts every app once, and the largest one twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Proportional set sizes measured on Debian boxes (amd64, November 2026) with the guestbook of examples/, rounded up.
SYSTEM_MIB = 96  # kernel, systemd, journald, sshd, cron, unattended-upgrades: 45 without the kernel
SERVICES_MIB = {"fail2ban": 16, "mail": 24}  # measured: 15 with two jails; 12, and more while it sends
WEB_MIB = 40  # supervisord 20, nginx 5 with some hundred connections more
SUPERVISOR_MIB = 24  # where no app needs nginx
# the server with an empty buffer pool: MariaDB 10.11; MySQL 9.7 without and (527 measured) with its performance schema
DATABASE_MIB = {"mariadb": 90, "mysql": 280}
PERFORMANCE_SCHEMA_MIB = 250
PERFORMANCE_SCHEMA_FROM = 4096
# A worker of the guestbook (SQLAlchemy, Migrate, Babel) takes 45; larger apps take more, and all of them grow a little
WORKER_MIB = 100
# https://docs.gunicorn.org/en/stable/design.html: (2 x cores) + 1; 4 to 12 handle hundreds or thousands of requests a second
WORKERS_MOST = 12
POOL_LEAST, POOL_MOST = 16, 32768
# what a server allows when nobody says otherwise, and what people and backups need beside the apps
CONNECTIONS_DEFAULT, CONNECTIONS_SPARE = 151, 20
# SQLAlchemy's QueuePool: 5 kept and 10 more in a pinch, per process; a process uses no more than it has threads
CONNECTIONS_PER_PROCESS = 15
UNKNOWN = {"memory_mb": 1024, "cpus": 1}


@dataclass(frozen=True)
class Share:
    """One line of the arithmetic: who gets how many MiB, and why that many."""

    name: str
    mib: int
    why: str


@dataclass(frozen=True)
class Plan:
    """The plan of one host.

    :ivar workers: processes of each app's server, by app name.
    :ivar pool: InnoDB's buffer pool in MiB; 0 where no database server runs.
    :ivar performance_schema: whether MySQL keeps that; MariaDB does not by default.
    :ivar connections: ``max_connections`` of the database server.
    """

    memory: int
    cpus: int
    shares: list[Share] = field(default_factory=list)
    workers: dict[str, int] = field(default_factory=dict)
    pool: int = 0
    performance_schema: bool = False
    connections: int = CONNECTIONS_DEFAULT

    @property
    def needed(self) -> int:
        """The sum of all shares."""
        return sum(share.mib for share in self.shares)

    @property
    def fits(self) -> bool:
        """Whether the host has that much."""
        return self.needed <= self.memory

    def lines(self) -> list[str]:
        """The arithmetic for people, the result last."""
        width = max(len(share.name) for share in self.shares)
        rows = [f"{share.name:{width}} {share.mib:7} MiB  {share.why}".rstrip() for share in self.shares]
        left = self.memory - self.needed
        verdict = f"{left} MiB are left" if left >= 0 else f"{-left} MiB too much"
        return [*rows, f"{'sum':{width}} {self.needed:7} MiB  of {self.memory} MiB: {verdict}"]


def plan(
    apps: Iterable[Mapping[str, Any]],
    memory: int = 0,
    cpus: int = 0,
    *,
    web: bool = True,
    database: str = "",
    services: Iterable[str] = (),
) -> Plan:
    """Share out a host.

    :param apps: name, workers (a number or ``auto``), threads, processes, and port (where it needs no nginx) of each app.
    :param memory: MiB of the host; 1024 where unknown.
    :param cpus: processors of the host; 1 where unknown.
    :param web: whether the host runs the apps; else they only use its database.
    :param database: ``mariadb`` or ``mysql`` where the host runs that, else empty.
    :param services: what else runs there, such as ``fail2ban``; what takes next to nothing is not counted.
    """
    memory, cpus = memory or UNKNOWN["memory_mb"], cpus or UNKNOWN["cpus"]
    apps = list(apps)
    shares = [Share("system", SYSTEM_MIB, "kernel, systemd, sshd, journal")]
    shares += [Share(name, SERVICES_MIB[name], "") for name in services if name in SERVICES_MIB]
    if web:
        direct = bool(apps) and all(app.get("port") for app in apps)
        shares.append(Share("web", *((SUPERVISOR_MIB, "supervisor") if direct else (WEB_MIB, "nginx, supervisor"))))
    pool = _pool(memory, alone=not web) if database else 0
    schema = database == "mysql" and memory >= PERFORMANCE_SCHEMA_FROM
    if database:
        server = DATABASE_MIB[database] + (PERFORMANCE_SCHEMA_MIB if schema else 0)
        shares.append(Share(database, server + pool, f"server {server}, buffer pool {pool}"))
    workers = _workers(apps, (memory - sum(share.mib for share in shares)) // WORKER_MIB, cpus)
    if web and apps:
        shares += [_app_share(app, workers[app["name"]]) for app in apps]
        name, count = max(workers.items(), key=lambda one: one[1])
        shares.append(
            Share("deploy", count * WORKER_MIB, f"for a moment a second release, of {name}: {count} x {WORKER_MIB}")
        )
    return Plan(memory, cpus, shares, workers, pool, schema, _connections(apps, workers))


def _pool(memory: int, *, alone: bool) -> int:
    """An eighth of the memory where apps run as well, half of it where nothing else does, in steps of 16 MiB."""
    wanted = memory // 2 if alone else memory // 8
    return max(POOL_LEAST, min(POOL_MOST, wanted) // 16 * 16)


def _workers(apps: list[Mapping[str, Any]], room: int, cpus: int) -> dict[str, int]:
    """Workers of each app: as many as it says, else 2 per processor and one more as far as the memory goes, 1 at least.

    :param room: how many processes fit into what the services leave.
    """
    given = {app["name"]: app.get("workers", "auto") for app in apps}
    extra = sum(len(_extra(app)) for app in apps)
    for auto in range(min(2 * cpus + 1, WORKERS_MOST), 0, -1):
        workers = {name: auto if count == "auto" else int(count) for name, count in given.items()}
        if sum(workers.values()) + max(workers.values(), default=0) + extra <= room:
            break
    return workers


def _extra(app: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: command for name, command in (app.get("processes") or {}).items() if name != "web"}


def _app_share(app: Mapping[str, Any], workers: int) -> Share:
    extra = len(_extra(app))
    told = f"{workers} worker{'s' if workers > 1 else ''}" + (
        f" and {extra} more process{'es' if extra > 1 else ''}" if extra else ""
    )
    return Share(app["name"], (workers + extra) * WORKER_MIB, f"{told} x {WORKER_MIB}")


def _connections(apps: list[Mapping[str, Any]], workers: Mapping[str, int]) -> int:
    """What the apps may open at once, both releases of each during a deploy; never fewer than a server allows anyway."""
    needed = 0
    for app in apps:
        threads = min(int(app.get("threads") or 1), CONNECTIONS_PER_PROCESS)
        needed += 2 * (workers[app["name"]] * threads + len(_extra(app)))
    return max(CONNECTIONS_DEFAULT, needed + CONNECTIONS_SPARE)
