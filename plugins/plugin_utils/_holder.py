# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds the lock of an app: what a run says of itself, and whether the run that left a lock still goes on."""

from __future__ import annotations

import contextlib
import datetime
import getpass
import glob
import os
import socket
import uuid
from typing import Any

ALIVE, DEAD, UNKNOWN = "alive", "dead", "unknown"

_MACHINE_ID = "/etc/machine-id"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_PID_NAMESPACE = "/proc/self/ns/pid"
_STAT = "/proc/stat"
_CARDS = "/sys/class/net/*/device"
# include/linux/proc_ns.h: PROC_PID_INIT_INO, what the kernel's own process namespace is called; that of a container has another
_FIRST_NAMESPACE = "pid:[4026531836]"
_SINCE = "%Y-%m-%d %H:%M:%S UTC"


def holder(purpose: str) -> dict[str, Any]:
    """What this run writes into the lock."""
    # tasks run in forks of the ansible-playbook process
    run = os.getppid()
    return {
        "token": uuid.uuid4().hex,
        "owner": getpass.getuser(),
        "controller": socket.gethostname(),
        "node": node(),
        "cards": cards(),
        "pid": run,
        "started": started(run),
        "since": datetime.datetime.now(datetime.timezone.utc).strftime(_SINCE),
        "purpose": purpose,
    }


def fate(found: dict[str, Any]) -> str:
    """Whether the run that holds a lock still goes on: ``alive``, ``dead``, or ``unknown`` from here.

    Only what is certain counts, for two runs that mix are worse than one that has to be unlocked by hand.
    """
    if _read(_BOOT_ID) and found.get("node") == node():
        return ALIVE if alive(found) else DEAD
    return DEAD if rebooted(found) else UNKNOWN


def node() -> str:
    """What tells this machine from any other whose process ids mean something else.

    Containers share names like ``runner``, clones share a machine id, and after a boot the ids begin anew.
    """
    namespace = ""
    with contextlib.suppress(OSError):
        namespace = os.readlink(_PID_NAMESPACE)
    return " ".join([socket.gethostname(), _read(_MACHINE_ID), _read(_BOOT_ID), namespace])


def cards() -> str:
    """Addresses of the network cards that are no mere software, in which clones on one network differ."""
    found = (_read(os.path.join(os.path.dirname(device), "address")) for device in glob.glob(_CARDS))
    return " ".join(sorted(filter(None, found)))


def rebooted(found: dict[str, Any]) -> bool:
    """Whether the run was on this very machine, before it was started anew.

    The name and the machine id say little: containers made from one image share both, and so do cloned virtual machines,
    while each goes on. So the run and we must be outside of any container (in one, another boot id may just be that of
    another kernel with the same image), with the same network cards, and the run must be older than this boot.
    """
    there, here = str(found.get("node", "")).split(" "), node().split(" ")
    if len(there) != 4 or len(here) != 4 or not all([*there, *here, found.get("cards")]):
        return False
    same = there[:2] == here[:2] and there[3] == here[3] == _FIRST_NAMESPACE and found.get("cards") == cards()
    return same and there[2] != here[2] and _since(found) < _booted()


def _since(found: dict[str, Any]) -> float:
    """When the run began, in seconds of this machine's clock; now for what is no time."""
    with contextlib.suppress(ValueError):
        moment = datetime.datetime.strptime(str(found.get("since")), _SINCE)
        return moment.replace(tzinfo=datetime.timezone.utc).timestamp()
    return float("inf")


def _booted() -> float:
    """When this machine was started, in seconds; 0 where that is not known."""
    for line in _read(_STAT).splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read().strip()
    return ""


def started(pid: int) -> str:
    """When a process began, in ticks of the kernel: tells it from a later one of the same number."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    # a zombie runs no more
    return "" if not fields or fields[0] == "Z" else fields[19]


def alive(found: dict[str, Any]) -> bool:
    """Whether the process that holds the lock is there, on this machine."""
    try:
        pid = int(found.get("pid", 0))
        os.kill(pid, 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return started(pid) == found.get("started", "")
