# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a release: each checks the lock, says in it where the run is, takes its time, and names itself in errors."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from ansible_collections.flaskhost.stack.plugins.module_utils import _release_lock
from ansible_collections.flaskhost.stack.plugins.module_utils._fileset import FilesetError
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import SupervisordError

# in the order in which a deploy takes them
STEPS = (
    "lock",
    "pre-flight",
    "fetch",
    "share",
    "build",
    "snapshot",
    "migrate",
    "boot",
    "probe",
    "switch",
    "verify",
    "retire",
    "finish",
    "prune",
)
# those that are only taken where somebody asks for them
OPTIONAL_STEPS = ("watch", "restore")

# Where root on the host orders a step to go wrong, for `make faults` and rehearsals; empty everywhere else.
FAILPOINTS = "/run/flaskhost/failpoints"
# Seconds to wait for what a dead run began on the host: a control process that is killed does not take that along. It
# begins no further step or command without the lock, but what it is at must not meet the next run's work.
GOES_ON_AT_MOST = 60.0
# seconds after which a step goes on by itself, so that a forgotten failpoint holds nobody for ever
_HELD_AT_MOST = 300.0
# the open directories whose locks this process has, by path
_AT_WORK: dict[str, int] = {}


class Steps:
    """What one run does to an app, step by step.

    :ivar token: that of the run's lock.
    :ivar seconds: how long each step took so far, by name.
    """

    def __init__(self, app: App, token: str) -> None:
        self._app = app
        self.token = token
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Do one step.

        :param name: one of STEPS or of OPTIONAL_STEPS.
        :raises ReleaseError: the lock is another's now, or the step failed; the message begins with the name.
        """
        started = time.monotonic()
        try:
            work_alone(self._app.paths["releases"], GOES_ON_AT_MOST)
            _release_lock.enter(self._app, self.token, name)
            reach(self._app.name, name)
            yield
        except (FilesetError, SupervisordError, OSError) as error:
            raise ReleaseError(f"{name}: {error}") from error
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 2)


def work_alone(releases: str, patience: float) -> None:
    """From now on, until this process ends, no other one does steps of the app on this host.

    :param releases: the app's directory of releases; the kernel's lock on it ends with the process, however that ends.
    :param patience: seconds to wait for another.
    :raises ReleaseError: another one is still there.
    """
    if releases in _AT_WORK:
        return
    handle = os.open(releases, os.O_RDONLY | os.O_DIRECTORY)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _AT_WORK[releases] = handle
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                message = (
                    f"a run that has lost the lock is still at work on this host{_holder(handle)}. Wait for its end, or "
                    "kill it; then run the same again."
                )
                os.close(handle)
                raise ReleaseError(f"lock: {message}") from None
        time.sleep(0.05)


def _holder(handle: int) -> str:
    """In words, which process has the kernel's lock on an open directory; empty when that cannot be told."""
    inode = f":{os.fstat(handle).st_ino}"
    with contextlib.suppress(OSError), open("/proc/locks", encoding="utf-8") as stream:
        for line in stream:
            # 1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF
            fields = line.split()
            if fields[1:2] == ["FLOCK"] and len(fields) > 5 and fields[5].endswith(inode):
                return f" (process {fields[4]})"
    return ""


def reach(app: str, name: str) -> None:
    """Do what the failpoint of a step orders: ``fail`` there, or ``hold`` until its file is gone.

    :raises ReleaseError: the order is to fail.
    """
    point = os.path.join(FAILPOINTS, f"{app}.{name}")
    try:
        with open(point, encoding="utf-8") as stream:
            order = stream.read().strip()
    except OSError:
        return
    if order == "fail":
        raise ReleaseError(f"{name}: the failpoint {point} says so")
    if order == "hold":
        with open(f"{point}.reached", "w", encoding="utf-8") as stream:
            stream.write(f"{os.getpid()}\n")
        deadline = time.monotonic() + _HELD_AT_MOST
        while os.path.exists(point) and time.monotonic() < deadline:
            time.sleep(0.02)
