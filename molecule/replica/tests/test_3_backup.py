# SPDX-License-Identifier: GPL-3.0-or-later
"""The replica takes the backups, the primary while there is none; and what was deleted comes back from one."""

from __future__ import annotations

import time

import pytest

from tests.support.root import Root
from tests.support.stack import Stack, box
from tests.support.wait import eventually
from tests.support.web import fetch, post_entry

FOLDER = "/var/backups/flaskhost/guestbook"


@pytest.fixture(scope="module")
def primary() -> Root:
    return Root("replica-db1")


@pytest.fixture(scope="module")
def replica() -> Root:
    return Root("replica-db2")


def take(root: Root) -> str:
    """Have the service do it; what it printed."""
    code, _ = root.run("systemctl start flaskhost-backup")
    return f"{code} " + root.must("journalctl -q -u flaskhost-backup -n 20 -o cat --since -1min")


def taken(root: Root) -> list[str]:
    return root.run("ls $1 2>/dev/null", FOLDER)[1].split()


def test_the_replica_does_it(primary: Root, replica: Root) -> None:
    assert "flaskhost-backup.timer" in replica.must("systemctl list-timers --no-legend")
    assert "nothing to do: a replica is connected, and does it" in take(primary)
    assert taken(primary) == []
    told = take(replica)
    assert told.startswith("0 ")
    (name,) = taken(replica)
    assert replica.must("stat -c %a:%U $1 $2", "/var/backups/flaskhost", f"{FOLDER}/{name}").split() == [
        "700:root",
        "600:root",
    ]
    # other days' are made of it: of 2 days and 1 week, and all others go
    replica.must('cd $1; for day in 01 02 03; do cp -p "$2" 202001${day}T030000Z.sql.gz; done', FOLDER, name)
    time.sleep(1)
    take(replica)
    left = taken(replica)
    assert "20200103T030000Z.sql.gz" in left
    assert "20200102T030000Z.sql.gz" not in left
    assert len(left) == 2


def test_what_was_deleted_comes_back(primary: Root, replica: Root) -> None:
    """As docs/backup.md says, with a backup of the replica's."""
    address = box("address", "replica-web")
    post_entry(address, "Ada", "before the mistake")
    eventually(lambda: "before the mistake" in replica.must("mariadb -N guestbook -e 'SELECT message FROM entries'"))
    time.sleep(1)
    take(replica)
    newest = taken(replica)[-1]
    post_entry(address, "Eve", "after the backup")
    primary.must("mariadb guestbook -e 'DELETE FROM entries'")
    assert "before the mistake" not in fetch(f"https://{address}/").text
    dump = replica.must("base64 -w0 $1", f"{FOLDER}/{newest}")
    primary.must("echo $1 | base64 -d | zcat | mariadb guestbook", dump)
    page = fetch(f"https://{address}/").text
    assert "before the mistake" in page
    assert "after the backup" not in page
    eventually(lambda: "before the mistake" in replica.must("mariadb -N guestbook -e 'SELECT message FROM entries'"))


def test_the_primary_does_it_while_no_replica_is_connected(primary: Root, replica: Root) -> None:
    replica.must("mariadb -e 'STOP REPLICA'")
    try:
        assert "does not keep up" in take(replica)
        assert replica.must("systemctl show -P Result flaskhost-backup").strip() == "exit-code"
        eventually(lambda: primary.run("mariadb -e 'SHOW PROCESSLIST' | grep 'Binlog Dump'")[0] != 0, seconds=15)
        assert take(primary).startswith("0 ")
        assert len(taken(primary)) == 1
    finally:
        replica.must("mariadb -e 'START REPLICA'; systemctl reset-failed flaskhost-backup")


def test_off_again(stack: Stack, replica: Root) -> None:
    stack.playbook("site", "--tags", "backup", "--limit", "replica-db2,replica-db1", backup_enabled=False).check()
    shown = replica.must("systemctl show -P LoadState -P ActiveState flaskhost-backup.timer").split()
    assert sorted(shown) == ["inactive", "not-found"]
    assert taken(replica), "what there is stays"
    stack.playbook("site", "--tags", "backup").check()
    assert "flaskhost-backup.timer" in replica.must("systemctl list-timers --no-legend")
