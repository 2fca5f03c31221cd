# SPDX-License-Identifier: GPL-3.0-or-later
"""A network of a test's own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def own_network() -> Iterator[bool]:
    """A network whose kernel hands over who waits at a port; False where we may not make one, and are in that of the machine."""
    with contextlib.ExitStack() as kept:
        try:
            before = kept.enter_context(Path("/proc/self/ns/net").open("rb"))
            os.unshare(os.CLONE_NEWNET)
        except (OSError, AttributeError):
            yield False
            return
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            Path("/proc/sys/net/ipv4/tcp_migrate_req").write_text("1\n")
            yield True
        finally:
            os.setns(before.fileno(), os.CLONE_NEWNET)
