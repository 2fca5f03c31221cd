# SPDX-License-Identifier: GPL-3.0-or-later
"""Pack a local source tree on the control node."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import os
import subprocess
import tarfile
from dataclasses import dataclass

# what no release needs, and what must not leave the developer's machine
EXCLUDED = (
    ".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", "node_modules", "__pycache__", "*.pyc", ".env", ".env.*",
    ".mypy_cache", ".ruff_cache", ".pytest_cache", ".vagrant", ".DS_Store", "*.sqlite", "*.sqlite3", "instance",
)  # fmt: skip


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
    return _pack_version(path, version) if version else _pack_as_it_is(path)


def _git(path: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", path, *words], capture_output=True, check=False)


def _pack_version(path: str, version: str) -> Packed:
    found = _git(path, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{version}^{{commit}}")
    commit = found.stdout.decode().strip()
    if found.returncode or not commit:
        raise TreeError(
            f"{path} knows no version {version!r}: it must be a branch, tag or commit of the git repository there"
        )
    # "commit:./" is the folder itself where the app is not at the top of its repository
    made = _git(path, "archive", "--format=tar.gz", f"{commit}:./")
    if made.returncode:
        raise TreeError(f"git archive of {version} in {path} fails: {made.stderr.decode().strip()}")
    return Packed(commit, made.stdout)


def files_of(path: str) -> list[str]:
    """The files of a tree, sorted: in a git work tree those git knows or does not ignore, else all but the usual debris."""
    listed = _git(path, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    names = [name for name in listed.stdout.decode().split("\0") if name] if listed.returncode == 0 else []
    # a folder that its repository ignores as a whole has a reason to be ignored, but is what we were given
    if not names:
        for top, folders, files in os.walk(path):
            folders[:] = [folder for folder in folders if not _excluded(folder)]
            links = [folder for folder in folders if os.path.islink(os.path.join(top, folder))]
            names += [os.path.relpath(os.path.join(top, name), path) for name in files + links]
    present = (name for name in set(names) if os.path.lexists(os.path.join(path, name)))
    return sorted(name for name in present if not any(_excluded(part) for part in name.split("/")))


def _excluded(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in EXCLUDED)


def _pack_as_it_is(path: str) -> Packed:
    digest = hashlib.sha1(usedforsecurity=False)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=6) as archive:
        for name in files_of(path):
            full = os.path.join(path, name)
            info = archive.gettarinfo(full, name)
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mode = 0o755 if info.mode & 0o100 else 0o644
            digest.update(f"{name}\0{info.mode:o}\0{info.linkname}\0{info.size}\0".encode())
            if info.isreg():
                with open(full, "rb") as stream:
                    content = stream.read()
                digest.update(content)
                archive.addfile(info, io.BytesIO(content))
            elif info.issym():
                archive.addfile(info)
    return Packed(digest.hexdigest(), buffer.getvalue())
