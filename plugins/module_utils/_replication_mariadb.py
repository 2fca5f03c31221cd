# SPDX-License-Identifier: GPL-3.0-or-later
"""Replication in MariaDB's words. A position is the last number of each domain: 0-1-9."""

from __future__ import annotations

import re

from ansible_collections.flaskhost.stack.plugins.module_utils._client import LOGIN, program
from ansible_collections.flaskhost.stack.plugins.module_utils._replication_server import (
    CA,
    USER,
    ReplicationError,
    Server,
    Source,
)

# a replica sees every row anyway; the rest is what the first copy needs
_RIGHTS = "REPLICATION SLAVE, BINLOG MONITOR, RELOAD, PROCESS, SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON *.*"


class MariaDb(Server):
    """MariaDB 10.11 and newer."""

    verify = "ssl-verify-server-cert"
    columns = ("Master_Host", "Slave_IO_Running", "Slave_SQL_Running", "Gtid_IO_Pos")

    def prove(self) -> None:
        """All of it is built in."""

    def let_in(self, host: str, password: str) -> None:
        """See Server."""
        self.ask("CREATE USER IF NOT EXISTS %s@%s IDENTIFIED BY %s REQUIRE SSL", USER, host, password)
        self.ask("ALTER USER %s@%s IDENTIFIED BY %s REQUIRE SSL", USER, host, password)
        self.ask(f"GRANT {_RIGHTS} TO %s@%s", USER, host)

    def position(self) -> str:
        """See Server."""
        return self.value("@@global.gtid_current_pos")

    def gtids(self, text: str) -> str:
        """See Server."""
        found = text.replace("\n", "")
        if not re.fullmatch(r"[0-9]+-[0-9]+-[0-9]+(,[0-9]+-[0-9]+-[0-9]+)*", found):
            raise ReplicationError(f"{text!r} is no position")
        return found

    def waits(self, position: str, seconds: int) -> bool:
        """See Server."""
        return self.value(f"MASTER_GTID_WAIT('{self.gtids(position)}', {seconds})") == "0"

    def has(self, position: str) -> bool:
        """The same server's number of each domain, or a later one."""
        known = f"{self.value('@@global.gtid_binlog_state')},{self.value('@@global.gtid_slave_pos')}"
        latest: dict[tuple[str, str], int] = {}
        for each in known.replace("\n", "").split(","):
            domain, _, rest = each.strip().partition("-")
            origin, _, number = rest.partition("-")
            if number.isdigit():
                latest[domain, origin] = max(latest.get((domain, origin), 0), int(number))
        for each in self.gtids(position).split(","):
            domain, origin, number = each.split("-")
            if latest.get((domain, origin), -1) < int(number):
                return False
        return True

    def astray(self, source: Source) -> str:
        """Nothing: the primary itself refuses a replica whose last number it does not know (gtid_strict_mode)."""
        return ""

    def blank(self) -> bool:
        """Nor did anything ever come from a primary: what that deleted is no reason to copy."""
        return super().blank() and not self.value("@@global.gtid_slave_pos")

    def follow(self, source: Source, *, led: bool = False) -> None:
        """See Server."""
        if led:
            self.ask("SET GLOBAL gtid_slave_pos = @@global.gtid_current_pos")
        self.ask(
            "CHANGE MASTER TO MASTER_HOST = %s, MASTER_PORT = %s, MASTER_USER = %s, MASTER_PASSWORD = %s, MASTER_SSL = 1, "
            "MASTER_SSL_CA = %s, MASTER_SSL_VERIFY_SERVER_CERT = 1, MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 5",
            source.host, source.port, USER, source.password, CA,
        )  # fmt: skip
        self.ask("START REPLICA")

    def forget(self) -> None:
        """See Server."""
        self.ask("RESET MASTER")
        self.ask("SET GLOBAL gtid_slave_pos = ''")

    def programs(self) -> tuple[list[str], list[str]]:
        """See Server."""
        file = f"--defaults-file={LOGIN}"
        dump = [
            program("mariadb-client", "mariadb-dump"), file, "--single-transaction", "--quick", "--gtid", "--master-data=1",
            "--routines", "--triggers", "--events", "--hex-blob", "--max-allowed-packet=1G", "--default-character-set=utf8mb4",
        ]  # fmt: skip
        return [program("mariadb-client", "mariadb"), file, "--batch", "--skip-column-names"], dump
