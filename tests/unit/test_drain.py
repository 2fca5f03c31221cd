# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing ends while somebody is still on the way to it."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _drain, _tidy
from ansible_collections.flaskhost.stack.plugins.module_utils._drain import nginx_workers, outlive

from tests.support.host import Host


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        # between fork and exec it still has our name
        while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
            time.sleep(0.01)
        yield process
        process.kill()


def test_waits_until_they_are_gone(sleeper: subprocess.Popen[bytes]) -> None:
    def end() -> None:
        sleeper.kill()
        sleeper.wait()

    threading.Timer(0.3, end).start()
    started = time.monotonic()
    assert outlive([sleeper.pid], 20, "sleep") == []
    assert 0.2 < time.monotonic() - started < 10


def test_does_not_wait_for_ever(sleeper: subprocess.Popen[bytes]) -> None:
    started = time.monotonic()
    assert outlive([sleeper.pid], 0.2, "sleep") == [sleeper.pid]
    assert 0.2 <= time.monotonic() - started < 5


def test_another_process_of_the_same_number_is_not_waited_for(sleeper: subprocess.Popen[bytes]) -> None:
    started = time.monotonic()
    assert outlive([sleeper.pid, 2**22 + 1], 20) == []
    assert outlive([], 20) == []
    assert time.monotonic() - started < 5


def test_workers_are_the_children_of_the_master(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    pid_file = tmp_path / "nginx.pid"
    assert nginx_workers(str(pid_file)) == []
    pid_file.write_text("")
    assert nginx_workers(str(pid_file)) == []
    pid_file.write_text(f"{os.getpid()}\n")
    assert sleeper.pid in nginx_workers(str(pid_file))
    pid_file.write_text(f"{2**22 + 1}\n")
    assert nginx_workers(str(pid_file)) == []


# what does not end by itself


@pytest.mark.parametrize("stubborn", [True, False])
def test_web_processes_that_outlive_their_time_are_killed(
    host: Host, monkeypatch: pytest.MonkeyPatch, stubborn: bool
) -> None:
    done: list[str] = []

    class Daemon:
        def tell_to_stop(self, group: str) -> None:
            done.append(f"tell {group}")

        def processes(self, group: str) -> list[dict[str, int]]:
            return [{"pid": 7 if stubborn else 0}]

        def kill(self, group: str) -> None:
            done.append(f"kill {group}")

        def stop(self, group: str) -> None:
            done.append(f"stop {group}")

    monkeypatch.setattr(_tidy, "Supervisord", Daemon)
    groups = ["blog@r1", "blog@r1+workers"]
    started = time.monotonic()
    _tidy.stop_groups(groups, 0.3 if stubborn else 30)
    assert 0.3 <= time.monotonic() - started + (0 if stubborn else 0.3) < 10
    # a worker process finishes the job it is at
    assert done == [*(f"tell {group}" for group in groups), "kill blog@r1", *(f"stop {group}" for group in groups)]
    done.clear()
    _tidy.stop_groups(groups)
    assert "kill blog@r1" not in done


def test_what_is_left_of_the_drain_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    app = host.app(drain=20)
    monkeypatch.setattr(_drain, "drain", lambda *given: None)
    assert 18 < _drain.let_finish(app, "r1", []) <= 20
    app.app["drain"] = 0.1
    assert _drain.let_finish(app, "r1", [os.getpid()]) == _drain.LAST_WORDS


def test_nginx_lets_go_before_the_queue_is_looked_at(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nginx's former workers hold comes into the queue last."""
    app = host.app(drain=20)
    told: list[object] = []
    monkeypatch.setattr(_drain, "outlive", lambda pids, seconds: told.append((pids, seconds)))
    monkeypatch.setattr(_drain, "drain", lambda paths, seconds: told.append(paths))
    _drain.let_finish(app, "r1", [4711])
    assert told == [([4711], 20), [app.socket("r1")]]
