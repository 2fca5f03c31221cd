#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a database host among several."""

from __future__ import annotations

DOCUMENTATION = r"""
module: replication
short_description: Makes a MariaDB or MySQL server the primary or a replica of several that hold the same data
version_added: "0.1.0"
description:
  - Replication by global transaction ids, over TLS. A role lasts over restarts. All servers are MariaDB, or all are MySQL 8.0.26 and newer.
options:
  do:
    description:
      - C(accept) lets replicas in from O(hosts).
      - C(follow) makes it a replica of O(source). A server without data gets a copy of all databases first, a former primary goes on from where it was.
      - C(hold) has it take no writes any more, and returns the position of the last one.
      - C(lead) waits until it has all up to O(positions), and has it take writes.
      - C(open) has a held primary take writes again.
    type: str
    choices: [accept, follow, hold, lead, open]
    required: true
  hosts:
    description: Addresses of the other servers of the group.
    type: list
    elements: str
    default: []
  source:
    description: Address of the primary.
    type: str
    default: ""
  port:
    description: Port of the primary.
    type: int
    default: 3306
  password:
    description: Password with which replicas log in.
    type: str
    default: ""
  term:
    description: How many failovers there were, counting from 1; the highest of the group.
    type: int
    default: 1
  positions:
    description: Where the other servers stopped; none where they are lost, and what was received has to do.
    type: list
    elements: str
    default: []
  rebuild:
    description: Whether C(follow) throws away what is here and copies anew.
    type: bool
    default: false
  socket:
    description: The server's socket, over which root logs in.
    type: path
    default: /run/mysqld/mysqld.sock
requirements: [python3-pymysql, mariadb-client or mysql-client]
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: partial, description: "Does nothing, and says that it would."}
"""

EXAMPLES = r"""
- name: Follow the primary
  flaskhost.stack.replication:
    do: follow
    source: 10.0.0.5
    password: "{{ replication_password }}"
"""

RETURN = r"""
position:
  description: Position of the last write.
  returned: C(hold)
  type: str
how:
  description: How it became a replica.
  returned: C(follow)
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils import _replication
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import ReleaseError
from ansible_collections.flaskhost.stack.plugins.module_utils._replication_server import (
    ReplicationError,
    Server,
    Source,
)


def act(server: Server, wanted: dict[str, Any]) -> dict[str, Any]:
    """Do it; what the module returns."""
    verb, term = wanted["do"], wanted["term"]
    if verb == "accept":
        return {"changed": _replication.accept(server, wanted["hosts"], wanted["password"])}
    if verb == "follow":
        source = Source(wanted["source"], wanted["port"], wanted["password"])
        how = _replication.follow(server, source, term, rebuild=wanted["rebuild"])
        return {"changed": bool(how), "how": how}
    if verb == "hold":
        return {"changed": True, "position": _replication.hold(server, term)}
    if verb == "open":
        _replication.take(server, term)
    else:
        _replication.lead(server, wanted["positions"], term)
    return {"changed": True}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "do": {"type": "str", "choices": ["accept", "follow", "hold", "lead", "open"], "required": True},
            "hosts": {"type": "list", "elements": "str", "default": []},
            "source": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 3306},
            "password": {"type": "str", "default": "", "no_log": True},
            "term": {"type": "int", "default": 1},
            "positions": {"type": "list", "elements": "str", "default": []},
            "rebuild": {"type": "bool", "default": False},
            "socket": {"type": "path", "default": "/run/mysqld/mysqld.sock"},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True, how="", position="")
    try:
        # not at the top: the driver comes with the server
        import pymysql
    except ImportError:
        module.fail_json(msg="replication needs PyMySQL; install python3-pymysql on the host")
    try:
        connection = pymysql.connect(
            user="root", unix_socket=module.params["socket"], charset="utf8mb4", autocommit=True
        )
        module.exit_json(**act(_replication.server_of(connection), module.params))
    except (ReplicationError, ReleaseError) as error:
        module.fail_json(msg=f"replication ({module.params['do']}): {error}")
    except pymysql.err.Error as error:
        module.fail_json(msg=f"replication ({module.params['do']}): the server answers {error}")


if __name__ == "__main__":
    main()
