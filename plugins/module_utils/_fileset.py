# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of files that changes all or nothing. Standard library only: it runs on hosts."""

from __future__ import annotations

import contextlib
import fnmatch
import grp
import os
import pwd
import re
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
    apart: str = ""  # those with the same text may be left out together

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


def _through_link(path: str, before: Former) -> str:
    """The directory that a link stands for, or the path itself.

    Only a link of root's own counts (a disk mounted elsewhere): through an app's link, root would give the app whatever
    it points to.
    """
    if before.kind != "link":
        return path
    if before.uid not in (0, os.geteuid()) or not os.path.isdir(path):
        owner = _name(pwd.getpwuid, before.uid)
        raise FilesetError(f"{path} is a link of {owner}, but the set has a directory there; move it away by hand")
    return os.path.realpath(path)


def _mode(entry: dict[str, Any]) -> int:
    mode = entry.get("mode")
    if not mode:
        raise FilesetError(f"{entry['path']}: mode is missing")
    # YAML reads an unquoted 0644 as the number 420
    if not isinstance(mode, str) or not re.fullmatch("[0-7]{3,4}", mode):
        raise FilesetError(f'{entry["path"]}: mode {mode!r} must be octal digits in quotes, such as "0644"')
    return int(mode, 8)


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
        owner = (before.uid, before.gid) if before.kind == "link" else (os.geteuid(), os.getegid())
        return Former("link", entry["target"].encode(), *owner, 0o777)
    if state not in ("file", "directory"):
        raise FilesetError(f"{entry['path']}: state {state!r} is none of file, directory, link, absent")
    mode = _mode(entry)
    uid, gid = _ids(entry, check)
    if state == "directory":
        return Former("directory", b"", uid, gid, mode)
    if not isinstance(entry.get("content"), str):
        raise FilesetError(f"{entry['path']}: give a template, or content that is a text")
    return Former("file", entry["content"].encode(), uid, gid, mode)


def plan(files: list[dict[str, Any]], purge: list[dict[str, Any]], check: bool = False) -> list[Change]:
    """The changes that bring the host to the set, in order. Nothing is written."""
    changes: list[Change] = []
    for entry in files:
        path = entry["path"]
        if not os.path.isabs(path):
            raise FilesetError(f"{path}: the path must begin with /")
        # not even looked at: it may be a log of many megabytes
        if entry.get("keep") and os.path.lexists(path):
            continue
        before = look(path)
        after = _wanted(entry, before, check)
        if after.kind == "directory":
            path = _through_link(path, before)
            before = look(path)
            changes += _missing_parents(path, {change.path for change in changes})
        # neither is turned into the other: that would lose what is there
        if "directory" in (before.kind, after.kind) and not {before.kind, after.kind} <= {"directory", "absent"}:
            raise FilesetError(f"{path} is a {before.kind}, but the set has a {after.kind} there; move it away by hand")
        if before.kind == "directory" and after.kind == "absent" and os.listdir(path):
            raise FilesetError(f"{path} is to be removed, but is a directory that is not empty")
        if before != after:
            changes.append(Change(path, before, after, bool(entry.get("secret")), entry.get("apart") or ""))
    return changes + _purged(purge, {os.path.normpath(entry["path"]) for entry in files})


def _missing_parents(path: str, made: set[str]) -> list[Change]:
    """The directories above ``path`` that are not there, so that they can be taken back too."""
    missing: list[Change] = []
    parent = os.path.dirname(os.path.normpath(path))
    while parent not in made and not os.path.lexists(parent):
        missing.insert(0, Change(parent, Former("absent"), Former("directory", b"", os.geteuid(), os.getegid(), 0o755)))
        parent = os.path.dirname(parent)
    return missing


def _purged(purge: list[dict[str, Any]], known: set[str]) -> list[Change]:
    """The files that match a pattern and that the set does not know."""
    changes = []
    for place in purge:
        folder = os.path.normpath(place["path"])
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            path = os.path.join(folder, name)
            if path in known or not fnmatch.fnmatchcase(name, place.get("pattern", "*")):
                continue
            before = look(path)
            if before.kind != "directory":
                # nobody said whether it was secret; what not all may read stays out of the diff
                changes.append(Change(path, before, Former("absent"), not before.mode & 0o004))
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
    if wanted.kind == "directory":
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        # not by name: an app that owns the parent could put a link there in between
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchown(handle, wanted.uid, wanted.gid)
            os.fchmod(handle, wanted.mode)
        finally:
            os.close(handle)
        return
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        raise FilesetError(f"{path}: its directory {parent} does not exist")
    temporary = tempfile.mktemp(prefix=".fileset-", dir=parent)
    try:
        if wanted.kind == "link":
            os.symlink(wanted.content.decode(), temporary)
            os.chown(temporary, wanted.uid, wanted.gid, follow_symlinks=False)
        else:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                stream.write(wanted.content)
                os.fchown(stream.fileno(), wanted.uid, wanted.gid)
                os.fchmod(stream.fileno(), wanted.mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _put_back(done: list[Change]) -> str:
    """Undo all that can be undone, and say in words how it went."""
    failed = []
    for change in reversed(done):
        try:
            # what was not touched needs no space on a disk that is full
            if look(change.path) != change.before:
                put(change.path, change.before)
        except (FilesetError, OSError) as error:
            failed.append(f"{change.path} ({error})")
    return f"NOT back as before: {', '.join(failed)}" if failed else "all are back as they were"


def _guilty(changes: list[Change], command: str, run: Callable[[str], tuple[int, str]]) -> dict[str, str]:
    """Which of those that may be left out the command refuses, with its words; they are put back.

    None when the rest alone is refused too: then it is not their fault, and all are in place again.
    """
    groups: dict[str, list[Change]] = {}
    for change in changes:
        if change.apart:
            groups.setdefault(change.apart, []).append(change)
    if not groups:
        return {}
    for change in reversed([change for group in groups.values() for change in group]):
        put(change.path, change.before)
    found: dict[str, str] = {}
    blameless = run(command)[0] == 0
    for name, group in groups.items():
        for change in group:
            put(change.path, change.after)
        code, output = run(command) if blameless else (0, "")
        if code:
            found[name] = output
            for change in reversed(group):
                put(change.path, change.before)
    return found


def apply_fileset(
    files: list[dict[str, Any]],
    purge: list[dict[str, Any]],
    *,
    commands: list[str] | None = None,
    run: Callable[[str], tuple[int, str]] | None = None,
    check: bool = False,
    before: Callable[[list[Change]], None] | None = None,
    left_out: dict[str, str] | None = None,
) -> list[Change]:
    """Apply the set and return what changed.

    :param files: entries with ``path``, ``state``, ``content``, ``target``, ``owner``, ``group``, ``mode``, ``secret``,
        ``keep``.
    :param purge: entries with ``path`` and ``pattern``.
    :param commands: must all end with 0 while the new files are in place; not run when nothing changes.
    :param run: runs one of them, returns its exit code and its output.
    :param check: only say what would change.
    :param before: called with the changes before the first of them, if there are any.
    :param left_out: takes the entries with ``apart`` that a command refuses: its words, by that text. Without it, all entries stand or
        fall together.
    :raises FilesetError: nothing has changed then, whatever the step.
    """
    changes = plan(files, purge, check)
    if check or not changes:
        return changes
    if before:
        before(changes)
    done: list[Change] = []
    reason, output = "", ""
    try:
        for change in changes:
            done.append(change)
            put(change.path, change.after)
        for command in commands or []:
            reason = f"`{command}` refuses {', '.join(change.path for change in changes)}"
            code, output = run(command) if run else (0, "")
            if code and run and left_out is not None and (found := _guilty(changes, command, run)):
                left_out.update(found)
                changes = [change for change in changes if change.apart not in found]
                code, output = run(command)
            if code:
                raise FilesetError(reason)
    except BaseException as error:
        state = _put_back(done)
        if not isinstance(error, (FilesetError, OSError)):
            raise
        if isinstance(error, OSError):
            reason = f"{reason or done[-1].path}: {error.strerror or error}"
        raise FilesetError(f"{reason or error}; {state}" + (f":\n{output}" if output else "")) from error
    return changes
