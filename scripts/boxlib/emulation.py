# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of another processor: qemu for them, and the kernel told to use it. Both stay; they are in nobody's way."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .system import Problem, can_apt, locked, need, run, shared_dir

BINFMT = Path("/proc/sys/fs/binfmt_misc")
# by Debian's name of the architecture
EMULATORS = {"arm64": "qemu-aarch64"}


def ready(arch: str) -> None:
    """Make sure that programs of an architecture run here.

    :raises Problem: they do not, and why nothing could be done about it.
    """
    name = EMULATORS[arch]
    if registered(name):
        return
    with locked(shared_dir() / "emulation.lock"):
        need(f"{name}-static", ["qemu-user-static", "binfmt-support"], f"Install qemu-user-static, for {arch} boxes.")
        # mmdebstrap asks it whether the architecture can be run
        need("arch-test", ["arch-test"], "Install arch-test.")
        if not can_apt():
            raise Problem(f"This machine does not run {arch} programs; as root: update-binfmts --enable {name}")
        if not (BINFMT / "register").exists():
            run("mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT))
        run("update-binfmts", "--enable", name, check=False)
    if not registered(name):
        raise Problem(f"The kernel of this machine does not take up {name}: {_why(name)}")


def registered(name: str) -> bool:
    """Whether the kernel has the emulator open already, so that it needs no file of it in a container (flag F)."""
    try:
        told = (BINFMT / name).read_text()
    except OSError:
        return False
    lines = told.splitlines()
    return "enabled" in lines and any(line.startswith("flags:") and "F" in line for line in lines)


def _why(name: str) -> str:
    shown = subprocess.run(["update-binfmts", "--display", name], capture_output=True, text=True, check=False)
    return (shown.stdout + shown.stderr).strip() or "update-binfmts knows nothing of it"
