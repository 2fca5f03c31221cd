# SPDX-License-Identifier: GPL-3.0-or-later
"""Removal of what nobody needs: leftovers of dead runs, and old releases."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

from ansible_collections.flaskhost.stack.plugins.module_utils import _snapshots
from ansible_collections.flaskhost.stack.plugins.module_utils._git import DEPLOY_KEY
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import (
    Supervisord,
    app_groups,
    group_file,
    release_of,
)

# seconds that nginx gets to begin with what a reload gave it
_RELOAD_TIME = 0.5


def serve_what_is_written() -> None:
    """Have nginx serve what its files say: a run that died between writing them and the reload left it with the former.

    :raises ReleaseError: nginx refuses its files, so nobody knows which release it serves.
    """
    try:
        test = subprocess.run(["nginx", "-t"], capture_output=True, text=True, errors="replace", check=False)
        if test.returncode:
            raise ReleaseError(f"nginx refuses its files, so no release is stopped:\n{test.stderr.strip()}")
        # it fails where nginx does not run: then it begins with these files anyway
        subprocess.run(["nginx", "-s", "reload"], capture_output=True, check=False)
    except FileNotFoundError:
        return
    time.sleep(_RELOAD_TIME)


def stop_groups(groups: list[str], grace: float | None = None) -> None:
    """Take groups out of conf.d first, so that a reboot in between does not bring them back, then stop them all.

    :param grace: seconds after which web processes are killed; as long as their files said, when there is none. Worker
        processes finish the job they are at in any case.
    """
    for group in groups:
        if os.path.exists(group_file(group)):
            os.unlink(group_file(group))
    daemon = Supervisord()
    for group in groups:
        daemon.tell_to_stop(group)
    if grace is not None:
        web = [group for group in groups if "+" not in group]
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline and any(info["pid"] for group in web for info in daemon.processes(group)):
            time.sleep(0.05)
        for group in web:
            daemon.kill(group)
    for group in groups:
        daemon.stop(group)


def in_service(app: App) -> set[str]:
    """The releases that visitors get: the live one, and a canary."""
    canary = app.canary()
    return {app.live(), canary.release if canary else ""} - {""}


def end_all_but(app: App, live: str, grace: float | None = None) -> list[str]:
    """Wait until nothing of an app runs but its live release. Returns the groups that had to end.

    :param grace: see ``stop_groups``.
    """
    running = {str(info["group"]) for info in Supervisord().processes()}
    names = {group for group in running if "@" in group and group.split("@", 1)[0] == app.name}
    groups = sorted(group for group in names | set(app_groups(app.name)) if release_of(group) != live)
    if groups:
        stop_groups(groups, grace)
    return groups


def tidy(app: App, check: bool = False) -> list[str]:
    """Remove what a dead run left: its programs, its half release. The caller holds the lock.

    :returns: what was removed, or would be.
    :raises ReleaseError: nginx refuses its files; nothing was removed.
    """
    live = app.live()
    serving = in_service(app)
    unfinished = [release for release in app.releases() if release not in serving and not app.finished(release)]
    # between two deploys nothing runs but the live release and a canary
    groups = [group for group in app_groups(app.name) if release_of(group) not in serving]
    cache = app.paths["cache"]
    debris = _debris(app.paths["releases"], ".") + _debris(cache, DEPLOY_KEY) + _debris(cache, _snapshots.SCRATCH)
    debris += _snapshots.debris(app)
    if not check:
        if groups:
            # also where the live one was finished before: a rollback may have died in the middle of its switch
            if live and not app.port:
                serve_what_is_written()
            stop_groups(groups)
        for release in unfinished:
            app.remove(release)
        for path in debris:
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)
    return [*groups, *unfinished, *debris]


def _debris(folder: str, prefix: str) -> list[str]:
    """What lies in a directory under names that begin with ``prefix``."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [os.path.join(folder, name) for name in names if name.startswith(prefix)]


def remove_unfinished(app: App, live: str) -> list[str]:
    """Delete what was never finished: one that went live, say, before its deploy failed or died. The caller holds the lock.

    :returns: what was deleted. Never the live release, or one that still has a program.
    """
    running = {release_of(group) for group in app_groups(app.name)}
    unfinished = [
        release for release in app.releases() if release not in {live, *running} and not app.finished(release)
    ]
    for release in unfinished:
        app.remove(release)
    return unfinished


def prune(app: App, live: str, keep: int, check: bool = False) -> list[str]:
    """Delete old finished releases beyond ``keep`` with their snapshots, and virtual environments that none uses.

    Never the live release, its predecessor, one whose files nginx serves, or one that still has a program.

    :returns: what was deleted, or would be.
    """
    running = {release_of(group) for group in app_groups(app.name)}
    safe = {live, app.previous(live), app.current(), *app.named(), *running}
    finished = [release for release in app.releases() if app.finished(release)]
    spare = max(0, len(finished) - max(keep, 1))
    old = [release for release in finished if release not in safe][:spare]
    if not check:
        for release in old:
            app.remove(release)
    venvs = app.unused_venvs()
    snapshots: list[str] = []
    if not check:
        for path in venvs:
            shutil.rmtree(path, ignore_errors=True)
        snapshots = _snapshots.prune(app, old, keep)
    return [*old, *venvs, *snapshots]
