# SPDX-License-Identifier: GPL-3.0-or-later
"""Which database host is the primary, what contradicts that, and what a failover has to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flaskhost.stack.plugins.module_utils import _gtid_sets, _replication
from ansible_collections.flaskhost.stack.plugins.module_utils._replication_mariadb import MariaDb
from ansible_collections.flaskhost.stack.plugins.module_utils._replication_plan import (
    contradictions,
    failover,
    parse,
    role_text,
    settled,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._replication_server import (
    ReplicationError,
    Source,
    Status,
)

from tests.support.render import evaluate

ADDRESSES = {"db1": ["10.0.0.5", "203.0.113.5"], "db2": ["10.0.0.6"]}
# what two servers of MySQL call themselves
A, B = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "278bfda1-b93d-11e4-801b-14feb5d284bc"
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
    return parse(
        [*role_text(read_only=False, term=term).splitlines(), "read_only is 0", *(f"from {one}" for one in replicas)]
    )


def replica(term: int = 1, *replicas: str, **changed: Any) -> dict[str, Any]:
    lines = [*role_text(read_only=True, term=term).splitlines(), "read_only is 1", *(f"from {one}" for one in replicas)]
    return {**parse([*lines, *REPLICA.splitlines()]), **changed}


def test_what_hosts_say_of_themselves() -> None:
    assert primary(3, "10.0.0.6") == {
        "role": "primary", "term": 3, "writes": True, "copying": False, "source": "", "receives": "", "applies": "", "error": "",
        "replicas": ["10.0.0.6"], "holds": [], "uuid": "", "gtids": "",
    }  # fmt: skip
    found = replica(2)
    assert (found["role"], found["term"], found["source"]) == ("replica", 2, "10.0.0.5")
    assert found["writes"] is False
    # the server is down, and its file is all there is
    assert parse(role_text(read_only=False, term=3).splitlines())["writes"] is None
    assert parse(["copying"])["copying"]
    assert (found["receives"], found["applies"], found["error"]) == ("Yes", "Yes", "")
    told = parse(["Last_IO_Error: error connecting: refused", "Source_Host: db1", "Replica_IO_Running: Connecting"])
    assert (told["error"], told["source"], told["receives"]) == ("error connecting: refused", "db1", "Connecting")
    assert parse(["/var/lib/mysql/blog", "/var/lib/mysql/shop"])["holds"] == ["blog", "shop"]
    assert parse([])["role"] == ""
    assert parse([f"gtids {A} {A}:1-5,{B}:1"])["gtids"] == f"{A}:1-5,{B}:1"
    empty = parse([f"gtids {A} "])
    assert (empty["uuid"], empty["gtids"]) == (A, "")


GOOD = {"db1": primary(1, "10.0.0.6"), "db2": replica(1, "10.0.0.5")}


def test_settled() -> None:
    assert settled(GOOD, ADDRESSES, "db1")
    for host, changed in (
        ("db2", {"receives": "Connecting"}),
        ("db2", {"applies": "No"}),
        ("db2", {"source": "10.0.0.9"}),
        ("db2", {"role": "primary"}),
        ("db2", {"writes": True}),
        ("db2", {"copying": True}),
        ("db1", {"writes": False}),
        ("db1", {"writes": None}),
        ("db2", {"replicas": []}),
        ("db1", {"replicas": ["10.0.0.6", "10.0.0.7"]}),
        ("db1", {"role": "replica"}),
        ("db1", {"role": ""}),
    ):
        states = {**GOOD, host: {**GOOD[host], **changed}}
        assert not settled(states, ADDRESSES, "db1"), changed
    assert not settled({**GOOD, "db2": {}}, ADDRESSES, "db1")
    assert not settled(GOOD, ADDRESSES, "db2")


def of_mysql(mine: str, theirs: str) -> dict[str, Any]:
    return {
        "db1": {**GOOD["db1"], "uuid": A, "gtids": theirs},
        "db2": {**GOOD["db2"], "uuid": B, "gtids": mine},
    }


def test_a_replica_of_mysql_that_wrote_by_itself() -> None:
    """MySQL goes on replicating with it, and would hand it out after the next failover."""
    for mine in (f"{A}:1-9", f"{A}:1-12,{B}:1-4", ""):
        assert settled(of_mysql(mine, f"{A}:1-9,{B}:1-4"), ADDRESSES, "db1"), (
            "what it got since the primary was asked is no difference"
        )
    astray = of_mysql(f"{A}:1-9,{B}:1-5", f"{A}:1-9,{B}:1-4")
    assert not settled(astray, ADDRESSES, "db1")
    assert contradictions(astray, ADDRESSES, "db1") == [], "site.yml goes on, and tells what they are"
    assert failover(of_mysql(f"{A}:1-9", f"{A}:1-9"), "db2")["trouble"] == []
    (told,) = failover(astray, "db2")["trouble"]
    assert "db2 has writes that db1 lacks" in told


def test_sets_of_transactions() -> None:
    assert _gtid_sets.own(f"{A}:1-5:7,{B}:1", A) == {"": [(1, 5), (7, 7)]}
    assert _gtid_sets.own(f"{A}:1-5:blue:1-2:4", A) == {"": [(1, 5)], "blue": [(1, 2), (4, 4)]}
    assert _gtid_sets.holds(f"{A}:1-5:7-9", f"{A}:2-3:8,{B}:1", A)
    for other in (f"{A}:6", f"{A}:4-7", f"{A}:blue:1"):
        assert not _gtid_sets.holds(f"{A}:1-5:7-9", other, A)


def test_servers_that_cannot_replicate_from_each_other() -> None:
    for engines in ({}, {"db1": "mysql"}, {"db1": "mysql", "db2": "mysql"}):
        assert contradictions(GOOD, ADDRESSES, "db1", engines=engines) == []
    (told,) = contradictions(GOOD, ADDRESSES, "db1", engines={"db1": "mysql", "db2": "mariadb"})
    assert "db1 mysql, db2 mariadb" in told
    assert "Set the same mysql_provider" in told


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
        # cut off between the server and its file
        (
            {"db1": {**primary(1), "writes": False}, "db2": replica(1)},
            ["db1 takes no writes", "did not come to its end"],
        ),
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


def test_which_server_a_host_runs() -> None:
    """As the inventory says, or its system; nothing is guessed of one that did not answer."""

    def runs(name: str, **said: str) -> dict[str, Any]:
        return {"ansible_facts": {"flaskhost": {"os": {"id": name}}}, **said}

    hosts = {"a": runs("ubuntu"), "b": runs("debian"), "c": runs("debian", mysql_provider="mysql")}
    silent: dict[str, Any] = {"d": {}, "e": {"mysql_provider": "mysql"}}
    known = {"hostvars": {**hosts, **silent}, "__preflight_database_group": [*hosts, *silent]}
    found = evaluate("preflight", "__preflight_database_engines", **known)
    assert found == {"a": "mysql", "b": "mariadb", "c": "mysql", "e": "mysql"}


HELD = replica(2, source="", receives="", applies="")
DOWN = {**primary(1), "writes": None, "replicas": []}


@pytest.mark.parametrize(
    ("states", "absent", "skip", "old", "lead", "word"),
    [
        (GOOD, [], False, "db1", True, ""),
        # there already: the rest of a failover that was cut off
        ({"db1": replica(2), "db2": primary(2)}, [], False, "", False, ""),
        ({"db1": HELD, "db2": primary(2)}, [], False, "", False, ""),
        # cut off after the former primary was held: it is held again, for its position
        ({"db1": HELD, "db2": replica(1)}, [], False, "db1", True, ""),
        # its file says replica, and its server takes writes
        ({"db1": {**HELD, "writes": True}, "db2": replica(1)}, [], False, "db1", True, ""),
        # its file says primary, and its server takes none
        ({"db1": {**primary(1), "writes": False}, "db2": replica(1)}, [], False, "db1", True, ""),
        # cut off after the new one left its source
        ({"db1": HELD, "db2": HELD}, [], False, "db1", True, ""),
        ({"db1": HELD, "db2": {**primary(2), "writes": False}}, [], False, "db1", True, ""),
        ({"db1": HELD, "db2": replica(1, applies="No")}, [], False, "db1", True, ""),
        # a former primary that came back and takes writes
        ({"db1": primary(1), "db2": primary(2)}, [], False, "", False, ""),
        # two that take writes cannot be put together
        ({"db1": primary(3), "db2": primary(2)}, [], False, "db1", True, "replicates from nobody"),
        ({"db2": GOOD["db2"]}, ["db1"], False, "", True, "flask_skip_unreachable=true"),
        ({"db1": {}, "db2": GOOD["db2"]}, [], False, "", True, "db1 does not answer"),
        ({"db2": GOOD["db2"]}, ["db1"], True, "", True, ""),
        ({"db2": replica(1, receives="Connecting", error="no route")}, ["db1"], True, "", True, ""),
        ({"db1": GOOD["db1"]}, ["db2"], True, "db1", False, "db2 does not answer"),
        # the host is up, its server is not
        ({"db1": DOWN, "db2": GOOD["db2"]}, [], False, "", True, "the server of db1 does not answer"),
        ({"db1": DOWN, "db2": replica(1, receives="Connecting")}, [], True, "", True, ""),
        ({"db1": GOOD["db1"], "db2": {**GOOD["db2"], "writes": None}}, [], True, "db1", True, "The server of db2 does not answer"),
        ({"db1": GOOD["db1"], "db2": parse([])}, [], False, "db1", False, "Run site.yml first"),
        ({"db1": GOOD["db1"], "db2": replica(1, applies="No", error="duplicate key")}, [], False, "db1", True, "duplicate key"),
        ({"db1": GOOD["db1"], "db2": replica(1, receives="Connecting")}, [], False, "db1", True, "does not get what is written"),
        # nobody to ask for a position
        ({"db1": replica(1), "db2": replica(1, receives="No")}, [], False, "", True, "does not get what is written"),
        ({"db1": GOOD["db1"], "db2": replica(1, copying=True)}, [], False, "db1", True, "half a copy"),
    ],
)  # fmt: skip
def test_failover(states: dict[str, Any], absent: list[str], skip: bool, old: str, lead: bool, word: str) -> None:
    plan = failover(states, "db2", absent, skip=skip)
    assert (plan["old"], plan["lead"]) == (old, lead)
    assert len(plan["trouble"]) == bool(word), plan
    assert word in "".join(plan["trouble"])


def test_who_is_held_and_who_follows() -> None:
    """Whoever does not replicate, whatever its file says; and nobody whose server is down."""
    other = replica(1)
    assert [failover({**GOOD, "db3": other}, "db2")[key] for key in ("planned", "hold", "follow")] == [
        True,
        ["db1"],
        ["db1", "db3"],
    ]
    for db1 in (HELD, {**HELD, "writes": True}, {**primary(1), "writes": False}):
        plan = failover({"db1": db1, "db2": replica(1)}, "db2")
        assert plan["hold"] == plan["follow"] == ["db1"]
        assert plan["planned"] is bool(db1["writes"])
    plan = failover({"db1": DOWN, "db2": replica(1)}, "db2", skip=True)
    assert (plan["hold"], plan["follow"], plan["planned"]) == ([], [], False)
    # back, after it was cut off
    plan = failover({"db1": HELD, "db2": replica(1)}, "db1")
    assert (plan["lead"], plan["hold"], plan["trouble"]) == (True, [], [])


class Fake(MariaDb):
    """A server that notes what it is told; ``refuses`` holds what fails."""

    def __init__(
        self, values: dict[str, str] | None = None, *, status: Status | None = None, refuses: str = ""
    ) -> None:
        super().__init__(None)
        self.status, self.refuses, self.values = status, refuses, {"@@global.read_only": "0", **(values or {})}
        self.told: list[str] = []

    def ask(self, query: str, *values: Any) -> list[dict[str, Any]]:
        self.told.append(query)
        if self.refuses and query.startswith(self.refuses):
            raise RuntimeError(query)
        name, _, value = query.removeprefix("SET GLOBAL ").partition(" = ")
        if query.startswith("SET GLOBAL "):
            self.values[f"@@global.{name}"] = value
        return []

    def value(self, expression: str) -> str:
        return self.values.get(expression, "0")

    def replica(self) -> Status | None:
        return self.status


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_replication, "ROLE_FILE", str(tmp_path / "role.cnf"))
    monkeypatch.setattr(_replication, "COPYING_FILE", str(tmp_path / "copying"))
    return tmp_path


def test_a_hold_that_fails_leaves_all_as_it_was(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither may the file say more than the server does, for the next failover believed it."""
    _replication.note(read_only=False, term=1)
    server = Fake(refuses="SET GLOBAL read_only = 1")
    with pytest.raises(RuntimeError):
        _replication.hold(server, 2)
    assert "read_only = OFF" in (files / "role.cnf").read_text()
    server = Fake()
    monkeypatch.setattr(_replication, "note", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        _replication.hold(server, 2)
    assert server.values["@@global.read_only"] == "0"


def test_a_lead_that_fails_takes_no_writes(files: Path) -> None:
    """Not even where only the answer was lost: the former primary takes writes again then."""

    class Lost(Fake):
        def ask(self, query: str, *values: Any) -> list[dict[str, Any]]:
            answer = super().ask(query, *values)
            if query == "SET GLOBAL read_only = 0":
                raise RuntimeError("lost connection during query")
            return answer

    server = Lost({"@@global.read_only": "1"})
    with pytest.raises(RuntimeError, match="lost connection"):
        _replication.take(server, 2)
    assert server.values["@@global.read_only"] == "1"
    assert "read_only = ON" in (files / "role.cnf").read_text()


def test_hold(files: Path) -> None:
    server = Fake({"@@global.gtid_current_pos": "0-1-9"})
    assert _replication.hold(server, 2) == "0-1-9"
    assert server.values["@@global.read_only"] == "1"
    assert _replication.noted()["role"] == "replica"


def test_a_primary_that_never_wrote_anything_gets_a_position(files: Path) -> None:
    """It had its data before it became one of several; what it follows later begins somewhere."""

    class Silent(Fake):
        def ask(self, query: str, *values: Any) -> list[dict[str, Any]]:
            if query == "FLUSH PRIVILEGES":
                self.values["@@global.gtid_current_pos"] = "0-1-1"
            return super().ask(query, *values)

    assert _replication.hold(Silent({"@@global.gtid_current_pos": ""}), 2) == "0-1-1"


@pytest.mark.parametrize(
    ("state", "slave", "position", "has"),
    [
        ("0-1-9,0-2-12", "", "0-1-9", True),
        ("0-1-8,0-2-12", "", "0-1-9", False),
        ("", "0-1-9", "0-1-9", True),
        ("0-2-20", "0-2-20", "0-1-9", False),
        ("0-1-9", "", "0-1-9,1-1-3", False),
    ],
)
def test_who_replicates_from_nobody_has_to_have_it(
    files: Path, state: str, slave: str, position: str, has: bool
) -> None:
    server = Fake({"@@global.gtid_binlog_state": state, "@@global.gtid_slave_pos": slave, "@@global.read_only": "1"})
    if has:
        _replication.lead(server, [position], 2)
    else:
        with pytest.raises(ReplicationError, match="cannot be shown to have all"):
            _replication.lead(server, [position], 2)
    assert server.values["@@global.read_only"] == ("0" if has else "1")


def test_lead_goes_on_where_it_was_stopped(files: Path) -> None:
    server = Fake(status=Status(applies="No", received="0-1-9"))
    _replication.lead(server, [], 2)
    assert server.told[:3] == ["START REPLICA SQL_THREAD", "STOP REPLICA", "RESET REPLICA ALL"]
    assert _replication.noted()["role"] == "primary"


def test_a_copy_that_was_cut_off_is_made_anew(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source("10.0.0.5", 3306, "x")

    class There:
        def ask(self, *_: Any) -> list[str]:
            return ["blog"]

        def stream(self, *_: Any) -> None:
            assert (files / "copying").exists(), "before anything is deleted"
            raise OSError("the connection is gone")

    monkeypatch.setattr(Fake, "client", lambda *_: There())
    monkeypatch.setattr(Fake, "programs", lambda _: (["client"], ["dump"]))
    monkeypatch.setattr(Fake, "databases", lambda _: [])
    with pytest.raises(OSError, match="is gone"):
        _replication.follow(Fake(), source, 1, rebuild=True)
    assert (files / "copying").exists()
    monkeypatch.setattr(There, "stream", lambda *_: None)
    # as the dump's head left it: it looks as if it had come from a primary
    server = Fake({"@@global.gtid_slave_pos": "0-1-9", "@@global.gtid_current_pos": "0-1-9"})
    monkeypatch.setattr(_replication, "_wait", lambda *_: None)
    assert _replication.follow(server, source, 1) == "copied blog from the primary"
    assert not (files / "copying").exists()


def test_the_plays_of_a_failover() -> None:
    """Apps follow before other database hosts do, and none of those that fails there keeps anybody from anything."""
    plays = yaml.safe_load((Path(__file__).resolve().parents[2] / "playbooks/failover.yml").read_text())
    steps = [
        (task.get("ansible.builtin.import_role", {}).get("tasks_from"), play.get("any_errors_fatal", False))
        for play in plays
        for task in play.get("tasks", [])
    ]
    assert steps.index(("follow", False)) < steps.index(("replication", False))
