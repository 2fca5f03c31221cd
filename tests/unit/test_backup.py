# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that takes backups: which are kept, and that a dump is whole or not there. Its servers are shell scripts here."""

from __future__ import annotations

import datetime
import gzip
import importlib.util
import os
import stat
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "roles/backup/templates/usr/local/lib/flaskhost/backup"


@pytest.fixture(scope="module")
def backup() -> ModuleType:
    loader = SourceFileLoader("flaskhost_backup", str(PROGRAM))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def names(*days: int) -> list[str]:
    """Backups of so many days ago, the night of a Saturday being day 0."""
    last = datetime.datetime(2026, 11, 21, 2, 30, tzinfo=datetime.UTC)
    return [(last - datetime.timedelta(days=day)).strftime("%Y%m%dT%H%M%SZ") + ".sql.gz" for day in days]


def test_which_are_kept(backup: ModuleType) -> None:
    nights = names(*range(40))
    # 0 is a Saturday: weeks end on Sundays, so the newest of the weeks before are 6, 13 and 20 days old
    assert backup.kept(nights, 3, 4) == set(names(0, 1, 2, 6, 13, 20))
    assert backup.kept(nights, 3, 0) == set(names(0, 1, 2))
    assert backup.kept(names(0, 30, 60), 2, 1) == set(names(0, 30))
    # several of one day: the newest
    again = "20261121T120000Z.sql.gz"
    assert backup.kept([*nights, again], 1, 1) == {again}
    assert backup.kept([], 7, 4) == set()


def fake(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


ANSWER = """case "$*" in
*--skip-column-names*REPLICA*) {status} | sed 's/.*: //' ;;
*REPLICA*) {status} ;;
*processlist*) echo {connected} ;;
*) printf 'blog\\nmysql\\nsys\\n' ;;
esac"""
WHOLE = "echo 'CREATE TABLE entries (id int);'; echo '-- Dump completed on 2026-11-21'"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    fake(folder, "mariadb", ANSWER.format(status=":", connected=0))
    fake(folder, "mariadb-dump", WHOLE)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def taken(folder: Path) -> list[Path]:
    return sorted((folder / "blog").iterdir()) if (folder / "blog").exists() else []


def test_a_whole_dump_for_root_alone(backup: ModuleType, server: Path, tmp_path: Path) -> None:
    target = tmp_path / "backups"
    backup.main(str(target), 7, 4)
    (path,) = taken(target)
    assert gzip.decompress(path.read_bytes()).endswith(b"-- Dump completed on 2026-11-21\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in target.iterdir()] == ["blog"], "the server's own databases are not taken"


def test_old_ones_go_when_there_is_a_new_one_and_others_files_stay(
    backup: ModuleType, server: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "blog"
    folder.mkdir()
    for name in [*names(400, 401, 402), "notes.txt", "before-the-move.sql.gz"]:
        (folder / name).write_text("")
    backup.main(str(tmp_path), 2, 0)
    left = {path.name for path in taken(tmp_path)}
    assert left >= {"notes.txt", "before-the-move.sql.gz", *names(400)}
    assert not left & set(names(401, 402))
    assert len(left) == 4


@pytest.mark.parametrize("script", ["echo 'CREATE TABLE entries (id int);'", f"{WHOLE}; exit 2"])
def test_half_a_dump_is_none(backup: ModuleType, server: Path, tmp_path: Path, script: str) -> None:
    fake(server, "mariadb-dump", script)
    (tmp_path / "blog").mkdir()
    old = tmp_path / "blog" / names(400)[0]
    old.write_text("")
    with pytest.raises(SystemExit, match="dump of blog did not come to its end"):
        backup.main(str(tmp_path), 1, 0)
    assert taken(tmp_path) == [old]


@pytest.mark.parametrize(
    ("status", "connected", "takes"),
    [
        (":", 1, False),  # a primary with a replica
        ("printf '  Slave_IO_Running: Yes\\n Slave_SQL_Running: Yes\\n'", 0, True),
        ("printf '  Replica_IO_Running: Yes\\n Replica_SQL_Running: Yes\\n'", 0, True),
    ],
)
def test_the_replica_does_it(
    backup: ModuleType, server: Path, tmp_path: Path, status: str, connected: int, takes: bool
) -> None:
    fake(server, "mariadb", ANSWER.format(status=status, connected=connected))
    backup.main(str(tmp_path), 7, 4)
    assert bool(taken(tmp_path)) == takes


def test_a_database_that_fails_keeps_no_other_from_its_backup(backup: ModuleType, server: Path, tmp_path: Path) -> None:
    fake(server, "mariadb", ANSWER.format(status=":", connected=0).replace("blog", "aaa\\nblog\\nzzz"))
    fake(server, "mariadb-dump", f'case "$*" in *blog) {WHOLE} ;; *) exit 2 ;; esac')
    with pytest.raises(SystemExit, match="dump of aaa did not come to its end; the dump of zzz did not"):
        backup.main(str(tmp_path), 7, 4)
    assert len(taken(tmp_path)) == 1


@pytest.mark.parametrize(
    "status", ["echo 'Slave_IO_Running: Connecting'", "printf 'Slave_IO_Running: Yes\\nSlave_SQL_Running: No\\n'"]
)
def test_a_replica_that_does_not_keep_up_fails(backup: ModuleType, server: Path, tmp_path: Path, status: str) -> None:
    fake(server, "mariadb", ANSWER.format(status=status, connected=0))
    with pytest.raises(SystemExit, match="does not keep up"):
        backup.main(str(tmp_path), 7, 4)
    assert taken(tmp_path) == []


def test_a_server_that_is_down(backup: ModuleType, server: Path, tmp_path: Path) -> None:
    fake(server, "mariadb", "echo refused >&2; exit 1")
    with pytest.raises(SystemExit, match="does not answer: refused"):
        backup.main(str(tmp_path), 7, 4)
