#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run an app's migrations, after a snapshot of its database when it wants one."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_migrate
short_description: Runs the migrations of a release, with a snapshot of the database before
version_added: "0.1.0"
description:
  - Each command of C(migrate) is a line for C(sh), run as the app's user in the release directory, with the app's
    environment and the release's virtual environment first in PATH.
  - C(flask db upgrade) and C(alembic upgrade head) are not run where they would find nothing to do, which saves the start of the app.
    That is where the release has the migrations (file by file) and the configuration of the live one, and the database says
    that it is at their heads.
  - The first command that fails ends it; the error has the command and the end of its output, without secrets.
  - With C(snapshot) of the app, a snapshot of its database is taken before, as its C(DATABASE_URL) in this release says.
    When a command fails and the database is another one than before, it is put back, unless the engine does so by itself.
    All of that is one call on the host, so that a lost connection to the control node cannot leave it half done.
  - Once all commands have ended well, the alembic heads are written to C(database.json) of the app (unless it has none) and
    to RELEASE.json. They are read from the files of the release, no code of the app runs for it; after a snapshot,
    from the database.
options:
  release:
    description: Id of the release.
    type: str
    required: true
  timeout:
    description: Seconds that one command may take.
    type: int
    default: 900
  elsewhere:
    description: The migrations ran on another host of the same database; only write down where it is.
    type: bool
    default: false
extends_documentation_fragment: [flaskhost.stack.release_step]
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: none, description: Belongs to a release that is not there in check mode.}
"""

EXAMPLES = r"""
- name: Migrate
  flaskhost.stack.release_migrate:
    app: "{{ app }}"
    release: "{{ source.release }}"
    token: "{{ begin.token }}"
"""

RETURN = r"""
output:
  description: The end of what each command printed that was run.
  returned: success
  type: list
  elements: str
snapshot:
  description: Of the snapshot C(file), C(bytes), C(seconds) and the C(heads) that the database was at; empty without one.
  returned: success
  type: dict
lost:
  description: Whether what visitors wrote meanwhile may be lost, since the snapshot had to be put back.
  returned: failure
  type: bool
seconds:
  description: How long each step took on the host, by its name.
  returned: always
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils import _release_lock, _snapshot_take, _snapshots
from ansible_collections.flaskhost.stack.plugins.module_utils._commands import run_commands
from ansible_collections.flaskhost.stack.plugins.module_utils._migrations import heads
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import Steps
from ansible_collections.flaskhost.stack.plugins.module_utils._upgrades import due, record_heads


class MigrationError(ReleaseError):
    """The migrations failed; ``lost`` tells whether writes of visitors went with them."""

    lost = False


def migrate(app: App, release: str, steps: Steps, token: str, timeout: float) -> tuple[list[str], dict[str, Any]]:
    """Take a snapshot, run the commands, put the snapshot back if they fail.

    :returns: what the commands printed, and the record of the snapshot.
    """
    snapshot: dict[str, Any] = {}
    if app.app.get("snapshot"):
        with steps.step("snapshot"):
            try:
                engine = _snapshot_take.engine_of(app, release, timeout)
                snapshot = _snapshot_take.take(app, release, engine)
            except ReleaseError as error:
                told = _snapshot_take.without_secrets(app, release, str(error))
                raise ReleaseError(f"snapshot: {told}\nNo migration was begun.") from error
    try:
        with steps.step("migrate"):
            _snapshots.begin(app, release, heads(app.release_dir(release)))
            output = run_commands(app, release, due(app, release), step="migrate", timeout=timeout, token=token)
            now = engine.heads() if snapshot else []
            record_heads(app, release, now)
            if snapshot:
                _snapshot_take.done(app, snapshot, now)
    except ReleaseError as error:
        if _release_lock.still_mine(app.paths["lock"], token):
            _snapshots.ended(app)
        if not snapshot:
            raise
        raise undone(app, release, snapshot, engine, token, str(error)) from error
    return output, snapshot


def undone(
    app: App, release: str, snapshot: dict[str, Any], engine: _snapshot_take.Engine, token: str, why: str
) -> MigrationError:
    """The error of migrations that failed, once the database is what it was."""
    if not _release_lock.still_mine(app.paths["lock"], token):
        # whoever has the lock may migrate right now
        return MigrationError(f"{why}\nThe snapshot from before was not put back; it is {snapshot['file']}.")
    told, lost = _snapshot_take.after_failure(app, snapshot, engine)
    error = MigrationError(f"{why}\n{_snapshot_take.without_secrets(app, release, told)}")
    error.lost = lost
    return error


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "dict", "required": True},
            "release": {"type": "str", "required": True},
            "token": {"type": "str", "required": True, "no_log": False},
            "timeout": {"type": "int", "default": 900},
            "elsewhere": {"type": "bool", "default": False},
        },
    )
    params = module.params
    app, release = App(params["app"]), params["release"]
    steps = Steps(app, params["token"])
    output: list[str] = []
    snapshot: dict[str, Any] = {}
    try:
        if params["elsewhere"]:
            with steps.step("migrate"):
                record_heads(app, release, [])
        else:
            output, snapshot = migrate(app, release, steps, params["token"], params["timeout"])
    except ReleaseError as error:
        module.fail_json(msg=str(error), lost=getattr(error, "lost", False), seconds=steps.seconds)
    module.exit_json(
        changed=True, output=output, snapshot=_snapshots.brief(snapshot) if snapshot else {}, seconds=steps.seconds
    )


if __name__ == "__main__":
    main()
