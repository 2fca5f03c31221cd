# SPDX-License-Identifier: GPL-3.0-or-later
"""Replication in MySQL's words, as far as it can be told without a server; scenario `replica` has the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _replication
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import ReleaseError
from ansible_collections.flaskhost.stack.plugins.module_utils._replication_mariadb import MariaDb
from ansible_collections.flaskhost.stack.plugins.module_utils._replication_mysql import MySql, version_of
from ansible_collections.flaskhost.stack.plugins.module_utils._replication_server import (
    ReplicationError,
    Source,
    Status,
)

A, B = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "278bfda1-b93d-11e4-801b-14feb5d284bc"
SOURCE = Source("10.0.0.5", 3306, "p" * 43)


class Fake(MySql):
    """A server that notes what it is told, with the values that follow."""

    def __init__(
        self, values: dict[str, str] | None = None, *, rows: list[dict[str, Any]] | None = None, primary: str = ""
    ) -> None:
        super().__init__(None)
        self.values = {"@@global.read_only": "1", "VERSION()": "8.4.3", "@@global.gtid_executed": "", **(values or {})}
        self.rows, self.primary = rows or [], primary
        self.told: list[tuple[Any, ...]] = []

    def ask(self, query: str, *values: Any) -> list[dict[str, Any]]:
        self.told.append((query, *values))
        return self.rows if query == "SHOW REPLICA STATUS" else []

    def value(self, expression: str) -> str:
        self.told.append((expression,))
        return self.values.get(expression, "0")

    def programs(self) -> tuple[list[str], list[str]]:
        return ["mysql"], ["mysqldump"]

    def client(self, source: Source | None = None) -> Any:
        primary = self.primary

        class Client:
            def ask(self, *_: Any) -> list[str]:
                if not primary:
                    raise ReleaseError("refused")
                return [primary]

        return Client()


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_replication, "ROLE_FILE", str(tmp_path / "role.cnf"))
    monkeypatch.setattr(_replication, "COPYING_FILE", str(tmp_path / "copying"))
    return tmp_path


RUNNING = {
    "Source_Host": "10.0.0.5",
    "Replica_IO_Running": "Yes",
    "Replica_SQL_Running": "Yes",
    "Retrieved_Gtid_Set": f"{A}:7",
}


def test_what_a_replica_says() -> None:
    assert Fake(rows=[RUNNING]).replica() == Status("10.0.0.5", "Yes", "Yes", f"{A}:7")
    assert Fake().replica() is None
    told = Fake(
        rows=[{**RUNNING, "Replica_IO_Running": "No", "Last_IO_Errno": 13114, "Last_IO_Error": "fatal error 1236"}]
    ).replica()
    assert told
    assert (told.runs, told.number, told.error) == (False, 13114, "fatal error 1236")


@pytest.mark.parametrize("text", [f"{A}:1-5", f"{A.upper()}:1-5:7", f"{A}:1-5,\n{B}:1", f"{A}:1-5:blue:1-2"])
def test_positions(text: str) -> None:
    found = Fake().gtids(text)
    assert found == text.replace("\n", "").lower()


@pytest.mark.parametrize("text", ["0-1-9", A, f"{A}:1-5'); DROP", f"{A}:1-5,", ""])
def test_what_is_no_position(text: str) -> None:
    with pytest.raises(ReplicationError, match="is no position"):
        Fake().gtids(text)


def test_versions() -> None:
    assert version_of("8.0.40-0ubuntu0.24.04.1") == (8, 0, 40)
    assert version_of("9.7.0") > (8, 2)
    for version, words in (("8.0.26-x", "RESET MASTER"), ("8.4.3", "RESET BINARY LOGS AND GTIDS")):
        server = Fake({"VERSION()": version})
        server.forget()
        assert server.told[-1] == (words,)


@pytest.mark.parametrize(
    ("version", "kind"), [("10.11.6-MariaDB-0+deb12u1", MariaDb), ("8.0.26", MySql), ("8.0.25-x", None)]
)
def test_which_server_it_is(version: str, kind: type | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MySql, "value", lambda *_: version)
    if kind:
        assert type(_replication.server_of(None)) is kind
    else:
        with pytest.raises(ReplicationError, match=r"8\.0\.26 or newer is needed, and this is 8\.0\.25"):
            _replication.server_of(None)


def test_a_password_no_longer_than_mysql_takes() -> None:
    """Everywhere the same, where replicas come from and where they go to."""
    server = Fake()
    server.follow(SOURCE)
    (words,) = (told for told in server.told if told[0].startswith("CHANGE REPLICATION SOURCE"))
    assert "p" * 32 in words
    assert "SOURCE_SSL_VERIFY_SERVER_CERT = 1" in words[0]
    login = MySql(None).client(SOURCE)._login
    assert f'password="{"p" * 32}"' in login.splitlines()
    assert 'ssl-mode="VERIFY_IDENTITY"' in login
    long, short = Fake(), Fake()
    long.let_in("10.0.0.6", "p" * 43)
    short.let_in("10.0.0.6", "p" * 32)
    assert long.told == short.told
    assert not any("p" * 8 in str(word) for told in long.told for word in told), "its hash alone"


def test_a_server_without_its_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReplicationError, match="would count before a replica has it"):
        _replication.accept(Fake(), [], "p")


def test_writes_that_only_this_server_has(files: Path) -> None:
    """Told before it connects: MySQL itself would not mind."""
    values = {
        "@@global.gtid_executed": f"{A}:1-9,\n{B}:1-2",
        f"GTID_SUBTRACT('{A}:1-9,{B}:1-2', '{A}:1-12')": f"{B}:1-2",
    }
    for rows in ([], [RUNNING]):
        server = Fake({**values, "(SELECT": "1"}, rows=rows, primary=f"{A}:1-12")
        server.blank = lambda: False  # type: ignore[method-assign]
        with pytest.raises(
            ReplicationError, match=f"it has writes that the primary 10.0.0.5 lacks.*{B}:1-2.*mysql_rebuild"
        ):
            _replication.follow(server, SOURCE, 2)
        assert not any(told[0].startswith("START") for told in server.told)


def test_a_primary_that_does_not_answer() -> None:
    server = Fake({"@@global.gtid_executed": f"{A}:1-9"})
    server.blank = lambda: False  # type: ignore[method-assign]
    with pytest.raises(ReplicationError, match=r"does not get through to the primary 10\.0\.0\.5: refused"):
        _replication.follow(server, SOURCE, 2)


def test_a_replica_that_was_away_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "Got fatal error 1236 from source: Cannot replicate because the source purged required binary logs"
    rows = [{**RUNNING, "Replica_IO_Running": "No", "Last_IO_Errno": 13114, "Last_IO_Error": told}]
    with pytest.raises(ReplicationError, match="was away for longer than the primary"):
        _replication.follow(Fake(rows=rows), SOURCE, 2)


def test_lead(files: Path) -> None:
    wait = f"WAIT_FOR_EXECUTED_GTID_SET('{A}:1-9', 60)"
    server = Fake(rows=[RUNNING])
    _replication.lead(server, [f"{A}:1-9"], 2)
    told = [words[0] for words in server.told]
    assert told.index(wait) < told.index("STOP REPLICA") < told.index("SET GLOBAL read_only = 0")
    late = Fake({wait: "1"}, rows=[RUNNING])
    with pytest.raises(ReplicationError, match="does not have all that the primary wrote"):
        _replication.lead(late, [f"{A}:1-9"], 2)
    assert ("STOP REPLICA",) not in late.told
    # nobody to ask: what was received
    lost = Fake(rows=[RUNNING])
    _replication.lead(lost, [], 2)
    assert (f"WAIT_FOR_EXECUTED_GTID_SET('{A}:7', 60)",) in lost.told
    alone = Fake()
    with pytest.raises(ReplicationError, match="cannot be shown to have all"):
        _replication.lead(alone, [f"{A}:1-9"], 2)
    _replication.lead(Fake({f"GTID_SUBSET('{A}:1-9', @@global.gtid_executed)": "1"}), [f"{A}:1-9"], 2)
