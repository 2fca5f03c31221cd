# SPDX-License-Identifier: GPL-3.0-or-later
"""What still runs of a release that is removed is killed, and nothing else."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _strays

from tests.support.host import USER, Host

Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process in a release."""
    processes = []

    def run(release: str) -> subprocess.Popen[bytes]:
        processes.append(subprocess.Popen(["sleep", "60"], env={**os.environ, "RELEASE_ID": release}))
        # until it is what it is going to be
        deadline = time.monotonic() + 5
        while processes[-1].pid not in _strays.strays(USER, release) and time.monotonic() < deadline:
            time.sleep(0.01)
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.wait()


def test_processes_of_this_release_alone(start: Start) -> None:
    mine, longer, other = start("20260101-r1"), start("20260101-r10"), start("20260101-r2")
    assert _strays.end(USER, "20260101-r1") == [mine.pid]
    assert mine.wait(5) == -9
    assert longer.poll() is other.poll() is None
    assert _strays.end(USER, "20260101-r1") == []


def test_another_users_are_left_alone(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    process = start("20260101-r3")
    assert _strays.end("nobody" if USER != "nobody" else "root", "20260101-r3") == []
    assert process.poll() is None


def test_removed_with_its_release(host: Host, start: Start) -> None:
    app = host.app()
    process = start("20260101-r4")
    host.release(app, "20260101-r4", "building")
    app.remove("20260101-r4")
    assert process.wait(5) == -9
    assert app.releases() == []
