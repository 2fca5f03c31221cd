# SPDX-License-Identifier: GPL-3.0-or-later
"""The same with MySQL, on two boxes with an inventory of their own: what differs from server to server."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.support.root import Root
from tests.support.stack import Run, Stack
from tests.support.wait import eventually

MY1, MY2 = "replica-my1", "replica-my2"
FOLDER = "/var/backups/flaskhost/guestbook"
# of a user without rights beyond the database's, as an app's is; users are each server's own
WRITER = "SET sql_log_bin = 0; CREATE USER w@localhost IDENTIFIED BY 'w'; GRANT ALL ON guestbook.* TO w@localhost"
WRITES = """n=0; while [ $n -lt 400 ] && [ -e /tmp/writes ]; do n=$((n+1))
MYSQL_PWD=w mysql -u w guestbook -e "INSERT INTO entries VALUES ('$1-$n')" 2>/dev/null && echo "$1-$n"; sleep 0.05; done"""


class Pair(Stack):
    """The two database hosts."""

    def play(self, name: str, **extra: object) -> Run:
        return self.playbook(name, "--limit", "db", **extra)


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair(Path(__file__).resolve().parents[1] / "mysql")


@pytest.fixture(scope="module")
def roots(pair: Pair) -> dict[str, Root]:
    """As root on both, once they are a primary and a replica."""
    pair.play("site").check()
    assert pair.play("site").check().changed == 0
    found = {name: Root(name) for name in (MY1, MY2)}
    for root in found.values():
        root.must('mysql -e "$1"', WRITER)
    ask(found[MY1], "CREATE TABLE entries (message VARCHAR(99) PRIMARY KEY)")
    return found


def ask(root: Root, query: str) -> str:
    return root.must('mysql -N guestbook -e "$1"', query).strip()


def rows(root: Root, word: str) -> set[str]:
    return set(ask(root, f"SELECT message FROM entries WHERE message LIKE '{word}-%'").split())


def words(run: Run) -> str:
    return " ".join(run.output.split())


def writes(root: Root) -> bool:
    return ask(root, "SELECT @@read_only") == "0"


def test_the_replica_has_a_row_written_a_moment_before(roots: dict[str, Root]) -> None:
    ask(roots[MY1], "INSERT INTO entries VALUES ('now-1')")
    began = time.monotonic()
    eventually(lambda: rows(roots[MY2], "now") == {"now-1"}, pause=0.02)
    print(f"on the replica after {time.monotonic() - began:.2f} s")
    waits = ask(roots[MY1], "SHOW STATUS LIKE 'Rpl_semi_sync_source_clients'").split()
    assert waits[-1] == "1", "a write counts when the replica has it"
    status = roots[MY2].must("mysql -E -e 'SHOW REPLICA STATUS'")
    for line in ("Source_SSL_Allowed: Yes", "Source_SSL_Verify_Server_Cert: Yes", "Auto_Position: 1"):
        assert line in status


def test_the_replica_takes_no_writes(roots: dict[str, Root]) -> None:
    code, told = roots[MY2].run("MYSQL_PWD=w mysql -u w guestbook -e 'DELETE FROM entries'")
    assert code != 0
    assert "read-only" in told


def test_the_replica_takes_the_backups(roots: dict[str, Root]) -> None:
    take = "systemctl start flaskhost-backup; journalctl -q -u flaskhost-backup -n 20 -o cat --since -1min"
    assert "nothing to do: a replica is connected, and does it" in roots[MY1].must(take)
    roots[MY2].must(take)
    dump = roots[MY2].must(f"cat {FOLDER}/*.sql.gz | base64 -w0")
    ask(roots[MY1], "DELETE FROM entries")
    roots[MY1].must("echo $1 | base64 -d | zcat | mysql guestbook", dump)
    assert rows(roots[MY1], "now") == {"now-1"}
    eventually(lambda: rows(roots[MY2], "now") == {"now-1"})


def test_failover_works_there_and_back(pair: Pair, roots: dict[str, Root]) -> None:
    """What was acknowledged until then is on both."""
    for number, (new, old) in enumerate(((MY2, MY1), (MY1, MY2))):
        kept: list[str] = []
        roots[old].must("touch /tmp/writes")
        writer = threading.Thread(
            target=lambda old=old, number=number, kept=kept: kept.extend(
                roots[old].run(WRITES, f"moved{number}")[1].split()
            )  # type: ignore[misc]
        )
        writer.start()
        run = pair.play("failover", mysql_primary=new)
        roots[old].must("rm /tmp/writes")
        writer.join()
        run.check()
        assert f"Write mysql_primary: {new}" in words(run)
        assert kept
        for root in roots.values():
            eventually(lambda root=root, kept=kept: set(kept) <= rows(root, kept[0].partition("-")[0]))  # type: ignore[misc]
        assert (writes(roots[new]), writes(roots[old])) == (True, False)
    assert pair.play("failover", mysql_primary=MY1).check().changed == 0
    assert pair.play("site").check().changed == 0
    assert pair.play("validate").check().changed == 0


def test_a_role_lasts_over_a_restart(roots: dict[str, Root]) -> None:
    for name, expected in ((MY1, True), (MY2, False)):
        roots[name].must("systemctl restart mysql")
        assert writes(roots[name]) == expected
    status = "mysql -E -e 'SHOW REPLICA STATUS' | grep -c '_Running: Yes'"
    eventually(lambda: roots[MY2].run(status)[1].strip() == "2", seconds=20)


def test_a_primary_that_is_lost_and_went_on_by_itself(pair: Pair, roots: dict[str, Root]) -> None:
    """Its writes are told, and never thrown away unasked."""
    ask(roots[MY1], "INSERT INTO entries VALUES ('lost-1')")
    roots[MY1].must("systemctl mask --runtime --quiet mysql; systemctl kill -s KILL mysql; systemctl stop mysql")
    refused = pair.play("failover", mysql_primary=MY2)
    assert f"the server of {MY1} does not answer" in words(refused)
    pair.play("failover", mysql_primary=MY2, flask_skip_unreachable=True).check()
    assert rows(roots[MY2], "lost") == {"lost-1"}
    roots[MY1].must("systemctl unmask --runtime --quiet mysql; systemctl start mysql")
    for name in (MY1, MY2):
        roots[name].must(f"MYSQL_PWD=w mysql -u w guestbook -e \"INSERT INTO entries VALUES ('astray-{name}')\"")
    run = pair.play("site", mysql_primary=MY2)
    assert run.code == 2
    assert "it has writes that the primary" in words(run)
    assert rows(roots[MY1], "astray") == {f"astray-{MY1}"}
    pair.play("site", mysql_primary=MY2, mysql_rebuild=MY1).check()
    eventually(lambda: rows(roots[MY1], "astray") == {f"astray-{MY2}"})
    assert not writes(roots[MY1])
    assert pair.play("site", mysql_primary=MY2).check().changed == 0


def test_a_replica_that_was_written_to(pair: Pair, roots: dict[str, Root]) -> None:
    """MySQL itself goes on with it, and would hand it out after the next failover."""
    ask(roots[MY1], "INSERT INTO entries VALUES ('root-1')")
    refused = pair.play("failover", mysql_primary=MY1)
    assert refused.code == 2
    assert f"{MY1} has writes that {MY2} lacks" in words(refused)
    assert writes(roots[MY2])
    run = pair.play("site", mysql_primary=MY2)
    assert run.code == 2
    assert "it has writes that the primary" in words(run)
