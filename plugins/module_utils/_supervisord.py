# SPDX-License-Identifier: GPL-3.0-or-later
"""Talk to supervisord over its unix socket: exact names, no restart of anything else.

``supervisorctl`` would take 0.15 s of Python start-up per call and knows only patterns and tables.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import time
import xmlrpc.client
from typing import Any

SOCKET = "/run/supervisor.sock"
CONF_DIR = "/etc/supervisor/conf.d"

# supervisor/xmlrpc.py: Faults
_BAD_NAME, _ALREADY_STARTED, _NOT_RUNNING, _STILL_RUNNING = 10, 60, 70, 91
# longer than any app's stopwaitsecs: its timeout or drain, 1000 s at most, and 5 s
_STOP_TIMEOUT = 1100.0


class SupervisordError(Exception):
    """supervisord cannot be reached, or refuses; the message says what to do."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=600)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _Connection(self._path)


class Supervisord:
    """The supervisord of this host."""

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path
        self._rpc: Any = xmlrpc.client.ServerProxy("http://localhost", transport=_Transport(path)).supervisor

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._rpc, method)(*arguments)
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise SupervisordError(
                f"supervisord does not answer on {self._path} ({error}); see `systemctl status supervisor`"
            ) from error

    def _reread(self) -> dict[str, list[str]]:
        """Read all files again; which groups are new, changed, gone. Starts and stops nothing."""
        try:
            added, changed, removed = self._call("reloadConfig")[0]
        except xmlrpc.client.Fault as fault:
            raise SupervisordError(f"supervisord cannot read its configuration: {fault.faultString}") from fault
        return {"added": added, "changed": changed, "removed": removed}

    def processes(self, group: str | None = None) -> list[dict[str, Any]]:
        """What supervisord says of all its processes, or of one group's: name, statename, pid, spawnerr ..."""
        try:
            infos = self._call("getAllProcessInfo")
        except xmlrpc.client.Fault as fault:
            raise SupervisordError(f"supervisord does not tell what runs: {fault.faultString}") from fault
        return [info for info in infos if group is None or info["group"] == group]

    def process_ids(self, group: str) -> list[int]:
        """The processes of a group that run; not those that they have started.

        A group that was started just now has them a moment later.
        """
        for _time in range(20):
            found = [int(info["pid"]) for info in self.processes(group) if info["pid"]]
            if found:
                return found
            time.sleep(0.01)
        return []

    def start(self, group: str) -> bool:
        """Bring a group up to its file in conf.d. Returns whether anything was done."""
        found = self._reread()
        if group in found["changed"]:
            self._drop(group)
        elif group not in found["added"]:
            return self._start_stopped(group)
        try:
            self._call("addProcessGroup", group)
        except xmlrpc.client.Fault as fault:
            raise SupervisordError(f"supervisord does not start {group}: {fault.faultString}") from fault
        return True

    def _start_stopped(self, group: str) -> bool:
        infos = self.processes(group)
        if not infos:
            raise SupervisordError(f"supervisord knows no group {group}: is there a {group}.conf in {CONF_DIR}?")
        stopped = [info for info in infos if info["statename"] in ("STOPPED", "EXITED", "FATAL", "UNKNOWN")]
        for info in stopped:
            try:
                self._call("startProcess", f"{group}:{info['name']}", False)
            except xmlrpc.client.Fault as fault:
                if fault.faultCode != _ALREADY_STARTED:
                    raise SupervisordError(f"supervisord does not start {group}: {fault.faultString}") from fault
        return bool(stopped)

    def stop(self, group: str) -> bool:
        """Stop a group gracefully and forget it. Its file must be gone before, or a reboot would bring it back."""
        # the files are not read again: a mistake in another app's must not keep this one running
        if not self.processes(group):
            return False
        self._drop(group)
        return True

    def tell_to_stop(self, group: str) -> None:
        """Tell a group to end gracefully, without waiting for it."""
        try:
            self._call("stopProcessGroup", group, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode not in (_BAD_NAME, _NOT_RUNNING):
                raise SupervisordError(f"supervisord does not stop {group}: {fault.faultString}") from fault

    def kill(self, group: str) -> None:
        """Kill what a group's processes have started, and them. It has been told to stop, or they would be started anew."""
        for info in self.processes(group):
            # supervisord makes each the leader of a process group of its own
            if info["pid"]:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(info["pid"], signal.SIGKILL)

    def _drop(self, group: str) -> None:
        """Stop and forget a group.

        supervisord looks after its children once a second, or when it is asked something: asking often makes it quick. Most end within
        a second; who takes longer has visitors, whose processor the asking takes.
        """
        self.tell_to_stop(group)
        began = time.monotonic()
        # supervisord itself kills what outlives its stopwaitsecs
        deadline = began + _STOP_TIMEOUT
        while True:
            try:
                self._call("removeProcessGroup", group)
                return
            except xmlrpc.client.Fault as fault:
                if fault.faultCode == _BAD_NAME:
                    return
                if fault.faultCode != _STILL_RUNNING or time.monotonic() > deadline:
                    raise SupervisordError(f"supervisord does not let go of {group}: {fault.faultString}") from fault
                time.sleep(0.02 if time.monotonic() < began + 1 else 0.1)


def group_file(group: str) -> str:
    """The file that defines a group."""
    return os.path.join(CONF_DIR, f"{group}.conf")


def app_groups(app: str) -> list[str]:
    """Names of all groups of one app that have a file, live or not. ``blog`` never matches ``blog2``."""
    names = os.listdir(CONF_DIR) if os.path.isdir(CONF_DIR) else []
    return sorted(
        name[:-5] for name in names if name.endswith(".conf") and name.split("@", 1)[0] == app and "@" in name
    )


def release_of(group: str) -> str:
    """The release id in a group's name (``blog@ID`` or ``blog@ID+workers``)."""
    return group.split("@", 1)[1].split("+", 1)[0]
