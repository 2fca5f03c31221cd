# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures that can be taken back: kernel settings, modes, lines in files of others, mount options, whole files.

Before a measure changes anything, what was there is noted in MEMORY, so that a measure that is turned off leaves the host
as it was, whoever had changed it before. Standard library only: it runs on hosts.
"""

from __future__ import annotations

import contextlib
import glob
import grp
import json
import os
import pwd
import re
import stat
import subprocess
from collections.abc import Callable
from typing import Any

MEMORY = "/var/lib/flaskhost/measures.json"
SYSCTL_FILE = "/etc/sysctl.d/zz-flaskhost.conf"
PROC_SYS = "/proc/sys"
FSTAB = "/etc/fstab"
MOUNTS = "/proc/self/mounts"

# a former file that is larger is not noted; those that measures replace are a few lines
_LARGEST_FORMER = 65536


def sysctl_path(key: str) -> str:
    """Where the kernel shows a setting."""
    # as sysctl(8) writes it: a slash stands for a dot within a name, such as that of an interface
    return os.path.join(PROC_SYS, *(part.replace("/", ".") for part in key.split(".")))


def live_keys(key: str) -> list[str]:
    """The settings that ``net.ipv4.conf.*.x`` stands for: ``all``, ``default`` and every interface there is.

    An interface takes what ``default`` says at its birth only, and for some settings it is enough that one of the two allows it.
    """
    if "*" not in key:
        return [key]
    before, after = (part.replace(".", "/") for part in key.split("*", 1))
    found = sorted(glob.glob(f"{PROC_SYS}/{before}*{after}"))
    names = [path[len(f"{PROC_SYS}/{before}") : -len(after)].replace(".", "/") for path in found]
    return [key.replace("*", name) for name in names]


def sysctl_text(measures: list[dict[str, Any]]) -> str:
    """The file that sets it all again at boot."""
    lines = ["# Written by Ansible (collection flaskhost.stack): what is changed here by hand will be lost."]
    for measure in measures:
        if measure["enabled"] and measure.get("sysctl"):
            lines.append(f"# {measure['name']}")
            for key, value in measure["sysctl"].items():
                # The leading dash: a kernel that refuses it (a container's, say) is no failed unit. An interface that is there
                # before this is read, as at each boot, takes nothing from `default`; and files of others that name `all` or
                # `default` keep those two out of the star.
                names = [key.replace("*", name) for name in ("all", "default", "*")] if "*" in key else [key]
                lines += [f"-{name} = {value}" for name in names]
    return "\n".join(lines) + "\n"


def edited(text: str, line: dict[str, Any], wanted: str | None) -> tuple[str, str | None]:
    """A text in which the line that fits ``match`` is ``wanted`` (None: is not there); and what that line was.

    :param line: match (a regular expression), after (one too: a new line comes behind the first that fits, else at the end).
    """
    lines = text.splitlines()
    found = [number for number, one in enumerate(lines) if re.search(line["match"], one)]
    former = lines[found[0]] if found else None
    if found:
        # of several the last one may count: they become one
        lines = [one for number, one in enumerate(lines) if number not in found[1:]]
        lines[found[0] : found[0] + 1] = [] if wanted is None else [wanted]
    elif wanted is not None:
        place = line.get("after")
        behind = next((number + 1 for number, one in enumerate(lines) if place and re.search(place, one)), len(lines))
        lines.insert(behind, wanted)
    return "".join(f"{one}\n" for one in lines), former


class Memory:
    """What was there before the measures, by kind and target; written only when it changed."""

    def __init__(self, path: str = MEMORY) -> None:
        self.path = path
        self.kept: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(FileNotFoundError, ValueError), open(path, encoding="utf-8") as stream:
            self.kept = json.load(stream)
        self._before = json.dumps(self.kept, sort_keys=True)
        self._dropped: list[tuple[str, str]] = []

    def of(self, kind: str) -> dict[str, Any]:
        """The targets of one kind."""
        return self.kept.setdefault(kind, {})

    def forget(self, kind: str, target: str) -> None:
        """Drop one with the last write: until then a run that dies still knows what was there."""
        self._dropped.append((kind, target))

    def close(self) -> None:
        """The last write."""
        for kind, target in self._dropped:
            self.of(kind).pop(target, None)
        self.write()

    def write(self) -> None:
        """Keep it; before anything is changed, so that a run that dies knows what was there."""
        if json.dumps(self.kept, sort_keys=True) == self._before:
            return
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        aside = f"{self.path}.new"
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            json.dump(self.kept, stream, indent=1, sort_keys=True)
        os.replace(aside, self.path)
        self._before = json.dumps(self.kept, sort_keys=True)


def file_entries(measures: list[dict[str, Any]], memory: Memory) -> list[dict[str, Any]]:
    """All files of the measures, and the files of others with their lines, as a fileset takes them.

    A file that stood where a measure puts one comes back when the measure is off, and so does a line.
    """
    text = sysctl_text(measures)
    there = {"content": text, "mode": "0644"} if "=" in text else {"state": "absent"}
    entries: list[dict[str, Any]] = [{"path": SYSCTL_FILE, **there}]
    for measure in measures:
        for entry in measure.get("files") or []:
            one = {key: value for key, value in entry.items() if value is not None}
            if measure["enabled"] or one.get("state") == "directory":
                # an empty directory does nothing, and others may have files in it by now
                if one.get("state", "file") == "file":
                    _note_file(one["path"], str(one["content"]), memory.of("files"))
                entries.append(one)
            elif one["path"] in memory.of("files"):
                entries += _former_file(one, memory.of("files")[one["path"]])
                memory.forget("files", one["path"])
    return entries + _line_entries(measures, memory)


def _note_file(path: str, content: str, kept: dict[str, Any]) -> None:
    if path not in kept:
        kept[path] = {"was": None}
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if os.path.getsize(path) <= _LARGEST_FORMER:
                with open(path, encoding="utf-8") as stream:
                    text = stream.read()
                if text != content:
                    kept[path] = {"was": text, "mode": f"{stat.S_IMODE(os.stat(path).st_mode):04o}"}


def _former_file(entry: dict[str, Any], kept: dict[str, Any]) -> list[dict[str, Any]]:
    """What brings back what stood there; nothing where somebody wrote something else meanwhile."""
    if entry.get("state", "file") == "file":
        with contextlib.suppress(OSError, UnicodeDecodeError), open(entry["path"], encoding="utf-8") as stream:
            if stream.read() != entry["content"]:
                return []
    if kept["was"] is None:
        return [{"path": entry["path"], "state": "absent"}]
    return [{"path": entry["path"], "content": kept["was"], "mode": kept["mode"]}]


def _line_entries(measures: list[dict[str, Any]], memory: Memory) -> list[dict[str, Any]]:
    """The files that get or lose lines, each once, as they are to be."""
    kept = memory.of("lines")
    texts: dict[str, str] = {}
    for measure in measures:
        for line in [*(measure.get("lines") or []), *_fstab_lines(measure, memory)]:
            path, name = line["path"], f"{line['path']}: {line['match']}"
            if not os.path.isfile(path):
                continue
            if path not in texts:
                with open(path, encoding="utf-8") as stream:
                    texts[path] = stream.read()
            if measure["enabled"]:
                new, former = edited(texts[path], line, line["line"])
                kept.setdefault(name, former)
                texts[path] = new
            elif name in kept:
                # what somebody wrote there meanwhile is theirs
                if line["line"] in texts[path].splitlines():
                    texts[path] = edited(texts[path], line, kept[name])[0]
                memory.forget("lines", name)
    return [_same_file(path, text) for path, text in texts.items()]


def _fstab_lines(measure: dict[str, Any], memory: Memory) -> list[dict[str, Any]]:
    """What makes the mount options of a measure last; nothing where they are so by themselves (in a container, say)."""
    lines = []
    for path, option in (measure.get("mounts") or {}).items():
        was = memory.of("mounts").get(path, {}).get("was") or _mount(path)
        if was not in (None, option):
            text = f"tmpfs {path} tmpfs defaults,nosuid,nodev,{option} 0 0"
            lines.append({"path": FSTAB, "match": rf"^[^#\s]\S*\s+{re.escape(path)}\s", "line": text})
    return lines


def _same_file(path: str, text: str) -> dict[str, Any]:
    """An entry that changes nothing but the text."""
    found = os.stat(path)
    owner, group = pwd.getpwuid(found.st_uid).pw_name, grp.getgrgid(found.st_gid).gr_name
    return {"path": path, "content": text, "mode": f"{stat.S_IMODE(found.st_mode):04o}", "owner": owner, "group": group}


class Settings:
    """What is no file: kernel settings, modes and mount options. Each change is told; what the kernel refuses, too."""

    def __init__(self, memory: Memory, check: bool) -> None:
        self.memory, self.check = memory, check
        self.changed: list[str] = []
        self.refused: list[str] = []

    def apply(self, measures: list[dict[str, Any]]) -> None:
        """Bring all of them to what the measures say."""
        on = [measure for measure in measures if measure["enabled"]]
        modes = {path: (one["name"], str(mode)) for one in on for path, mode in (one.get("modes") or {}).items()}
        self._apply("modes", modes, _mode, _set_mode)
        wanted = {
            live: (one["name"], str(value))
            for one in on
            for key, value in (one.get("sysctl") or {}).items()
            for live in live_keys(key)
        }
        self._apply("sysctl", wanted, _sysctl, _set_sysctl)
        options = {path: (one["name"], str(option)) for one in on for path, option in (one.get("mounts") or {}).items()}
        self._apply("mounts", options, _mount, _set_mount)

    def _apply(
        self,
        kind: str,
        wanted: dict[str, tuple[str, str]],
        read: Callable[[str], str | None],
        write: Callable[[str, str], None],
    ) -> None:
        """Take back what is no longer wanted, then set what is."""
        kept = self.memory.of(kind)
        # who forwards comes first in both: the kernel changes other settings along with it
        for target in sorted((one for one in kept if one not in wanted), key=lambda one: "forward" not in one):
            noted = kept[target]
            # what somebody else set meanwhile is theirs
            if noted["was"] is not None and read(target) == noted["set"] != noted["was"]:
                self._set(kind, target, noted["set"], noted["was"], write, "off")
            self.memory.forget(kind, target)
        for target, (_name, value) in wanted.items():
            present = read(target)
            if present is not None:
                kept.setdefault(target, {"was": present, "set": value})["set"] = value
        for target, (name, value) in wanted.items():
            present = read(target)
            if present is not None and present != value:
                if not self.check:
                    self.memory.write()
                self._set(kind, target, present, value, write, name)

    def _set(
        self, kind: str, target: str, present: str, value: str, write: Callable[[str, str], None], name: str
    ) -> None:
        if not self.check:
            try:
                write(target, value)
            except (OSError, subprocess.SubprocessError) as error:
                self.refused.append(f"{name}: {target} stays {present} ({getattr(error, 'strerror', None) or error})")
                return
        elif kind == "sysctl" and not os.access(sysctl_path(target), os.W_OK):
            self.refused.append(f"{name}: {target} stays {present}")
            return
        self.changed.append(f"{target}: {present} -> {value}")


def _sysctl(key: str) -> str | None:
    try:
        with open(sysctl_path(key), encoding="utf-8") as stream:
            return " ".join(stream.read().split())
    except OSError:
        # another kernel, or a part of it that is not loaded
        return None


def _set_sysctl(key: str, value: str) -> None:
    with open(sysctl_path(key), "w", encoding="utf-8") as stream:
        stream.write(value + "\n")


def _mode(path: str) -> str | None:
    try:
        return f"{stat.S_IMODE(os.stat(path).st_mode):04o}"
    except OSError:
        return None


def _set_mode(path: str, mode: str) -> None:
    os.chmod(path, int(mode, 8))


def _mount(path: str) -> str | None:
    """``noexec`` or ``exec``; None when nothing is mounted there."""
    with open(MOUNTS, encoding="utf-8") as stream:
        options = [words[3].split(",") for line in stream if (words := line.split())[1] == path]
    return None if not options else "noexec" if "noexec" in options[-1] else "exec"


def _set_mount(path: str, option: str) -> None:
    done = subprocess.run(["mount", "-o", f"remount,{option}", path], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.returncode, (done.stderr or done.stdout).strip())
