# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a rollback goes, and when it is refused."""

from __future__ import annotations

from collections.abc import Collection

from ansible_collections.flaskhost.stack.plugins.module_utils._migrations import revisions
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError, read_json


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


def check_heads(name: str, target: str, heads: Collection[str], known: Collection[str]) -> None:
    """Refuse a release whose code does not know where the database is.

    :param heads: migrations that the database is at.
    :param known: migrations in the code of the target.
    :raises ReleaseError: with the migrations and what to do.
    """
    unknown = [head for head in heads if head not in known]
    if unknown:
        raise ReleaseError(
            f"rollback: the database of {name} is at migration {', '.join(unknown)}, which the code of {target} does "
            "not know. Deploy a version that knows it; or, once the database is downgraded or where the older code can "
            "do with the newer tables, give `-e flask_rollback_force=true`."
        )


def choose(app: App, asked: str, force: bool) -> str:
    """The release that a rollback of an app goes to.

    :param asked: id of a release, empty for the one that was live before.
    :param force: do not ask what the database is at.
    :raises ReleaseError: when it is refused.
    """
    live = app.live()
    target = asked or (app.previous(live) if live else "")
    check_target(app.name, target, asked, live, [release for release in app.releases() if app.finished(release)])
    heads = read_json(database_file(app)).get("heads")
    if heads and isinstance(heads, list) and not force:
        check_heads(app.name, target, [str(head) for head in heads], revisions(app.release_dir(target)))
    return target


def database_file(app: App) -> str:
    """What is known of the database: the migrations it is at, the release that ran them, and when."""
    return f"{app.paths['root']}/database.json"
