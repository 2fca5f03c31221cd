#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stop exactly named supervisor groups."""

from __future__ import annotations

DOCUMENTATION = r"""
module: supervisor_groups
short_description: Stops exactly named supervisor groups, and touches no other
version_added: "0.1.0"
description:
  - Removes C(/etc/supervisor/conf.d/<group>.conf) and stops just that group gracefully.
  - Speaks to supervisord directly; C(community.general.supervisorctl) updates all programs where one is meant.
options:
  stop:
    description: Groups to be gone.
    type: list
    elements: str
    required: true
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Says what would change.}
"""

EXAMPLES = r"""
- name: Stop the programs of an app that left the inventory
  flaskhost.stack.supervisor_groups:
    stop: [blog@20260101T000000Z-abc1234]
"""

RETURN = r"""
stopped:
  description: The groups that were there.
  returned: success
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import (
    Supervisord,
    SupervisordError,
    group_file,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._tidy import stop_groups


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={"stop": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True
    )
    try:
        known = {info["group"] for info in Supervisord().processes()}
        gone = [group for group in module.params["stop"] if group in known or os.path.exists(group_file(group))]
        if gone and not module.check_mode:
            stop_groups(gone)
    except SupervisordError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(gone), stopped=gone)


if __name__ == "__main__":
    main()
