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
"""

RETURN = r"""
output:
  description: The end of what each command printed.
  returned: success
  type: list
  elements: str
seconds:
  description: How long it took on the host.
  returned: success
  type: float
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils import _release_lock
from ansible_collections.flaskhost.stack.plugins.module_utils._commands import run_commands
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError


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
        },
    )
    started = time.monotonic()
    params = module.params
    try:
        app = App(params["app"])
        _release_lock.require(app, params["token"], params["step"])
        outputs = run_commands(
            app,
            params["release"],
            params["commands"],
            step=params["step"],
            timeout=params["timeout"],
            token=params["token"],
        )
    except (ReleaseError, OSError) as error:
        module.fail_json(msg=str(error) if isinstance(error, ReleaseError) else f"{params['step']}: {error}")
    module.exit_json(changed=True, output=outputs, seconds=round(time.monotonic() - started, 2))


if __name__ == "__main__":
    main()
