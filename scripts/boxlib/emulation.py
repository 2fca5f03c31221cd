# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of another processor: qemu for them, and the kernel told to use it, until this machine starts anew."""

from __future__ import annotations

from pathlib import Path

from .system import Problem, can_apt, locked, need, run, shared_dir

BINFMT = Path("/proc/sys/fs/binfmt_misc")
# what the package qemu-user-static tells of its emulators, by Debian's name of the architecture
FORMATS = {"arm64": Path("/usr/share/binfmts/qemu-aarch64")}
# P: the emulator is told the name that the program was called by. F: it is open already, so that no container needs its file.
# C: sudo counts as what it is; the package's own entry has no such thing.
FLAGS = "PFC"


def ready(arch: str) -> None:
    """Make sure that programs of an architecture run here.

    :raises Problem: they do not, and why nothing could be done about it.
    """
    if registered(arch):
        return
    with locked(shared_dir() / "emulation.lock"):
        need("update-binfmts", ["qemu-user-static", "binfmt-support"], f"Install qemu-user-static, for {arch} boxes.")
        # mmdebstrap asks it whether the architecture can be run
        need("arch-test", ["arch-test"], "Install arch-test.")
        if not FORMATS[arch].exists() or not can_apt():
            raise Problem(f"{arch} boxes need root on Debian or Ubuntu, and the package qemu-user-static.")
        if not (BINFMT / "register").exists():
            run("mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT))
        if not registered(arch):
            (BINFMT / "register").write_text(entry(arch, FORMATS[arch].read_text()))
    if not registered(arch):
        raise Problem(f"The kernel of this machine does not take up {arch} programs; see {BINFMT}.")


def entry(arch: str, told: str) -> str:
    """What the kernel is told, from what the package tells."""
    of = dict(line.split(None, 1) for line in told.splitlines() if len(line.split(None, 1)) == 2)
    return f":{name(arch)}:M:{of['offset']}:{of['magic']}:{of['mask']}:{of['interpreter']}:{FLAGS}"


def name(arch: str) -> str:
    """Of our entry; the one that came last counts where several fit."""
    return f"flaskhost-{arch}"


def registered(arch: str) -> bool:
    """Whether the kernel knows our entry."""
    try:
        lines = (BINFMT / name(arch)).read_text().splitlines()
    except OSError:
        return False
    flags = next((line.removeprefix("flags:").strip() for line in lines if line.startswith("flags:")), "")
    return "enabled" in lines and set(FLAGS) <= set(flags)
