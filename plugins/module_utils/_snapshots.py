# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of the snapshots of an app's database: their records, which one is meant, which are kept.

Each is a file and a record beside it, `/srv/<app>/snapshots/<release>.{sql,sqlite}.gz` and `<release>.json`: the record of
a release is deleted with it, and the snapshot of a release that failed may be what somebody needs. They are taken and put
back by _snapshot_take, which brings all engines along; what every release needs is here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, read_json, utc_now, write_json

# what a file is called while it is written
NEW = ".new-"
# beginning of the name of a directory in the app's cache, with a copy of an SQLite database
SCRATCH = "snapshot-"


def folder(app: App) -> str:
    """Where the snapshots of an app are; root alone may look into it."""
    return os.path.join(app.paths["root"], "snapshots")


def database_file(app: App) -> str:
    """What is known of the database: the migrations it is at, the release that ran them, and when."""
    return f"{app.paths['root']}/database.json"


def note(app: App, record: dict[str, Any], **changes: Any) -> None:
    """Write the record of a snapshot, with changes."""
    record.update(changes)
    write_json(os.path.join(folder(app), f"{record['name']}.json"), record, 0o600)


def records(app: App) -> list[dict[str, Any]]:
    """The records of all complete snapshots, oldest first."""
    names = os.listdir(folder(app)) if os.path.isdir(folder(app)) else []
    found = [read_json(os.path.join(folder(app), name)) for name in names if name.endswith(".json")]
    whole = [record for record in found if os.path.isfile(str(record.get("file", "")))]
    return sorted(whole, key=lambda record: (str(record["when"]), str(record["name"])))


def brief(record: dict[str, Any]) -> dict[str, Any]:
    """What RELEASE.json tells of a snapshot."""
    return {key: record[key] for key in ("file", "bytes", "seconds", "heads")}


def begin(app: App, release: str, heads: list[str]) -> None:
    """Note that migrations run: if this run dies, nobody knows whether the database is at those of before or of after.

    :param heads: newest revisions in the files of the release.
    """
    noted = read_json(database_file(app))
    if heads and heads != noted.get("heads"):
        write_json(database_file(app), {**noted, "migrating": {"release": release, "heads": heads}})


def ended(app: App) -> None:
    """Note that the migrations failed, and that the run knows it."""
    noted = read_json(database_file(app))
    if noted.pop("migrating", None) and noted:
        write_json(database_file(app), noted)
    elif not noted:
        unlink(database_file(app))


def known(app: App, record: dict[str, Any]) -> None:
    """Note where the database is once a snapshot is put back."""
    before = {**record["database"], "when": utc_now()}
    if record["heads"]:
        before["heads"] = record["heads"]
    if before.get("heads"):
        write_json(database_file(app), before)
    else:
        unlink(database_file(app))


def find(app: App, name: str) -> dict[str, Any]:
    """The snapshot of a name, else the one from before the migrations that ran last; empty when there is none."""
    noted = read_json(database_file(app))
    wanted = name or (noted.get("migrating") or {}).get("release") or noted.get("release") or app.live()
    return next((record for record in records(app) if record["name"] == wanted), {})


def fitting(app: App, target: str, revisions: Collection[str]) -> dict[str, Any]:
    """The newest snapshot that the code of a release can work with; empty when there is none.

    :param revisions: migrations in that code.
    """
    for record in reversed(records(app)):
        fits = set(record["heads"]) <= set(revisions) if record["heads"] else record["live"] == target
        if fits and record["kind"] == "migrate":
            return record
    return {}


def prune(app: App, removed: Collection[str], keep: int) -> list[str]:
    """Delete the snapshots of releases that were pruned, and of failed ones all but the newest.

    :param removed: releases that are deleted just now.
    :param keep: how many of those without a release stay.
    :returns: the files that are gone.
    """
    there = set(app.releases())
    alone = [record for record in records(app) if record["name"] not in there]
    old = [record for record in alone if record["name"] in removed or record["outcome"] == "unchanged"]
    left = [record for record in alone if record not in old]
    old += left[: max(0, len(left) - max(keep, 1))]
    return [path for record in old for path in forget(app, record)]


def debris(app: App) -> list[str]:
    """What a run that died left half written. The caller has the lock."""
    names = sorted(os.listdir(folder(app))) if os.path.isdir(folder(app)) else []
    whole = {str(record["name"]) for record in records(app)}
    return [os.path.join(folder(app), name) for name in names if name.startswith(NEW) or _owner(name) not in whole]


def _owner(name: str) -> str:
    """The snapshot that a file belongs to."""
    return name.partition(".")[0]


def forget(app: App, record: dict[str, Any]) -> list[str]:
    """Delete a snapshot with all that belongs to it, its record last: what has none is debris."""
    names = [name for name in os.listdir(folder(app)) if _owner(name) == record["name"]]
    gone = [os.path.join(folder(app), name) for name in sorted(names, key=lambda name: name.endswith(".json"))]
    for path in gone:
        unlink(path)
    return gone


def unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
