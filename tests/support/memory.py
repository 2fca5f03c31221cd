# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory a box takes, all its processes together, as its control group on the docker host counts it."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType

from tests.support.cgroup import group

_LIMITS = ("memory.limit_in_bytes", "memory.max")
# what the kernel cannot do without: cached files are not among it
_TAKEN = ("rss", "anon")
_MIB = 2**20
# seconds between two looks
_LOOK = 0.1


class Memory:
    """Looks while a ``with`` block runs; ``peak`` is what was taken at most, in MiB.

    :param name: name of the box.
    """

    def __init__(self, name: str) -> None:
        self._group = group(name, "memory", "memory.stat")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.peak = 0.0

    @property
    def limit(self) -> float:
        """MiB that the box may take."""
        for name in _LIMITS:
            with contextlib.suppress(FileNotFoundError):
                return int((self._group / name).read_text()) / _MIB
        raise AssertionError(f"{self._group} has no limit")

    def taken(self) -> float:
        """MiB that are taken now."""
        lines = (line.split() for line in (self._group / "memory.stat").read_text().splitlines())
        return sum(int(value) for name, value in lines if name in _TAKEN) / _MIB

    def killed(self) -> int:
        """How often the kernel ended a process of the box for want of memory."""
        for name in ("memory.oom_control", "memory.events"):
            with contextlib.suppress(FileNotFoundError):
                text = (self._group / name).read_text()
                return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))
        return 0

    def _look(self) -> None:
        while not self._over.wait(_LOOK):
            # its control group goes away for the moment of a power cut
            with contextlib.suppress(OSError):
                self.peak = max(self.peak, self.taken())

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
