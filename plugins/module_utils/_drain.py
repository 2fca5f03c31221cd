# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until a socket that is about to close has nobody waiting at it."""

from __future__ import annotations

import subprocess
import time


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
