#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give a release its virtual environment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_build
short_description: Gives a release its virtual environment, shared with all releases of the same requirements
version_added: "0.1.0"
description:
  - The environment is named by a hash of the Python version, the requirement files with their includes and the extra packages,
    and made by uv only when there is none of that name.
  - C(.venv) in the release is a link to it.
  - Then the files that the release needs are put in place, and the build commands run as the app's user in the release,
    with the app's environment. The first that fails ends it; the error has its command and the end of its output.
  - With O(migrates=true), the step C(migrate) is taken as well where it has nothing to do, which saves a call of
    M(flaskhost.stack.release_migrate).
options:
  release:
    description: Id of the release.
    type: str
    required: true
  python:
    description: The interpreter to make it with.
    type: path
    default: /usr/bin/python3
  environment:
    description: Extra variables for uv, such as C(UV_INDEX_URL).
    type: dict
    default: {}
  files:
    description: Files that the release needs, as in M(flaskhost.stack.fileset).
    type: list
    elements: dict
    default: []
  commands:
    description: The build commands, each a line for C(sh).
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that one command of the build may take.
    type: int
    default: 900
  migrates:
    description: Whether this host may go on to the migrations at once, without waiting for others to have built the release.
    type: bool
    default: false
extends_documentation_fragment: [flaskhost.stack.release_step]
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: none, description: Belongs to a release that is not there in check mode.}
"""

EXAMPLES = r"""
- name: Build
  flaskhost.stack.release_build:
    app: "{{ app }}"
    release: "{{ source.release }}"
    token: "{{ begin.token }}"
"""

RETURN = r"""
venv:
  description: Name of the environment.
  returned: success
  type: str
made:
  description: Whether it had to be made.
  returned: success
  type: bool
migrated:
  description: Whether the step C(migrate) is done, because its commands would have found nothing to do and no snapshot is wanted.
  returned: success
  type: bool
seconds:
  description: How long each step took on the host, by its name.
  returned: always
  type: dict
"""

import json
import os
import platform
import subprocess
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils import _venv
from ansible_collections.flaskhost.stack.plugins.module_utils._commands import run_commands
from ansible_collections.flaskhost.stack.plugins.module_utils._fileset import apply_fileset
from ansible_collections.flaskhost.stack.plugins.module_utils._priority import give_way
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import Steps
from ansible_collections.flaskhost.stack.plugins.module_utils._upgrades import passed_by


def version_of(python: str) -> str:
    """Full version and platform of an interpreter."""
    shown = "import platform,sys;print(sys.implementation.cache_tag, platform.python_version(), platform.machine())"
    try:
        return subprocess.run([python, "-c", shown], capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise ReleaseError(f"build: the interpreter {python} does not run: {error}") from error


def environment(app: App, release: str, params: dict[str, Any]) -> tuple[str, bool]:
    """Make the virtual environment of a release unless it is there: its name, and whether it had to be made."""
    wanted, python, tree = app.app["python"], params["python"], app.release_dir(release)
    requirements = _venv.find(tree, wanted["requirements"], wanted["packages"])
    version = version_of(python) if python != "/usr/bin/python3" else platform.python_version()
    name = _venv.key(tree, requirements, wanted["packages"], version, str(app.record(release).get("commit")))
    made = _venv.build(
        app,
        tree,
        requirements,
        name,
        python=python,
        packages=wanted["packages"],
        environment=params["environment"],
        timeout=params["timeout"],
    )
    return name, made


def link(app: App, release: str, name: str) -> None:
    """Let ``.venv`` of a release name its environment."""
    path = os.path.join(app.release_dir(release), ".venv")
    if os.path.isdir(path) and not os.path.islink(path):
        raise ReleaseError("build: the source tree has a directory .venv of its own; take it out of the source")
    if os.path.islink(path):
        os.unlink(path)
    os.symlink(os.path.join(app.paths["venvs"], name), path)


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "dict", "required": True},
            "release": {"type": "str", "required": True},
            "token": {"type": "str", "required": True, "no_log": False},
            "python": {"type": "path", "default": "/usr/bin/python3"},
            "environment": {"type": "dict", "default": {}, "no_log": True},
            "commands": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 900},
            "migrates": {"type": "bool", "default": False},
            # rendered by the action plugin
            "payload": {"type": "str", "default": "[]", "no_log": True},
        },
    )
    params = module.params
    app, release = App(params["app"]), params["release"]
    steps = Steps(app, params["token"])
    try:
        with steps.step("build"):
            give_way()
            name, made = environment(app, release, params)
            link(app, release, name)
            app.write_record(release, venv=name)
            apply_fileset(json.loads(params["payload"]), [])
            run_commands(
                app, release, params["commands"], step="build", timeout=params["timeout"], token=params["token"]
            )
        migrated = params["migrates"] and passed_by(app, release, steps)
    except ReleaseError as error:
        module.fail_json(msg=str(error), seconds=steps.seconds)
    module.exit_json(changed=True, venv=name, made=made, migrated=migrated, seconds=steps.seconds)


if __name__ == "__main__":
    main()
