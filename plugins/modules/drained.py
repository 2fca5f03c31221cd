#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until a balancer is not connected to a host any more."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drained
short_description: Waits until this host has no connection to another one
version_added: "0.1.0"
description:
  - Run on a balancer that gives a web host nobody any more, it waits for the requests that are on their way there.
  - Where the time is over it tells how many are left, and does not fail. Streams and websockets may last for hours.
options:
  address:
    description: Of the other host.
    type: str
    required: true
  port:
    description: TCP port there.
    type: int
    default: 80
  timeout:
    description: Seconds to wait at most.
    type: int
    default: 30
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Changes nothing.}
"""

EXAMPLES = r"""
- name: Wait for the last requests
  flaskhost.stack.drained:
    address: 10.0.0.11
  register: last
"""

RETURN = r"""
left:
  description: Connections that are still there.
  returned: success
  type: int
"""

import time
from collections.abc import Callable

from ansible.module_utils.basic import AnsibleModule


def wait(count: Callable[[], int], timeout: float, pause: float = 0.2) -> int:
    """Look until there is none, for so many seconds; how many are left."""
    end = time.monotonic() + timeout
    while True:
        left = count()
        if not left or time.monotonic() >= end:
            return left
        time.sleep(pause)


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 80},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    params = module.params
    address = f"[{params['address']}]" if ":" in params["address"] else params["address"]
    query = ["ss", "-Htn", "state", "established", "dst", f"{address}:{params['port']}"]

    def count() -> int:
        return len(module.run_command(query, check_rc=True)[1].splitlines())

    module.exit_json(changed=False, left=count() if module.check_mode else wait(count, params["timeout"]))


if __name__ == "__main__":
    main()
