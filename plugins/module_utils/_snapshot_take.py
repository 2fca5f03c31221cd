# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of an app's database: taken before migrations, put back when those fail half-way, or by hand."""

from __future__ import annotations

import errno
import io
import os
import shutil
import time
from collections.abc import Collection
from typing import IO, Any, Protocol

from ansible_collections.flaskhost.stack.plugins.module_utils import _database_url
from ansible_collections.flaskhost.stack.plugins.module_utils._difference import VERSIONS, Difference
from ansible_collections.flaskhost.stack.plugins.module_utils._mysql import MySql
from ansible_collections.flaskhost.stack.plugins.module_utils._postgresql import PostgreSql
from ansible_collections.flaskhost.stack.plugins.module_utils._priority import given_way
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import (
    App,
    ReleaseError,
    read_json,
    utc_now,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._run import hide
from ansible_collections.flaskhost.stack.plugins.module_utils._snapshots import (
    NEW,
    brief,
    database_file,
    folder,
    forget,
    known,
    note,
    unlink,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._sqlite import Sqlite

# bytes that stay free, or the database and the app have no room to write
RESERVE = 100 * 2**20
# bytes written between two looks at the free space: the size of a dump is only guessed before
_LOOK_EVERY = 32 * 2**20


class Engine(Protocol):
    """What snapshots need of a kind of database."""

    ending: str
    transactional: bool

    def size(self) -> int:
        """Bytes that a snapshot may need at most."""

    def heads(self) -> list[str]:
        """Revisions that alembic wrote into the database."""

    def dump(self, target: IO[bytes]) -> None:
        """Write a snapshot of one moment."""

    def compare(self, before: str, now: str) -> Difference:
        """What became of the database between two snapshots."""

    def take_away(self, difference: Difference, before: str, now: str) -> None:
        """Drop what the first does not have."""

    def replace(self, difference: Difference, before: str, now: str) -> None:
        """Make the database what the first has."""


def engine_of(app: App, release: str, timeout: float) -> Engine:
    """The engine of the database that a release's environment names.

    :param timeout: seconds that one program may take.
    :raises ReleaseError: it names none, or one that cannot be dumped.
    """
    url = str(read_json(app.environment_files(release)[0]).get("DATABASE_URL") or "")
    if not url:
        raise ReleaseError("there is no DATABASE_URL in the app's environment; give `database`, or take `snapshot` out")
    try:
        database = _database_url.parse(url)
    except ValueError as error:
        raise ReleaseError(str(error)) from error
    if database.engine == "sqlite":
        return Sqlite(database, app, timeout)
    return MySql(database, timeout) if database.engine == "mysql" else PostgreSql(database, timeout)


def take(app: App, name: str, engine: Engine, kind: str = "migrate") -> dict[str, Any]:
    """Take a snapshot.

    :param name: what it is called: the release whose migrations are to run, or what is to be restored.
    :returns: its record.
    :raises ReleaseError: there is no room, or it failed; nothing is left of it.
    """
    started = time.monotonic()
    place = folder(app)
    os.makedirs(place, mode=0o700, exist_ok=True)
    record: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "file": os.path.join(place, f"{name}.{engine.ending}"),
        "live": app.live(),
        "when": utc_now(),
        "heads": engine.heads(),
        "database": read_json(database_file(app)),
        # until something is known
        "outcome": "",
    }
    write(app, engine, record["file"])
    record |= {"bytes": os.path.getsize(record["file"]), "seconds": round(time.monotonic() - started, 2)}
    note(app, record)
    return record


def write(app: App, engine: Engine, path: str) -> None:
    """Write a snapshot under a name, by rename: what has the name is complete, also after a power cut."""
    needed, free = engine.size(), shutil.disk_usage(app.paths["root"]).free
    if free - needed < RESERVE:
        raise ReleaseError(
            f"a snapshot of the database may take {_mib(needed)} MiB in {folder(app)}, and {_mib(RESERVE)} MiB must stay "
            f"free, but only {_mib(free)} MiB are. Make room, or lower keep_releases of the app."
        )
    temporary = os.path.join(folder(app), NEW + os.path.basename(path))
    try:
        with (
            given_way(),
            _Watched(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target,
        ):
            engine.dump(target)
            os.fsync(target.fileno())
        os.rename(temporary, path)
    except BaseException:
        unlink(temporary)
        raise
    handle = os.open(folder(app), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _Watched(io.FileIO):
    """A file that is not written on when the disk gets full: others need the rest."""

    _since = 0

    def write(self, data: Any, /) -> int:
        """Write all of it."""
        view = memoryview(data).cast("B")
        self._since += len(view)
        if self._since > _LOOK_EVERY:
            self._since = 0
            status = os.fstatvfs(self.fileno())
            if status.f_bavail * status.f_frsize < RESERVE:
                raise OSError(errno.ENOSPC, f"less than {_mib(RESERVE)} MiB are free, it was not written further")
        done = 0
        while done < len(view):
            done += super().write(view[done:])
        return done


def done(app: App, record: dict[str, Any], heads: list[str]) -> None:
    """The migrations ended well.

    :param heads: what alembic wrote into the database now.
    """
    # who does not use alembic may have changed anything
    same = bool(heads) and heads == record["heads"]
    note(app, record, outcome="unchanged" if same else "migrated")
    app.write_record(str(record["name"]), snapshot=brief(record))


def after_failure(app: App, record: dict[str, Any], engine: Engine) -> tuple[str, bool]:
    """Make the database what it was before migrations that failed, if they left another one.

    :returns: what was done, in words, and whether something that visitors wrote may be lost.
    """
    if engine.transactional:
        note(app, record, outcome="failed")
        return (
            "PostgreSQL takes back by itself what a transaction did that failed. What commands before that one did is "
            f"there still; the snapshot from before them is {record['file']}.",
            False,
        )
    base = str(record["file"])[: -len(f".{engine.ending}")]
    broken = f"{base}.failed.{engine.ending}"
    try:
        write(app, engine, broken)
        found = engine.compare(str(record["file"]), broken)
        if not found.schema:
            forget(app, record)
            return f"No table of the database is another than before.{_rows(found)}", False
        if found.only_added:
            engine.take_away(found, str(record["file"]), broken)
            forget(app, record)
            return (
                f"What the migration had made was taken away again ({_list([*found.extra, *found.other])}); no row that "
                f"was there before or that visitors wrote meanwhile is lost.{_rows(found)}",
                False,
            )
        engine.replace(found, str(record["file"]), broken)
    except (ReleaseError, OSError) as error:
        note(app, record, outcome="failed")
        return (
            f"The snapshot from before the migration could NOT be put back, so the database may be half migrated: {error}\n"
            f"The snapshot is {record['file']}. Mend the cause, then:\n"
            f"  ansible-playbook restore.yml -i inventory -e flask_app={app.name} -e flask_release={record['name']}",
            True,
        )
    note(app, record, outcome="restored")
    return (
        f"The database was put back to the snapshot of {record['when']}, from before the migration: "
        f"{_list([*found.extra, *found.tables])} had changed. What was written into it since then is not in it any more; "
        f"the database as the migration left it, with that, is in {broken}.",
        True,
    )


def restore(app: App, record: dict[str, Any], engine: Engine, name: str) -> tuple[dict[str, Any], list[str]]:
    """Put a snapshot back by hand, after one of the present state.

    :param name: of the snapshot of the present state.
    :returns: the record of that, and what was not as in the snapshot.
    :raises ReleaseError: nothing has changed then.
    """
    present = take(app, name, engine, kind="restore")
    found = engine.compare(str(record["file"]), str(present["file"]))
    if found.schema or found.tables:
        engine.replace(found, str(record["file"]), str(present["file"]))
    known(app, record)
    note(app, present, outcome="restored")
    return present, sorted([*found.extra, *found.tables, *found.other])


def _rows(found: Difference) -> str:
    more = {name: number for name, number in found.added.items() if name != VERSIONS}
    told = ""
    if more:
        told += " Rows came since the snapshot and stay: " + ", ".join(f"{name} {n}" for name, n in more.items()) + "."
    if found.changed and not found.schema:
        told += f" Rows changed since, by visitors or by the migration, and stay so: {_list(found.changed)}."
    return told


def _list(names: Collection[str]) -> str:
    return ", ".join(sorted(set(names))) or "nothing"


def _mib(count: int) -> int:
    return -(-count // 2**20)


def without_secrets(app: App, release: str, text: str) -> str:
    """A message without what the environment of a release keeps secret."""
    return hide(text, read_json(app.environment_files(release)[0]))
