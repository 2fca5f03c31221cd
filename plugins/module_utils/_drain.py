# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until nobody is on the way to a release that is about to end: in its socket's queue, or in nginx."""

from __future__ import annotations

import contextlib
import subprocess
import time

from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App

NGINX_PID = "/run/nginx.pid"
# seconds; nothing new is queued once nginx has been reloaded, so this is for what came just before
DRAIN_TIMEOUT = 10.0
# seconds in which a web process that nobody waits for ends by itself
LAST_WORDS = 2.0


def waiting(path: str) -> int:
    """Connections that wait to be accepted on a listening unix socket."""
    shown = subprocess.run(["ss", "-xlHn"], capture_output=True, text=True, check=False).stdout
    for line in shown.splitlines():
        fields = line.split()
        if len(fields) > 4 and fields[4] == path:
            return int(fields[2])
    return 0


def drain(paths: list[str], timeout: float) -> None:
    """Wait until nothing is queued: what is accepted is answered before the process ends, what is queued would be lost."""
    deadline = time.monotonic() + timeout
    quiet = 0
    while paths and quiet < 3 and time.monotonic() < deadline:
        quiet = 0 if any(waiting(path) for path in paths) else quiet + 1
        time.sleep(0.05)


def workers_of_web(app: App) -> list[int]:
    """Process ids of what may hold requests for the former release after a switch: nginx's workers, if that is in front."""
    return [] if app.port else nginx_workers()


def nginx_workers(pid_file: str = NGINX_PID) -> list[int]:
    """Process ids of what nginx's master has started; none where it does not run."""
    try:
        with open(pid_file, encoding="utf-8") as stream:
            master = int(stream.read())
        with open(f"/proc/{master}/task/{master}/children", encoding="utf-8") as stream:
            return [int(pid) for pid in stream.read().split()]
    except (OSError, ValueError):
        return []


def outlive(pids: list[int], timeout: float, name: str = "nginx") -> list[int]:
    """Wait until none of these processes is there any more.

    A worker of nginx from before a reload holds the requests that it has accepted, an upload among them, and sends them to
    the release that it knows.

    :param name: what they are called; another process of the same number is not waited for.
    :returns: those that are still there when the time is over.
    """
    deadline = time.monotonic() + timeout
    left = pids
    while True:
        left = [pid for pid in left if _called(pid) == name]
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(0.02)


def let_finish(app: App, release: str, former_workers: list[int]) -> float:
    """Wait until nobody is on the way to a release that gets nothing new, for as long as the app's ``drain`` says.

    :param former_workers: nginx's workers from before the reload that said so.
    :returns: seconds that are left for what the release is still busy with; never none at all.
    """
    deadline = time.monotonic() + app.app["drain"]
    # what nginx took before goes there still: first to nginx's end, then into the socket
    outlive(former_workers, app.app["drain"])
    drain([app.socket(release)], DRAIN_TIMEOUT)
    # what is connected still had its time then, such as a stream that never ends
    return max(LAST_WORDS, deadline - time.monotonic())


def deserted(app: App, release: str, former_workers: list[int]) -> bool:
    """Whether nobody is on the way to a release that gets nothing new.

    :param former_workers: nginx's workers from before the reload that said so.
    """
    return not outlive(former_workers, 0.0) and not waiting(app.socket(release))


def _called(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
        return stream.read().strip()
    return ""
