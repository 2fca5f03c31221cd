# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of files that changes all or nothing. Standard library only: it runs on hosts."""

from __future__ import annotations

import contextlib
import fnmatch
import grp
import os
import pwd
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class FilesetError(Exception):
    """The set could not be applied; the message names path and reason."""


@dataclass(frozen=True)
class Former:
    """What stood at a path: enough to tell a change, and to put it back."""

    kind: str  # absent | file | directory | link
    content: bytes = b""  # file: its bytes, link: its target
    uid: int = 0
    gid: int = 0
    mode: int = 0


@dataclass
class Change:
    """One path that is to change, or did."""

    path: str
    before: Former
    after: Former
    secret: bool = False

    def diff(self) -> dict[str, str]:
        """The change as Ansible's diff shows it."""
        return {
            "before_header": self.path,
            "after_header": self.path,
            "before": self._show(self.before),
            "after": self._show(self.after),
        }

    def _show(self, side: Former) -> str:
        if side.kind == "absent":
            return ""
        text = f"{side.kind} {side.mode:04o} {_name(pwd.getpwuid, side.uid)}:{_name(grp.getgrgid, side.gid)}\n"
        if side.kind == "directory":
            return text
        body = "(secret)\n" if self.secret else side.content.decode("utf-8", "replace")
        return text + body


def _name(lookup: Callable[[int], Any], number: int) -> str:
    try:
        return str(lookup(number)[0])
    except KeyError:
        return str(number)


def look(path: str) -> Former:
    """What stands at ``path`` now."""
    try:
        info = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Former("absent")
    if stat.S_ISLNK(info.st_mode):
        return Former("link", os.readlink(path).encode(), info.st_uid, info.st_gid, 0o777)
    mode = stat.S_IMODE(info.st_mode)
    if stat.S_ISDIR(info.st_mode):
        return Former("directory", b"", info.st_uid, info.st_gid, mode)
    if not stat.S_ISREG(info.st_mode):
        raise FilesetError(f"{path} is neither a file, a directory nor a link; it is left alone")
    with open(path, "rb") as handle:
        return Former("file", handle.read(), info.st_uid, info.st_gid, mode)


def _ids(entry: dict[str, Any], check: bool) -> tuple[int, int]:
    """Numeric owner and group. In check mode an account that does not exist yet counts as new (-1)."""
    ids = []
    for key, lookup in (("owner", pwd.getpwnam), ("group", grp.getgrnam)):
        name = entry.get(key) or "root"
        try:
            ids.append(int(lookup(name)[2]))
        except KeyError:
            if not check:
                raise FilesetError(f"{entry['path']}: {key} {name!r} does not exist on this host") from None
            ids.append(-1)
    return ids[0], ids[1]


def _wanted(entry: dict[str, Any], before: Former, check: bool) -> Former:
    state = entry.get("state", "file")
    if state == "absent":
        return Former("absent")
    if state == "link":
        if not entry.get("target"):
            raise FilesetError(f"{entry['path']}: a link needs a target")
        return Former("link", entry["target"].encode(), before.uid, before.gid, 0o777)
    if state not in ("file", "directory"):
        raise FilesetError(f"{entry['path']}: state {state!r} is none of file, directory, link, absent")
    if not entry.get("mode"):
        raise FilesetError(f"{entry['path']}: mode is missing")
    uid, gid = _ids(entry, check)
    mode = int(str(entry["mode"]), 8)
    if state == "directory":
        return Former("directory", b"", uid, gid, mode)
    if entry.get("content") is None:
        raise FilesetError(f"{entry['path']}: give content or template")
    return Former("file", entry["content"].encode(), uid, gid, mode)


def plan(files: list[dict[str, Any]], purge: list[dict[str, Any]], check: bool = False) -> list[Change]:
    """The changes that bring the host to the set, in order. Nothing is written."""
    changes = []
    for entry in files:
        path = entry["path"]
        before = look(path)
        if entry.get("keep") and before.kind != "absent":
            continue
        after = _wanted(entry, before, check)
        # a directory is never turned into something else: that would lose what is in it
        if before.kind == "directory" and after.kind in ("file", "link"):
            raise FilesetError(f"{path} is a directory, but the set has a {after.kind} there; move it away by hand")
        if before.kind == "directory" and after.kind == "absent" and os.listdir(path):
            raise FilesetError(f"{path} is to be removed, but is a directory that is not empty")
        if before != after:
            changes.append(Change(path, before, after, bool(entry.get("secret"))))
    kept = {os.path.normpath(entry["path"]) for entry in files if entry.get("state") != "absent"}
    for place in purge:
        names = sorted(os.listdir(place["path"])) if os.path.isdir(place["path"]) else []
        for name in names:
            path = os.path.join(place["path"], name)
            if path in kept or not fnmatch.fnmatch(name, place.get("pattern", "*")):
                continue
            before = look(path)
            if before.kind != "directory":
                changes.append(Change(path, before, Former("absent")))
    return changes


def put(path: str, wanted: Former) -> None:
    """Make ``path`` be ``wanted``, by rename where a reader might look."""
    if wanted.kind == "absent":
        with contextlib.suppress(FileNotFoundError):
            if os.path.isdir(path) and not os.path.islink(path):
                os.rmdir(path)
            else:
                os.unlink(path)
        return
    parent = os.path.dirname(path)
    if wanted.kind == "directory":
        os.makedirs(path, exist_ok=True)
        os.chown(path, wanted.uid, wanted.gid)
        os.chmod(path, wanted.mode)
        return
    if not os.path.isdir(parent):
        raise FilesetError(f"{path}: its directory {parent} does not exist")
    if wanted.kind == "link":
        temporary = tempfile.mktemp(prefix=".fileset-", dir=parent)
        os.symlink(wanted.content.decode(), temporary)
    else:
        handle, temporary = tempfile.mkstemp(prefix=".fileset-", dir=parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(wanted.content)
            os.fchown(stream.fileno(), wanted.uid, wanted.gid)
            os.fchmod(stream.fileno(), wanted.mode)
    os.replace(temporary, path)


def apply_fileset(
    files: list[dict[str, Any]],
    purge: list[dict[str, Any]],
    *,
    commands: list[str] | None = None,
    run: Callable[[str], tuple[int, str]] | None = None,
    check: bool = False,
) -> list[Change]:
    """Apply the set and return what changed.

    :param files: entries with ``path``, ``state``, ``content``, ``target``, ``owner``, ``group``, ``mode``, ``secret``,
        ``keep``.
    :param purge: entries with ``path`` and ``pattern``.
    :param commands: must all end with 0 while the new files are in place; not run when nothing changes.
    :param run: runs one of them, returns its exit code and its output.
    :param check: only say what would change.
    :raises FilesetError: nothing has changed then, whatever the step.
    """
    changes = plan(files, purge, check)
    if check or not changes:
        return changes
    done: list[Change] = []
    try:
        for change in changes:
            done.append(change)
            put(change.path, change.after)
        for command in commands or []:
            code, output = run(command) if run else (0, "")
            if code:
                names = ", ".join(change.path for change in changes)
                raise FilesetError(f"`{command}` refuses {names}; all are back as they were:\n{output}")
    except (FilesetError, OSError) as error:
        for change in reversed(done):
            put(change.path, change.before)
        raise FilesetError(str(error)) from error
    return changes
