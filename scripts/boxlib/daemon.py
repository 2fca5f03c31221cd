# SPDX-License-Identifier: GPL-3.0-or-later
"""The docker daemon the boxes run on: used if one answers, installed and started where we may, stopped only if it is ours.

What we started is remembered outside of the clone, as another clone may use the same daemon. Whoever works with it holds
a shared lock; `stop` leaves it alone while anybody does, or while any container runs on it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .system import Problem, apt_install, can_apt, locked, run, say, shared_dir

PACKAGES = ("docker.io", "iptables", "ca-certificates", "openssh-client")
UNITS = ("docker.socket", "docker.service", "containerd.service")
PID_FILE = Path("/var/run/docker.pid")
CONTAINERD_PID_FILE = Path("/var/run/docker/containerd/containerd.pid")
LOG = Path("/var/log/flaskhost-dockerd.log")
START_SECONDS = 60
STOP_SECONDS = 60


def answers() -> bool:
    """A daemon answers to this user."""
    if not shutil.which("docker"):
        return False
    return run("docker", "version", "--format", "{{.Server.Version}}", check=False).returncode == 0


@contextlib.contextmanager
def in_use() -> Iterator[None]:
    """A running daemon, which no other clone's `stop` takes away meanwhile."""
    with locked(shared_dir() / "docker-users.lock", shared=True):
        start()
        yield


def start() -> None:
    """Make sure that a daemon answers. Does nothing if one does already."""
    if answers():
        return
    with locked(shared_dir() / "docker.lock"):
        if answers():
            return  # another clone was faster
        active = _active_units()
        _refuse_unless_possible()
        try:
            if not shutil.which("dockerd"):
                apt_install(PACKAGES)
            if not shutil.which("docker"):
                apt_install(["docker-cli"])  # a package of its own since Debian 13
            # the installation of the package may have started it already, as it does on an ordinary host
            if not answers():
                _start_with_systemd() if _has_systemd() else _start_by_hand()
        finally:
            _remember(active)
        say("The docker daemon was not running; it does now, until `make down`.")


def stop() -> None:
    """Stop the daemon if we started it and nobody needs it any more; otherwise say why not."""
    state = shared_dir() / "docker.json"
    with (
        locked(shared_dir() / "docker-users.lock", wait=False) as unused,
        locked(shared_dir() / "docker.lock"),
    ):
        if not state.exists():
            return  # not ours
        ours = json.loads(state.read_text())
        if not unused:
            say("The docker daemon stays: another clone works with it.")
            return
        if answers() and (names := run("docker", "ps", "--format", "{{.Names}}").stdout.split()):
            say(f"The docker daemon stays: {', '.join(names)} still run{'s' * (len(names) == 1)} on it.")
            return
        if units := ours.get("units"):
            run("systemctl", "stop", *units)
        elif is_process(ours["pid"], "dockerd", ours["born"]):
            _terminate(ours["pid"], ours["born"])
        else:
            state.unlink()  # it has gone by itself; one that answers now is somebody else's
            return
        state.unlink()
        say("The docker daemon, which we had started, is stopped.")


def status() -> str:
    """One line about the daemon."""
    if not answers():
        return "no docker daemon answers"
    ours = "started by us" if (shared_dir() / "docker.json").exists() else "not started by us"
    form = "{{.ServerVersion}}, cgroup v{{.CgroupVersion}}, {{.Driver}}, {{.ContainersRunning}} running"
    return f"docker {run('docker', 'info', '--format', form).stdout.strip()}, {ours}"


def is_process(pid: int, name: str, born: str | None = None) -> bool:
    """Process `pid` is alive, is called `name` and (if given) was born at that kernel tick: so not a successor's number.

    A zombie is not alive: pid 1 of some machines reaps late.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    comm, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
    return comm == name and rest[0] not in "ZX" and (born is None or rest[19] == born)


def _born(pid: int) -> str:
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2 :].split()[19]


def _pid_in(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


def _active_units() -> set[str]:
    if not _has_systemd():
        return set()
    return {unit for unit in UNITS if run("systemctl", "is-active", "--quiet", unit, check=False).returncode == 0}


def _refuse_unless_possible() -> None:
    if sys.platform == "darwin":
        raise Problem("No docker daemon answers: start Docker Desktop (or use `vagrant up`), then run again.")
    if not shutil.which("dockerd") and not can_apt():
        raise Problem(
            "Boxes need docker, and this set-up installs it only as root on Debian or Ubuntu. "
            "Install docker (or use `vagrant up` instead of boxes), then run again."
        )
    if os.geteuid() != 0:
        raise Problem(
            "No docker daemon answers. Start it (sudo systemctl start docker), and let yourself use it "
            "(sudo usermod -aG docker $USER, then log in again)."
        )


def _start_with_systemd() -> None:
    run("systemctl", "start", "docker.service")
    _wait(lambda: True)


def _start_by_hand() -> None:
    """A machine without systemd: a session of its own, so that it outlives this command and its terminal."""
    pid = _pid_in(PID_FILE)
    if not is_process(pid, "dockerd"):
        # what a machine that was cut off left behind would keep it from starting
        PID_FILE.unlink(missing_ok=True)
        if not is_process(_pid_in(CONTAINERD_PID_FILE), "containerd"):
            CONTAINERD_PID_FILE.unlink(missing_ok=True)
        with LOG.open("a") as log:
            child = subprocess.Popen(
                ["dockerd", "--pidfile", str(PID_FILE)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        pid = child.pid
        # reaps it if it ends while we wait, so that a failed start is told at once
        _wait(lambda: child.poll() is None)
        return
    _wait(lambda: is_process(pid, "dockerd"))


def _wait(alive: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and alive():
        if answers():
            return
        time.sleep(0.1)
    tail = LOG.read_text(errors="replace").splitlines()[-15:] if LOG.exists() else []
    raise Problem("The docker daemon did not start.\n" + "\n".join(tail))


def _remember(active_before: set[str]) -> None:
    ours: dict[str, object]
    if _has_systemd():
        if not (started := _active_units() - active_before):
            return
        ours = {"units": [unit for unit in UNITS if unit in started]}
    else:
        pid = _pid_in(PID_FILE)
        if not is_process(pid, "dockerd"):
            return  # a daemon whose process we cannot name is not ours to stop
        ours = {"pid": pid, "born": _born(pid)}
    (shared_dir() / "docker.json").write_text(json.dumps(ours))


def _terminate(pid: int, born: str) -> None:
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while is_process(pid, "dockerd", born):
        if time.monotonic() > deadline:
            raise Problem(
                f"The docker daemon (process {pid}) was told to end and has not after {STOP_SECONDS} seconds."
            )
        time.sleep(0.1)


def main() -> None:
    """Command line of scripts/docker."""
    parser = argparse.ArgumentParser(prog="scripts/docker", description="The docker daemon the boxes run on.")
    parser.add_argument("command", choices=("start", "stop", "status"))
    command = parser.parse_args().command
    try:
        if command == "start":
            start()
        elif command == "stop":
            stop()
        if command != "stop":
            print(status())
    except Problem as problem:
        sys.exit(f"docker: {problem}")


if __name__ == "__main__":
    main()
