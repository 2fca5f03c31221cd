#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start and stop exactly named supervisor groups."""

from __future__ import annotations

DOCUMENTATION = r"""
module: supervisor_groups
short_description: Starts and stops exactly named supervisor groups, and touches no other
version_added: "0.1.0"
description:
  - Writes C(/etc/supervisor/conf.d/<group>.conf) from a template and brings just that group up to it, or removes both.
  - Speaks to supervisord directly; C(community.general.supervisorctl) updates all programs where one is meant.
options:
  start:
    description: Groups to be running, each with its file.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The group.
        type: str
        required: true
      template:
        description: Template of its file, as in C(flaskhost.stack.fileset).
        type: str
        required: true
      vars:
        description: Extra variables of the template.
        type: dict
  stop:
    description: Groups to be gone, after those of O(start) run. They stop gracefully.
    type: list
    elements: str
    default: []
  wait:
    description: Whether to wait until the groups of O(stop) have ended. Without it they are told to end, and C(release_end) waits.
    type: bool
    default: true
  drain:
    description:
      - Unix sockets of the groups to stop. It is waited until no connection waits to be accepted there.
    type: list
    elements: path
    default: []
  drain_timeout:
    description: Seconds to wait for that.
    type: int
    default: 10
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Says what would change.}
"""

EXAMPLES = r"""
- name: Start the candidate
  flaskhost.stack.supervisor_groups:
    start:
      - name: blog@20260101T000000Z-abc1234
        template: etc/supervisor/conf.d/web.conf.j2
"""

RETURN = r"""
seconds:
  description: How long it took on the host.
  returned: success
  type: float
"""

import json
import os
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils._fileset import FilesetError, apply_fileset
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import (
    Supervisord,
    SupervisordError,
    group_file,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._tidy import stop_groups


def waiting(path: str) -> int:
    """Connections that wait to be accepted on a listening unix socket."""
    shown = subprocess.run(["ss", "-xlHn"], capture_output=True, text=True, check=False).stdout
    for line in shown.splitlines():
        fields = line.split()
        if len(fields) > 4 and fields[4] == path:
            return int(fields[2])
    return 0


def drain(paths: list[str], timeout: float) -> None:
    """Wait until nothing is queued: what is accepted is answered before the process ends, what is queued would be lost."""
    deadline = time.monotonic() + timeout
    quiet = 0
    while paths and quiet < 3 and time.monotonic() < deadline:
        quiet = 0 if any(waiting(path) for path in paths) else quiet + 1
        time.sleep(0.05)


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            # rendered by the action plugin
            "payload": {"type": "str", "required": True, "no_log": True},
            "stop": {"type": "list", "elements": "str", "default": []},
            "wait": {"type": "bool", "default": True},
            "drain": {"type": "list", "elements": "path", "default": []},
            "drain_timeout": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    started = time.monotonic()
    start = json.loads(module.params["payload"])
    stop = module.params["stop"]
    daemon = Supervisord()
    changed = False
    try:
        files = [
            {"path": group_file(one["name"]), "content": one["content"], "mode": "0600", "secret": True}
            for one in start
        ]
        changes = apply_fileset(files, [], check=module.check_mode)
        changed = bool(changes)
        if not module.check_mode:
            for one in start:
                changed = daemon.start(one["name"]) or changed
            drain(module.params["drain"], module.params["drain_timeout"])
        known = {info["group"] for info in daemon.processes()} if stop else set()
        gone = [group for group in stop if group in known or os.path.exists(group_file(group))]
        if gone and not module.check_mode:
            stop_groups(gone, wait=module.params["wait"])
        changed = changed or bool(gone)
    except (FilesetError, SupervisordError) as error:
        module.fail_json(msg=f"boot: {error}")
    module.exit_json(changed=changed, seconds=round(time.monotonic() - started, 2))


if __name__ == "__main__":
    main()
