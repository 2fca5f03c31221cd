# SPDX-License-Identifier: GPL-3.0-or-later
"""Arms the way back before ssh, accounts or firewall are changed; see _revert, which goes it. Standard library only.

Modules call :meth:`Guard.arm` when they know that they are about to change something, so that a host that is as it should
be pays nothing.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import secrets
import time
from collections.abc import Iterable
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils import _revert
from ansible_collections.flaskhost.stack.plugins.module_utils._revert import (
    AREAS,
    MARKER,
    PROGRAM,
    STATE,
    UNIT,
    Marker,
    Revert,
    Run,
    lines_of,
    look,
    members_of,
)

OPTIONS: dict[str, Any] = {
    "timeout": {"type": "int", "default": 0},
    "area": {"type": "str", "choices": list(AREAS), "required": True},
    "accounts": {"type": "list", "elements": "str", "default": []},
    "token": {"type": "str", "default": "", "no_log": False},
}
BOOT_UNIT = f"/etc/systemd/system/{UNIT}-boot.service"
# Before anybody can be shut out by what was not confirmed. A link, not `systemctl enable`: that asks systemd to read all units anew.
BOOT_LINK = f"/etc/systemd/system/sysinit.target.wants/{UNIT}-boot.service"
BOOT_TEXT = f"""\
# Written by Ansible (collection flaskhost.stack).
[Unit]
Description=Take back changes to ssh, accounts and firewall that nobody confirmed before the host went down
ConditionPathExists={MARKER}
DefaultDependencies=no
RequiresMountsFor=/usr /var /etc
After=local-fs.target systemd-remount-fs.service
Before=sysinit.target ufw.service ssh.service ssh.socket network-pre.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecStart={PROGRAM} boot

[Install]
WantedBy=sysinit.target
"""
# below these, everything that is there counts; moduli is large and nobody changes it
TREES = {
    "accounts": ["/etc/sudoers", "/etc/sudoers.d"],
    "firewall": ["/etc/default/ufw", "/etc/ufw"],
    "ssh": ["/etc/ssh", "/etc/systemd/system/ssh.socket.d"],
}
EXCEPT = {"/etc/ssh/moduli"}
UNITS = {"accounts": [], "firewall": ["ufw.service"], "ssh": ["ssh.service", "ssh.socket"]}
KEYS = (".ssh", ".ssh/authorized_keys", ".ssh/authorized_keys2")


class GuardError(Exception):
    """The way back could not be armed; nothing has changed. The text says why."""


class Guard:
    """The way back of one call.

    :param wanted: OPTIONS: timeout (seconds; 0 arms nothing), area, accounts (names that are about to be changed), token (of
        what this run armed already).
    :param run: runs a list of words; its exit code and output.
    :param root: another directory in place of /, for tests.
    """

    def __init__(self, wanted: dict[str, Any] | None, run: Run, root: str = "/") -> None:
        self.wanted = wanted or {}
        self.timeout = int(self.wanted.get("timeout") or 0)
        self.run = run
        self.revert = Revert(root, run)
        self.began = False

    def arm(self, paths: Iterable[str] = ()) -> dict[str, Any]:
        """Note what is, and arm the timer; the facts that tell the run of it. ``paths`` are about to be changed too."""
        if not self.timeout:
            return {}
        try:
            with self.revert.locked():
                marker = self.marked()
                self.add(marker, str(self.wanted["area"]), paths)
                marker["deadline"] = self.revert.now() + self.timeout
                marker["timeout"] = self.timeout
                self.install()
                self.revert.set_marker(marker)
                self.start()
        except OSError as error:
            raise GuardError(f"the way back could not be armed, so nothing was changed: {error}") from error
        return {"flaskhost_guard": {"armed": True, "token": marker["token"], "timeout": self.timeout}}

    def disarm(self) -> None:
        """After a change that did not happen: only when this very call began it."""
        if self.began:
            with self.revert.locked(), contextlib.suppress(FileNotFoundError):
                os.unlink(self.revert.at(MARKER))
            self.run(["systemctl", "stop", f"{UNIT}.timer"])

    def marked(self) -> Marker:
        """What is armed, or a new beginning; raises GuardError if this run's way back was gone meanwhile."""
        marker = self.revert.marker()
        token = self.wanted.get("token")
        if token and (marker is None or marker["token"] != token):
            raise GuardError(
                f"the changes of this run were taken back after {self.timeout} s, before they could be confirmed; nothing more was "
                "changed. If the host needs longer, raise flaskhost_confirm_timeout"
            )
        if marker is not None:
            return marker
        self.began = True
        return {
            "token": secrets.token_hex(8), "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "boot": self.revert.boot_id(),
            "timeout": self.timeout, "areas": {}, "attempts": 0,
        }  # fmt: skip

    def add(self, marker: Marker, name: str, paths: Iterable[str]) -> None:
        """Note what an area is, as far as it is not noted: what was noted first is the former state."""
        area = marker["areas"].setdefault(name, {"paths": {}, "units": {}})
        if not area["units"] and UNITS[name]:
            area["units"] = {unit: self.unit(unit) for unit in UNITS[name]}
        if name == "ssh" and "aside" not in area:
            area["aside"] = self.not_loaded()
        if name == "firewall" and "on" not in area:
            area["on"] = self.firewall_on()
        if name == "accounts":
            paths = [*paths, *self.keys(area)]
        for path in [*self.below(TREES[name]), *paths]:
            if path not in area["paths"] and path not in area.get("aside", []):
                area["paths"][path] = look(self.revert.at(path))

    def below(self, places: list[str]) -> list[str]:
        """Files and directories at and below some places."""
        found = []
        for place in places:
            real = self.revert.at(place)
            if not os.path.lexists(real):
                continue
            found.append(place)
            for top, folders, files in os.walk(real):
                inside = "/" + os.path.relpath(top, self.revert.root)
                found += [os.path.join(inside, name) for name in sorted([*folders, *files])]
        return [path for path in found if path not in EXCEPT and not self.special(path)]

    def special(self, path: str) -> bool:
        """Whether it is a socket, a pipe or a device, which hold nothing to be put back."""
        real = self.revert.at(path)
        return not (os.path.islink(real) or os.path.isfile(real) or os.path.isdir(real))

    def unit(self, name: str) -> dict[str, bool]:
        """Whether a unit runs, and whether it does after a reboot."""
        return {
            "active": self.run(["systemctl", "is-active", "--quiet", name])[0] == 0,
            "enabled": self.run(["systemctl", "is-enabled", "--quiet", name])[0] == 0,
        }

    def not_loaded(self) -> list[str]:
        """Drop-ins of sshd, written by somebody else, that are newer than what sshd runs with."""
        asked = ["systemctl", "show", "--property=StateChangeTimestampMonotonic", "--value", "ssh.service"]
        changed = self.run(asked)[1].strip()
        folder = "/etc/ssh/sshd_config.d"
        if not changed.isdigit() or changed == "0" or not os.path.isdir(self.revert.at(folder)):
            return []
        # by the monotonic clock: a Pi has none of its own, and its time of day jumps after boot
        since = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + int(changed) / 1e6
        found = []
        for name in sorted(os.listdir(self.revert.at(folder))):
            path = os.path.join(folder, name)
            with open(self.revert.at(path), "rb") as stream:
                ours = b"flaskhost.stack" in stream.read(200)
            if name.endswith(".conf") and not ours and os.stat(self.revert.at(path)).st_ctime > since:
                found.append(path)
        return found

    def firewall_on(self) -> bool:
        """Whether ufw is on: in its file and in the kernel."""
        try:
            with open(self.revert.at("/etc/ufw/ufw.conf"), encoding="utf-8") as stream:
                enabled = any(line.strip().lower() == "enabled=yes" for line in stream)
        except OSError:
            return False
        return enabled and self.run(["iptables", "-w", "5", "-n", "-L", "ufw-user-input"])[0] == 0

    def keys(self, area: dict[str, Any]) -> list[str]:
        """Note the accounts; their files of keys."""
        texts = {name: self.text(f"/etc/{name}") for name in ("passwd", "shadow", "group", "gshadow")}
        noted = area.setdefault("accounts", {"names": [], "passwd": {}, "shadow": {}, "group": {}, "gshadow": {}})
        for account in self.wanted.get("accounts") or []:
            if account in noted["names"]:
                continue
            noted["names"].append(account)
            for name in ("passwd", "shadow"):
                noted[name] |= lines_of(texts[name], [account])
            for name in ("group", "gshadow"):
                for group, members in members_of(texts[name], [account]).items():
                    noted[name][group] = noted[name].get(group, []) + members
        homes = [(noted["passwd"][name] or f":::::/home/{name}:").split(":")[5] for name in noted["names"]]
        return [os.path.join(home, key) for home in homes for key in KEYS if home not in ("", "/")]

    def text(self, path: str) -> str:
        """A file's text; empty where there is none."""
        try:
            with open(self.revert.at(path), encoding="utf-8", errors="surrogateescape") as stream:
                return stream.read()
        except OSError:
            return ""

    def install(self) -> None:
        """The program and its unit, which serve whatever becomes of this run."""
        program = "#!/usr/bin/python3 -I\n" + inspect.getsource(_revert)
        for path, text, mode in ((PROGRAM, program, 0o755), (BOOT_UNIT, BOOT_TEXT, 0o644)):
            if self.text(path) != text:
                os.makedirs(os.path.dirname(self.revert.at(path)), mode=0o755, exist_ok=True)
                _revert.write(self.revert.at(path), text.encode(), mode)
        link = self.revert.at(BOOT_LINK)
        if not os.path.lexists(link):
            os.makedirs(os.path.dirname(link), mode=0o755, exist_ok=True)
            os.symlink(BOOT_UNIT, link)
        os.makedirs(self.revert.at(STATE), mode=0o755, exist_ok=True)

    def start(self) -> None:
        """The timer, unless it runs: it looks at the deadline again when it is due, so it is never stopped to be prolonged."""
        states = self.run(["systemctl", "is-active", f"{UNIT}.timer", f"{UNIT}.service"])[1].split()
        if {"active", "activating"} & set(states):
            return
        self.run(["systemctl", "reset-failed", f"{UNIT}.timer", f"{UNIT}.service"])
        code, output = self.run(_revert.timer(self.timeout))
        if code:
            with contextlib.suppress(FileNotFoundError):
                if self.began:
                    os.unlink(self.revert.at(MARKER))
            raise GuardError(f"the way back could not be armed, so nothing was changed: {output}")
