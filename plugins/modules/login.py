# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation only: the work is done on the control node, by the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: login
short_description: Finds the first login that works and may become root, and gathers the facts that the roles need
version_added: "0.1.0"
description:
  - Tries users over ssh with the connection settings of the host, never asking for a password.
  - Other connections have no choice of logins; their host is asked for the facts only.
  - The facts are asked in plain C(sh) in the same round trip, where C(setup) takes two to four, and know more, such as the
    port of ssh in use and the names of all installed packages, so that roles need not ask again.
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
  cloud_init_timeout:
    description: Seconds to wait until cloud-init has finished on a host that is being born; it holds apt's lock and edits sshd.
    type: int
    default: 0
  settle:
    description:
      - Seconds to wait, while changes are armed that an earlier run did not confirm, until the host has taken them back; see
        M(flaskhost.stack.guard). The login is looked for anew then.
    type: int
    default: 0
  supported:
    description: Systems as C(id version) of /etc/os-release; any other is refused, as is one without systemd or python3. Empty refuses none.
    type: list
    elements: str
    default: []
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
ansible_facts:
  description: Facts of the host, below C(ansible_facts.flaskhost). What a host does not tell is empty, 0 or false.
  returned: success
  type: dict
  contains:
    flaskhost:
      description: All of them.
      type: dict
      contains:
        os: {description: "C(id), C(like) (list), C(codename), C(version) and C(name) of /etc/os-release", type: dict}
        arch: {description: Machine name of the kernel, type: str, sample: x86_64}
        memory_mb: {description: RAM in MiB, type: int}
        cpus: {description: Number of processors that the login may use, type: int}
        python: {description: Version of /usr/bin/python3, type: str, sample: 3.11.2}
        init: {description: Name of process 1, type: str, sample: systemd}
        ipv6: {description: Whether the kernel speaks IPv6, type: bool}
        uv: {description: Version of the uv that the app role installed, type: str}
        cloud_init: {description: "none, running or done", type: str}
        ssh: {description: "C(port) and C(client) of this connection, C(socket_activated), C(kex) (what this ssh knows), C(host_keys)", type: dict}
        users:
          description: >-
            All accounts by name; each with C(uid), C(gid), C(groups), C(comment), C(home), C(home_exists), C(shell), C(locked) (no password opens
            it), C(expires) as in C(/etc/shadow), C(password_forced) and C(password_ages) (it
            has to be changed now, or some day). No hash of a password is read.
          type: dict
        packages: {description: Names of all installed packages, type: list, elements: str}
"""
