# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether all workers of a candidate have come up, and stay: one that answers may be the only one that can, or for a moment."""

from __future__ import annotations

import contextlib
import os
import pwd
import time
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._health import died, died_of, log_end
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, read_json
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import Supervisord, SupervisordError

# seconds between two looks: whether they stay, and whether they have come
_PAUSE, _SOON = 0.1, 0.05
# Seconds beyond what was asked for: who ends N seconds after the start does that a little more than N seconds after the
# first answer at most, for somebody has to notice.
_MARGIN = 0.2
# Of what was asked for, seconds that are left for a worker that came long after the first one.
_LATE = 1.0


class Workers:
    """The worker processes of a candidate that is being started.

    gunicorn's workers write their process ids into a file beside the socket, each once it has loaded the app (see
    gunicorn.conf.py of the app role); the file is there for the time of the boot. uWSGI loads the app before it makes its
    workers, so all have come up when one has.
    """

    def __init__(self, app: App, release: str) -> None:
        self._app, self._release = app, release
        self._group = f"{app.name}@{release}"
        self._file = app.socket(release).removesuffix(".sock") + ".workers"
        self._daemon = Supervisord()

    def expect(self) -> None:
        """Let those that will be started tell when they are ready."""
        self.forget()
        handle = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            # by descriptor: the directory is the app's
            os.fchown(handle, pwd.getpwnam(self._app.user).pw_uid, -1)
        finally:
            os.close(handle)

    def forget(self) -> None:
        """Leave no file."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._file)

    def complaint(self, steady: float, timeout: float) -> str:
        """Wait until all workers of a release that answers are there, and have stayed; in words what is wrong, else empty.

        :param steady: seconds that they have to stay, from now on; 0 waits for none.
        :param timeout: seconds in which the rest of them must come up.
        """
        began, first = time.monotonic(), self._ready()
        why = self._incomplete(timeout)
        if steady and not why:
            why = self._unsteady(steady, began, first)
        if not why:
            return ""
        log = f"{self._app.paths['log']}/web.log"
        secrets = read_json(self._app.environment_files(self._release)[0])
        return f"{self._app.name} {self._release} answers, but {why}\nThe end of {log}:\n{log_end(log, secrets)}"

    def _incomplete(self, timeout: float) -> str:
        wanted = self._app.app["workers"]
        deadline = time.monotonic() + timeout
        while True:
            ready = self._ready()
            # none although one has answered: the host's gunicorn.conf.py is older, or this is uWSGI
            if not ready or len(ready) >= wanted:
                return ""
            why = died(self._daemon, self._group)
            if why:
                return f"does not stay up: {why}"
            if time.monotonic() > deadline:
                return f"only {len(ready)} of its {wanted} workers came up within {timeout:g} s"
            time.sleep(_SOON)

    def _unsteady(self, steady: float, began: float, first: set[int]) -> str:
        """:param first: workers that were there when it began."""
        master = self._master()
        before = first | set(children(master))
        end = max(began + steady, time.monotonic() + min(steady, _LATE)) + _MARGIN
        while time.monotonic() < end:
            time.sleep(_PAUSE)
            try:
                infos = self._daemon.processes(self._group)
                why = died_of(infos, self._group) or ("" if _first(infos) == master else "it was started anew")
            except SupervisordError as error:
                why = str(error)
            if not why and before - set(children(master)):
                why = f"a worker (process {min(before - set(children(master)))}) ended"
            if why:
                return f"does not stay up: {why}, {time.monotonic() - began:.1f} s after it had answered"
        return ""

    def _master(self) -> int:
        return _first(self._daemon.processes(self._group))

    def _ready(self) -> set[int]:
        try:
            with open(self._file, encoding="ascii", errors="replace") as stream:
                told = {int(word) for word in stream.read().split() if word.isdigit()}
        except OSError:
            return set()
        return told & set(children(self._master()))


def _first(infos: list[dict[str, Any]]) -> int:
    return next((int(info["pid"]) for info in infos), 0)


def children(pid: int) -> list[int]:
    """Processes that a process has started and that are there."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as stream:
            return [int(word) for word in stream.read().split()]
    except (OSError, ValueError):
        return []
