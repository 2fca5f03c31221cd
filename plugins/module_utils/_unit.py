# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd units that are enabled, run, and run with the configuration that lies there.

Where a handler forgets what a killed run had still to reload, this compares what the unit loaded with what is on disk.
After a load it notes a fingerprint of the configuration below STAMPS; without a note, the files' times are compared
with the start of the unit. Standard library only: it runs on hosts.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from typing import Any

STAMPS = "/run/flaskhost/units"


class UnitError(Exception):
    """A unit does not do what it should; the message has the end of its journal."""


def config_files(paths: list[str], exclude: list[str]) -> tuple[list[str], list[str]]:
    """All directories and all files at and below the paths, each sorted; links are no directories."""
    folders: list[str] = []
    files: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            for top, below, names in os.walk(path):
                below[:] = sorted(name for name in below if os.path.join(top, name) not in exclude)
                folders.append(top)
                files += [os.path.join(top, name) for name in sorted(names)]
        elif os.path.exists(path):
            files.append(path)
    return folders, files


def fingerprint(paths: list[str], exclude: list[str]) -> tuple[str, float]:
    """A hash of names and contents, and the newest time of change.

    That is ctime, so that an old file that was moved in counts as new; a directory's tells of what was removed.
    """
    digest = hashlib.sha256()
    folders, files = config_files(paths, exclude)
    newest = max((os.stat(folder).st_ctime for folder in folders), default=0.0)
    for path in files:
        # what a link names is what is read; a pipe would keep us waiting
        if not os.path.isfile(path):
            continue
        try:
            with open(path, "rb") as stream:
                content = stream.read()
            newest = max(newest, os.stat(path).st_ctime)
        except OSError:
            # gone between the two looks
            continue
        digest.update(f"{path}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content)
    return digest.hexdigest(), newest


def started_at(properties: dict[str, str]) -> float:
    """When the unit became active, as a time of day; from the monotonic clock, which no time zone touches."""
    since_boot = int(properties.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    return time.time() - time.monotonic() + since_boot if since_boot else 0.0


class Unit:
    """One unit: what is to be done with it, and doing it.

    :param wanted: name, config (files and directories), exclude (directories below that somebody else loads),
        on_change (reload | restart), validate (a command, or None).
    :param run: runs a list of words or one command; its exit code, output and errors.
    """

    def __init__(self, wanted: dict[str, Any], run: Callable[[Any], tuple[int, str, str]]) -> None:
        self.wanted = wanted
        self.name = str(wanted["name"])
        self.run = run

    def converge(self, check: bool) -> list[str]:
        """The verbs of systemctl that were needed, or would be; raises UnitError."""
        asked = "LoadState,ActiveState,UnitFileState,NeedDaemonReload,ActiveEnterTimestampMonotonic"
        shown = self.systemctl("show", self.name, "--property", asked)
        properties = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        if properties.get("LoadState") == "not-found":
            if check:
                return ["start"]
            raise UnitError(f"there is no unit {self.name} on this host")
        mark, newest = fingerprint(self.wanted["config"], self.wanted["exclude"])
        stamp = os.path.join(STAMPS, self.name)
        needed = self.needed(properties, self.loaded(stamp, mark, newest <= started_at(properties)) == mark)
        if not check:
            if properties.get("NeedDaemonReload") == "yes":
                self.systemctl("daemon-reload")
            self.do(needed)
            if self.wanted["config"] and (needed or not os.path.exists(stamp)):
                os.makedirs(STAMPS, exist_ok=True)
                with open(stamp, "w", encoding="utf-8") as stream:
                    stream.write(mark + "\n")
        return needed

    def loaded(self, stamp: str, mark: str, older_than_start: bool) -> str:
        """The fingerprint of what the unit loaded last; empty when it cannot be the present one."""
        try:
            with open(stamp, encoding="utf-8") as stream:
                return stream.read().strip()
        except OSError:
            return mark if older_than_start else ""

    def needed(self, properties: dict[str, str], up_to_date: bool) -> list[str]:
        """What has to be done, from what systemd says of the unit."""
        verbs = []
        # images that want their first minutes for themselves mask apt's timers
        if properties.get("LoadState") == "masked":
            verbs.append("unmask")
        if properties.get("UnitFileState") not in ("enabled", "static", "indirect", "alias", "generated"):
            verbs.append("enable")
        if properties.get("ActiveState") not in ("active", "reloading"):
            verbs.append("start")
        elif self.wanted["config"] and not up_to_date:
            verbs.append(str(self.wanted["on_change"]))
        return verbs

    def do(self, verbs: list[str]) -> None:
        """Do it; a configuration that the unit's own check refuses is not loaded."""
        command = self.wanted["validate"]
        if command and set(verbs) - {"unmask", "enable"}:
            code, out, err = self.run(command)
            if code:
                raise UnitError(f"`{command}` ended with {code}; {self.name} is left as it is:\n{out}{err}")
        for verb in verbs:
            self.systemctl(verb, self.name)

    def systemctl(self, *words: str) -> str:
        """The output of one call; an error has the end of the unit's journal."""
        code, out, err = self.run(["systemctl", *words])
        if code:
            reason = self.run(["journalctl", "-u", self.name, "-n", "20", "--no-pager", "-o", "cat"])[1]
            raise UnitError(f"systemctl {' '.join(words)} ended with {code}: {(out + err).strip()}\n{reason}")
        return out
