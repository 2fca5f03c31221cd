# SPDX-License-Identifier: GPL-3.0-or-later
"""Replication in MySQL's words. A position is the set of all transactions: 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-9."""

from __future__ import annotations

import dataclasses
import re

from ansible_collections.flaskhost.stack.plugins.module_utils._client import LOGIN, Client, program
from ansible_collections.flaskhost.stack.plugins.module_utils._database_users import stored_hash
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import ReleaseError
from ansible_collections.flaskhost.stack.plugins.module_utils._replication_server import (
    CA,
    USER,
    ReplicationError,
    Server,
    Source,
)

# older ones do not know SOURCE and REPLICA everywhere
OLDEST = (8, 0, 26)
# a replica sees every row anyway; the rest is what the first copy needs
_RIGHTS = (
    "REPLICATION SLAVE, REPLICATION CLIENT, RELOAD, PROCESS, SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON *.*"
)
# characters of a password that CHANGE REPLICATION SOURCE takes
_PASSWORD = 32
_GTIDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:([a-z_][a-z0-9_]*|[0-9]+(-[0-9]+)?))+")


class MySql(Server):
    """MySQL 8.0.26 and newer."""

    verify = 'ssl-mode="VERIFY_IDENTITY"'
    columns = ("Source_Host", "Replica_IO_Running", "Replica_SQL_Running", "Retrieved_Gtid_Set")

    def prove(self) -> None:
        """A server whose plugins could not be loaded starts all the same."""
        if not self.ask("SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync_source_enabled'"):
            raise ReplicationError(
                "its plugin semisync_source.so is not loaded, so a write would count before a replica has it; `journalctl -u mysql` and the "
                "server's own log tell why"
            )

    def let_in(self, host: str, password: str) -> None:
        """With a salt that follows from the account, so that what is stored can be compared."""
        stored = stored_hash(USER, host, password[:_PASSWORD])
        how = "IDENTIFIED WITH caching_sha2_password AS %s REQUIRE SSL"
        self.ask(f"CREATE USER IF NOT EXISTS %s@%s {how}", USER, host, stored)
        self.ask(f"ALTER USER %s@%s {how}", USER, host, stored)
        self.ask(f"GRANT {_RIGHTS} TO %s@%s", USER, host)

    def accounts(self) -> list[str]:
        """SHOW GRANTS says nothing of passwords here."""
        query = "SELECT CONCAT(Host, plugin, authentication_string, ssl_type) AS found FROM mysql.user WHERE User = %s ORDER BY Host"
        return [*super().accounts(), *(str(row["found"]) for row in self.ask(query, USER))]

    def position(self) -> str:
        """See Server."""
        return self.value("@@global.gtid_executed").replace("\n", "")

    def gtids(self, text: str) -> str:
        """See Server."""
        found = re.sub(r"\s", "", text).lower()
        if not all(map(_GTIDS.fullmatch, found.split(","))):
            raise ReplicationError(f"{text!r} is no position")
        return found

    def waits(self, position: str, seconds: int) -> bool:
        """See Server."""
        return self.value(f"WAIT_FOR_EXECUTED_GTID_SET('{self.gtids(position)}', {seconds})") == "0"

    def has(self, position: str) -> bool:
        """See Server."""
        return self.value(f"GTID_SUBSET('{self.gtids(position)}', @@global.gtid_executed)") == "1"

    def astray(self, source: Source) -> str:
        """The transactions of this server that the other lacks; MySQL would go on in silence, and hand them out after the next failover."""
        mine = self.position()
        if not mine:
            return ""
        client, _ = self.programs()
        try:
            # later than ours, so that what came from there meanwhile is no difference
            found = self.client(source).ask(client, "SELECT REPLACE(@@global.gtid_executed, '\\n', '')")
        except ReleaseError as error:
            raise ReplicationError(f"it does not get through to the primary {source.host}: {error}") from error
        theirs = "".join(found).strip()
        return self.value(f"GTID_SUBTRACT('{self.gtids(mine)}', '{self.gtids(theirs) if theirs else ''}')")

    def follow(self, source: Source, *, led: bool = False) -> None:
        """See Server."""
        self.ask(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = %s, SOURCE_PORT = %s, SOURCE_USER = %s, SOURCE_PASSWORD = %s, SOURCE_SSL = 1, "
            "SOURCE_SSL_CA = %s, SOURCE_SSL_VERIFY_SERVER_CERT = 1, SOURCE_AUTO_POSITION = 1, SOURCE_CONNECT_RETRY = 5",
            source.host, source.port, USER, source.password[:_PASSWORD], CA,
        )  # fmt: skip
        self.ask("START REPLICA")

    def forget(self) -> None:
        """See Server."""
        self.ask("RESET BINARY LOGS AND GTIDS" if version_of(self.value("VERSION()")) >= (8, 2) else "RESET MASTER")

    def client(self, source: Source | None = None) -> Client:
        """See Server."""
        return super().client(source and dataclasses.replace(source, password=source.password[:_PASSWORD]))

    def programs(self) -> tuple[list[str], list[str]]:
        """See Server."""
        file = f"--defaults-file={LOGIN}"
        # source-data: the position is asked while nothing can be written, and FLUSH TABLES stays out of the log
        dump = [
            program("mysql-client", "mysqldump"), file, "--single-transaction", "--quick", "--set-gtid-purged=ON", "--source-data=2",
            "--no-tablespaces", "--routines", "--triggers", "--events", "--hex-blob", "--max-allowed-packet=1G",
            "--default-character-set=utf8mb4",
        ]  # fmt: skip
        return [program("mysql-client", "mysql"), file, "--batch", "--skip-column-names"], dump


def version_of(text: str) -> tuple[int, ...]:
    """8.0.40-0ubuntu0.24.04.1 as numbers."""
    return tuple(map(int, re.findall(r"[0-9]+", text.partition("-")[0])))
