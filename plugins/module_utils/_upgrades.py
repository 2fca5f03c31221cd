# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the migrations of a release have anything to do, and the note of where the database is after them."""

from __future__ import annotations

import re
import time

from ansible_collections.flaskhost.stack.plugins.module_utils import _snapshot_take, _snapshots
from ansible_collections.flaskhost.stack.plugins.module_utils._migrations import fingerprint, heads
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError, utc_now, write_json
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import Steps

# the commands of which it is known what they do: bring a database to the heads of the release
_UPGRADE = re.compile(r"(?:flask\s+db|alembic)\s+upgrade(?:\s+heads?)?")
# seconds in which a database tells where it is
_PATIENCE = 20


def record_heads(app: App, release: str, told: list[str]) -> None:
    """Note where the database is after the migrations of a release.

    :param told: what the database itself says; empty when nobody asked it.
    """
    found = told or heads(app.release_dir(release))
    _snapshots.ended(app)
    if found:
        write_json(_snapshots.database_file(app), {"heads": found, "release": release, "when": utc_now()})
    app.write_record(release, migration_heads=found)


def up_to_date(app: App, release: str) -> bool:
    """Whether an upgrade would find nothing to do, because nothing that it goes by is another than for the live release."""
    live, wanted = app.live(), heads(app.release_dir(release))
    if not wanted or live in ("", release):
        return False
    before, now = app.record(live), app.record(release)
    if before.get("migration_heads") != wanted or not now.get("config") or before.get("config") != now["config"]:
        return False
    known = fingerprint(app.release_dir(release))
    if not known or known != fingerprint(app.release_dir(live)):
        return False
    try:
        # people restore and repair databases by hand: what was noted once does not count
        return _snapshot_take.engine_of(app, release, _PATIENCE).heads() == wanted
    except (ReleaseError, OSError):
        return False


def due(app: App, release: str) -> list[str]:
    """The commands of ``migrate`` that may have something to do."""
    commands: list[str] = app.app["migrate"]
    others = _others(commands)
    return others if len(others) < len(commands) and up_to_date(app, release) else commands


def passed_by(app: App, release: str, steps: Steps) -> bool:
    """Take the step where there is nothing to do in it: no command that may have, and no snapshot to take before it.

    :returns: whether that was so; otherwise nothing was done.
    :raises ReleaseError: that cannot be found out.
    """
    commands, began = app.app["migrate"], time.monotonic()
    try:
        if not commands or app.app.get("snapshot") or _others(commands) or not up_to_date(app, release):
            return False
    except OSError as error:
        raise ReleaseError(f"migrate: {error}") from error
    steps.seconds["migrate"] = time.monotonic() - began
    with steps.step("migrate"):
        record_heads(app, release, [])
    return True


def _others(commands: list[str]) -> list[str]:
    """Those of which it is not known what they do."""
    return [command for command in commands if not _UPGRADE.fullmatch(command.strip())]
