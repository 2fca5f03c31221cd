# SPDX-License-Identifier: GPL-3.0-or-later
"""Which memory of an emulated process is the emulator's."""

from __future__ import annotations

from pathlib import Path

from tests.support.memory import emulators

NATIVE = """\
55d0c0000000-55d0c0100000 rw-p 00000000 00:00 0                          [heap]
Rss:                1000 kB
Pss_Dirty:          1000 kB
"""
# the program's text, its data, nameless memory of it, qemu's heap, translated code, vdso, qemu's text and its relocations
EMULATED = """\
00400000-00916000 r--p 00000000 fe:00 5770945                            /usr/bin/python3.11
Pss_Dirty:             0 kB
00930000-00a5f000 rw-p 00520000 fe:00 5770945                            /usr/bin/python3.11
Pss_Dirty:             1 kB
5500e41000-5501074000 rw-p 00000000 00:00 0
Pss:                   2 kB
Pss_Dirty:             2 kB
55555802e000-5555583f8000 rw-p 00000000 00:00 0                          [heap]
Pss:                9999 kB
Pss_Dirty:            10 kB
7f2690000000-7f2697fff000 rwxp 00000000 00:00 0
Pss_Dirty:           200 kB
7f2a2085e000-7f2a20860000 r-xp 00000000 00:00 0                          [vdso]
Pss_Dirty:             4 kB
7f26a0080000-7f26a0454000 r-xp 00228000 fe:00 2170958                    /usr/bin/qemu-aarch64-static
Pss_Dirty:             0 kB
7f26a0454000-7f26a05d8000 r--p 00a53000 fe:00 2170958                    /usr/bin/qemu-aarch64-static
Pss_Dirty:          3000 kB
"""


def test_the_emulators_memory_is_told_from_the_programs() -> None:
    assert emulators(EMULATED) == (10 + 200 + 3000) * 1024


def test_a_program_of_this_processor_has_no_emulator() -> None:
    assert emulators(NATIVE) == 0
    assert emulators(Path("/proc/self/smaps").read_text()) == 0
