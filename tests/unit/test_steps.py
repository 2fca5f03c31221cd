# SPDX-License-Identifier: GPL-3.0-or-later
"""A step of a release: only with the lock, told to others, timed, named in errors, and made to go wrong on demand."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _release_lock, _steps
from ansible_collections.flaskhost.stack.plugins.module_utils._fileset import FilesetError
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError, read_json
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import SupervisordError

from tests.support.host import Host


@pytest.fixture
def app(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setattr(_steps, "FAILPOINTS", str(tmp_path / "failpoints"))
    (tmp_path / "failpoints").mkdir()
    made = host.app()
    _release_lock.take(made.paths["lock"], {"token": "mine", "owner": "ada"})
    return made


def order(tmp_path: Path, step: str, word: str) -> Path:
    point = tmp_path / "failpoints" / f"blog.{step}"
    point.write_text(word + "\n")
    return point


def test_lock_says_where_the_run_is(app: App) -> None:
    steps = _steps.Steps(app, "mine")
    with steps.step("build"):
        held = read_json(app.paths["lock"])
    assert (held["token"], held["owner"], held["step"]) == ("mine", "ada", "build")
    assert held["at"].endswith("Z")
    assert "at step build since 20" in _release_lock.in_words(held)
    assert set(steps.seconds) == {"build"}


def test_no_step_without_the_lock(app: App) -> None:
    done = []
    with (
        pytest.raises(ReleaseError, match=r"^build: the lock of blog was taken over"),
        _steps.Steps(app, "x").step("build"),
    ):
        done.append("build")
    assert not done
    assert read_json(app.paths["lock"])["token"] == "mine"


@pytest.mark.parametrize("error", [OSError("disk"), FilesetError("disk"), SupervisordError("disk")])
def test_error_names_the_step(app: App, error: Exception) -> None:
    steps = _steps.Steps(app, "mine")
    with pytest.raises(ReleaseError, match=r"^switch: disk$"), steps.step("switch"):
        raise error
    assert "switch" in steps.seconds, "a failed step took its time, too"


def test_error_that_names_its_step_stays(app: App) -> None:
    with pytest.raises(ReleaseError, match=r"^verify: no$"), _steps.Steps(app, "mine").step("switch"):
        raise ReleaseError("verify: no")


def test_times_of_a_step_in_two_parts_add_up(app: App) -> None:
    steps = _steps.Steps(app, "mine")
    for _part in range(2):
        with steps.step("build"):
            time.sleep(0.03)
    assert steps.seconds["build"] >= 0.06


def test_failpoint_fails_its_step_only(app: App, tmp_path: Path) -> None:
    order(tmp_path, "switch", "fail")
    steps = _steps.Steps(app, "mine")
    with steps.step("boot"):
        pass
    with pytest.raises(ReleaseError, match=r"^switch: the failpoint .*blog.switch says so"), steps.step("switch"):
        pytest.fail("the step went on")


def test_failpoint_of_another_app(app: App, tmp_path: Path) -> None:
    point = order(tmp_path, "boot", "fail")
    point.rename(point.with_name("blog2.boot"))
    with _steps.Steps(app, "mine").step("boot"):
        pass


def test_failpoint_holds_until_it_is_gone(app: App, tmp_path: Path) -> None:
    point = order(tmp_path, "boot", "hold")
    done = threading.Event()

    def run() -> None:
        with _steps.Steps(app, "mine").step("boot"):
            done.set()

    thread = threading.Thread(target=run)
    thread.start()
    reached = Path(f"{point}.reached")
    deadline = time.monotonic() + 5
    while not reached.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert reached.exists()
    assert not done.is_set()
    point.unlink()
    thread.join(5)
    assert done.is_set()


# What a dead run began on the host goes on there, in a process that has the kernel's lock on the directory of releases.


@pytest.fixture
def orphan(app: App) -> Iterator[subprocess.Popen[bytes]]:
    code = "import fcntl, os, sys, time; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX); print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, app.paths["releases"]], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


def test_a_step_waits_for_what_a_dead_run_began(app: App, orphan: subprocess.Popen[bytes]) -> None:
    timer = threading.Timer(0.3, orphan.kill)
    timer.start()
    began = time.monotonic()
    with _steps.Steps(app, "mine").step("lock"):
        assert time.monotonic() - began >= 0.3
        assert orphan.wait() != 0


def test_a_step_does_not_wait_for_ever(
    app: App, orphan: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_steps, "GOES_ON_AT_MOST", 0.1)
    with (
        pytest.raises(ReleaseError, match=rf"^lock: a run that has lost the lock .*\(process {orphan.pid}\)"),
        _steps.Steps(app, "mine").step("lock"),
    ):
        pytest.fail("the step went on")


def test_work_of_another_app_is_not_waited_for(host: Host, app: App, orphan: subprocess.Popen[bytes]) -> None:
    other = host.app("blog2")
    _release_lock.take(other.paths["lock"], {"token": "mine"})
    began = time.monotonic()
    with _steps.Steps(other, "mine").step("lock"):
        assert time.monotonic() - began < 0.2


def test_held_step_tells_its_process(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point = order(tmp_path, "boot", "hold")
    monkeypatch.setattr(_steps, "_HELD_AT_MOST", 0.0)
    with _steps.Steps(app, "mine").step("boot"):
        pass
    assert Path(f"{point}.reached").read_text() == f"{os.getpid()}\n"
