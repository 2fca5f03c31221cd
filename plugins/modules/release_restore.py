#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put a snapshot of an app's database back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_restore
short_description: Puts a snapshot of an app's database back, after one of its present state
version_added: "0.2.0"
description:
  - Takes a snapshot of the present state first, so that this can be undone, then makes the database what the named
    snapshot has. Others see it before or after, never between; nothing is stopped for it.
  - Notes in C(database.json) of the app which migrations the database is at from then on.
options:
  snapshot:
    description: Name of the snapshot, the id of the release before whose migrations it was taken.
    type: str
    required: true
  name:
    description: What the snapshot of the present state is to be called.
    type: str
    required: true
  database:
    description: The snapshot is put back on another host of the same database; only write down where it is. Its record.
    type: dict
  timeout:
    description: Seconds that one program may take.
    type: int
    default: 900
extends_documentation_fragment: [flaskhost.stack.release_step]
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: none, description: Belongs to a run that has the lock.}
"""

EXAMPLES = r"""
- name: Restore
  flaskhost.stack.release_restore:
    app: "{{ app }}"
    token: "{{ begin.token }}"
    snapshot: "{{ begin.snapshot }}"
    name: 20261121T040520Z-restore
"""

RETURN = r"""
record:
  description: What is known of the snapshot that was put back.
  returned: success
  type: dict
present:
  description: What is known of the snapshot of the state before; C(name) is what undoes this.
  returned: success
  type: dict
tables:
  description: The tables that were not as in the snapshot.
  returned: success
  type: list
  elements: str
seconds:
  description: How long each step took on the host, by its name.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils import _snapshot_take, _snapshots
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import Steps


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "dict", "required": True},
            "token": {"type": "str", "required": True, "no_log": False},
            "snapshot": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "database": {"type": "dict"},
            "timeout": {"type": "int", "default": 900},
        },
    )
    params = module.params
    app = App(params["app"])
    live = app.live()
    steps = Steps(app, params["token"])
    try:
        with steps.step("restore"):
            if params["database"]:
                _snapshots.known(app, params["database"])
                module.exit_json(changed=True, record=params["database"], present={}, tables=[], seconds=steps.seconds)
            try:
                record = _snapshots.find(app, params["snapshot"])
                if not record:
                    raise ReleaseError(f"there is no snapshot {params['snapshot']} any more")
                engine = _snapshot_take.engine_of(app, live or record["name"], params["timeout"])
                present, tables = _snapshot_take.restore(app, record, engine, params["name"])
            except ReleaseError as error:
                told = _snapshot_take.without_secrets(app, live, str(error))
                raise ReleaseError(f"restore: {told}") from error
    except ReleaseError as error:
        module.fail_json(msg=str(error), seconds=steps.seconds)
    module.exit_json(changed=True, record=record, present=present, tables=tables, seconds=steps.seconds)


if __name__ == "__main__":
    main()
