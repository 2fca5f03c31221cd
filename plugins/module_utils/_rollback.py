# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a rollback goes, and when it is refused."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._migrations import revisions
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError, read_json
from ansible_collections.flaskhost.stack.plugins.module_utils._snapshots import database_file, fitting


def check_target(name: str, target: str, asked: str, live: str, finished: Collection[str]) -> None:
    """Refuse a release that cannot be gone back to.

    :param name: the app.
    :param target: the chosen release, empty when there is none.
    :param asked: what was asked for, empty for the release before.
    :raises ReleaseError: with those there are.
    """
    if target in finished and target != live:
        return
    raise ReleaseError(
        f"rollback: {name} has no {f'release {asked}' if asked else 'earlier release'} to go back to; "
        f"live is {live or 'none'}, finished are {', '.join(finished) or 'none'}."
    )


def check_heads(
    name: str, target: str, heads: Collection[str], known: Collection[str], snapshot: dict[str, Any] | None = None
) -> None:
    """Refuse a release whose code does not know where the database is.

    :param heads: migrations that the database is at.
    :param known: migrations in the code of the target.
    :param snapshot: record of a snapshot that this code can work with, if there is one.
    :raises ReleaseError: with the migrations and what to do.
    """
    unknown = [head for head in heads if head not in known]
    if unknown:
        raise ReleaseError(
            f"rollback: the database of {name} is at migration {', '.join(unknown)}, which the code of {target} does "
            "not know. Deploy a version that knows it; or, once the database is downgraded or where the older code can "
            "do with the newer tables, give `-e flask_rollback_force=true`."
            + (
                f" Or go back with the data of then: `-e flask_restore=true` puts back the snapshot of {snapshot['when']} "
                f"({snapshot['name']}) first; what was written since is not in it."
                if snapshot
                else ""
            )
        )


def choose(app: App, asked: str, force: bool, restore: bool = False) -> tuple[str, str]:
    """The release that a rollback of an app goes to, and the snapshot to put back for it (empty when there is none to).

    :param asked: id of a release, empty for the one that was live before.
    :param force: do not ask what the database is at.
    :param restore: put the database back to a snapshot that the code knows, if it does not know where it is.
    :raises ReleaseError: when it is refused.
    """
    live = app.live()
    target = asked or (app.previous(live) if live else "")
    check_target(app.name, target, asked, live, [release for release in app.releases() if app.finished(release)])
    known = revisions(app.release_dir(target))
    if restore:
        return target, str(fitting(app, target, known).get("name", ""))
    heads = heads_of(read_json(database_file(app)))
    if heads and not force:
        check_heads(app.name, target, heads, known, fitting(app, target, known))
    return target, ""


def heads_of(noted: dict[str, Any]) -> list[str]:
    """Where the database may be: also at what a run that died was migrating to."""
    migrating = noted.get("migrating")
    found = [noted.get("heads"), migrating.get("heads") if isinstance(migrating, dict) else None]
    return sorted({str(head) for heads in found if isinstance(heads, list) for head in heads})
