#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host looks like from inside."""

from __future__ import annotations

DOCUMENTATION = r"""
module: inside_view
short_description: Tells what on a host is not as it should be
version_added: "0.1.0"
description:
  - Looks at units, file permissions and the effective configuration of sshd in one call and changes nothing.
options:
  units:
    description: systemd units that must be active.
    type: list
    elements: str
    default: []
  private:
    description: Paths that an unprivileged user must not be able to read.
    type: list
    elements: path
    default: []
  firewall:
    description: Whether ufw must be active.
    type: bool
    default: false
  certificates:
    description: Apps whose certificates must not end soon, each with C(name), C(tls.certificate) (its path) and C(tls.mode).
    type: list
    elements: dict
    default: []
  sshd:
    description: Settings that C(sshd -T) must report, in lower case.
    type: dict
    default: {}
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Changes nothing.}
"""

EXAMPLES = r"""
- name: Look from inside
  flaskhost.stack.inside_view:
    units: [nginx]
    private: [/srv/blog/environments]
"""

RETURN = r"""
findings:
  description: What is not as it should be, in words.
  returned: always
  type: list
  elements: str
"""

import os
import subprocess

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils import _certificates


def readable_by_nobody(path: str) -> bool:
    """Whether the user nobody, with no groups of its own, can list or read a path."""
    test = ["/bin/sh", "-c", 'test -r "$1"', "test", path]
    return subprocess.run(test, user=65534, group=65534, extra_groups=[], check=False).returncode == 0


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "default": []},
            "private": {"type": "list", "elements": "path", "default": []},
            "firewall": {"type": "bool", "default": False},
            "certificates": {"type": "list", "elements": "dict", "default": [], "no_log": False},
            "sshd": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    params = module.params
    found = []
    if params["units"]:
        states = module.run_command(["systemctl", "is-active", *params["units"]])[1].split()
        found += [
            f"unit {unit} is {state}" for unit, state in zip(params["units"], states, strict=False) if state != "active"
        ]
    for path in params["private"]:
        if not os.path.exists(path):
            found.append(f"{path} does not exist")
        elif readable_by_nobody(path):
            found.append(f"{path} can be read by other users")
    for one in params["certificates"]:
        problem = _certificates.ends_in_words(_certificates.look(one["tls"]["certificate"]), one["tls"]["mode"])[1]
        if problem:
            found.append(f"{one['name']}: {problem}")
    if params["firewall"]:
        status = module.run_command(["ufw", "status"], environ_update={"LC_ALL": "C"})[1]
        if "Status: active" not in status:
            found.append(f"the firewall is not active: {status.strip() or 'ufw is missing'}")
    if params["sshd"]:
        code, out, err = module.run_command(["/usr/sbin/sshd", "-T"])
        effective = dict(line.split(" ", 1) for line in out.splitlines() if " " in line)
        if code:
            found.append(f"sshd -T fails: {err.strip()}")
        found += [
            f"sshd has {key} {effective.get(key)} where {value} is expected"
            for key, value in params["sshd"].items()
            if not code and effective.get(key) != value
        ]
    module.exit_json(changed=False, findings=found)


if __name__ == "__main__":
    main()
