# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether users of MariaDB or MySQL are as they should be, from what the server says of them.

Strict on purpose: whatever is not word for word as expected counts as different, and the caller has the full modules
look at it. Standard library only, and the hash of the collection ansible.mysql: it runs on hosts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from ansible_collections.ansible.mysql.plugins.module_utils.implementations.mysql.hash import (
    mysql_sha256_password_hash,
)

SALT_LENGTH = 20


def salt_of(user: str, host: str) -> str:
    """A salt that follows from the account, so that a hash can be compared; it has to differ, not to be secret."""
    return hashlib.sha256(f"{user}@{host}".encode()).hexdigest()[:SALT_LENGTH]


def native_hash(password: str) -> str:
    """What MariaDB stores of a password (plugin mysql_native_password)."""
    once = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return "*" + hashlib.sha1(once, usedforsecurity=False).hexdigest().upper()


def stored_hash(user: str, host: str, password: str) -> str:
    """What MySQL stores of a password (plugin caching_sha2_password), with the salt of the account."""
    return str(mysql_sha256_password_hash(password, salt_of(user, host)))


def wanted_grants(name: str, user: str, host: str, password: str, mariadb: bool, tls: bool = False) -> set[str]:
    """What SHOW GRANTS prints of a user with all rights in one database and none elsewhere."""
    account = f"{_quoted(user)}@{_quoted(host)}"
    # MariaDB shows the hash here, MySQL elsewhere
    secret = f" IDENTIFIED BY PASSWORD '{native_hash(password)}'{' REQUIRE SSL' if tls else ''}" if mariadb else ""
    return {f"GRANT USAGE ON *.* TO {account}{secret}", f"GRANT ALL PRIVILEGES ON {_quoted(name)}.* TO {account}"}


def is_as_wanted(
    wanted: dict[str, Any],
    host: str,
    mariadb: bool,
    grants: Iterable[str],
    stored: tuple[str, str, str],
    tls: bool = False,
) -> bool:
    """Whether a user has the wanted password and exactly the wanted rights.

    :param wanted: name (of the database), user, password.
    :param grants: the lines of SHOW GRANTS.
    :param stored: plugin, authentication_string and ssl_type of mysql.user; only MySQL's counts.
    :param tls: whether it has to come over TLS.
    """
    user, password = str(wanted["user"]), str(wanted["password"])
    if set(grants) != wanted_grants(str(wanted["name"]), user, host, password, mariadb, tls):
        return False
    return mariadb or stored == (
        "caching_sha2_password",
        stored_hash(user, host, password),
        "ANY" if tls else "",
    )


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
