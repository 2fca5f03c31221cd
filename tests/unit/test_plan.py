# SPDX-License-Identifier: GPL-3.0-or-later
"""How a host is shared out, from a small board to a large server."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils._plan import Plan, plan


def app(name: str = "blog", workers: Any = "auto", threads: int = 1, **processes: str) -> dict[str, Any]:
    return {"name": name, "workers": workers, "threads": threads, "processes": processes}


@pytest.mark.parametrize(
    ("memory", "cpus", "database", "workers", "pool", "fits"),
    [
        # a Pi Zero with SQLite, a Pi with MariaDB, the smallest VPS
        (430, 1, "", 1, 0, True),
        (512, 4, "", 1, 0, True),
        (512, 1, "mariadb", 1, 64, True),
        (1024, 1, "", 3, 0, True),
        (1024, 1, "mariadb", 3, 128, True),
        (1024, 1, "mysql", 2, 128, True),
        (1024, 4, "mariadb", 3, 128, True),
        (2048, 2, "mariadb", 5, 256, True),
        (2048, 4, "mysql", 6, 256, True),
        (4096, 2, "mysql", 5, 512, True),
        (8192, 4, "mariadb", 9, 1024, True),
        (16384, 8, "mysql", 12, 2048, True),
        (65536, 16, "mariadb", 12, 8192, True),
    ],
)
def test_one_app(memory: int, cpus: int, database: str, workers: int, pool: int, fits: bool) -> None:
    made = plan([app()], memory, cpus, database=database)
    assert (made.workers, made.pool, made.fits) == ({"blog": workers}, pool, fits)


@pytest.mark.parametrize("memory", [256, 512, 777, 1024, 2048, 4096, 8192, 65536])
@pytest.mark.parametrize("cpus", [1, 2, 4, 16])
@pytest.mark.parametrize("database", ["", "mariadb", "mysql"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_more_than_one_worker_is_never_too_much(memory: int, cpus: int, database: str, count: int) -> None:
    """What is chosen by itself fits, or is the least there can be."""
    made = plan([app(f"app{number}") for number in range(count)], memory, cpus, database=database)
    assert made.fits or set(made.workers.values()) == {1}
    assert made.needed == sum(share.mib for share in made.shares)


def test_largest_app_counts_twice() -> None:
    made = plan([app("small", 1), app("large", 3)], 4096, 2)
    shares = {share.name: share.mib for share in made.shares}
    assert (shares["small"], shares["large"], shares["deploy"]) == (100, 300, 300)
    assert "second release, of large" in made.lines()[-2]


def test_what_an_app_demands_is_kept_and_told() -> None:
    made = plan([app("blog", 10), app("shop")], 1024, 4)
    assert made.workers == {"blog": 10, "shop": 1}
    assert not made.fits
    assert made.lines()[-1].split() == ["sum", "2236", "MiB", "of", "1024", "MiB:", "1212", "MiB", "too", "much"]


def test_other_processes_take_room() -> None:
    alone, more = plan([app()], 1024, 4), plan([app(worker="rq worker", beat="celery beat", web="ignored")], 1024, 4)
    assert (alone.workers["blog"], more.workers["blog"]) == (4, 3)
    assert next(share for share in more.shares if share.name == "blog").mib == 500


def test_database_host_without_apps() -> None:
    made = plan([app()], 8192, 4, web=False, database="mysql")
    assert made.pool == 4096
    assert [share.name for share in made.shares] == ["system", "mysql"]


def test_services_that_take_memory_are_counted() -> None:
    made = plan([app()], 512, 1, database="mariadb", services=["fail2ban", "something-small"])
    assert [(share.name, share.mib) for share in made.shares if share.name not in ("blog", "deploy")] == [
        ("system", 96), ("fail2ban", 16), ("web", 40), ("mariadb", 154),
    ]  # fmt: skip
    assert made.fits
    assert "    ".join(["", *made.lines()[:2]]).count("MiB") == 2


@pytest.mark.parametrize(("memory", "schema"), [(2048, False), (4095, False), (4096, True)])
def test_performance_schema_of_mysql(memory: int, schema: bool) -> None:
    made = plan([], memory, 2, database="mysql")
    assert made.performance_schema is schema
    assert not plan([], memory, 2, database="mariadb").performance_schema


@pytest.mark.parametrize(
    ("apps", "connections"),
    [([app(workers=2)], 151), ([app(workers=12, threads=8)], 212), ([app(workers=12, threads=64)], 380)],
)
def test_connections(apps: list[dict[str, Any]], connections: int) -> None:
    assert plan(apps, 65536, 16, database="mariadb").connections == connections


def test_host_that_tells_nothing() -> None:
    assert plan([app()]) == plan([app()], 1024, 1)
    assert isinstance(plan([]), Plan)
    assert plan([]).workers == {}
