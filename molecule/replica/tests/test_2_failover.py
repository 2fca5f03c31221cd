# SPDX-License-Identifier: GPL-3.0-or-later
"""Two database hosts hold the same data; each of them can be the primary, and nothing that was acknowledged is lost."""

from __future__ import annotations

import threading
import time

import pytest

from tests.support.load import SteadyLoad
from tests.support.root import Failpoint, Root
from tests.support.stack import Run, Stack, box
from tests.support.wait import eventually
from tests.support.web import ask, post_entry

DB1, DB2 = "replica-db1", "replica-db2"
QUERY = 'mariadb -N guestbook -e "$1"'


class Writer(threading.Thread):
    """Signs the guestbook again and again; ``kept`` are the entries that the app acknowledged, ``failed`` when it did not."""

    def __init__(self, address: str, word: str) -> None:
        super().__init__(daemon=True)
        self.address, self.word = address, word
        self.kept: list[str] = []
        self.failed: list[float] = []
        self._stop_it = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._stop_it.wait(0.2):
            number += 1
            entry = f"{self.word}-{number}"
            try:
                post_entry(self.address, "Eve", entry)
                self.kept.append(entry)
            except (AssertionError, OSError):
                self.failed.append(time.monotonic())

    @property
    def outage(self) -> float:
        """Seconds from the first write that failed to the last one."""
        return self.failed[-1] - self.failed[0] if self.failed else 0.0

    def __enter__(self) -> Writer:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop_it.set()
        self.join(30)


@pytest.fixture(scope="module")
def roots() -> dict[str, Root]:
    return {name: Root(name) for name in (DB1, DB2)}


@pytest.fixture(scope="module")
def address() -> str:
    return box("address", "replica-web")


def rows(root: Root, word: str) -> set[str]:
    return set(root.must(QUERY, f"SELECT message FROM entries WHERE message LIKE '{word}-%'").split())


def has(root: Root, writer: Writer) -> None:
    """Everything that was acknowledged is there."""
    eventually(lambda: set(writer.kept) <= rows(root, writer.word))


def words(run: Run) -> str:
    return " ".join(run.output.split())


def live() -> str:
    return ask(box("address", "replica-web"), "replica-web").headers["x-flaskhost-release"]


def uses(roots: dict[str, Root]) -> str:
    """The database host that the live release has open connections to."""
    script = "mariadb -N -e \"SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'guestbook'\""
    return " ".join(name for name, root in roots.items() if root.must(script).strip() != "0")


def test_the_replica_has_a_row_written_a_moment_before(roots: dict[str, Root], address: str) -> None:
    post_entry(address, "Ada", "now-1")
    began = time.monotonic()
    eventually(lambda: rows(roots[DB2], "now") == {"now-1"}, seconds=5, pause=0.02)
    print(f"on the replica after {time.monotonic() - began:.2f} s")
    waits = roots[DB1].must("mariadb -N -e \"SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'\"").split()
    assert waits[-1] == "1", "a write counts when the replica has it"


def test_the_replica_takes_no_writes(roots: dict[str, Root]) -> None:
    script = "SET sql_log_bin=0; CREATE USER w@localhost IDENTIFIED BY 'w'; GRANT ALL ON guestbook.* TO w@localhost"
    replica = roots[DB2]
    replica.must('mariadb -e "$1"', script)
    try:
        code, told = replica.run("mariadb -u w -pw guestbook -e 'DELETE FROM entries'")
    finally:
        replica.must("mariadb -e 'SET sql_log_bin=0; DROP USER w@localhost'")
    assert code != 0
    assert "read-only" in told


def test_an_inventory_that_contradicts_is_refused(stack: Stack) -> None:
    for play in ("site", "deploy"):
        run = stack.playbook(play, mysql_primary=DB2)
        assert run.code == 2
        assert run.changed == 0
        assert f"{DB2} is the primary of the database hosts, but that is {DB1}" in words(run)


def test_an_app_that_fails_with_the_new_primary_changes_nothing(
    stack: Stack, roots: dict[str, Root], address: str
) -> None:
    before = live()
    point = Failpoint(Root("replica-web"), "guestbook", "probe", "fail")
    try:
        run = stack.playbook("failover", mysql_primary=DB2)
    finally:
        point.clear()
    assert run.code == 2
    assert "probe: the failpoint" in words(run)
    assert live() == before
    assert roots[DB1].must("mariadb -N -e 'SELECT @@read_only'").strip() == "0"
    post_entry(address, "Ada", "as before")
    assert stack.playbook("site").check().changed == 0


def test_failover_works_there_and_back(stack: Stack, roots: dict[str, Root], address: str) -> None:
    for number, (new, old) in enumerate(((DB2, DB1), (DB1, DB2))):
        before = live()
        with (
            SteadyLoad(address, host="replica-web", rate=10, visitors=4) as load,
            Writer(address, f"moved{number}") as writer,
        ):
            time.sleep(1)
            run = stack.playbook("failover", mysql_primary=new).check()
            time.sleep(2)
        print(
            f"to {new}: {load.report}; {len(writer.kept)} writes kept, {len(writer.failed)} refused over {writer.outage:.1f} s"
        )
        assert f"Write mysql_primary: {new}" in words(run)
        assert load.report.failed == [], "whoever reads notices nothing"
        assert writer.kept
        assert writer.outage < 60
        # the same commit, with another address
        assert live() != before
        assert uses(roots) == new
        for root in roots.values():
            has(root, writer)
        assert roots[old].must("mariadb -N -e 'SELECT @@read_only'").strip() == "1"
        assert roots[new].must("mariadb -N -e 'SELECT @@read_only'").strip() == "0"
    assert stack.playbook("failover", mysql_primary=DB1).check().changed == 0
    assert stack.playbook("site").check().changed == 0


def test_a_role_lasts_over_a_restart(roots: dict[str, Root]) -> None:
    for name, expected in ((DB1, "0"), (DB2, "1")):
        roots[name].must("systemctl restart mariadb")
        assert roots[name].must("mariadb -N -e 'SELECT @@read_only'").strip() == expected
    status = "mariadb -e 'SHOW REPLICA STATUS\\G' | grep -c 'Running: Yes'"
    eventually(lambda: roots[DB2].run(status)[1].strip() == "2", seconds=20)


def test_a_server_that_is_down_on_a_host_that_is_up(stack: Stack, roots: dict[str, Root], address: str) -> None:
    """And the way back to the former primary."""
    post_entry(address, "Eve", "down-1")
    roots[DB2].must("systemctl mask --runtime --quiet mariadb; systemctl kill -s KILL mariadb; systemctl stop mariadb")
    refused = stack.playbook("failover", mysql_primary=DB1)
    assert refused.code == 2
    assert f"the server of {DB2} does not answer" in words(refused)
    stack.playbook("failover", mysql_primary=DB1, flask_skip_unreachable=True).check()
    post_entry(address, "Eve", "down-2")
    roots[DB2].must("systemctl unmask --runtime --quiet mariadb; systemctl start mariadb")
    stack.playbook("site").check()
    eventually(lambda: rows(roots[DB2], "down") == {"down-1", "down-2"})
    assert roots[DB2].must("mariadb -N -e 'SELECT @@read_only'").strip() == "1"


def test_a_primary_that_is_lost(stack: Stack, roots: dict[str, Root], address: str) -> None:
    """Nothing that was acknowledged is lost with it; once it is back it becomes the replica."""
    lost = "systemctl mask --runtime --quiet mariadb; systemctl kill -s KILL mariadb; systemctl stop ssh.socket ssh.service; pkill -KILL sshd"
    with Writer(address, "lost") as writer:
        time.sleep(1.5)
        roots[DB1].run(lost)
        refused = stack.playbook("failover", mysql_primary=DB2)
        assert refused.code != 0
        assert f"{DB1} does not answer. What was written there in its last moments may be missing" in words(refused)
        run = stack.playbook("failover", mysql_primary=DB2, flask_skip_unreachable=True)
        assert "failed=0" in run.output, run.output[-4000:]
        before = len(writer.kept)
        eventually(lambda: len(writer.kept) > before + 3)
    has(roots[DB2], writer)
    # it comes back, and would take writes
    box("restart", DB1)
    eventually(lambda: roots[DB1].run("mariadb -e 'SELECT 1'")[0] == 0, seconds=60)
    told = stack.playbook("site")
    assert f"{DB2} became it since" in words(told)
    assert told.changed == 0
    stack.playbook("site", mysql_primary=DB2).check()
    has(roots[DB1], writer)
    assert roots[DB1].must("mariadb -N -e 'SELECT @@read_only'").strip() == "1"
    assert stack.playbook("site", mysql_primary=DB2).check().changed == 0


def test_writes_that_only_a_former_primary_has(stack: Stack, roots: dict[str, Root], address: str) -> None:
    """They are told, and never thrown away unasked."""
    roots[DB1].must(
        "mariadb guestbook -e \"INSERT INTO entries (name, message, created_at) VALUES ('x', 'astray-1', NOW())\""
    )
    post_entry(address, "Ada", "astray-2")
    roots[DB1].must("mariadb -e 'STOP REPLICA; START REPLICA'")
    run = stack.playbook("site", mysql_primary=DB2)
    assert run.code == 2
    assert "it has writes that the primary" in words(run) or "does not get through" in words(run), words(run)[-3000:]
    assert rows(roots[DB1], "astray") >= {"astray-1"}
    stack.playbook("site", mysql_primary=DB2, mysql_rebuild=DB1).check()
    eventually(lambda: rows(roots[DB1], "astray") == {"astray-2"})


def test_a_failover_that_was_cut_off(stack: Stack, roots: dict[str, Root], address: str) -> None:
    """Whatever the file of the former primary says: as long as its server takes writes, it is held, and nothing is lost.

    And home again, for whatever tests come next.
    """
    roots[DB2].must("sed -i 's/read_only = OFF/read_only = ON/' /etc/mysql/flaskhost-role/role.cnf")
    with Writer(address, "cut") as writer:
        time.sleep(1)
        stack.playbook("failover", mysql_primary=DB1).check()
        time.sleep(1)
    assert writer.kept
    for root in roots.values():
        has(root, writer)
    assert roots[DB2].must("mariadb -N -e 'SELECT @@read_only'").strip() == "1"
