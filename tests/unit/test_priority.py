# SPDX-License-Identifier: GPL-3.0-or-later
"""A candidate gives way while it starts, and is as good as any other once it is live."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _priority

# starts a child and a thread, tells the child's id, and a grandchild when it is told to
PARENT = """
import subprocess, sys, threading
threading.Thread(target=lambda: threading.Event().wait(60), daemon=True).start()
child = subprocess.Popen(["sleep", "60"])
print(child.pid, flush=True)
sys.stdin.read(1)
"""
needs_capability = pytest.mark.skipif(not _priority.may_raise(), reason="needs CAP_SYS_NICE")


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """A process with a thread, and its child."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        yield parent.pid, child
        parent.kill()
        os.kill(child, 9)


def nice(pid: int) -> set[int]:
    """Priorities of all threads of a process."""
    return {os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in os.listdir(f"/proc/{pid}/task")}


@needs_capability
def test_all_below_is_normal_again(family: tuple[int, int]) -> None:
    parent, child = family
    assert _priority.lower([parent, child])
    assert (nice(parent), nice(child)) == ({10}, {10})
    assert len(os.listdir(f"/proc/{parent}/task")) > 1
    _priority.normal([parent])
    assert (nice(parent), nice(child)) == ({0}, {0})


@needs_capability
def test_it_gives_way_for_a_while_only(family: tuple[int, int]) -> None:
    with _priority.giving_way(lambda: family, 0.2):
        assert (nice(family[0]), nice(family[1])) == ({10}, {10})
        time.sleep(0.5)
        assert (nice(family[0]), nice(family[1])) == ({0}, {0})


@needs_capability
def test_it_gives_way_no_longer_than_the_block(family: tuple[int, int]) -> None:
    with _priority.giving_way(lambda: family, 60):
        assert nice(family[0]) == {10}
    assert nice(family[0]) == {0}
    waiting = [one for one in threading.enumerate() if isinstance(one, threading.Timer) and not one.finished.is_set()]
    assert waiting == []


def test_nothing_is_lowered_that_cannot_be_raised(family: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_priority, "may_raise", lambda: False)
    assert not _priority.lower(family)
    assert nice(family[0]) == {os.getpriority(os.PRIO_PROCESS, 0)}


def test_without_the_capability_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    assert not _priority.may_raise()
    _priority.give_way()


def test_what_is_started_inherits_it() -> None:
    code = (
        "from ansible_collections.flaskhost.stack.plugins.module_utils._priority import give_way; give_way();"
        "import subprocess; subprocess.check_call(['nice'])"
    )
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    words = [sys.executable, "-c", code]
    told = subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout
    assert int(told) == max(10, os.getpriority(os.PRIO_PROCESS, 0))


def test_who_gives_way_more_goes_on_so() -> None:
    code = (
        "import os; os.nice(15); from ansible_collections.flaskhost.stack.plugins.module_utils import _priority;"
        "_priority.give_way(); print(os.getpriority(os.PRIO_PROCESS, 0))"
    )
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    words = [sys.executable, "-c", code]
    assert int(subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout) >= 15


def test_processes_that_are_gone() -> None:
    _priority.normal([2**22 + 1])
    with subprocess.Popen(["true"]) as done:
        time.sleep(0.05)
    _priority.normal([done.pid])
