# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation only: the work is done on the control node, by the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: confirm
short_description: Proves over a new connection that an admin still gets in and becomes root, and keeps the changes only then
version_added: "0.1.0"
description:
  - Opens a connection of its own to a host on which M(flaskhost.stack.guard) armed the way back, becomes root, and disarms it there.
  - If that is impossible it fails with what it tried, and the host takes the changes back when its time is up.
  - Does nothing where nothing was armed in this run, and in check mode.
options:
  state:
    description: C(reverted) has the changes taken back at once and fails with O(task) and O(error), for a C(rescue).
    type: str
    choices: [confirmed, reverted]
    default: confirmed
  users:
    description: Who may confirm; one of them is enough.
    type: list
    elements: str
    default: []
  ports:
    description: The ports of ssh; one of them is enough. By default that of the connection.
    type: list
    elements: int
    default: []
  task:
    description: Name of the task that failed, for O(state=reverted).
    type: str
  error:
    description: What it said.
    type: str
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Does nothing.}
"""

EXAMPLES = r"""
- name: Keep the changes
  flaskhost.stack.confirm:
    users: [alice]
    ports: [2222]
"""

RETURN = r"""
way:
  description: Who confirmed, and how.
  returned: success
  type: str
tried:
  description: What did not work, each with its reason.
  returned: failure
  type: list
  elements: str
"""
