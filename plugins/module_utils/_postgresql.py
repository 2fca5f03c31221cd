# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of a PostgreSQL database, by pg_dump and psql, as the app's own database user."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from typing import IO
from urllib.parse import quote, urlencode

from ansible_collections.flaskhost.stack.plugins.module_utils._client import LOGIN, Client, program
from ansible_collections.flaskhost.stack.plugins.module_utils._database_url import Database
from ansible_collections.flaskhost.stack.plugins.module_utils._difference import VERSIONS, Difference

_LOCK_WAIT = 20
_PACKAGE = "postgresql-client"
# parts of an address that mean something to PostgreSQL's own programs
_OPTIONS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "target_session_attrs")
# pg_dump's own --clean knows only what the dump has; what a migration made since has to go as well
_EMPTY = f"""
SET lock_timeout = '{_LOCK_WAIT}s';
SET client_min_messages = warning;
DO $flaskhost$
DECLARE thing record;
BEGIN
  FOR thing IN
    SELECT format('SCHEMA IF EXISTS %I', nspname) AS name FROM pg_namespace
      WHERE pg_get_userbyid(nspowner) = current_user AND nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('public', 'information_schema')
    UNION ALL
    SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE'
        WHEN 'S' THEN 'SEQUENCE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END || ' IF EXISTS ' || format('%I.%I', nspname, relname)
      FROM pg_class AS class JOIN pg_namespace AS space ON space.oid = relnamespace
      WHERE pg_get_userbyid(relowner) = current_user AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND nspname = 'public'
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = class.oid AND deptype = 'e')
    UNION ALL
    SELECT 'ROUTINE IF EXISTS ' || routine.oid::regprocedure
      FROM pg_proc AS routine JOIN pg_namespace AS space ON space.oid = pronamespace
      WHERE pg_get_userbyid(proowner) = current_user AND nspname = 'public'
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = routine.oid AND deptype = 'e')
    UNION ALL
    SELECT 'TYPE IF EXISTS ' || format('%I.%I', nspname, typname)
      FROM pg_type AS type JOIN pg_namespace AS space ON space.oid = typnamespace
      WHERE pg_get_userbyid(typowner) = current_user AND typtype IN ('e', 'd') AND nspname = 'public'
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = type.oid AND deptype = 'e')
  LOOP
    EXECUTE 'DROP ' || thing.name || ' CASCADE';
  END LOOP;
END $flaskhost$;
"""


# where the head of a dump ends: what it sets before, and what comes into the database after
_HEAD_ENDS = b"SELECT pg_catalog.set_config("
# what client programs set although an older server does not know it: the line, and server_version_num from which it is known
_SETTINGS = {b"SET transaction_timeout = 0;\n": 170000}
# An extension that the server's owner has made stays where it is, and its comment is not the app's to change. With the lines
# around it, which no row has: in a row, the end of a line is written as \n.
_ON_EXTENSION = re.compile(
    rb"--\n-- Name: EXTENSION [^\n]*; Type: COMMENT;[^\n]*\n--\n\nCOMMENT ON EXTENSION [^\n]*;\n"
)


class PostgreSql:
    """The engine for DATABASE_URLs of PostgreSQL.

    :param database: where it is.
    :param timeout: seconds that one program may take.
    """

    ending = "sql.gz"
    # a migration that fails takes its CREATE TABLE back by itself
    transactional = True

    def __init__(self, database: Database, timeout: float) -> None:
        password = database.password.replace("\\", "\\\\").replace(":", "\\:")
        variables = {"PGPASSFILE": LOGIN, "PGCLIENTENCODING": "UTF8"}
        self._programs = Client(f"*:*:*:*:{password}\n", variables, timeout)
        self._database = f"--dbname={_address(database)}"
        self._dumper = program(_PACKAGE, "pg_dump")
        self._psql = [program(_PACKAGE, "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", self._database]

    def size(self) -> int:
        """Bytes of the whole database."""
        return int(self._ask("SELECT pg_database_size(current_database())")[0])

    def heads(self) -> list[str]:
        """What alembic wrote into the database; empty when it never did."""
        if self._ask(f"SELECT to_regclass('{VERSIONS}') IS NOT NULL") != ["t"]:
            return []
        return sorted(self._ask(f"SELECT version_num FROM {VERSIONS}"))

    def dump(self, target: IO[bytes]) -> None:
        """Write a compressed dump of one moment."""
        with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1, filename="") as stream:
            self._programs.pour([self._dumper, "--no-owner", "--no-privileges", self._database], stream)

    def compare(self, before: str, now: str) -> Difference:
        """Not known: a dump is put back as a whole."""
        return Difference(other=["everything"])

    def take_away(self, difference: Difference, before: str, now: str) -> None:
        """The same as :meth:`replace`."""
        self.replace(difference, before, now)

    def replace(self, difference: Difference, before: str, now: str) -> None:
        """Make the database what it was, in one transaction: others see it before or after."""
        server = int(self._ask("SHOW server_version_num")[0])
        self._programs.load([*self._psql, "--single-transaction"], _statements(before, server))

    def _ask(self, query: str) -> list[str]:
        return self._programs.ask([*self._psql, "--tuples-only", "--no-align"], query)


def _statements(dump: str, server: int) -> Iterator[bytes]:
    """What makes the database what a dump has.

    :param server: its version, as server_version_num; it may be older than the programs that wrote the dump.
    """
    yield _EMPTY.encode()
    with gzip.open(dump, "rb") as source:
        # extensions come before all else
        head, ends, part = _ON_EXTENSION.sub(b"", source.read(2**20)).partition(_HEAD_ENDS)
        for setting, since in _SETTINGS.items():
            if ends and server < since:
                head = head.replace(setting, b"")
        yield head + ends + part
        while part := source.read(2**20):
            yield part


def _address(database: Database) -> str:
    """The address without the password."""
    host = f"[{database.host}]" if ":" in database.host else database.host
    options = urlencode({name: database.options[name] for name in _OPTIONS if name in database.options})
    return (
        f"postgresql://{quote(database.user, safe='')}@{host}:{database.port or 5432}/{quote(database.name, safe='')}"
        + (f"?{options}" if options else "")
    )
