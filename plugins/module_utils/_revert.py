# SPDX-License-Identifier: GPL-3.0-or-later
"""Goes back to the former ssh, accounts and firewall of a host, unless somebody confirms the new ones in time.

Used in two ways: by the modules that arm it, and as a program of its own on the host, started by a timer or at boot, where
nothing of Ansible is. Hence it imports the standard library only, and nothing of this collection.

All it knows lies in one file, MARKER, which is there as long as something is to be confirmed:
``token``, ``since`` (a date for people), ``boot`` (id of the boot), ``deadline`` (seconds of CLOCK_BOOTTIME), ``timeout``
(seconds), ``reason``, ``attempts``, and ``areas`` by name: ``paths`` (what stood where), ``units`` (of systemd),
``accounts``, ``aside`` (files of sshd that nobody had loaded yet) and ``on`` (whether the firewall was on).
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

STATE = "/var/lib/flaskhost"
MARKER = f"{STATE}/revert-armed.json"
LAST = f"{STATE}/revert-last.json"
ASIDE = f"{STATE}/set-aside"
LOCK = f"{STATE}/revert.lock"
PROGRAM = "/usr/local/lib/flaskhost/revert"
UNIT = "flaskhost-revert"
# the way in of a person first, then what lets it through
AREAS = ("accounts", "firewall", "ssh")
# a day of the past: neither a key nor cron gets in
EXPIRED = "1"
ATTEMPTS = 10

Run = Callable[[list[str]], tuple[int, str]]
Marker = dict[str, Any]


class RevertError(Exception):
    """Something could not be put back; the text says what."""


def call(words: list[str]) -> tuple[int, str]:
    """Exit code and output of a command, without a shell."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    environment = {"PATH": path, "LC_ALL": "C.UTF-8", "LANGUAGE": "C"}
    try:
        done = subprocess.run(
            words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=60, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, (done.stdout + done.stderr).strip()


# --- files ----------------------------------------------------------------------------------------


def look(path: str) -> dict[str, Any]:
    """What stands at a path, as JSON can hold it."""
    try:
        info = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return {"kind": "absent"}
    found: dict[str, Any] = {"uid": info.st_uid, "gid": info.st_gid, "mode": stat.S_IMODE(info.st_mode)}
    if stat.S_ISLNK(info.st_mode):
        return {**found, "kind": "link", "target": os.readlink(path)}
    if stat.S_ISDIR(info.st_mode):
        return {**found, "kind": "directory"}
    with open(path, "rb") as stream:
        return {**found, "kind": "file", "content": base64.b64encode(stream.read()).decode()}


def put(path: str, former: dict[str, Any]) -> bool:
    """Make a path what it was; whether there was something to do. What is in a directory is nobody's to delete."""
    if look(path) == former:
        return False
    if former["kind"] == "absent":
        with contextlib.suppress(FileNotFoundError):
            if os.path.isdir(path) and not os.path.islink(path):
                if os.listdir(path):
                    return False
                os.rmdir(path)
            else:
                os.unlink(path)
        return True
    if former["kind"] == "directory":
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchown(handle, former["uid"], former["gid"])
            os.fchmod(handle, former["mode"])
        finally:
            os.close(handle)
        return True
    if former["kind"] == "link":
        temporary = tempfile.mktemp(prefix=".revert-", dir=os.path.dirname(path))
        os.symlink(former["target"], temporary)
        os.chown(temporary, former["uid"], former["gid"], follow_symlinks=False)
        os.replace(temporary, path)
    else:
        write(path, base64.b64decode(former["content"]), former["mode"], (former["uid"], former["gid"]))
    return True


def write(path: str, content: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """A file as a whole or not at all, and on the disk: the power may go at any moment."""
    folder = os.path.dirname(path)
    handle, temporary = tempfile.mkstemp(prefix=".revert-", dir=folder)
    try:
        with open(handle, "wb") as stream:
            stream.write(content)
            os.fchmod(stream.fileno(), mode)
            if owner:
                os.fchown(stream.fileno(), *owner)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- accounts -------------------------------------------------------------------------------------


def lines_of(text: str, names: list[str]) -> dict[str, str | None]:
    """The lines of passwd or shadow that speak of these names; None where there is none."""
    found = {line.partition(":")[0]: line for line in text.splitlines()}
    return {name: found.get(name) for name in names}


def with_lines(text: str, former: dict[str, str | None]) -> str:
    """passwd or shadow with the former lines. A name that was not there stays: nothing of a person is deleted."""
    lines = []
    for line in text.splitlines():
        lines.append(former.get(line.partition(":")[0]) or line)
    known = {line.partition(":")[0] for line in lines}
    lines += [line for name, line in former.items() if line and name not in known]
    return "\n".join(lines) + "\n"


def expire(text: str, names: list[str]) -> str:
    """Shadow with these names shut out: they were not there before, and stay without a way in."""
    lines = []
    for line in text.splitlines():
        words = line.split(":")
        if words[0] in names and len(words) == 9:
            words[7] = EXPIRED
        lines.append(":".join(words))
    return "\n".join(lines) + "\n"


def members_of(text: str, names: list[str]) -> dict[str, list[str]]:
    """Which of these names are members of which groups, from group or gshadow."""
    groups = (line.split(":") for line in text.splitlines())
    return {words[0]: [name for name in words[-1].split(",") if name in names] for words in groups if len(words) == 4}


def with_members(text: str, names: list[str], former: dict[str, list[str]]) -> str:
    """Group or gshadow where these names are members of what they were members of; all others stay."""
    lines = []
    for line in text.splitlines():
        words = line.split(":")
        if len(words) == 4:
            stay = [name for name in words[3].split(",") if name and name not in names]
            words[3] = ",".join(stay + former.get(words[0], []))
            if sorted(words[3].split(",")) == sorted(line.split(":")[3].split(",")):
                words = line.split(":")
        lines.append(":".join(words))
    return "\n".join(lines) + "\n"


def timer(seconds: int) -> list[str]:
    """The command that starts the timer; what it starts is started again until it succeeds."""
    return [
        "systemd-run", f"--unit={UNIT}", f"--on-active={seconds}s", "--timer-property=AccuracySec=100ms",
        "--description=Take back changes to ssh, accounts and firewall that nobody confirmed",
        "--property=Type=oneshot", "--property=Restart=on-failure", "--property=RestartSec=3",
        "--property=StartLimitIntervalSec=0", PROGRAM, "due",
    ]  # fmt: skip


# --- the program ----------------------------------------------------------------------------------


class Revert:
    """What is armed on a host, and going back.

    :param root: another directory in place of /, for tests.
    :param run: runs a command; its exit code and output.
    :param say: writes a line for the journal.
    """

    def __init__(self, root: str = "/", run: Run = call, say: Callable[[str], None] = print) -> None:
        self.root = root
        self.run = run
        self.say = say

    def at(self, path: str) -> str:
        """A path of the host."""
        return os.path.join(self.root, path.lstrip("/"))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One at a time: arming, confirming or going back."""
        os.makedirs(self.at(STATE), mode=0o755, exist_ok=True)
        with open(os.open(self.at(LOCK), os.O_RDWR | os.O_CREAT, 0o600), "w", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def marker(self) -> Marker | None:
        """What is armed; None when nothing is."""
        try:
            with open(self.at(MARKER), encoding="utf-8") as stream:
                found: Marker = json.load(stream)
                return found
        except FileNotFoundError:
            return None

    def set_marker(self, marker: Marker) -> None:
        """Write it down; it holds hashes of passwords."""
        write(self.at(MARKER), json.dumps(marker).encode(), 0o600)

    def boot_id(self) -> str:
        """Another one after each boot."""
        with open(self.at("/proc/sys/kernel/random/boot_id"), encoding="utf-8") as stream:
            return stream.read().strip()

    def now(self) -> float:
        """Seconds since boot, whatever is done to the clock."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def rest(self, marker: Marker) -> float:
        """Seconds until it is too late; none after a reboot."""
        return max(0.0, marker["deadline"] - self.now()) if marker["boot"] == self.boot_id() else 0.0

    def last(self) -> dict[str, Any]:
        """How it ended the last time: ``state`` (confirmed | reverted | failed), ``when``, ``token``, ``why``, ``what``."""
        try:
            with open(self.at(LAST), encoding="utf-8") as stream:
                found: dict[str, Any] = json.load(stream)
                return found
        except (OSError, ValueError):
            return {}

    def finish(self, marker: Marker, state: str, why: str, what: list[str]) -> dict[str, Any]:
        """Note how it ended; nothing is armed from then on."""
        ended = {
            "state": state, "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "token": marker["token"], "why": why, "what": what,
        }  # fmt: skip
        write(self.at(LAST), json.dumps(ended).encode(), 0o600)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.at(MARKER))
        return ended

    def confirm(self, token: str) -> dict[str, Any]:
        """Keep the changes. What is confirmed must be what is armed: ``state`` says otherwise if it is not."""
        with self.locked():
            marker = self.marker()
            if marker is None:
                last = self.last()
                return last if last.get("token") == token else {"state": "none"}
            if token != marker["token"]:
                return {"state": "other", "token": marker["token"]}
            if self.rest(marker) <= 0:
                # the timer stands at the door already
                return {"state": "late"}
            ended = self.finish(marker, "confirmed", os.environ.get("SSH_CONNECTION", ""), sorted(marker["areas"]))
        self.run(["systemctl", "stop", f"{UNIT}.timer"])
        return ended

    def due(self) -> int:
        """Wait until it is too late, and go back; the exit code. Ends at once when nothing is armed any more."""
        while True:
            with self.locked():
                marker = self.marker()
                if marker is None:
                    return 0
                rest = self.rest(marker)
                if rest <= 0:
                    return self.go_back(marker)
            time.sleep(min(rest, 0.5))

    def at_boot(self) -> int:
        """Go back before sshd and firewall start, if the host went down in the middle; the exit code."""
        with self.locked():
            marker = self.marker()
            if marker is None:
                return 0
            marker["reason"] = "the host restarted before the changes were confirmed"
            code = self.go_back(marker, booting=True)
        if code:
            # once more when all runs; from here, who waits for sshd would wait for ever: it starts after this
            self.run(timer(3))
        return code

    def at_once(self, reason: str) -> dict[str, Any]:
        """Go back now; how it ended."""
        with self.locked():
            marker = self.marker()
            if marker is None:
                return {**self.last(), "already": True}
            marker.update(deadline=0.0, reason=reason)
            self.set_marker(marker)
        # of its own: this very session may be one of those that end
        if self.run(["systemctl", "start", "--no-block", f"{UNIT}.service"])[0]:
            self.due()
        until = self.now() + 30
        while self.marker() is not None and self.now() < until:
            time.sleep(0.2)
        return self.last() if self.marker() is None else {"state": "failed", "why": f"see journalctl -u {UNIT}"}

    def go_back(self, marker: Marker, booting: bool = False) -> int:
        """Put everything back; may be killed anywhere and begun anew. The exit code."""
        marker["attempts"] = int(marker.get("attempts", 0)) + 1
        self.set_marker(marker)
        why = marker.get("reason") or f"nobody confirmed the changes within {marker['timeout']} s"
        self.say(f"going back to the state before {marker['since']}: {why}")
        done: list[str] = []
        failed: list[str] = []
        for name in AREAS:
            if name not in marker["areas"]:
                continue
            try:
                done += getattr(self, name)(marker["areas"][name], booting)
            except (OSError, RevertError) as error:
                failed.append(f"{name}: {error}")
        for line in done:
            self.say(f"back: {line}")
        for line in failed:
            self.say(f"NOT back: {line}")
        if failed and marker["attempts"] < ATTEMPTS:
            return 1
        self.finish(marker, "failed" if failed else "reverted", why, failed or done)
        self.say("could not go back" if failed else "all is as it was")
        return 0

    def restore(self, area: dict[str, Any]) -> list[str]:
        """Put the files of an area back, directories before what is in them, and away what is new in the other order; what differed."""
        former: dict[str, dict[str, Any]] = area["paths"]
        new = [path for path in former if former[path]["kind"] == "absent"]
        order = sorted(former.keys() - new) + sorted(new, reverse=True)
        return [path for path in order if put(self.at(path), former[path])]

    def command(self, *words: str, tries: int = 1) -> None:
        """Run it, again if need be; raises RevertError."""
        for left in range(tries - 1, -1, -1):
            code, output = self.run(list(words))
            if code == 0:
                return
            if left:
                time.sleep(1)
        raise RevertError(f"`{' '.join(words)}` ended with {code}: {output[-500:]}")

    def accounts(self, area: dict[str, Any], _booting: bool) -> list[str]:
        """Keys, rights, and the lines of the accounts that were changed."""
        done = self.restore(area)
        former = area["accounts"]
        names = former["names"]
        new = [name for name in names if former["passwd"].get(name) is None]
        edits: dict[str, Callable[[str], str]] = {
            "passwd": lambda text: with_lines(text, former["passwd"]),
            "shadow": lambda text: expire(with_lines(text, former["shadow"]), new),
            "group": lambda text: with_members(text, names, former["group"]),
            "gshadow": lambda text: with_members(text, names, former["gshadow"]),
        }
        # the lock that useradd and passwd take too
        with open(os.open(self.at("/etc/.pwd.lock"), os.O_RDWR | os.O_CREAT, 0o600), "w", encoding="utf-8") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)
            done += [f"/etc/{name}" for name, edit in edits.items() if self.edit(self.at(f"/etc/{name}"), edit)]
        return done

    def edit(self, path: str, edit: Callable[[str], str]) -> bool:
        """Change a file's text, if there is something to change."""
        if not os.path.exists(path):
            return False
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            before = stream.read()
        after = edit(before)
        if after == before:
            return False
        info = os.stat(path)
        content = after.encode("utf-8", "surrogateescape")
        write(path, content, stat.S_IMODE(info.st_mode), (info.st_uid, info.st_gid))
        return True

    def firewall(self, area: dict[str, Any], booting: bool) -> list[str]:
        """ufw's own files and chains; rules of others in the kernel are none of its business."""
        done = self.restore(area)
        enabled = area["units"].get("ufw.service", {}).get("enabled", True)
        if self.run(["systemctl", "is-enabled", "--quiet", "ufw.service"])[0] == 0 and not enabled:
            self.command("systemctl", "disable", "ufw.service")
        if booting:
            return done
        if area["on"]:
            self.command("ufw", "reload", tries=3)
            return [*done, "ufw runs with its former rules"]
        self.command("ufw", "--force", "disable", tries=3)
        # ufw.conf as it was, where it said "on" while nothing was loaded
        return [*done, *self.restore(area), "ufw is off"]

    def ssh(self, area: dict[str, Any], booting: bool) -> list[str]:
        """Its files; then sshd reads them, if it likes them."""
        done = self.set_aside(area) + self.restore(area)
        if not booting or any(path.startswith("/etc/systemd/") for path in done):
            self.command("systemctl", "daemon-reload")
        if booting:
            # sshd starts with it in a moment; it cannot be asked yet, without its directory in /run
            return done
        code, output = self.run(["sshd", "-t"])
        if code:
            raise RevertError(f"sshd does not like its former configuration and was left alone: {output}")
        socket, service = (area["units"].get(f"ssh.{kind}", {}) for kind in ("socket", "service"))
        if socket.get("active"):
            # systemd does not bind a socket anew while its service runs; sessions survive
            self.command("systemctl", "stop", "ssh.service")
            self.command("systemctl", "restart", "ssh.socket")
            return [*done, "ssh.socket listens as before"]
        self.run(["systemctl", "stop", "ssh.socket"])
        if service.get("active"):
            self.command("systemctl", "reload-or-restart", "ssh.service", tries=2)
            return [*done, "sshd runs with its former settings"]
        return done

    def set_aside(self, area: dict[str, Any]) -> list[str]:
        """Files that a person had written, but sshd had not read when the changes began, are not what was; kept elsewhere."""
        done = []
        for path in area.get("aside", []):
            if not os.path.lexists(self.at(path)):
                continue
            os.makedirs(self.at(ASIDE), mode=0o700, exist_ok=True)
            kept = f"{ASIDE}/{re.sub('[^A-Za-z0-9._-]', '_', path.strip('/'))}.{int(time.time())}"
            os.rename(self.at(path), self.at(kept))
            done.append(f"{path} was never in use, it is now {kept}")
        return done


def main(words: list[str]) -> int:
    """The program on the host; the exit code."""
    revert = Revert(say=lambda line: print(line, flush=True))
    verb, argument = [*words, "", ""][:2]
    if verb == "due":
        return revert.due()
    if verb == "boot":
        return revert.at_boot()
    if verb == "confirm":
        print(json.dumps(revert.confirm(argument)))
    elif verb == "now":
        print(json.dumps(revert.at_once(argument or "somebody asked for it")))
    elif verb == "status":
        marker = revert.marker()
        armed = {"state": "armed", "since": marker["since"], "rest": round(revert.rest(marker))} if marker else None
        print(json.dumps(armed or revert.last() or {"state": "none"}))
    else:
        print(f"usage: {PROGRAM} status | now [REASON] | confirm TOKEN | due | boot", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
