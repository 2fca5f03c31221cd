#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arm the way back before something else than our own modules changes accounts or sshd."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guard
short_description: Notes the state of ssh, accounts or firewall, and goes back to it unless somebody confirms the new one in time
version_added: "0.1.0"
description:
  - For changes that other modules make; M(flaskhost.stack.fileset) and M(flaskhost.stack.ufw_rules) do it by themselves, with the
    option of this name.
  - A timer of systemd goes back after O(timeout), and a unit does so at boot when the host went down in the middle. Each call
    begins the time anew.
  - M(flaskhost.stack.confirm) ends it.
options:
  timeout:
    description: Seconds. 0 arms nothing.
    type: int
    default: 0
  area:
    description: What is about to change.
    type: str
    choices: [accounts, firewall, ssh]
    required: true
  accounts:
    description: Names of the accounts that are about to change, if O(area=accounts).
    type: list
    elements: str
    default: []
  token:
    description: What was armed earlier in this run; if that is gone, the module fails, since the host went back meanwhile.
    type: str
    default: ""
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Arms nothing.}
"""

EXAMPLES = r"""
- name: Be able to go back
  flaskhost.stack.guard:
    area: accounts
    accounts: [alice]
    timeout: 120
"""

RETURN = r"""
ansible_facts:
  description: C(flaskhost_guard) with C(armed), C(token) and C(timeout).
  returned: when something was armed
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils._guard import OPTIONS, Guard, GuardError
from ansible_collections.flaskhost.stack.plugins.module_utils._revert import call


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=False)
    try:
        facts = Guard(module.params, call).arm()
    except GuardError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **({"ansible_facts": facts} if facts else {}))


if __name__ == "__main__":
    main()
