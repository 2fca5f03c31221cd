# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done for a release that nobody sees yet gives way to what visitors wait for."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator

# a tenth of the time that the live release gets when both want all of it
_LOW = 10
_NORMAL = 0


def may_raise() -> bool:
    """Whether a priority that was lowered can be raised again; not in a container without CAP_SYS_NICE."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, before - 1)
    except OSError:
        return False
    os.setpriority(os.PRIO_PROCESS, 0, before)
    return True


def give_way() -> None:
    """This process, and all that it starts from now on, gets what others leave; one that gave way even more goes on so."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(_LOW, os.getpriority(os.PRIO_PROCESS, 0)))


@contextlib.contextmanager
def given_way() -> Iterator[None]:
    """This process gives way for a while; not where that could not be undone."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    able = may_raise()
    if able:
        give_way()
    try:
        yield
    finally:
        if able:
            os.setpriority(os.PRIO_PROCESS, 0, before)


@contextlib.contextmanager
def giving_way(pids: Callable[[], Iterable[int]], seconds: float) -> Iterator[None]:
    """Other processes give way while the block runs, but not for ever: where a host has no time left over, they would never be done.

    :param pids: asked which processes, at each change; from another thread, too.
    :param seconds: after which they get as much as any other.
    """
    if not lower(pids()):
        yield
        return
    timer = threading.Timer(seconds, lambda: normal(pids()))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        normal(pids())


def lower(pids: Iterable[int]) -> bool:
    """Processes get what others leave, and so does all that they start from now on; until ``normal``.

    :returns: whether that was done; nothing is where it could not be undone.
    """
    if not may_raise():
        return False
    for pid in pids:
        _set(pid, _LOW)
    return True


def normal(pids: Iterable[int]) -> None:
    """Processes, and all that they have started, get as much as any other again."""
    # once more for what began meanwhile
    for _time in range(2):
        for pid in _with_children(pids):
            _set(pid, _NORMAL)


def _set(pid: int, value: int) -> None:
    """Set the priority of all threads of a process."""
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, int(thread), value)


def _with_children(pids: Iterable[int]) -> list[int]:
    """The processes and all below them."""
    found: list[int] = []
    todo = list(pids)
    while todo:
        pid = todo.pop()
        found.append(pid)
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                with (
                    contextlib.suppress(OSError),
                    open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as stream,
                ):
                    todo += [int(child) for child in stream.read().split()]
    return found
