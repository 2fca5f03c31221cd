# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine we run on: commands, locks, packages. Standard library only, as it runs before anything is installed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Problem(Exception):
    """A mistake or a missing thing, told to the user as one message without a traceback."""


def say(text: str) -> None:
    """Tell the user what happens (stderr: stdout is for answers that scripts read)."""
    print(text, file=sys.stderr, flush=True)


def run(
    *command: str | Path, check: bool = True, stdin: str | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command and return its output as text; a Problem with its last lines if it fails and `check` is on."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, input=stdin, stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, text=True,
            env=None if env is None else {**os.environ, **env}, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise Problem(f"The command {words[0]} is missing on this machine.") from error
    if check and done.returncode:
        tail = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-20:])
        raise Problem(f"`{' '.join(words[:4])} ...` failed with exit code {done.returncode}:\n{tail}")
    return done


def shared_dir() -> Path:
    """A directory that all clones of this user on this machine share, for locks and for who started what."""
    path = Path("/run/flaskhost")
    if os.geteuid() != 0 or not path.parent.is_dir():
        path = Path(tempfile.gettempdir()) / f"flaskhost-{os.geteuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.geteuid():
        raise Problem(f"{path} belongs to somebody else; remove it and run again.")
    return path


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold a lock file; yields False if `wait` is off and somebody else has it. The kernel frees it if we die."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                yield False
                return
            fcntl.flock(handle, kind)
        yield True


def can_apt() -> bool:
    """Debian, Ubuntu or a sister of them, and we may install packages."""
    return os.geteuid() == 0 and Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None


def apt_install(packages: Sequence[str]) -> None:
    """Install Debian packages without a question; package lists are fetched when the present ones do not serve."""
    env = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "a"}
    apt = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300")
    say(f"Installing {', '.join(packages)} ...")
    install = (*apt, "install", "--no-install-recommends", *packages)
    if run(*install, check=False, env=env).returncode:
        run(*apt, "update", env=env)
        run(*install, env=env)


def need(command: str, packages: Sequence[str], otherwise: str) -> None:
    """Make sure that a command is there: by apt where we may, else a Problem that says what to do."""
    if shutil.which(command):
        return
    if not can_apt():
        raise Problem(f"The command {command} is missing on this machine. {otherwise}")
    apt_install(packages)
    if not shutil.which(command):
        raise Problem(f"The command {command} is still missing after installing {', '.join(packages)}. {otherwise}")
