# SPDX-License-Identifier: GPL-3.0-or-later
"""Which database host is the primary, what contradicts that, and what a failover has to do."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils._replication_plan import (
    contradictions,
    failover,
    parse,
    role_text,
    settled,
)

ADDRESSES = {"db1": ["10.0.0.5", "203.0.113.5"], "db2": ["10.0.0.6"]}
# as MariaDB 10.11 says it
REPLICA = """\
*************************** 1. row ***************************
                Slave_IO_State: Waiting for master to send event
                   Master_Host: 10.0.0.5
                   Master_User: flaskhost_replica
              Slave_IO_Running: Yes
             Slave_SQL_Running: Yes
                    Last_Error:
                 Last_IO_Error:
       Slave_SQL_Running_State: Slave has read all relay log; waiting for more updates
"""


def primary(term: int = 1, *replicas: str) -> dict[str, Any]:
    return parse([*role_text(read_only=False, term=term).splitlines(), *(f"from {one}" for one in replicas)])


def replica(term: int = 1, *replicas: str, **changed: Any) -> dict[str, Any]:
    lines = [*role_text(read_only=True, term=term).splitlines(), *(f"from {one}" for one in replicas)]
    return {**parse([*lines, *REPLICA.splitlines()]), **changed}


def test_what_hosts_say_of_themselves() -> None:
    assert primary(3, "10.0.0.6") == {
        "role": "primary", "term": 3, "source": "", "receives": "", "applies": "", "error": "",
        "replicas": ["10.0.0.6"], "holds": [],
    }  # fmt: skip
    found = replica(2)
    assert (found["role"], found["term"], found["source"]) == ("replica", 2, "10.0.0.5")
    assert (found["receives"], found["applies"], found["error"]) == ("Yes", "Yes", "")
    told = parse(["Last_IO_Error: error connecting: refused", "Source_Host: db1", "Replica_IO_Running: Connecting"])
    assert (told["error"], told["source"], told["receives"]) == ("error connecting: refused", "db1", "Connecting")
    assert parse(["/var/lib/mysql/blog", "/var/lib/mysql/shop"])["holds"] == ["blog", "shop"]
    assert parse([])["role"] == ""


GOOD = {"db1": primary(1, "10.0.0.6"), "db2": replica(1, "10.0.0.5")}


def test_settled() -> None:
    assert settled(GOOD, ADDRESSES, "db1")
    for host, changed in (
        ("db2", {"receives": "Connecting"}),
        ("db2", {"applies": "No"}),
        ("db2", {"source": "10.0.0.9"}),
        ("db2", {"role": "primary"}),
        ("db2", {"replicas": []}),
        ("db1", {"replicas": ["10.0.0.6", "10.0.0.7"]}),
        ("db1", {"role": "replica"}),
        ("db1", {"role": ""}),
    ):
        states = {**GOOD, host: {**GOOD[host], **changed}}
        assert not settled(states, ADDRESSES, "db1"), changed
    assert not settled({**GOOD, "db2": {}}, ADDRESSES, "db1")
    assert not settled(GOOD, ADDRESSES, "db2")


@pytest.mark.parametrize(
    "states",
    [
        GOOD,
        {"db1": parse([]), "db2": parse([])},
        {"db1": parse(["/var/lib/mysql/blog"]), "db2": parse([])},
        {"db1": GOOD["db1"], "db2": {}},
        # the primary is away, the replica goes on as one
        {"db1": {}, "db2": GOOD["db2"]},
        # a former primary that came back: it becomes a replica
        {"db1": primary(2), "db2": primary(1)},
        {"db1": GOOD["db1"], "db2": replica(1, applies="No")},
    ],
)
def test_no_contradiction(states: dict[str, Any]) -> None:
    assert contradictions(states, ADDRESSES, "db1") == []


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({"db1": replica(2, source="10.0.0.6"), "db2": primary(2)}, ["but that is db2", "mysql_primary: db2"]),
        ({"db1": replica(2, source="10.0.0.6"), "db2": {}}, ["but that is db2", "failover.yml -e mysql_primary=db1"]),
        ({"db1": replica(1, source=""), "db2": replica(1)}, ["db1 takes no writes", "did not come to its end"]),
        ({"db1": primary(1), "db2": primary(2)}, ["db2 became it since", "mysql_primary: db2"]),
        ({"db1": {}, "db2": primary(2)}, ["db1 does not answer, and db2 became"]),
        ({"db1": parse([]), "db2": primary(1)}, ["db2 became it since"]),
        (
            {"db1": parse([]), "db2": parse(["/var/lib/mysql/blog"])},
            ["db2 has databases of its own (blog)", "mysql_rebuild=db2"],
        ),
    ],
)
def test_contradictions(states: dict[str, Any], words: list[str]) -> None:
    (told,) = contradictions(states, ADDRESSES, "db1")
    for word in words:
        assert word in told, told


def test_data_that_may_be_thrown_away() -> None:
    states = {"db1": parse([]), "db2": parse(["/var/lib/mysql/blog"])}
    assert contradictions(states, ADDRESSES, "db1", "db2") == []
    (told,) = contradictions(GOOD, ADDRESSES, "db1", "db1")
    assert "db1 is the primary" in told
    (told,) = contradictions(GOOD, ADDRESSES, "db1", "db3")
    assert "db3 is no host of the group db. Name one of db1, db2." in told


@pytest.mark.parametrize(
    ("states", "absent", "skip", "old", "lead", "word"),
    [
        (GOOD, [], False, "db1", True, ""),
        # there already: the rest of a failover that was cut off
        ({"db1": replica(2), "db2": primary(2)}, [], False, "", False, ""),
        ({"db1": replica(1, source=""), "db2": replica(1)}, [], False, "", True, ""),
        # both take writes: the one that was made it last is the one to hold
        ({"db1": primary(3), "db2": primary(2)}, [], False, "db1", True, ""),
        ({"db2": GOOD["db2"]}, ["db1"], False, "", True, "flask_skip_unreachable=true"),
        ({"db2": GOOD["db2"]}, ["db1"], True, "", True, ""),
        ({"db1": GOOD["db1"]}, ["db2"], True, "db1", True, "db2 does not answer"),
        ({"db1": GOOD["db1"], "db2": parse([])}, [], False, "db1", True, "Run site.yml first"),
        ({"db1": GOOD["db1"], "db2": replica(1, applies="No", error="duplicate key")}, [], False, "db1", True, "duplicate key"),
    ],
)  # fmt: skip
def test_failover(states: dict[str, Any], absent: list[str], skip: bool, old: str, lead: bool, word: str) -> None:
    plan = failover(states, "db2", absent, skip=skip)
    assert (plan["old"], plan["lead"]) == (old, lead)
    assert len(plan["trouble"]) == bool(word), plan
    assert word in "".join(plan["trouble"])
