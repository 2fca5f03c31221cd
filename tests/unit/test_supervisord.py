# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting and stopping groups of a real supervisord: exactly the named one, and no other."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _supervisord, _tidy
from ansible_collections.flaskhost.stack.plugins.module_utils._health import died
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import Supervisord, SupervisordError

CONFIG = """\
[supervisord]
nodaemon=true
user={user}
logfile={base}/log
childlogdir={base}
pidfile={base}/pid
[unix_http_server]
file={base}/sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[include]
files={base}/conf.d/*.conf
"""
PROGRAM = """\
[program:{name}]
command={command}
autostart=true
autorestart=true
startsecs=0
startretries=0
stopwaitsecs=1
stdout_logfile=NONE
stderr_logfile=NONE
"""
SLEEP = "/bin/sleep 1000"


class Daemon(Supervisord):
    """A supervisord of our own, with what tests ask of it."""

    def __init__(self, base: Path) -> None:
        super().__init__(str(base / "sock"))
        self.conf_d = base / "conf.d"

    def write(self, group: str, command: str = SLEEP) -> None:
        """The file of a group with one program."""
        (self.conf_d / f"{group}.conf").write_text(PROGRAM.format(name=group, command=command))

    def pids(self) -> dict[str, int]:
        """Running processes by name."""
        return {info["name"]: info["pid"] for info in self.processes() if info["pid"]}

    def until(self, true: Callable[[], bool]) -> None:
        """Wait for something to come true."""
        deadline = time.monotonic() + 10
        while not true():
            assert time.monotonic() < deadline, self.processes()
            time.sleep(0.02)

    def up(self, *groups: str) -> dict[str, int]:
        """Write groups, start them and wait until they run."""
        for group in groups:
            self.write(group)
            assert self.start(group)
        self.until(lambda: set(groups) <= set(self.pids()))
        return self.pids()


@pytest.fixture(scope="module")
def running() -> Iterator[Path]:
    """A supervisord, below a directory with a name that is short enough for a socket."""
    base = Path(tempfile.mkdtemp(prefix="supervisord-"))
    (base / "conf.d").mkdir()
    (base / "conf").write_text(CONFIG.format(base=base, user=os.geteuid()))
    command = [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-c", str(base / "conf")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 15
            while not (base / "sock").exists():
                assert time.monotonic() < deadline, (base / "log").read_text()
                assert process.poll() is None
                time.sleep(0.02)
            yield base
        finally:
            process.terminate()
            process.wait(15)
            shutil.rmtree(base)


@pytest.fixture
def daemon(running: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """The same supervisord, empty."""
    one = Daemon(running)
    monkeypatch.setattr(_supervisord, "CONF_DIR", str(one.conf_d))
    monkeypatch.setattr(_tidy, "Supervisord", lambda: one)
    yield one
    for path in one.conf_d.iterdir():
        path.unlink()
    for group in {info["group"] for info in one.processes()}:
        one.stop(group)
    one._reread()


def test_start_touches_no_other(daemon: Daemon) -> None:
    before = daemon.up("blog@r1", "blog2@r1")
    daemon.write("blog@r1", "/bin/sleep 2000")
    daemon.write("waiting@r1")
    after = daemon.up("blog@r2")
    assert {name: after[name] for name in before} == before, "not even one whose file has changed"
    assert set(after) == {"blog@r1", "blog2@r1", "blog@r2"}, "nor one that is new"


def test_processes_of_a_group_that_has_just_begun(daemon: Daemon) -> None:
    daemon.up("blog2")
    daemon.write("blog")
    daemon.start("blog")
    assert daemon.process_ids("blog") == [daemon.pids()["blog"]]
    assert daemon.process_ids("nobody") == []


def test_start_of_what_runs_is_no_change(daemon: Daemon) -> None:
    before = daemon.up("blog@r1")
    assert daemon.start("blog@r1") is False
    assert daemon.pids() == before


def test_changed_file_restarts_only_that_group(daemon: Daemon) -> None:
    before = daemon.up("blog@r1", "blog2@r1")
    daemon.write("blog@r1", "/bin/sleep 2000")
    daemon.write("blog2@r1", "/bin/sleep 2000")
    assert daemon.start("blog@r1") is True
    daemon.until(lambda: "blog@r1" in daemon.pids())
    after = daemon.pids()
    assert after["blog2@r1"] == before["blog2@r1"]
    assert after["blog@r1"] != before["blog@r1"]
    # between fork and exec it is still supervisord
    daemon.until(lambda: Path(f"/proc/{after['blog@r1']}/cmdline").read_bytes().split(b"\0")[1:2] == [b"2000"])


def test_stopped_and_failed_processes_are_started_again(daemon: Daemon, tmp_path: Path) -> None:
    daemon.up("blog@r1")
    daemon.tell_to_stop("blog@r1")
    daemon.until(lambda: not daemon.pids())
    assert daemon.start("blog@r1") is True
    daemon.until(lambda: "blog@r1" in daemon.pids())

    program = tmp_path / "program"
    daemon.write("late@r1", str(program))
    daemon.start("late@r1")
    daemon.until(lambda: daemon.processes("late@r1")[0]["statename"] == "FATAL")
    assert "late@r1 " in died(daemon, "late@r1")
    with pytest.raises(SupervisordError, match="supervisord does not start late@r1"):
        daemon.start("late@r1")
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    assert daemon.start("late@r1") is True
    daemon.until(lambda: "late@r1" in daemon.pids())
    assert died(daemon, "late@r1") == ""


def test_stop_removes_exactly_one(daemon: Daemon) -> None:
    before = daemon.up("blog@r1", "blog@r2", "blog2@r1")
    (daemon.conf_d / "blog@r1.conf").unlink()
    assert daemon.stop("blog@r1") is True
    assert daemon.processes("blog@r1") == []
    assert daemon.pids() == {name: pid for name, pid in before.items() if name != "blog@r1"}
    assert not Path(f"/proc/{before['blog@r1']}").exists()
    assert daemon.stop("blog@r1") is False, "twice is no error"
    assert died(daemon, "blog@r1") == "supervisord runs no blog@r1"


def test_stop_of_what_nobody_knows_is_no_error(daemon: Daemon) -> None:
    daemon.up("blog2@r1")
    assert daemon.stop("blog@r1") is False
    daemon.tell_to_stop("blog@r1")
    assert set(daemon.pids()) == {"blog2@r1"}


def test_stop_is_graceful_and_has_an_end(daemon: Daemon, tmp_path: Path) -> None:
    """One that finishes its work, and one that does not listen and is killed after its stopwaitsecs."""
    polite, deaf = tmp_path / "polite", tmp_path / "deaf"
    polite.write_text(
        f"trap 'sleep 0.2; echo done >{tmp_path}/work; exit' TERM\necho >{tmp_path}/up1\nwhile :; do sleep 0.05; done"
    )
    deaf.write_text(f"trap '' TERM\necho >{tmp_path}/up2\nwhile :; do sleep 0.05; done")
    for group, script in (("polite@r1", polite), ("deaf@r1", deaf)):
        daemon.write(group, f"/bin/sh {script}")
        daemon.start(group)
    daemon.until(lambda: (tmp_path / "up1").exists() and (tmp_path / "up2").exists())
    _tidy.stop_groups(["polite@r1", "deaf@r1"])
    assert (tmp_path / "work").read_text() == "done\n"
    assert daemon.processes() == []
    assert list(daemon.conf_d.iterdir()) == []


def test_who_takes_long_to_end_is_asked_for_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now, pauses = 0.0, list[float]()

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        pauses.append(seconds)

    def call(self: Supervisord, method: str, *_arguments: object) -> None:
        if method == "removeProcessGroup" and now < 5:
            raise xmlrpc.client.Fault(91, "STILL_RUNNING")

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(Supervisord, "_call", call)
    Supervisord("/nowhere")._drop("blog@r1")
    assert pauses[0] == 0.02
    assert 80 < len(pauses) < 100


def test_one_without_visitors_need_not_end_gracefully(daemon: Daemon, tmp_path: Path) -> None:
    """Nor does what it has started: both are killed long before their stopwaitsecs are over."""
    deaf = tmp_path / "deaf"
    deaf.write_text(f"trap '' TERM\nsh {tmp_path}/child &\nwhile :; do sleep 0.05; done")
    (tmp_path / "child").write_text(f"trap '' TERM\necho $$ >{tmp_path}/up\nwhile :; do sleep 0.05; done")
    (daemon.conf_d / "deaf@r1.conf").write_text(
        PROGRAM.format(name="deaf@r1", command=f"/bin/sh {deaf}").replace("stopwaitsecs=1", "stopwaitsecs=60")
    )
    daemon.start("deaf@r1")
    daemon.until(lambda: (tmp_path / "up").exists() and (tmp_path / "up").read_text().strip() != "")
    child = int((tmp_path / "up").read_text())
    began = time.monotonic()
    _tidy.stop_groups(["deaf@r1"], grace=0.2)
    assert time.monotonic() - began < 10
    assert daemon.processes() == []
    daemon.until(
        lambda: not os.path.exists(f"/proc/{child}/cmdline") or not Path(f"/proc/{child}/cmdline").read_bytes()
    )


def test_told_to_stop_it_ends_without_being_waited_for(daemon: Daemon) -> None:
    daemon.up("blog@r1", "blog2@r1")
    (daemon.conf_d / "blog@r1.conf").unlink()
    daemon.tell_to_stop("blog@r1")
    daemon.until(lambda: set(daemon.pids()) == {"blog2@r1"})
    assert daemon.processes("blog@r1"), "it is not forgotten yet"
    assert daemon.stop("blog@r1") is True
    assert daemon.processes("blog@r1") == []


WORKERS = """\
[group:blog@r1+workers]
programs=blog@r1+mail,blog@r1+index
""" + "".join(PROGRAM.format(name=f"blog@r1+{name}", command=SLEEP) for name in ("mail", "index"))


def test_workers_are_one_group(daemon: Daemon) -> None:
    before = daemon.up("blog@r1")
    (daemon.conf_d / "blog@r1+workers.conf").write_text(WORKERS)
    assert daemon.start("blog@r1+workers") is True
    daemon.until(lambda: len(daemon.pids()) == 3)
    assert [info["name"] for info in daemon.processes("blog@r1")] == ["blog@r1"]
    assert {info["name"] for info in daemon.processes("blog@r1+workers")} == {"blog@r1+mail", "blog@r1+index"}
    (daemon.conf_d / "blog@r1+workers.conf").write_text(WORKERS.replace("1000", "2000", 1))
    assert daemon.start("blog@r1+workers") is True
    daemon.until(lambda: len(daemon.pids()) == 3)
    (daemon.conf_d / "blog@r1+workers.conf").unlink()
    assert daemon.stop("blog@r1+workers") is True
    assert daemon.pids() == before


BROKEN = [
    "[program:broken]\n",
    "no section\n",
    "[program:broken]\ncommand=%(nowhere)s\n",
    "[group:x]\nprograms=nowhere\n",
]


@pytest.mark.parametrize("text", BROKEN)
def test_mistake_in_another_file(daemon: Daemon, text: str) -> None:
    """Nothing can be started then, which is told; what runs goes on, and can be stopped."""
    before = daemon.up("blog@r1", "blog@r2")
    (daemon.conf_d / "broken.conf").write_text(text)
    daemon.write("blog@r3")
    with pytest.raises(SupervisordError, match=r"supervisord cannot read its configuration: .+"):
        daemon.start("blog@r3")
    assert daemon.pids() == before
    assert daemon.stop("blog@r1") is True
    assert set(daemon.pids()) == {"blog@r2"}
    (daemon.conf_d / "broken.conf").unlink()
    assert daemon.start("blog@r3") is True


def test_group_without_a_file(daemon: Daemon) -> None:
    with pytest.raises(SupervisordError, match=r"knows no group blog@r1: is there a blog@r1\.conf in .*/conf\.d\?"):
        daemon.start("blog@r1")


def test_no_supervisord(tmp_path: Path) -> None:
    nobody = Supervisord(str(tmp_path / "sock"))
    for call in (
        nobody.processes,
        lambda: nobody.start("x"),
        lambda: nobody.stop("x"),
        lambda: nobody.tell_to_stop("x"),
    ):
        with pytest.raises(SupervisordError, match=r"does not answer on .*/sock .*systemctl status supervisor"):
            call()
    assert "does not answer" in died(nobody, "x")


@pytest.mark.parametrize("text", [b"", b"nonsense\r\n", b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"])
def test_something_else_on_the_socket(text: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{folder}/sock")
        listening.listen()

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connected = listening.accept()[0]
                    connected.recv(65536)
                    connected.sendall(text)
                    connected.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(SupervisordError, match="does not answer"):
            Supervisord(f"{folder}/sock").processes()
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
