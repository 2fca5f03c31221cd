# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation only: the work is done on the control node, by the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: login
short_description: Finds the first login that works and may become root
version_added: "0.1.0"
description:
  - Tries users over ssh with the connection settings of the host, never asking for a password.
  - Does nothing for connections other than ssh.
options:
  users:
    description: User names in the order in which they are tried.
    type: list
    elements: str
    required: true
  ports:
    description: Ports to try; the host's own port when empty.
    type: list
    elements: int
    default: []
  fresh:
    description: Opens a new connection for each try, so that an older one proves nothing.
    type: bool
    default: false
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Changes nothing.}
"""

EXAMPLES = r"""
- name: Find the login
  flaskhost.stack.login:
    users: [admin, root, ubuntu]
  register: login
"""

RETURN = r"""
user:
  description: The user that works; null for connections other than ssh.
  returned: success
  type: str
port:
  description: The port that works, when ports were given.
  returned: success
  type: int
tried:
  description: The logins that did not work, each with its reason.
  returned: always
  type: list
  elements: str
"""
