# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of an SQLite database, by SQLite's online backup.

All of it runs as the app's user: the file lies where the app may put a link, and what SQLite makes beside it must be the app's.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, Any
from urllib.parse import quote

from ansible_collections.flaskhost.stack.plugins.module_utils._as_user import FailedAsUser, as_user
from ansible_collections.flaskhost.stack.plugins.module_utils._database_url import Database
from ansible_collections.flaskhost.stack.plugins.module_utils._difference import VERSIONS, Difference
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError
from ansible_collections.flaskhost.stack.plugins.module_utils._snapshots import SCRATCH

# seconds to wait for a lock that the app holds
_LOCK_WAIT = 30.0
# a copy in parts of so many pages lets writers through, but begins anew when one of them wrote
_PART = 4096
_BEGINNINGS = 5
_OBJECTS = "SELECT name, type, COALESCE(sql, '') FROM {}.sqlite_master WHERE name NOT LIKE 'sqlite|_%' ESCAPE '|' ORDER BY name"


class Sqlite:
    """The engine for DATABASE_URLs of SQLite.

    :param database: the file.
    :param app: who owns it, and where there is room for a copy.
    :param timeout: seconds that one piece of work may take.
    """

    ending = "sqlite.gz"
    # SQLite itself can roll back CREATE TABLE, but Python's driver begins no transaction for it, and alembic does neither
    transactional = False

    def __init__(self, database: Database, app: App, timeout: float) -> None:
        self._path = database.path
        self._app = app
        self._timeout = timeout

    def size(self) -> int:
        """Bytes for a copy and its compressed form, if nothing can be compressed."""
        return 2 * int(self._do(lambda: os.path.getsize(self._path) if os.path.exists(self._path) else 0))

    def heads(self) -> list[str]:
        """What alembic wrote into the database; empty when it never did."""
        return list(self._do(lambda: _heads(self._path) if os.path.exists(self._path) else []))

    def dump(self, target: IO[bytes]) -> None:
        """Write a compressed copy of one moment."""

        def work() -> None:
            with self._scratch() as copy:
                _copy(self._path, copy)
                with (
                    open(copy, "rb") as source,
                    gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1, filename="") as out,
                ):
                    shutil.copyfileobj(source, out, 2**20)
                target.flush()

        self._do(work)

    def compare(self, before: str, now: str) -> Difference:
        """What became of the database between two snapshots."""
        with open(before, "rb") as old, open(now, "rb") as new:

            def work() -> dict[str, Any]:
                with self._unpacked(old) as then, self._unpacked(new) as later:
                    return vars(_compare(then, later))

            return Difference(**self._do(work))

    def take_away(self, difference: Difference, before: str, now: str) -> None:
        """Drop what a snapshot does not have; everything else stays."""
        with open(before, "rb") as old:

            def work() -> None:
                with self._unpacked(old) as then:
                    _take_away(then, self._path)

            self._do(work)

    def replace(self, difference: Difference, before: str, now: str) -> None:
        """Make the database what it was, in one transaction: readers see it before or after."""
        with open(before, "rb") as old:

            def work() -> None:
                with self._unpacked(old) as then:
                    _put_back(then, self._path)

            self._do(work)

    def _do(self, work: Callable[[], Any]) -> Any:
        try:
            return as_user(self._app.user, work, self._timeout)
        except FailedAsUser as error:
            raise ReleaseError(f"the SQLite database {self._path}: {error}") from error

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[str]:
        """A file for a copy. What a killed run left is taken away first: the lock of the app is ours."""
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=self._app.paths["cache"]) as folder:
            yield os.path.join(folder, "copy.sqlite")

    @contextlib.contextmanager
    def _unpacked(self, stream: IO[bytes]) -> Iterator[str]:
        with self._scratch() as copy:
            with gzip.GzipFile(fileobj=stream, mode="rb") as source, open(copy, "wb") as target:
                shutil.copyfileobj(source, target, 2**20)
            yield copy


def _open(path: str) -> sqlite3.Connection:
    """A connection to a file that is there; none is made."""
    return sqlite3.connect(f"file:{quote(path)}?mode=rw", uri=True, timeout=_LOCK_WAIT, isolation_level=None)


def _copy(path: str, target: str) -> None:
    """A copy of one moment; an empty database of a file that is not there yet."""
    with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous = OFF")
        if not os.path.exists(path):
            return
        with contextlib.closing(_open(path)) as source:
            try:
                source.backup(copy, pages=_PART, progress=_Patience(), sleep=0.01)
            except _Disturbed:
                # writers wait until it is done, as for any other transaction
                source.backup(copy)


class _Disturbed(Exception):
    """The app writes too often for a copy in parts."""


class _Patience:
    """Watches a copy, and ends it when it has begun anew too often."""

    def __init__(self) -> None:
        self._left = 0
        self._beginnings = 0

    def __call__(self, status: int, remaining: int, total: int) -> None:
        self._beginnings += remaining >= self._left
        self._left = remaining
        if self._beginnings > _BEGINNINGS:
            raise _Disturbed


def _heads(path: str) -> list[str]:
    with contextlib.closing(_open(path)) as connection:
        there = connection.execute(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", [VERSIONS]
        ).fetchone()
        return sorted(str(row[0]) for row in connection.execute(f"SELECT version_num FROM {VERSIONS}")) if there else []


def _objects(connection: sqlite3.Connection, name: str) -> dict[str, tuple[str, str]]:
    """Type and definition of everything in a database, by name."""
    return {row[0]: (row[1], row[2]) for row in connection.execute(_OBJECTS.format(name))}


def _compare(before: str, now: str) -> Difference:
    with contextlib.closing(_open(now)) as connection:
        connection.execute("ATTACH ? AS old", [before])
        old, new = _objects(connection, "old"), _objects(connection, "main")
        tables = {name for name, (kind, _sql) in old.items() if kind == "table"}
        found = Difference(
            extra=[name for name, (kind, _sql) in new.items() if kind == "table" and name not in old],
            missing=[name for name in sorted(tables) if name not in new],
            altered=[name for name in sorted(tables) if name in new and new[name] != old[name]],
            # those of extra tables go with them
            other=[
                name
                for name in sorted(old.keys() | new.keys())
                if old.get(name) != new.get(name) and "table" not in (old.get(name, new.get(name)) or ("",))[0]
            ],
        )
        # another definition of what was there already is no addition
        found.altered += [name for name in found.other if name in old]
        for name in sorted(tables.difference(found.missing, found.altered)):
            kept, added = _rows(connection, name)
            if not kept:
                found.changed.append(name)
            elif added:
                found.added[name] = added
        return found


def _rows(connection: sqlite3.Connection, table: str) -> tuple[bool, int]:
    """Whether all rows of before are there, and how many more."""
    name = _quoted(table)
    try:
        columns = [row[1] for row in connection.execute(f"PRAGMA main.table_info({name})")]
        # as texts: some columns hold values for equal that are not the same
        shown = ", ".join(f"quote({_quoted(column)})" for column in columns)
        gone = connection.execute(
            f"SELECT 1 FROM (SELECT {shown} FROM old.{name} EXCEPT SELECT {shown} FROM main.{name}) LIMIT 1"
        ).fetchone()
        counts = [connection.execute(f"SELECT COUNT(*) FROM {where}.{name}").fetchone()[0] for where in ("old", "main")]
    except sqlite3.Error:
        # a virtual table of an extension that is not here: nothing can be said of it
        return False, 0
    return not gone and counts[1] >= counts[0], counts[1] - counts[0]


def _take_away(before: str, path: str) -> None:
    with contextlib.closing(_open(path)) as connection:
        connection.execute("ATTACH ? AS old", [before])
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("BEGIN IMMEDIATE")
        known = _objects(connection, "old")
        new = {name: kind for name, (kind, _sql) in _objects(connection, "main").items() if name not in known}
        # a table takes its indexes and triggers along
        for kind in ("trigger", "view", "index", "table"):
            for name in [name for name, its in new.items() if its == kind]:
                connection.execute(f"DROP {kind} IF EXISTS main.{_quoted(name)}")
        connection.execute("COMMIT")


def _put_back(before: str, path: str) -> None:
    with contextlib.closing(_open(before)) as source:
        # one that is damaged must not be put into the place of anything
        if source.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise ReleaseError("the snapshot is damaged")
        with contextlib.closing(sqlite3.connect(path, timeout=_LOCK_WAIT, isolation_level=None)) as target:
            source.backup(target)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
