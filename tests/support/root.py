# SPDX-License-Identifier: GPL-3.0-or-later
"""A box as root sees it, over one ssh connection; and the failpoints that are set there."""

from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any

from tests.support.stack import ROOT, box

FAILPOINTS = "/run/flaskhost/failpoints"
_STATE = ROOT / ".ansible" / "box"


class Root:
    """Runs scripts as root on a box, logged in as the admin.

    :param name: name of the box.
    """

    def __init__(self, name: str, user: str = "ops") -> None:
        self.name = name
        self.address = box("address", name)
        # the path of a socket must be short
        self._sockets = tempfile.TemporaryDirectory(prefix="root-", dir="/tmp")
        options = [f"UserKnownHostsFile={_STATE}/known_hosts", "BatchMode=yes", "LogLevel=ERROR", "ConnectTimeout=5"]
        options += ["ControlMaster=auto", "ControlPersist=60", f"ControlPath={self._sockets.name}/%C"]
        options += ["ServerAliveInterval=2", "ServerAliveCountMax=2"]
        self._ssh = ["ssh", "-F", "none", "-i", str(_STATE / "id_ed25519"), "-l", user]
        self._ssh += [word for option in options for word in ("-o", option)]
        self._ssh.append(self.address)

    def run(self, script: str, *words: str, timeout: float = 60) -> tuple[int, str]:
        """Run a script of sh; its exit code, and what it printed."""
        command = [*self._ssh, "sudo", "sh", "-c", *map(shlex.quote, [script, "sh", *words])]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    def must(self, script: str, *words: str, timeout: float = 60) -> str:
        """The same, of a script that has to end well."""
        code, output = self.run(script, *words, timeout=timeout)
        assert code == 0, f"{script[:200]} ended with {code}:\n{output}"
        return output

    def python(self, script: str, *words: str, timeout: float = 60) -> Any:
        """What a Python script prints as JSON."""
        return json.loads(
            self.must('script=$1; shift; exec python3 -c "$script" "$@"', script, *words, timeout=timeout)
        )

    def power_cut(self) -> None:
        """Take the power away, give it back, wait until the box has booted."""
        box("restart", "--power-cut", self.name)


class Failpoint:
    """An order for one step of an app's next deploy.

    :param order: ``fail`` or ``hold``.
    """

    def __init__(self, root: Root, app: str, step: str, order: str) -> None:
        self._root, self._path = root, f"{FAILPOINTS}/{app}.{step}"
        root.must('mkdir -p "$(dirname "$1")"; rm -f "$1.reached"; echo "$2" > "$1"', self._path, order)

    def wait(self, seconds: float = 90, *, unless: Callable[[], bool] = lambda: False) -> int:
        """Wait until a module is held there; its process on the host.

        :param unless: tells that none will come.
        :raises AssertionError: none came.
        """
        script = 'for i in $(seq 40); do [ -s "$1.reached" ] && exec cat "$1.reached"; sleep 0.05; done; exit 1'
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            hopeless = unless()
            code, output = self._root.run(script, self._path)
            if code == 0:
                return int(output)
            if hopeless:
                break
        raise AssertionError(f"nothing has reached {self._path}")

    def clear(self) -> None:
        """Let go on what is held there."""
        self._root.must('rm -f "$1" "$1.reached"', self._path)
