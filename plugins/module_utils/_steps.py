# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a release: each checks the lock, says in it where the run is, takes its time, and names itself in errors."""

from __future__ import annotations

import contextlib
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

# Where root on the host orders a step to go wrong, for `make faults` and rehearsals; empty everywhere else.
FAILPOINTS = "/run/flaskhost/failpoints"
# seconds after which a step goes on by itself, so that a forgotten failpoint holds nobody for ever
_HELD_AT_MOST = 300.0


class Steps:
    """What one run does to an app, step by step.

    :ivar seconds: how long each step took so far, by name.
    """

    def __init__(self, app: App, token: str) -> None:
        self._app = app
        self._token = token
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Do one step.

        :param name: one of STEPS.
        :raises ReleaseError: the lock is another's now, or the step failed; the message begins with the name.
        """
        started = time.monotonic()
        try:
            _release_lock.enter(self._app, self._token, name)
            reach(self._app.name, name)
            yield
        except (FilesetError, SupervisordError, OSError) as error:
            raise ReleaseError(f"{name}: {error}") from error
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - started, 2)


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
        with open(f"{point}.reached", "w", encoding="utf-8"):
            pass
        deadline = time.monotonic() + _HELD_AT_MOST
        while os.path.exists(point) and time.monotonic() < deadline:
            time.sleep(0.02)
