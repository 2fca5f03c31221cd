# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of a MySQL or MariaDB database, by the server's own client programs and as the app's own database user.

A snapshot is put back beside the tables that are there, under other names; then all change places at one moment, by one
RENAME TABLE. A request waits for that moment at most, and never meets half a table.
"""

from __future__ import annotations

import contextlib
import gzip
import os
from collections.abc import Iterable, Iterator
from typing import IO

from ansible_collections.flaskhost.stack.plugins.module_utils import _dump_text
from ansible_collections.flaskhost.stack.plugins.module_utils._client import LOGIN, Client, program
from ansible_collections.flaskhost.stack.plugins.module_utils._database_url import Database
from ansible_collections.flaskhost.stack.plugins.module_utils._difference import VERSIONS, Difference
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import ReleaseError

# seconds to wait for transactions that hold a table which is to change places; others wait behind that
_LOCK_WAIT = 20
# an option that a program does not know is no mistake with this prefix: MySQL and MariaDB differ
_LOOSE = "loose-"
_LOGIN_FILE = f"--defaults-file={LOGIN}"
_PACKAGE = "default-mysql-client"
_DUMP = [
    "--single-transaction",
    "--quick",
    "--order-by-primary",
    "--no-tablespaces",
    "--skip-add-locks",
    "--skip-dump-date",
    "--skip-comments",
    "--hex-blob",
    # a row may be as long as the server takes it
    "--max-allowed-packet=1G",
    "--default-character-set=utf8mb4",
    f"--{_LOOSE}set-gtid-purged=OFF",
    f"--{_LOOSE}column-statistics=0",
]
_SESSION = (
    b"SET NAMES utf8mb4;\nSET SESSION foreign_key_checks=0, unique_checks=0, sql_mode='NO_AUTO_VALUE_ON_ZERO', "
    b"time_zone='+00:00', autocommit=0, lock_wait_timeout=%d, innodb_lock_wait_timeout=%d;\n" % (_LOCK_WAIT, _LOCK_WAIT)
)
_FACTS = f"""
SELECT 'server', IF(VERSION() LIKE '%MariaDB%', 'MariaDB', 'MySQL');
SELECT 'generated', CONCAT(table_name, '.', column_name) FROM information_schema.columns
WHERE table_schema = DATABASE() AND extra LIKE '%GENERATED%' AND extra NOT LIKE 'DEFAULT_GENERATED%';
SELECT 'bytes', CAST(COALESCE(SUM(data_length), 0) AS UNSIGNED)
FROM information_schema.tables WHERE table_schema = DATABASE();
SELECT 'table', table_name FROM information_schema.tables WHERE table_schema = DATABASE()
AND (table_name = '{VERSIONS}' OR table_name LIKE '{_dump_text.STAGING.replace("_", "|_")}%' ESCAPE '|');
SELECT 'program', trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE();
SELECT 'program', routine_name FROM information_schema.routines WHERE routine_schema = DATABASE();
SELECT 'program', event_name FROM information_schema.events WHERE event_schema = DATABASE();
"""
_DROP_PROGRAMS = """
SELECT CONCAT('DROP TRIGGER IF EXISTS `', REPLACE(trigger_name, '`', '``'), '`;')
FROM information_schema.triggers WHERE trigger_schema = DATABASE()
UNION ALL SELECT CONCAT('DROP ', routine_type, ' IF EXISTS `', REPLACE(routine_name, '`', '``'), '`;')
FROM information_schema.routines WHERE routine_schema = DATABASE()
UNION ALL SELECT CONCAT('DROP EVENT IF EXISTS `', REPLACE(event_name, '`', '``'), '`;')
FROM information_schema.events WHERE event_schema = DATABASE()
"""


class MySql:
    """The engine for DATABASE_URLs of MySQL and MariaDB.

    :param database: where it is.
    :param timeout: seconds that one program may take.
    """

    ending = "sql.gz"
    # neither rolls back a statement such as CREATE TABLE: each ends the transaction it stands in
    transactional = False

    def __init__(self, database: Database, timeout: float) -> None:
        self._name = database.name
        self._dumper = program(_PACKAGE, "mariadb-dump", "mysqldump")
        self._client = program(_PACKAGE, "mariadb", "mysql")
        self._programs = Client(_login(database, os.path.basename(self._client)), {}, timeout)
        self._facts: dict[str, list[str]] = {}

    def size(self) -> int:
        """Bytes of all rows as the server keeps them; a compressed dump is smaller, except of pictures and the like."""
        self._facts = self._facts or self._look()
        return int(self._facts["bytes"][0])

    def heads(self) -> list[str]:
        """What alembic wrote into the database; empty when it never did."""
        self._facts = self._look()
        return sorted(self._ask(f"SELECT version_num FROM {VERSIONS}")) if VERSIONS in self._facts["table"] else []

    def dump(self, target: IO[bytes]) -> None:
        """Write a compressed dump of one moment."""
        facts, self._facts = self._facts or self._look(), {}
        if facts["generated"] and facts["server"] == ["MySQL"] and os.path.basename(self._dumper) == "mariadb-dump":
            raise ReleaseError(
                f"mariadb-dump writes what MySQL does not read of generated columns ({', '.join(facts['generated'])}); "
                "put MySQL's own mysqldump on this host, or take `snapshot` out"
            )
        self._drop(facts["table"])
        with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=1, filename="") as stream:
            self._pour(["--skip-triggers"], stream)
            stream.write(_dump_text.PROGRAMS)
            if facts["program"]:
                self._pour(["--no-create-info", "--no-data", "--triggers", "--routines", "--events"], stream)

    def compare(self, before: str, now: str) -> Difference:
        """What became of the database between two dumps."""
        return _dump_text.compare(before, now)

    def take_away(self, difference: Difference, before: str, now: str) -> None:
        """Drop what a snapshot does not have; everything else stays."""
        self._load(self._changes({}, difference, before, now))

    def replace(self, difference: Difference, before: str, now: str) -> None:
        """Make the database what it was, as far as it is another."""
        known = _dump_text.schema(before)
        tables = {_dump_text.raw(name) for name in difference.tables}
        numbers = {name: number for number, name in enumerate(sorted(_dump_text.with_relatives(tables, known)))}
        try:
            self._load(self._changes(numbers, difference, before, now))
        except ReleaseError:
            with contextlib.suppress(ReleaseError):
                self._drop(self._look()["table"])
            raise

    def _changes(self, numbers: dict[bytes, int], difference: Difference, before: str, now: str) -> Iterator[bytes]:
        old, new = _dump_text.schema(before), _dump_text.schema(now)
        yield _SESSION
        if numbers:
            yield from _dump_text.staged(before, numbers, new)
        programs = old.programs != new.programs or (numbers and old.programs)
        if programs:
            yield from (line.encode() + b"\n" for line in self._ask(_DROP_PROGRAMS))
        for name in sorted(new.view_names - old.view_names):
            yield b"DROP VIEW IF EXISTS " + _dump_text.quoted(name) + b";\n"
        yield from _dump_text.swapped(numbers, map(_dump_text.raw, difference.extra), old, new)
        if old.views != new.views:
            yield from old.views
        if programs:
            yield from (line for line in old.programs if not line.startswith(b"/*M!"))

    def _look(self) -> dict[str, list[str]]:
        """In one answer: ``server``, ``bytes`` of all rows, ``table``: of alembic and of ours, ``program``: triggers,
        routines and events, and ``generated`` columns.
        """
        found: dict[str, list[str]] = {"server": [], "bytes": [], "table": [], "program": [], "generated": []}
        for line in self._ask(_FACTS):
            kind, _tab, value = line.partition("\t")
            found[kind].append(value)
        return found

    def _drop(self, tables: list[str]) -> None:
        """Drop what a run that failed or died left of putting a snapshot back."""
        left = [f"`{name}`" for name in tables if name.startswith(_dump_text.STAGING)]
        if left:
            self._load([_SESSION, f"DROP TABLE IF EXISTS {', '.join(left)};\n".encode()])

    def _ask(self, query: str) -> list[str]:
        return self._programs.ask([self._client, _LOGIN_FILE, "--batch", "--skip-column-names", self._name], query)

    def _pour(self, words: list[str], target: gzip.GzipFile) -> None:
        self._programs.pour([self._dumper, _LOGIN_FILE, *_DUMP, *words, self._name], target)

    def _load(self, statements: Iterable[bytes]) -> None:
        words = [self._client, _LOGIN_FILE, "--batch", "--binary-mode", "--max-allowed-packet=1G", self._name]
        self._programs.load(words, statements)


def _login(database: Database, client: str) -> str:
    """An option file for the programs.

    :param client: MariaDB's or MySQL's.
    """
    options = database.options
    lines = {"user": database.user, "password": database.password}
    if options.get("unix_socket"):
        lines["socket"] = options["unix_socket"]
    else:
        # drivers take "localhost" for an address, the programs for a socket
        lines |= {"host": database.host or "127.0.0.1", "port": str(database.port or 3306), "protocol": "TCP"}
    lines |= {name.replace("_", "-"): options[name] for name in ("ssl_ca", "ssl_cert", "ssl_key") if options.get(name)}
    text = "".join(f"{name}={_in_quotes(value)}\n" for name, value in lines.items())
    if client == "mysql":
        text += f"{_LOOSE}get-server-public-key\n"
    elif not options.get("ssl_ca"):
        # as drivers do; newer programs refuse a server whose certificate they do not know
        text += f"{_LOOSE}skip-ssl-verify-server-cert\n"
    return f"[client]\n{text}"


def _in_quotes(value: str) -> str:
    """A value as an option file has it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
