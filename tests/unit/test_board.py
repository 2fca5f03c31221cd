# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual board of `make test-board`: what its kernel tells of its memory, what its initial file system is made of."""

from __future__ import annotations

from pathlib import Path

from tests.board import disk
from tests.board.machine import Memory

LOOK = """\
MemTotal:         481920 kB
MemAvailable:     {available} kB
SwapTotal:        481276 kB
SwapFree:         {free} kB
AnonPages:        {anonymous} kB
Shmem:              1024 kB
oom_kill 0
"""


def test_memory_is_what_was_taken_at_most() -> None:
    looks = [
        LOOK.format(available=400_000, free=481_276, anonymous=51_200),
        LOOK.format(available=200_000, free=450_000, anonymous=102_400),
        LOOK.format(available=300_000, free=481_276, anonymous=61_440),
        # the look that the reader came into
        "MemTotal:         481920 kB\nMemAvai",
    ]
    memory = Memory.read("".join(looks))
    assert memory.killed == 0
    assert round(memory.total) == 471
    assert round(memory.swapped) == 31
    assert round(memory.taken) == round((481_920 - 200_000) / 1024)
    assert round(memory.programs) == round((102_400 + 1024 + 481_276 - 450_000) / 1024)


def test_initial_file_system_is_what_the_kernel_reads(tmp_path: Path) -> None:
    module = tmp_path / "ext4.ko"
    module.write_bytes(b"module")
    archive = disk.archive(b"busybox", [module])
    found = {}
    at = 0
    while at < len(archive):
        assert at % 4 == 0
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        size, name_size = fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        start = (at + 110 + name_size + 3) // 4 * 4
        found[name] = archive[start : start + size]
        at = (start + size + 3) // 4 * 4
    assert list(found) == ["bin", "modules", "init", "bin/busybox", "modules/00-ext4.ko", "TRAILER!!!"]
    assert found["bin/busybox"] == b"busybox"
    assert found["modules/00-ext4.ko"] == b"module"
    assert found["init"].startswith(b"#!/bin/busybox sh\n")
