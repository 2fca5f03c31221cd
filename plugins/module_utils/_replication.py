# SPDX-License-Identifier: GPL-3.0-or-later
"""Replication of MariaDB by its global transaction ids: let replicas in, follow a primary, stop taking writes, take them.

Users and their rights are each server's own: whatever writes them does so without the binary log, here and in the role. So the
log holds what apps wrote and nothing else, and its position tells exactly what a host has.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._client import LOGIN, Client, program
from ansible_collections.flaskhost.stack.plugins.module_utils._replication_plan import (
    COPYING_FILE,
    ROLE_FILE,
    parse,
    role_text,
)

USER = "flaskhost_replica"
CA = "/etc/mysql/flaskhost/ca.pem"
SYSTEM = ("information_schema", "mysql", "performance_schema", "sys")
# a replica sees every row anyway; the rest is what the first copy needs
_RIGHTS = "REPLICATION SLAVE, BINLOG MONITOR, RELOAD, PROCESS, SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES ON *.*"
# seconds: for transactions that have begun to end; for a replica to have all that its primary wrote; for it to connect
_HOLD, _CATCH_UP, _CONNECT = 20, 60, 20
# seconds that the first copy of all data may take
_COPY = 24 * 3600
# "not in the master's binlog" and its relatives: the replica has transactions that the primary lacks
_DIVERGED = 1236


class ReplicationError(Exception):
    """What keeps a host from its role; the text says what to do."""


class Server:
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

    def replica(self) -> dict[str, Any]:
        """SHOW REPLICA STATUS; empty where it replicates from nobody."""
        rows = self.ask("SHOW REPLICA STATUS")
        return rows[0] if rows else {}

    def databases(self) -> list[str]:
        """All but the server's own."""
        return [name for row in self.ask("SHOW DATABASES") for name in row.values() if name not in SYSTEM]

    def has_tables(self) -> bool:
        """Whether somebody put something here."""
        listed = ", ".join(f"'{name}'" for name in SYSTEM)
        return (
            self.value(f"(SELECT COUNT(*) FROM information_schema.tables WHERE table_schema NOT IN ({listed}))") != "0"
        )


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def accept(server: Server, hosts: list[str], password: str) -> bool:
    """Replicas may come from these addresses, over TLS, and from nowhere else; whether that was otherwise."""
    before = _accounts(server)
    server.ask("SET SESSION sql_log_bin = 0")
    for row in server.ask("SELECT Host AS host FROM mysql.user WHERE User = %s", USER):
        if row["host"] not in hosts:
            server.ask("DROP USER %s@%s", USER, row["host"])
    for host in hosts:
        server.ask("CREATE USER IF NOT EXISTS %s@%s IDENTIFIED BY %s REQUIRE SSL", USER, host, password)
        server.ask("ALTER USER %s@%s IDENTIFIED BY %s REQUIRE SSL", USER, host, password)
        server.ask(f"GRANT {_RIGHTS} TO %s@%s", USER, host)
    return _accounts(server) != before


def _accounts(server: Server) -> list[str]:
    hosts = [
        row["host"] for row in server.ask("SELECT Host AS host FROM mysql.user WHERE User = %s ORDER BY Host", USER)
    ]
    return [
        str(line) for host in hosts for row in server.ask("SHOW GRANTS FOR %s@%s", USER, host) for line in row.values()
    ]


def follow(server: Server, source: dict[str, Any], term: int, *, rebuild: bool = False) -> str:
    """Be a replica of `source`: host, port, password. How it became one; empty where it was one already.

    :param term: of the primary.
    :raises ReplicationError: it has what the primary lacks.
    """
    # an earlier run was cut off while it copied
    rebuild = rebuild or os.path.exists(COPYING_FILE)
    now = server.replica()
    running = (now.get("Slave_IO_Running"), now.get("Slave_SQL_Running")) == ("Yes", "Yes")
    if now.get("Master_Host") == source["host"] and running and not rebuild:
        return "noted as a replica" if note(read_only=True, term=term) | _set_read_only(server) else ""
    note(read_only=True, term=term)
    _set_read_only(server)
    if rebuild:
        return _copy(server, source)
    if now:
        server.ask("STOP REPLICA")
        _connect(server, source, "")
        return "follows the primary"
    if not server.has_tables() and not server.value("@@global.gtid_slave_pos"):
        return _copy(server, source)
    if not server.value("@@global.gtid_current_pos"):
        raise ReplicationError(
            f"it has databases of its own ({', '.join(server.databases())}), and nothing that came from a primary. "
            "If nobody needs them: -e mysql_rebuild= with its name, which deletes them and copies those of the primary."
        )
    # it was the primary before: goes on from what it wrote last
    server.ask("SET GLOBAL gtid_slave_pos = @@global.gtid_current_pos")
    _connect(server, source, "")
    return "was the primary, and follows the new one"


def _connect(server: Server, source: dict[str, Any], position: str) -> None:
    """Replicate from `source`, and wait until that works.

    :param position: where to begin; empty for what the server notes of itself.
    """
    if position:
        server.ask("SET GLOBAL gtid_slave_pos = %s", position)
    server.ask(
        "CHANGE MASTER TO MASTER_HOST = %s, MASTER_PORT = %s, MASTER_USER = %s, MASTER_PASSWORD = %s, MASTER_SSL = 1, "
        "MASTER_SSL_CA = %s, MASTER_SSL_VERIFY_SERVER_CERT = 1, MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 5",
        source["host"], int(source["port"]), USER, source["password"], CA,
    )  # fmt: skip
    server.ask("START REPLICA")
    end = time.monotonic() + _CONNECT
    while True:
        now = server.replica()
        if (now.get("Slave_IO_Running"), now.get("Slave_SQL_Running")) == ("Yes", "Yes"):
            return
        number, told = (
            int(now.get("Last_IO_Errno") or 0),
            now.get("Last_IO_Error") or now.get("Last_SQL_Error") or "no answer",
        )
        if number == _DIVERGED:
            raise ReplicationError(
                f"it has writes that the primary {source['host']} lacks, since both took some: {told}. Look at them first (the databases "
                "are as they were, and take no writes). To throw them away and copy the primary's: site.yml -e mysql_rebuild= with its name."
            )
        if time.monotonic() > end:
            raise ReplicationError(
                f"it does not get through to the primary {source['host']} within {_CONNECT} s: {told}"
            )
        time.sleep(0.2)


def _copy(server: Server, source: dict[str, Any]) -> str:
    """Copy all data of the primary, as of one moment, and go on from there. What was here is gone."""
    login = {
        "user": USER,
        "password": source["password"],
        "host": source["host"],
        "port": str(source["port"]),
        "protocol": "TCP",
        "ssl-ca": CA,
    }
    lines = "".join(f'{name}="{value}"\n' for name, value in login.items())
    there = Client(f"[client]\n{lines}ssl-verify-server-cert\n", {}, _COPY)
    here = Client('[client]\nuser="root"\nsocket="/run/mysqld/mysqld.sock"\n', {}, _COPY)
    file = f"--defaults-file={LOGIN}"
    client = [program("mariadb-client", "mariadb"), file, "--batch", "--skip-column-names"]
    names = [name for name in there.ask(client, "SHOW DATABASES") if name not in SYSTEM]
    _write(COPYING_FILE, "the data of this host is half a copy; site.yml makes it anew\n")
    with contextlib.suppress(Exception):
        server.ask("STOP REPLICA")
    server.ask("RESET REPLICA ALL")
    server.ask("SET SESSION sql_log_bin = 0")
    for name in server.databases():
        server.ask("DROP DATABASE " + "`" + name.replace("`", "``") + "`")
    server.ask("RESET MASTER")
    server.ask("SET GLOBAL gtid_slave_pos = ''")
    if names:
        dump = [
            program("mariadb-client", "mariadb-dump"), file, "--single-transaction", "--quick", "--gtid", "--master-data=1",
            "--routines", "--triggers", "--events", "--hex-blob", "--max-allowed-packet=1G", "--default-character-set=utf8mb4",
            "--databases", *names,
        ]  # fmt: skip
        there.stream(
            dump, here, [*client, "--binary-mode", "--max-allowed-packet=1G"], b"SET SESSION sql_log_bin = 0;\n"
        )
    _connect(server, source, "")
    os.unlink(COPYING_FILE)
    return f"copied {', '.join(names) or 'nothing'} from the primary"


def hold(server: Server, term: int) -> str:
    """Take no writes any more; the position of the last one. All is as it was where that fails."""
    server.ask("SET SESSION lock_wait_timeout = %s", _HOLD)
    writes = server.value("@@global.read_only") == "0"
    try:
        # the server first: a file that says more than the server does would have the next failover believe it
        server.ask("SET GLOBAL read_only = 1")
        note(read_only=True, term=term)
    except Exception:
        if writes:
            server.ask("SET GLOBAL read_only = 0")
        raise
    return server.value("@@global.gtid_current_pos")


def lead(server: Server, positions: list[str], term: int) -> None:
    """Have all that other hosts wrote, then take writes.

    :param positions: where they stopped; none where they are lost, and what was received has to do.
    :raises ReplicationError: it does not catch up; nothing was changed then.
    """
    now = server.replica()
    wanted = [_gtid(position) for position in positions if position]
    if now and now.get("Slave_SQL_Running") != "Yes":
        server.ask("START REPLICA SQL_THREAD")
    if now and not wanted and now.get("Gtid_IO_Pos"):
        wanted = [_gtid(str(now["Gtid_IO_Pos"]))]
    for position in wanted:
        if now and server.value(f"MASTER_GTID_WAIT('{position}', {_CATCH_UP})") != "0":
            raise ReplicationError(
                f"it does not have all that the primary wrote ({position}) within {_CATCH_UP} s: {server.value('@@global.gtid_slave_pos')}. "
                f"{server.replica().get('Last_SQL_Error') or ''}"
            )
        if not now and not _has(server, position):
            raise ReplicationError(
                f"it replicates from nobody, and cannot be shown to have all up to {position}. Have site.yml make it a replica first."
            )
    if now:
        server.ask("STOP REPLICA")
        server.ask("RESET REPLICA ALL")
    take(server, term)


def take(server: Server, term: int) -> None:
    """Take writes; all is as it was where that fails."""
    note(read_only=False, term=term)
    try:
        server.ask("SET GLOBAL read_only = 0")
    except Exception:
        note(read_only=True, term=term)
        # an answer that was lost is no proof that it was not done, and the former primary is about to take writes again
        with contextlib.suppress(Exception):
            server.ask("SET GLOBAL read_only = 1")
        raise


def _has(server: Server, position: str) -> bool:
    """Whether all transactions up to a position are here: the same server's number of each domain, or a later one."""
    known = f"{server.value('@@global.gtid_binlog_state')},{server.value('@@global.gtid_slave_pos')}"
    latest: dict[tuple[str, str], int] = {}
    for each in known.replace("\n", "").split(","):
        domain, _, rest = each.strip().partition("-")
        origin, _, number = rest.partition("-")
        if number.isdigit():
            latest[domain, origin] = max(latest.get((domain, origin), 0), int(number))
    for each in position.split(","):
        domain, origin, number = each.split("-")
        if latest.get((domain, origin), -1) < int(number):
            return False
    return True


def _gtid(text: str) -> str:
    if not re.fullmatch(r"[0-9]+-[0-9]+-[0-9]+(,[0-9]+-[0-9]+-[0-9]+)*", text.replace("\n", "")):
        raise ReplicationError(f"{text!r} is no position")
    return text.replace("\n", "")


def _set_read_only(server: Server) -> bool:
    if server.value("@@global.read_only") != "0":
        return False
    server.ask("SET GLOBAL read_only = 1")
    return True


def noted() -> dict[str, Any]:
    """Role and term, as the file of this host has them."""
    try:
        with open(ROLE_FILE, encoding="utf-8") as stream:
            return parse(stream)
    except FileNotFoundError:
        return parse([])


def note(*, read_only: bool, term: int) -> bool:
    """Have the server begin in this role after its next start; whether that was otherwise."""
    text = role_text(read_only=read_only, term=term)
    with contextlib.suppress(FileNotFoundError), open(ROLE_FILE, encoding="utf-8") as stream:
        if stream.read() == text:
            return False
    _write(ROLE_FILE, text)
    return True


def _write(path: str, text: str) -> None:
    """A file that is whole, and there after a power cut."""
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    with open(f"{path}.new", "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.chmod(f"{path}.new", 0o644)
    os.replace(f"{path}.new", path)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
