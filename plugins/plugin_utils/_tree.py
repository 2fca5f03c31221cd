# SPDX-License-Identifier: GPL-3.0-or-later
"""Pack a local source tree on the control node."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import os
import stat
import subprocess
import tarfile
from dataclasses import dataclass

# what no release needs, and what must not leave the developer's machine
EXCLUDED = (
    ".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", "node_modules", "__pycache__", "*.pyc", ".env", ".env.*",
    ".mypy_cache", ".ruff_cache", ".pytest_cache", ".vagrant", ".DS_Store", "*.sqlite", "*.sqlite3", "instance",
)  # fmt: skip


_OF_A_HOOK = frozenset(["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"])
_NO_REPOSITORY = b"not a git repository"


class TreeError(Exception):
    """The tree cannot be packed; the message says why and what to do."""


@dataclass(frozen=True)
class Packed:
    """A source tree ready to be sent.

    ``commit`` is git's for a given version, else a hash of names, modes and contents; ``archive`` is a gzipped tar.
    """

    commit: str
    archive: bytes


def pack(path: str, version: str = "") -> Packed:
    """Pack the tree at ``path``: as it lies there, or as it was at git's ``version``."""
    if not os.path.isdir(path):
        raise TreeError(f"source.path {path} is not a directory on this control node")
    try:
        return _pack_version(path, version) if version else _pack_as_it_is(path)
    except OSError as error:
        raise TreeError(f"source.path {path} cannot be read: {error}") from error


def _git(path: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    # its messages are looked at; and a hook of another repository, which may have called us, says where that is
    environment = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK} | {"LC_ALL": "C"}
    try:
        return subprocess.run(["git", "-C", path, *words], capture_output=True, check=False, env=environment)
    except FileNotFoundError:
        return subprocess.CompletedProcess(words, 128, b"", _NO_REPOSITORY)


def _pack_version(path: str, version: str) -> Packed:
    found = _git(path, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{version}^{{commit}}")
    commit = found.stdout.decode().strip()
    if found.returncode or not commit:
        raise TreeError(
            f"{path} knows no version {version!r}: it must be a branch, tag or commit of the git repository there"
        )
    # the folder itself, where the app is not at the top of its repository
    places = (_git(path, "rev-parse", word).stdout for word in ("--show-toplevel", "--show-prefix"))
    top, folder = (os.fsdecode(place).removesuffix("\n") for place in places)
    made = _git(top, "archive", "--format=tar.gz", f"{commit}:{folder.rstrip('/')}")
    if made.returncode:
        raise TreeError(f"git archive of {version} in {path} fails: {made.stderr.decode().strip()}")
    return Packed(commit, made.stdout)


def files_of(path: str) -> list[str]:
    """The files of a tree, sorted: in a git work tree those git knows or does not ignore, else all but the usual debris."""
    listed = _git(path, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    if listed.returncode and _NO_REPOSITORY not in listed.stderr:
        # without git's list, what it ignores would be packed
        raise TreeError(f"git cannot list the files of {path}: {listed.stderr.decode('utf-8', 'replace').strip()}")
    names = [name for name in os.fsdecode(listed.stdout).split("\0") if name]
    # a folder that its repository ignores as a whole has a reason to be ignored, but is what we were given
    if not names:
        for top, folders, files in os.walk(path):
            folders[:] = [folder for folder in folders if not _excluded(folder)]
            links = [folder for folder in folders if os.path.islink(os.path.join(top, folder))]
            names += [os.path.relpath(os.path.join(top, name), path) for name in files + links]
    found: set[str] = set()
    for name in names:
        full = os.path.join(path, name)
        # an empty folder of a submodule names itself
        if os.path.normpath(name) == "." or any(_excluded(part) for part in name.split("/")):
            continue
        if os.path.isdir(full) and not os.path.islink(full):
            # git names a repository within (a submodule, say) and not what is in it
            found.update(os.path.join(name, inner) for inner in files_of(full))
        elif os.path.lexists(full):
            found.add(name)
    return sorted(found)


def _excluded(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in EXCLUDED)


def _pack_as_it_is(path: str) -> Packed:
    digest = hashlib.sha1(usedforsecurity=False)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=6) as archive:
        for name in files_of(path):
            full = os.path.join(path, name)
            info = _member(full, name)
            if not info:
                continue
            content = b""
            if info.isreg():
                with open(full, "rb") as stream:
                    content = stream.read()
                info.size = len(content)
            parts = (os.fsencode(name), b"%o" % info.mode, os.fsencode(info.linkname), b"%d" % info.size, content)
            digest.update(b"\0".join(parts))
            archive.addfile(info, io.BytesIO(content))
    return Packed(digest.hexdigest(), buffer.getvalue())


def _member(full: str, name: str) -> tarfile.TarInfo | None:
    """A file or link as a member of the archive, nobody's, executable or not; nothing for a socket or pipe."""
    status = os.lstat(full)
    info = tarfile.TarInfo(name)
    info.mtime = int(status.st_mtime)
    info.mode = 0o755 if status.st_mode & 0o100 else 0o644
    if stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(full)
    elif not stat.S_ISREG(status.st_mode):
        return None
    return info
