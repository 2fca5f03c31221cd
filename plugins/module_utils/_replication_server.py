# SPDX-License-Identifier: GPL-3.0-or-later
"""What replication asks of a database server, whichever it is: MariaDB and MySQL say the same in other words."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._client import Client

USER = "flaskhost_replica"
CA = "/etc/mysql/flaskhost/ca.pem"
SYSTEM = ("information_schema", "mysql", "performance_schema", "sys")
# seconds that the first copy of all data may take
_COPY = 24 * 3600


class ReplicationError(Exception):
    """What keeps a host from its role; the text says what to do."""


@dataclass(frozen=True)
class Source:
    """The primary that a replica follows: its address, its port, and the password of USER there."""

    host: str
    port: int
    password: str


@dataclass(frozen=True)
class Status:
    """What a replica says of itself.

    :ivar source: address of the primary.
    :ivar receives: whether it gets what that writes: Yes, No or Connecting.
    :ivar applies: whether it does the same: Yes or No.
    :ivar received: the position up to which it got everything; may be empty.
    :ivar number: of the last error on the way there.
    :ivar error: the last error's text.
    """

    source: str = ""
    receives: str = ""
    applies: str = ""
    received: str = ""
    number: int = 0
    error: str = ""

    @property
    def runs(self) -> bool:
        """Whether it follows."""
        return (self.receives, self.applies) == ("Yes", "Yes")


class Server(abc.ABC):
    """The server of this host, as root sees it.

    :param connection: of pymysql, over the socket, with autocommit.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def ask(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of an answer, by column."""
        with self._connection.cursor() as cursor:
            cursor.execute(query, values or None)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, map(_text, row), strict=True)) for row in cursor.fetchall()] if names else []

    def value(self, expression: str) -> str:
        """One value as text."""
        (row,) = self.ask(f"SELECT {expression} AS found")
        return str(row["found"] if row["found"] is not None else "")

    def databases(self) -> list[str]:
        """All but the server's own."""
        return [name for row in self.ask("SHOW DATABASES") for name in row.values() if name not in SYSTEM]

    def blank(self) -> bool:
        """Whether a copy deletes nothing that anybody needs."""
        listed = ", ".join(f"'{name}'" for name in SYSTEM)
        return (
            self.value(f"(SELECT COUNT(*) FROM information_schema.tables WHERE table_schema NOT IN ({listed}))") == "0"
        )

    @abc.abstractmethod
    def prove(self) -> None:
        """See that it can do what the roles rely on.

        :raises ReplicationError: it cannot.
        """

    def hosts(self) -> list[str]:
        """From where replicas may come."""
        return [
            row["host"] for row in self.ask("SELECT Host AS host FROM mysql.user WHERE User = %s ORDER BY Host", USER)
        ]

    def accounts(self) -> list[str]:
        """All that the server knows of the replicas' users, so that it can be compared."""
        return [
            str(line)
            for host in self.hosts()
            for row in self.ask("SHOW GRANTS FOR %s@%s", USER, host)
            for line in row.values()
        ]

    def client(self, source: Source | None = None) -> Client:
        """How to run this server's programs: on `source`, over TLS and nothing else, or on this host as root."""
        if source is None:
            return Client('[client]\nuser="root"\nsocket="/run/mysqld/mysqld.sock"\n', {}, _COPY)
        login = {
            "user": USER,
            "password": source.password,
            "host": source.host,
            "port": str(source.port),
            "protocol": "TCP",
            "ssl-ca": CA,
        }
        lines = "".join(f'{name}="{value}"\n' for name, value in login.items())
        return Client(f"[client]\n{lines}{self.verify}\n", {}, _COPY)

    # line of the login that has programs verify the server's certificate, its address included
    verify: str

    @abc.abstractmethod
    def let_in(self, host: str, password: str) -> None:
        """A replica may come from `host`, over TLS."""

    # SHOW REPLICA STATUS has the address of the primary, whether it receives, whether it applies, and what it received, under these names
    columns: tuple[str, str, str, str]

    def replica(self) -> Status | None:
        """What it says of itself as a replica; none where it replicates from nobody."""
        for row in self.ask("SHOW REPLICA STATUS"):
            source, receives, applies, received = (str(row.get(name) or "") for name in self.columns)
            error = str(row.get("Last_IO_Error") or row.get("Last_SQL_Error") or "")
            return Status(source, receives, applies, received, int(row.get("Last_IO_Errno") or 0), error)
        return None

    @abc.abstractmethod
    def position(self) -> str:
        """Up to where it has everything, written here or received."""

    @abc.abstractmethod
    def gtids(self, text: str) -> str:
        """A position that may stand in a query.

        :raises ReplicationError: it is none.
        """

    @abc.abstractmethod
    def waits(self, position: str, seconds: int) -> bool:
        """Whether the replica has all up to there, within this time."""

    @abc.abstractmethod
    def has(self, position: str) -> bool:
        """Whether all transactions up to a position are here, on a server that replicates from nobody."""

    @abc.abstractmethod
    def astray(self, source: Source) -> str:
        """What this server has and `source` lacks, as far as it can be told before they connect."""

    @abc.abstractmethod
    def follow(self, source: Source, *, led: bool = False) -> None:
        """Begin to replicate from `source`, from the position that the server itself knows.

        :param led: it was a primary before, and goes on from what it wrote last.
        """

    @abc.abstractmethod
    def forget(self) -> None:
        """Have no position and no log any more; databases are gone already."""

    @abc.abstractmethod
    def programs(self) -> tuple[list[str], list[str]]:
        """The client, and the program that prints a copy of some databases along with its position; with their options."""


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
