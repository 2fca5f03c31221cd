#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which databases and users a server lacks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_status
short_description: Tells which databases and users of MariaDB or MySQL are missing or not as they should be
version_added: "0.1.0"
description:
  - Looks at all of them in one call, so that only those that are due cost further tasks.
  - A user is due unless it has exactly the given password and all rights in its database and none elsewhere. What is in doubt is due.
options:
  databases:
    description: What the server should hold.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the database.
        type: str
        required: true
      user:
        description: Its user.
        type: str
        required: true
      password:
        description: The user's password.
        type: str
        required: true
      hosts:
        description: Addresses from which the user may come.
        type: list
        elements: str
        required: true
      engine:
        description: Is not looked at.
        type: str
  tls:
    description: Whether users from any host but those in O(plain_hosts) have to come over TLS.
    type: bool
    default: false
  plain_hosts:
    description: Hosts from which users need no TLS.
    type: list
    elements: str
    default: [127.0.0.1, localhost, "::1"]
  socket:
    description: The server's socket, over which root logs in.
    type: path
    default: /run/mysqld/mysqld.sock
requirements: [python3-pymysql]
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Changes nothing. Without a server nothing is due.}
"""

EXAMPLES = r"""
- name: Look at all
  flaskhost.stack.database_status:
    databases: "{{ mysql_databases }}"
  register: status
"""

RETURN = r"""
databases:
  description: The names of those that are missing.
  returned: success
  type: list
  elements: str
users:
  description: Those that are due, as C(user@host).
  returned: success
  type: list
  elements: str
salts:
  description: By C(user@host), the salt with which MySQL's hash of the password has to be made, so that it can be compared.
  returned: success
  type: dict
"""

import os
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils._database_users import is_as_wanted, salt_of

# "there is no such grant defined for user": what SHOW GRANTS says of a user that is not there
_NO_SUCH_GRANT = 1141


def look(
    connection: Any, wanted: list[dict[str, Any]], errors: Any, tls: Callable[[str], bool] = lambda host: False
) -> tuple[list[str], list[str]]:
    """Missing databases and due users, over an open connection.

    :param errors: pymysql's module of exceptions.
    :param tls: whether a user from this host has to come over TLS.
    """
    cursor = connection.cursor()

    def ask(query: str, *values: str) -> list[tuple[str, ...]]:
        cursor.execute(query, values)
        return [tuple(map(_text, row)) for row in cursor.fetchall()]

    mariadb = "mariadb" in ask("SELECT VERSION()")[0][0].lower()
    there = {row[0] for row in ask("SHOW DATABASES")}
    missing = sorted({one["name"] for one in wanted} - there)
    due = []
    for one in wanted:
        for host in one["hosts"]:
            try:
                grants = [row[0] for row in ask("SHOW GRANTS FOR %s@%s", one["user"], host)]
            except errors.Error as error:
                if error.args[0] != _NO_SUCH_GRANT:
                    raise
                grants = []
            stored = ask(
                "SELECT plugin, authentication_string, ssl_type FROM mysql.user WHERE user=%s AND host=%s",
                one["user"],
                host,
            )
            plugin, text, kind = (*stored[0],) if stored else ("", "", "")
            if not is_as_wanted(one, host, mariadb, grants, (plugin, text, kind), tls(host)):
                due.append(f"{one['user']}@{host}")
    return missing, due


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def main() -> None:
    """Entry point of the module."""
    database = {
        "name": {"type": "str", "required": True},
        "user": {"type": "str", "required": True},
        "password": {"type": "str", "required": True, "no_log": True},
        "hosts": {"type": "list", "elements": "str", "required": True},
        "engine": {"type": "str"},
    }
    module = AnsibleModule(
        argument_spec={
            "databases": {"type": "list", "elements": "dict", "required": True, "options": database},
            "tls": {"type": "bool", "default": False},
            "plain_hosts": {"type": "list", "elements": "str", "default": ["127.0.0.1", "localhost", "::1"]},
            "socket": {"type": "path", "default": "/run/mysqld/mysqld.sock"},
        },
        supports_check_mode=True,
    )
    wanted = module.params["databases"]
    if module.check_mode and not os.path.exists(module.params["socket"]):
        module.exit_json(changed=False, databases=[], users=[], salts={})
    try:
        # not at the top: in check mode neither driver nor server may be there yet
        import pymysql
    except ImportError:
        module.fail_json(msg="database_status needs PyMySQL; install python3-pymysql on the host")
    try:
        connection = pymysql.connect(user="root", unix_socket=module.params["socket"], charset="utf8mb4")
        plain = module.params["plain_hosts"]
        missing, due = look(connection, wanted, pymysql.err, lambda host: module.params["tls"] and host not in plain)
    except pymysql.err.Error as error:
        module.fail_json(msg=f"database_status: the server at {module.params['socket']} answers {error}")
    salts = {f"{one['user']}@{host}": salt_of(one["user"], host) for one in wanted for host in one["hosts"]}
    module.exit_json(changed=False, databases=missing, users=due, salts=salts)


if __name__ == "__main__":
    main()
