# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation only: the work is done on the control node, by the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_table
short_description: Shows as a table, and writes as JSON, what hosts tell of their apps
version_added: "0.1.0"
description:
  - Prints what is live and what was deployed, as wide as the terminal; C(COLUMNS) in the environment says otherwise.
options:
  hosts:
    description: What M(flaskhost.stack.release_overview) returned, by the name of the host; null for a host that was not reached.
    type: dict
    required: true
  balancers:
    description: What M(flaskhost.stack.balancer_view) returned, by the name of the balancer; null for one that was not reached.
    type: dict
    default: {}
  app:
    description: Of balancers, only this app is told; all when empty. Hosts tell of what they were asked for.
    type: str
    default: ''
  file:
    description: A file on the control node to write all of it to, as JSON; docs/deploying.md describes its keys. None when empty.
    type: path
    default: ''
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Writes no file.}
"""

EXAMPLES = r"""
- name: Show it
  flaskhost.stack.release_table:
    hosts: {web1: "{{ hostvars.web1.overview }}"}
    file: status.json
  run_once: true
"""

RETURN = r"""
"""
