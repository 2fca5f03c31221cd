# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes .venv and the link of the collection; called by scripts/setup with the key of what they are made from.

Standard library only. Safe to interrupt: the key is written last, and what has no key is made anew.
"""

from __future__ import annotations

import os
import sys

from boxlib.system import ROOT, Problem, apt_install, can_apt, locked, run, say

VENV = ROOT / ".venv"
MADE_FROM = VENV / ".made-from"
PYTHON = VENV / "bin" / "python"
COLLECTION = ROOT / ".ansible" / "collections" / "ansible_collections" / "flaskhost" / "stack"


def link_collection() -> None:
    """Let the checkout be found as collection flaskhost.stack; relative, so that the clone may be moved."""
    COLLECTION.parent.mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(ROOT, COLLECTION.parent)
    if not (COLLECTION.is_symlink() and os.readlink(COLLECTION) == target):
        COLLECTION.unlink(missing_ok=True)
        COLLECTION.symlink_to(target, target_is_directory=True)


def make_venv() -> None:
    """An empty .venv with pip in it."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if run(sys.executable, "-c", "import ensurepip", check=False).returncode:
        if not can_apt():
            raise Problem(
                f"{sys.executable} cannot make virtual environments. "
                f"As root: apt-get install python{version}-venv, then run again."
            )
        apt_install([f"python{version}-venv"])
    say(f"Making .venv with Python {sys.version.split()[0]} ...")
    # in a process of its own: after apt-get this one may not see the new modules
    run(sys.executable, "-m", "venv", "--clear", VENV)


def index_of_pip() -> dict[str, str]:
    """The package index pip is configured for, told to uv; nothing where pip has no opinion."""
    wanted = run(PYTHON, "-m", "pip", "config", "get", "global.index-url", check=False).stdout.strip()
    index = os.environ.get("PIP_INDEX_URL") or wanted
    return {"UV_DEFAULT_INDEX": index} if index and "UV_DEFAULT_INDEX" not in os.environ else {}


def install() -> None:
    """Bring .venv to the locked versions: with uv (a third of the time), or with pip where uv cannot."""
    say("Installing the locked requirements (half a minute) ...")
    pip = (PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes")
    locks = ("requirements-dev.txt", "requirements-uv.txt")
    try:
        run(*pip, "-r", ROOT / "requirements-uv.txt")
        run(
            VENV / "bin" / "uv", "pip", "sync", "--quiet", "--require-hashes", "--python", PYTHON,
            *(ROOT / lock for lock in locks), env={"UV_SYSTEM_CERTS": "true", **index_of_pip()},
        )  # fmt: skip
    except Problem as problem:
        say(f"uv did not serve, so pip does it: {str(problem).splitlines()[-1]}")
        run(*pip, "-r", ROOT / "requirements-dev.txt")
    # else each program compiles what it imports at each start (ansible-playbook: a second), where the environment says
    # PYTHONDONTWRITEBYTECODE. Collections are left out: Ansible never uses what is cached of them
    compile_all = ("-m", "compileall", "-q", "-j", "0", "-x", "site-packages/ansible_collections/")
    # a template of Python code that some package brings along is none that can be compiled
    run(PYTHON, *compile_all, *VENV.glob("lib/python*/site-packages"), check=False)


def main(key: str) -> None:
    """Make what is missing or out of date."""
    with locked(ROOT / ".ansible" / "setup.lock"):
        link_collection()
        made_from = MADE_FROM.read_text().strip() if MADE_FROM.exists() else ""
        if made_from == key and PYTHON.exists():
            return  # another set-up was faster
        moved = made_from.split(" ", 2)[2:] != key.split(" ", 2)[2:]
        MADE_FROM.unlink(missing_ok=True)
        if moved or not PYTHON.exists() or run(PYTHON, "-c", "", check=False).returncode:
            make_venv()
        install()
        MADE_FROM.write_text(key + "\n")
        say("Set-up done.")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Problem as problem:
        sys.exit(f"setup: {problem}")
    except KeyboardInterrupt:
        sys.exit("setup: interrupted; run it again to go on.")
