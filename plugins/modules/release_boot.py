#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a release beside the live one, and prove that it is healthy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_boot
short_description: Starts a release beside the live one, and proves that it is healthy
version_added: "0.1.0"
description:
  - Writes the release's supervisor group, starts just that, and asks the health path over the release's own socket until
    three answers in a row have the expected status and name this release, or the time is over, or the process has died.
  - A release that is not healthy is stopped again, and its group removed.
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
  template:
    description: Template of the group's file below the role's templates.
    type: str
    required: true
  files:
    description: Files that the release needs before it starts, as in M(flaskhost.stack.fileset).
    type: list
    elements: dict
    default: []
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: none, description: Belongs to a release that is not there in check mode.}
"""

EXAMPLES = r"""
- name: Boot
  flaskhost.stack.release_boot:
    app: "{{ app }}"
    release: "{{ source.release }}"
    token: "{{ begin.token }}"
    template: etc/supervisor/conf.d/web.conf.j2
"""

RETURN = r"""
seconds:
  description: How long it took on the host.
  returned: success
  type: float
"""

import json
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils import _release_lock
from ansible_collections.flaskhost.stack.plugins.module_utils._fileset import FilesetError, apply_fileset
from ansible_collections.flaskhost.stack.plugins.module_utils._health import complaint
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import (
    Supervisord,
    SupervisordError,
    group_file,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._tidy import stop_groups


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "dict", "required": True},
            "release": {"type": "str", "required": True},
            "token": {"type": "str", "required": True, "no_log": False},
            # rendered by the action plugin: the files, and last the group's own
            "payload": {"type": "str", "required": True, "no_log": True},
        },
    )
    started = time.monotonic()
    app, release = App(module.params["app"]), module.params["release"]
    payload = json.loads(module.params["payload"])
    group = f"{app.name}@{release}"
    own = {"path": group_file(group), "content": payload["group"], "mode": "0600", "secret": True}
    try:
        _release_lock.require(app, module.params["token"], "boot")
        apply_fileset([*payload["files"], own], [])
        Supervisord().start(group)
        why = complaint(app, release, through_web=False)
        if why:
            stop_groups([group])
    except (FilesetError, ReleaseError, SupervisordError, OSError) as error:
        module.fail_json(msg=str(error) if isinstance(error, ReleaseError) else f"boot: {error}")
    if why:
        module.fail_json(msg=f"probe: {why}")
    module.exit_json(changed=True, seconds=round(time.monotonic() - started, 2))


if __name__ == "__main__":
    main()
