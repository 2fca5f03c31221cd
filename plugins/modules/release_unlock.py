#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove the lock of an app that a dead run left."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_unlock
short_description: Removes the lock of an app that a dead run left
version_added: "0.1.0"
description:
  - Tells who held the lock, since when and at which step. Where there is none, nothing is changed.
  - Refuses where the run still goes on, which is known only on the machine that it runs on.
  - A run that has lost its lock stops at its next step. What it left is removed by the next deploy.
options:
  app:
    description: The resolved app.
    type: dict
    required: true
  force:
    description: Remove the lock of a run that still goes on, too.
    type: bool
    default: false
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Tells what would be removed.}
"""

EXAMPLES = r"""
- name: Unlock
  flaskhost.stack.release_unlock:
    app: "{{ app }}"
"""

RETURN = r"""
msg:
  description: What was found and done, in words.
  returned: always
  type: str
locked:
  description: Whether there was a lock.
  returned: success
  type: bool
found:
  description: What the holder wrote into the lock; empty when there is none, or it cannot be read.
  returned: success
  type: dict
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils import _history, _release_lock
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, read_json


def unlock(app: App, mine: dict[str, object], break_token: str) -> None:
    """Take the lock from the holder of a token, note that in the history, and give it back.

    :raises Held: another run has taken it meanwhile.
    """
    path = app.paths["lock"]
    found = read_json(path)
    _release_lock.take(path, mine, break_token=break_token)
    try:
        if found:
            _history.died(app, found, f"its lock was removed by {mine['owner']}@{mine['controller']}")
    finally:
        _release_lock.release(path, str(mine["token"]))


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "dict", "required": True},
            # from the action plugin: without them, the lock is only looked at
            "holder": {"type": "dict"},
            "break_token": {"type": "str", "default": "", "no_log": False},
        },
        supports_check_mode=True,
    )
    app = App(module.params["app"])
    path = app.paths["lock"]
    if not os.path.exists(path):
        module.exit_json(changed=False, locked=False, found={}, msg=f"{app.name} is not locked.")
    found = read_json(path)
    mine = module.params["holder"]
    if mine is None or module.check_mode:
        module.exit_json(changed=False, locked=True, found=found)
    try:
        unlock(app, mine, module.params["break_token"])
    except _release_lock.Held as held:
        module.fail_json(msg=f"unlock: meanwhile {app.name} was locked by {_release_lock.in_words(held.holder)}")
    except OSError as error:
        module.fail_json(msg=f"unlock: {error}")
    module.exit_json(changed=True, locked=True, found=found)


if __name__ == "__main__":
    main()
