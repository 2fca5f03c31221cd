# SPDX-License-Identifier: GPL-3.0-or-later
"""One deploy at a time: exactly one of many takes the lock, and nobody gives back another's."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.action import release_begin, release_status
from ansible_collections.flaskhost.stack.plugins.module_utils import _commands, _release_lock
from ansible_collections.flaskhost.stack.plugins.module_utils._release_lock import (
    Held,
    in_words,
    release,
    still_mine,
    take,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import ReleaseError, read_json
from ansible_collections.flaskhost.stack.plugins.plugin_utils import _holder

from tests.support.host import Host

MINE = {"token": "mine", "owner": "ann", "controller": "laptop", "pid": 4711, "since": "noon", "purpose": "deploy main"}
OTHER = {**MINE, "token": "other"}


@pytest.fixture
def lock(tmp_path: Path) -> str:
    return str(tmp_path / "deploy.lock")


def age(path: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_second_holder_is_refused_and_told_who(lock: str) -> None:
    assert take(lock, MINE) is False
    with pytest.raises(Held) as held:
        take(lock, OTHER)
    assert held.value.holder == MINE
    assert in_words(held.value.holder) == "ann on laptop (process 4711) since noon: deploy main"
    assert json.loads(Path(lock).read_text()) == MINE
    assert os.listdir(Path(lock).parent) == ["deploy.lock"], "no temporary file stays"


def test_words_for_a_holder_of_an_older_version() -> None:
    assert in_words({}) == "somebody on an unknown machine (process ?) since an unknown time: ?"


def test_same_token_again_is_fine(lock: str) -> None:
    take(lock, MINE)
    assert take(lock, MINE) is False
    assert still_mine(lock, "mine")


def test_given_back_it_can_be_taken(lock: str) -> None:
    take(lock, MINE)
    assert release(lock, "mine")
    assert take(lock, OTHER) is False
    assert not release(lock, "mine"), "it is another's now"
    assert still_mine(lock, "other")
    assert not still_mine(lock, "mine")


def test_no_lock_is_nobodys(lock: str) -> None:
    assert not release(lock, "mine")
    assert not still_mine(lock, "mine")
    assert not release("/nowhere/deploy.lock", "mine")


def test_stale_lock_is_taken_over(lock: str) -> None:
    take(lock, MINE)
    age(lock, _release_lock.STALE_AFTER - 60)
    with pytest.raises(Held):
        take(lock, OTHER)
    age(lock, _release_lock.STALE_AFTER + 60)
    assert take(lock, OTHER) is True
    assert not still_mine(lock, "mine")
    assert not release(lock, "mine")
    assert still_mine(lock, "other")
    with pytest.raises(Held):
        take(lock, MINE)


def test_each_step_shows_that_the_run_is_alive(lock: str) -> None:
    take(lock, MINE)
    age(lock, _release_lock.STALE_AFTER + 60)
    assert not still_mine(lock, "other")
    assert time.time() - os.path.getmtime(lock) > _release_lock.STALE_AFTER, "another's look is no sign of life"
    assert still_mine(lock, "mine")
    with pytest.raises(Held):
        take(lock, OTHER)


def test_full_disk_does_not_take_the_lock_away(lock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that fails for that reason still has to tidy up, and to give the lock back."""

    def full(*given: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    take(lock, MINE)
    age(lock, _release_lock.STALE_AFTER - 60)
    monkeypatch.setattr(_release_lock, "write_json", full)
    assert still_mine(lock, "mine", "build")
    assert time.time() - os.path.getmtime(lock) < 60, "it has shown that it is alive"
    assert release(lock, "mine")


@pytest.mark.parametrize("token", ["", "wrong", "Mine", "mine "])
def test_only_the_right_token_breaks(lock: str, token: str) -> None:
    take(lock, MINE)
    with pytest.raises(Held):
        take(lock, OTHER, break_token=token)
    assert take(lock, OTHER, break_token="mine") is True
    assert still_mine(lock, "other")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}"])
def test_damaged_lock_is_nobodys(lock: str, text: str) -> None:
    """An empty file is what a power cut leaves."""
    Path(lock).write_text(text)
    assert take(lock, MINE) is True
    assert still_mine(lock, "mine")


def test_run_that_lost_the_lock_begins_no_further_command(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    app = host.app()
    begun: list[str] = []

    def run_as(user: str, words: list[str], **given: Any) -> tuple[int, str]:
        begun.append(words[-1])
        take(app.paths["lock"], OTHER, break_token="mine")
        return 0, ""

    monkeypatch.setattr(_commands, "run_as", run_as)
    take(app.paths["lock"], MINE)
    with pytest.raises(ReleaseError, match=r"^migrate: the lock of blog was taken over by another run$"):
        _commands.run_commands(app, "r1", ["one", "two"], step="migrate", timeout=1, token="mine")
    assert begun == ["one"]


# Real processes at the same time. The barrier lets them go together; slow reads make the gaps wide.

ROUNDS = 40
RUNNERS = 4


def _race(runner: int, folder: str, barrier: Barrier, results: Any) -> None:
    def slowly(path: str) -> dict[str, Any]:
        found = read_json(path)
        time.sleep(0.0005 * runner)
        return found

    _release_lock.read_json = slowly  # type: ignore[attr-defined]
    for number in range(ROUNDS):
        path = os.path.join(folder, str(number), "deploy.lock")
        barrier.wait(20)
        try:
            take(path, {"token": f"{runner}"}, break_token="dead")
            results.put((number, runner))
        except Held:
            pass


def race(folder: Path, prepare: Callable[[str], None]) -> list[int]:
    """How many took the lock, by round."""
    for number in range(ROUNDS):
        (folder / str(number)).mkdir()
        prepare(str(folder / str(number) / "deploy.lock"))
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(RUNNERS), context.Queue()
    runners = [context.Process(target=_race, args=(one, str(folder), barrier, results)) for one in range(RUNNERS)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join(30)
        assert runner.exitcode == 0
    winners = [0] * ROUNDS
    while not results.empty():
        number, one = results.get()
        winners[number] += 1
        assert still_mine(str(folder / str(number) / "deploy.lock"), str(one)), "who took it must have it"
    return winners


def _stale(path: str) -> None:
    take(path, {"token": "forgotten"})
    age(path, 2 * _release_lock.STALE_AFTER)


def _dead(path: str) -> None:
    take(path, {"token": "dead"})


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("prepare", [lambda path: None, _stale, _dead], ids=["free", "stale", "dead"])
def test_exactly_one_of_many_wins(tmp_path: Path, prepare: Callable[[str], None]) -> None:
    assert race(tmp_path, prepare) == [1] * ROUNDS


def test_killed_holder_of_the_directory_keeps_nobody_out(lock: str) -> None:
    code = f"import fcntl, os, time; fcntl.flock(os.open({str(Path(lock).parent)!r}, os.O_RDONLY), fcntl.LOCK_EX); print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        other.kill()
        other.wait()
    assert take(lock, MINE) is False


# The action plugin tells on the control node whether the run that holds the lock still lives.


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_living_and_dead_holders(sleeper: subprocess.Popen[bytes]) -> None:
    holder = {"pid": sleeper.pid, "started": _holder.started(sleeper.pid)}
    assert _holder.alive(holder)
    assert not _holder.alive({**holder, "started": "1"}), "another process of the same number"
    sleeper.kill()
    for _attempt in range(200):
        if not _holder.alive(holder):
            break
        time.sleep(0.01)
    assert not _holder.alive(holder), "a zombie"
    sleeper.wait()
    assert not _holder.alive(holder)
    assert not _holder.alive({"pid": "none"})
    assert _holder.alive({"pid": os.getpid(), "started": _holder.started(os.getpid())})


def test_only_the_same_machine_since_the_same_boot_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    node = _holder.node
    here = node()
    assert here == node()
    assert here.split()[0] == os.uname().nodename
    assert os.readlink("/proc/self/ns/pid") in here
    for name in ("_MACHINE_ID", "_BOOT_ID"):
        with monkeypatch.context() as change:
            (tmp_path / name).write_text("another\n")
            change.setattr(_holder, name, str(tmp_path / name))
            assert node() != here
            change.setattr(_holder, name, str(tmp_path / "none"))
            assert node().split(" ")[0] == os.uname().nodename, "a missing file is no error"


@pytest.mark.parametrize(("changed", "calls"), [({}, 2), ({"node": "laptop"}, 1), ({"node": None}, 1)])
def test_lock_of_another_machine_is_not_broken(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], calls: int
) -> None:
    """Its process is not among ours, which says nothing."""
    holder = {"token": "t", "controller": os.uname().nodename, "node": _holder.node(), "pid": "none", **changed}
    told: list[dict[str, Any]] = []

    class Task:
        args: dict[str, Any] = {"app": {}}

    class Action(release_begin.ActionModule):
        def __init__(self) -> None:
            self._task = Task()

        def _begin(self, arguments: dict[str, Any], task_vars: Any) -> dict[str, Any]:
            told.append(arguments)
            return {"failed": "break_token" not in arguments, "holder": holder}

    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *given: {})
    result = Action().run(None, {})
    assert len(told) == calls
    assert result["failed"] == (calls == 1)
    assert told[0]["holder"]["node"] == _holder.node()


@pytest.mark.parametrize(
    ("fate", "lock", "leftovers", "abandoned"),
    [
        ("dead", {"token": "t"}, [], True),
        ("dead", {"token": "t"}, ["half a release"], True),
        ("alive", {"token": "t"}, ["a candidate"], False),
        ("unknown", {"token": "t"}, ["a candidate"], False),
        ("unknown", {}, ["half a release"], True),
        ("unknown", {}, [], False),
    ],
)
def test_what_a_dead_run_left_makes_work_for_site(
    monkeypatch: pytest.MonkeyPatch, fate: str, lock: dict[str, Any], leftovers: list[str], abandoned: bool
) -> None:
    monkeypatch.setattr(_holder, "fate", lambda found: fate)
    assert release_status.abandoned(lock, leftovers) is abandoned
