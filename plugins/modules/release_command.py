#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run commands in a release, as the app would."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_command
short_description: Runs commands in a release as the app's user with the app's environment
version_added: "0.1.0"
description:
  - Each command is a line for C(sh), run in the release directory with the release's virtual environment first in PATH.
  - The first command that fails ends it; the error has the command and the end of its output, without secrets.
options:
  app:
    description: The resolved app.
    type: dict
    required: true
  release:
    description: Id of the release.
    type: str
    required: true
  token:
    description: The lock, as C(release_begin) returned it; a run that has lost it does nothing.
    type: str
    required: true
  commands:
    description: The lines, in order.
    type: list
    elements: str
    required: true
  step:
    description: Name of the step, for the error.
    type: str
    required: true
  timeout:
    description: Seconds that one command may take.
    type: int
    default: 900
  record_heads:
    description:
      - Once all commands have ended well, write the alembic heads of the release to C(database.json) of the app
        (unless it has none) and to its RELEASE.json. They are read from the files, no code of the app runs for it.
    type: bool
    default: false
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: none, description: Belongs to a release that is not there in check mode.}
"""

EXAMPLES = r"""
- name: Migrate
  flaskhost.stack.release_command:
    app: "{{ app }}"
    release: "{{ source.release }}"
    token: "{{ begin.token }}"
    commands: [flask db upgrade]
    step: migrate
    record_heads: true
"""

RETURN = r"""
output:
  description: The end of what each command printed.
  returned: success
  type: list
  elements: str
seconds:
  description: How long each step took on the host, by its name.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils._commands import run_commands
from ansible_collections.flaskhost.stack.plugins.module_utils._migrations import heads
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError, utc_now, write_json
from ansible_collections.flaskhost.stack.plugins.module_utils._rollback import database_file
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import Steps


def record_heads(app: App, release: str) -> None:
    """Note where the database is after the migrations of a release."""
    found = heads(app.release_dir(release))
    if found:
        write_json(database_file(app), {"heads": found, "release": release, "when": utc_now()})
    app.write_record(release, migration_heads=found)


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "dict", "required": True},
            "release": {"type": "str", "required": True},
            "token": {"type": "str", "required": True, "no_log": False},
            "commands": {"type": "list", "elements": "str", "required": True},
            "step": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 900},
            "record_heads": {"type": "bool", "default": False},
        },
    )
    params = module.params
    app, release, step = App(params["app"]), params["release"], params["step"]
    steps = Steps(app, params["token"])
    try:
        with steps.step(step):
            outputs = run_commands(
                app, release, params["commands"], step=step, timeout=params["timeout"], token=params["token"]
            )
            if params["record_heads"]:
                record_heads(app, release)
    except ReleaseError as error:
        module.fail_json(msg=str(error), seconds=steps.seconds)
    module.exit_json(changed=True, output=outputs, seconds=steps.seconds)


if __name__ == "__main__":
    main()
