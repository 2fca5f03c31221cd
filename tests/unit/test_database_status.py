# SPDX-License-Identifier: GPL-3.0-or-later
"""Which databases and users are due, from answers that real servers gave (MariaDB 10.11, MySQL 9.7)."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.ansible.mysql.plugins.module_utils.implementations.mysql.hash import mysql_sha256_password_hash
from ansible_collections.flaskhost.stack.plugins.module_utils import _database_users as users
from ansible_collections.flaskhost.stack.plugins.modules import database_status

WANTED = {"name": "shop_1", "user": "shop", "password": "secret", "hosts": ["127.0.0.1"]}
USAGE = "GRANT USAGE ON *.* TO `shop`@`127.0.0.1`"
# SELECT PASSWORD('secret') of MariaDB
HASH = "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7"
ALL = "GRANT ALL PRIVILEGES ON `shop_1`.* TO `shop`@`127.0.0.1`"
MARIADB = (f"{USAGE} IDENTIFIED BY PASSWORD '{HASH}'", ALL)
MYSQL = (USAGE, ALL)
STORED = ("caching_sha2_password", mysql_sha256_password_hash("secret", users.salt_of("shop", "127.0.0.1")), "")


def test_hashes_and_salts() -> None:
    assert users.native_hash("secret") == HASH
    salt = users.salt_of("shop", "127.0.0.1")
    assert len(salt) == 20
    assert salt not in (users.salt_of("shop", "localhost"), users.salt_of("shop2", "127.0.0.1"))


def mariadb(*grants: str, **changed: Any) -> bool:
    return users.is_as_wanted({**WANTED, **changed}, "127.0.0.1", True, grants, ("mysql_native_password", HASH, ""))


def mysql(*grants: str, stored: tuple[str, str, str] = STORED, **changed: Any) -> bool:
    return users.is_as_wanted({**WANTED, **changed}, "127.0.0.1", False, grants, stored)


def test_what_is_as_it_should_be() -> None:
    assert mariadb(*MARIADB)
    assert mariadb(*reversed(MARIADB))
    assert mysql(*MYSQL)


@pytest.mark.parametrize("changed", [{"password": "other"}, {"user": "shop2"}, {"name": "shop_2"}])
def test_another_password_user_or_database(changed: dict[str, Any]) -> None:
    assert not mariadb(*MARIADB, **changed)
    assert not mysql(*MYSQL, **changed)


@pytest.mark.parametrize(
    "more",
    [
        "GRANT SELECT ON `other`.* TO `shop`@`127.0.0.1`",
        "GRANT ALL PRIVILEGES ON *.* TO `shop`@`127.0.0.1`",
        "GRANT PROXY ON ''@'%' TO 'shop'@'127.0.0.1' WITH GRANT OPTION",
    ],
)
def test_more_rights_than_wanted(more: str) -> None:
    assert not mariadb(*MARIADB, more)
    assert not mysql(*MYSQL, more)


@pytest.mark.parametrize(
    "rights",
    [
        "GRANT SELECT, INSERT ON `shop_1`.* TO `shop`@`127.0.0.1`",
        "GRANT ALL PRIVILEGES ON `shop\\_1`.* TO `shop`@`127.0.0.1`",
        "GRANT ALL PRIVILEGES ON `shop_1`.* TO `shop`@`127.0.0.1` WITH GRANT OPTION",
        "GRANT ALL PRIVILEGES ON `shop_1`.`entries` TO `shop`@`127.0.0.1`",
    ],
)
def test_other_rights_than_wanted(rights: str) -> None:
    assert not mariadb(MARIADB[0], rights)
    assert not mysql(USAGE, rights)


def test_no_rights_and_no_user() -> None:
    for grants in ((), MARIADB[:1], MARIADB[1:]):
        assert not mariadb(*grants)
    for grants in ((), MYSQL[:1], MYSQL[1:]):
        assert not mysql(*grants)


def test_other_ways_to_log_in() -> None:
    assert not mariadb(f"{USAGE} IDENTIFIED VIA unix_socket", ALL)
    assert not mariadb(f"{USAGE} IDENTIFIED BY PASSWORD '{HASH}' REQUIRE SSL", ALL)
    assert not mysql(*MYSQL, stored=("auth_socket", "", ""))
    other_salt = mysql_sha256_password_hash("secret", "x" * 20)
    assert not mysql(*MYSQL, stored=("caching_sha2_password", other_salt, ""))


def test_users_that_have_to_come_over_tls() -> None:
    words = ("127.0.0.1", True)
    told = (f"{USAGE} IDENTIFIED BY PASSWORD '{HASH}' REQUIRE SSL", ALL)
    nothing = ("", "", "")
    assert users.is_as_wanted(WANTED, *words, told, nothing, tls=True)
    assert not users.is_as_wanted(WANTED, *words, MARIADB, nothing, tls=True)
    kind = ("127.0.0.1", False, MYSQL)
    assert users.is_as_wanted(WANTED, *kind, (*STORED[:2], "ANY"), tls=True)
    assert not users.is_as_wanted(WANTED, *kind, STORED, tls=True)
    assert not users.is_as_wanted(WANTED, *kind, (*STORED[:2], "ANY"))


class Refused(Exception):
    """An error of the server: number and text."""


class Errors:
    Error = Refused


class Server:
    """Answers as a server does; its own cursor."""

    def __init__(self, *, mariadb: bool = True, grants: dict[str, tuple[str, ...]] | None = None) -> None:
        self.mariadb, self.grants = mariadb, grants or {}
        self.rows: list[tuple[Any, ...]] = []

    def cursor(self) -> Server:
        return self

    def execute(self, query: str, values: tuple[str, ...]) -> None:
        if query == "SELECT VERSION()":
            self.rows = [("10.11.6-MariaDB-0+deb12u1" if self.mariadb else "9.7.4-0ubuntu1",)]
        elif query == "SHOW DATABASES":
            self.rows = [("mysql",), ("shop_1",)]
        elif query.startswith("SHOW GRANTS"):
            if "@".join(values) not in self.grants:
                raise Refused(1141, "There is no such grant defined")
            self.rows = [(line,) for line in self.grants["@".join(values)]]
        else:
            self.rows = [(b"caching_sha2_password", STORED[1].encode(), b"")] if "@".join(values) in self.grants else []

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.rows


@pytest.mark.parametrize(("kind", "grants"), [(True, MARIADB), (False, MYSQL)])
def test_a_look_at_a_server(kind: bool, grants: tuple[str, ...]) -> None:
    server = Server(mariadb=kind, grants={"shop@127.0.0.1": grants})
    both = {**WANTED, "hosts": ["127.0.0.1", "localhost"]}
    blog = {**WANTED, "name": "blog", "user": "blog"}
    assert database_status.look(server, [WANTED], Errors) == ([], [])
    assert database_status.look(server, [both, blog], Errors) == (["blog"], ["shop@localhost", "blog@127.0.0.1"])
    assert database_status.look(server, [], Errors) == ([], [])
    assert database_status.look(server, [WANTED], Errors, lambda host: True) == ([], ["shop@127.0.0.1"])


def test_an_error_of_the_server_is_no_answer() -> None:
    class Down(Server):
        def execute(self, query: str, values: tuple[str, ...]) -> None:
            if query.startswith("SHOW GRANTS"):
                raise Refused(2013, "Lost connection")
            super().execute(query, values)

    with pytest.raises(Refused, match="Lost connection"):
        database_status.look(Down(), [WANTED], Errors)
