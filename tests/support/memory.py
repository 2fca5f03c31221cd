# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory a box takes, all its processes together, as its control group on the docker host counts it."""

from __future__ import annotations

import contextlib
import re
import threading
from pathlib import Path
from types import TracebackType

from tests.support.cgroup import group

_LIMITS = ("memory.limit_in_bytes", "memory.max")
# what the kernel cannot do without: cached files are not among it
_TAKEN = ("rss", "anon")
_MIB = 2**20
# seconds between two looks, and looks between two at the emulator, which read much more
_LOOK = 0.1
_EMULATOR_LOOKS = 20
# a mapping in /proc/PID/smaps: its rights, its file's number, its name
_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ (\S+) \S+ \S+ (\d+) *(.*)$")


def emulators(smaps: str) -> int:
    """Bytes of a process that are those of qemu-user, not of the program it runs; 0 without an emulator.

    Counted is what only qemu can own: the translated code (the sole nameless memory that the processor may run, as the program's own
    code is but data to it), the heap that the kernel made for qemu, and what qemu has written to its own file's mappings. The rest,
    some of it qemu's too, counts as the program's.

    :param smaps: text of /proc/PID/smaps. Shared pages count by their share, so that all processes can be summed up.
    """
    if "qemu-" not in smaps:
        return 0
    taken, counts = 0, False
    for line in smaps.splitlines():
        if mapping := _MAPPING.match(line):
            rights, inode, name = mapping.groups()
            counts = (inode == "0" and not name and "x" in rights) or name == "[heap]" or "qemu-" in name
        elif counts and line.startswith("Pss_Dirty:"):
            taken += int(line.split()[1]) * 1024
    return taken


class Memory:
    """Looks while a ``with`` block runs; ``peak`` is what was taken at most, in MiB, ``own`` the same without the emulator's.

    :param name: name of the box.
    """

    def __init__(self, name: str) -> None:
        self._group = group(name, "memory", "memory.stat")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.peak = 0.0
        self.own = 0.0
        self._emulated = self.emulator() > 0

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

    def emulator(self) -> float:
        """MiB of what is taken now that the emulator takes, in a box of another architecture."""
        taken = 0
        for line in (self._group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # it has ended
                taken += emulators(Path(f"/proc/{line}/smaps").read_text())
        return taken / _MIB

    def _look(self) -> None:
        looks = 0
        while not self._over.wait(_LOOK):
            # its control group goes away for the moment of a power cut
            with contextlib.suppress(OSError):
                taken = self.taken()
                self.peak = max(self.peak, taken)
                looks += 1
                if not self._emulated:
                    self.own = self.peak
                elif looks % _EMULATOR_LOOKS == 1:
                    # never too little: what begins or ends meanwhile counts as the program's
                    emulator = self.emulator()
                    self.own = max(self.own, max(taken, self.taken()) - emulator)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
