# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a server among several: let replicas in, follow a primary, stop taking writes, take them.

Users and their rights are each server's own: whatever writes them does so without the binary log, here and in the role. So the
log holds what apps wrote and nothing else, and its position tells exactly what a host has.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._replication_mariadb import MariaDb
from ansible_collections.flaskhost.stack.plugins.module_utils._replication_mysql import OLDEST, MySql, version_of
from ansible_collections.flaskhost.stack.plugins.module_utils._replication_plan import (
    COPYING_FILE,
    ROLE_FILE,
    parse,
    role_text,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._replication_server import (
    SYSTEM,
    USER,
    ReplicationError,
    Server,
    Source,
)

# seconds: for transactions that have begun to end; for a replica to have all that its primary wrote; for it to connect
_HOLD, _CATCH_UP, _CONNECT = 20, 60, 20
# the primary does not have what the replica asks for: MariaDB's number, and MySQL's for the same
_NOT_THERE = (1236, 13114)


def server_of(connection: Any) -> Server:
    """The server behind a connection.

    :raises ReplicationError: it is too old.
    """
    found = MySql(connection)
    version = found.value("VERSION()")
    if "mariadb" in version.lower():
        return MariaDb(connection)
    if version_of(version) < OLDEST:
        raise ReplicationError(f"MySQL {'.'.join(map(str, OLDEST))} or newer is needed, and this is {version}")
    return found


def accept(server: Server, hosts: list[str], password: str) -> bool:
    """Replicas may come from these addresses, over TLS, and from nowhere else; whether that was otherwise."""
    server.prove()
    before = server.accounts()
    server.ask("SET SESSION sql_log_bin = 0")
    for host in server.hosts():
        if host not in hosts:
            server.ask("DROP USER %s@%s", USER, host)
    for host in hosts:
        server.let_in(host, password)
    return server.accounts() != before


def follow(server: Server, source: Source, term: int, *, rebuild: bool = False) -> str:
    """Be a replica of `source`. How it became one; empty where it was one already.

    :param term: of the primary.
    :raises ReplicationError: it has what the primary lacks.
    """
    # an earlier run was cut off while it copied
    rebuild = rebuild or os.path.exists(COPYING_FILE)
    noted_now = note(read_only=True, term=term) | _set_read_only(server)
    now = server.replica()
    if rebuild or (not now and server.blank()):
        return _copy(server, source)
    astray = server.astray(source)
    if astray:
        raise _diverged(source, astray)
    if now and now.source == source.host and now.runs:
        return "noted as a replica" if noted_now else ""
    if now:
        server.ask("STOP REPLICA")
    elif not server.position():
        raise ReplicationError(
            f"it has databases of its own ({', '.join(server.databases())}), and nothing that came from a primary. "
            "If nobody needs them: -e mysql_rebuild= with its name, which deletes them and copies those of the primary."
        )
    server.follow(source, led=not now)
    _wait(server, source)
    return "follows the primary" if now else "was the primary, and follows the new one"


def _wait(server: Server, source: Source) -> None:
    """Wait until the server replicates."""
    end = time.monotonic() + _CONNECT
    while True:
        now = server.replica()
        if now and now.runs:
            return
        told = (now and now.error) or "no answer"
        if now and now.number in _NOT_THERE:
            raise _away(source, told) if "purged" in told else _diverged(source, told)
        if time.monotonic() > end:
            raise ReplicationError(f"it does not get through to the primary {source.host} within {_CONNECT} s: {told}")
        time.sleep(0.2)


def _diverged(source: Source, told: str) -> ReplicationError:
    return ReplicationError(
        f"it has writes that the primary {source.host} lacks, since both took some: {told}. Look at them first (the databases "
        "are as they were, and take no writes). To throw them away and copy the primary's: site.yml -e mysql_rebuild= with its name."
    )


def _away(source: Source, told: str) -> ReplicationError:
    return ReplicationError(
        f"it was away for longer than the primary {source.host} keeps what was written: {told}. To copy all data anew: "
        "site.yml -e mysql_rebuild= with its name."
    )


def _copy(server: Server, source: Source) -> str:
    """Copy all data of the primary, as of one moment, and go on from there. What was here is gone."""
    there, here = server.client(source), server.client()
    client, dump = server.programs()
    names = [name for name in there.ask(client, "SHOW DATABASES") if name not in SYSTEM]
    _write(COPYING_FILE, "the data of this host is half a copy; site.yml makes it anew\n")
    with contextlib.suppress(Exception):
        server.ask("STOP REPLICA")
    server.ask("RESET REPLICA ALL")
    server.ask("SET SESSION sql_log_bin = 0")
    for name in server.databases():
        server.ask("DROP DATABASE " + "`" + name.replace("`", "``") + "`")
    server.forget()
    if names:
        feed = [*client, "--binary-mode", "--max-allowed-packet=1G"]
        there.stream([*dump, "--databases", *names], here, feed, b"SET SESSION sql_log_bin = 0;\n")
    server.follow(source)
    _wait(server, source)
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
    # a server by itself became one of several, and nothing was written since: without any position it could not follow another one
    if not server.position():
        server.ask("FLUSH PRIVILEGES")
    return server.position()


def lead(server: Server, positions: list[str], term: int) -> None:
    """Have all that other hosts wrote, then take writes.

    :param positions: where they stopped; none where they are lost, and what was received has to do.
    :raises ReplicationError: it does not catch up; nothing was changed then.
    """
    now = server.replica()
    wanted = [server.gtids(position) for position in positions if position]
    if now and now.applies != "Yes":
        server.ask("START REPLICA SQL_THREAD")
    if now and not wanted and now.received:
        wanted = [server.gtids(now.received)]
    for position in wanted:
        if now and not server.waits(position, _CATCH_UP):
            raise ReplicationError(
                f"it does not have all that the primary wrote ({position}) within {_CATCH_UP} s: {server.position()}. "
                f"{(server.replica() or now).error}"
            )
        if not now and not server.has(position):
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
