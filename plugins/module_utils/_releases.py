# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of an app as they lie on a host. What counts is written in files, never guessed from their times."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils import _strays

UPSTREAMS = "/etc/nginx/flaskhost/upstreams"
# in the directory of an app without nginx: the id of the release that may listen on its port
SERVING = "serving"
LAUNCH = "/usr/local/lib/flaskhost/launch"
# made by the source step, taken away by deploy_helper's finalize
UNFINISHED = "DEPLOY_UNFINISHED"
_RECORD = "RELEASE.json"
# ends the name of the upstream that a canary has; no app has a dot in its name
CANARY = ".candidate"


class ReleaseError(Exception):
    """A step cannot be done; the message names step, cause and fix."""


@dataclass(frozen=True)
class Canary:
    """A candidate that runs beside the live release."""

    release: str
    share: float  # percent of the visitors
    preview: str  # what chooses it, as the visitor's cookie or in the address


def utc_now() -> str:
    """The host's time, as records have it."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_text(path: str, text: str, mode: int = 0o644, *, durable: bool = True) -> None:
    """Write by rename, so that a reader never meets half a file.

    :param durable: nor does one after a power cut; costs some milliseconds, on an SD card many.
    """
    handle, temporary = tempfile.mkstemp(prefix=".new-", dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
            os.fchmod(stream.fileno(), mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_json(path: str, value: Any, mode: int = 0o644, *, durable: bool = True) -> None:
    """Write a value as JSON, as ``write_text`` writes a text."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n", mode, durable=durable)


def read_json(path: str) -> dict[str, Any]:
    """The dictionary in a file; empty when there is none or it is no JSON."""
    try:
        with open(path, encoding="utf-8") as stream:
            value = json.load(stream)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


class App:
    """One app on this host.

    :param app: the resolved app (see the filter ``flaskhost.stack.resolve_apps``).
    """

    def __init__(self, app: dict[str, Any]) -> None:
        self.name: str = app["name"]
        self.user: str = app["user"]
        self.paths: dict[str, str] = app["paths"]
        self.app = app
        # of an app that answers by itself, without nginx; else 0
        self.port: int = app.get("port") or 0

    @property
    def switch_file(self) -> str:
        """The file that says which release gets which visitors: nginx's upstream file, or what the app's workers look at."""
        if self.port:
            return os.path.join(self.paths["root"], SERVING)
        return os.path.join(UPSTREAMS, f"{self.name}.conf")

    def release_dir(self, release: str) -> str:
        """Where a release's code is."""
        return os.path.join(self.paths["releases"], release)

    def socket(self, release: str) -> str:
        """Where a release listens."""
        return os.path.join(self.paths["run"], f"{release}.sock")

    def environment_files(self, release: str) -> list[str]:
        """The secret files of a release: exact for the launcher, and as .env."""
        return [os.path.join(self.paths["environments"], release + end) for end in (".json", ".env")]

    def releases(self) -> list[str]:
        """Ids of all releases, oldest first (an id begins with its time, told by the control node)."""
        with contextlib.suppress(FileNotFoundError):
            root = self.paths["releases"]
            return sorted(
                name
                for name in os.listdir(root)
                if not name.startswith(".") and os.path.isdir(os.path.join(root, name))
            )
        return []

    def record(self, release: str) -> dict[str, Any]:
        """RELEASE.json of a release, with its id."""
        return {**read_json(os.path.join(self.release_dir(release), _RECORD)), "id": release}

    def write_record(self, release: str, **changes: Any) -> dict[str, Any]:
        """Change some keys of RELEASE.json."""
        record = {**self.record(release), **changes}
        write_json(os.path.join(self.release_dir(release), _RECORD), record)
        return record

    def finished(self, release: str) -> bool:
        """Whether a release was once live and healthy."""
        unfinished = os.path.join(self.release_dir(release), UNFINISHED)
        return self.record(release).get("state") in ("finished", "rolled_back") and not os.path.exists(unfinished)

    def current(self) -> str:
        """The release that the link ``current`` names; empty when there is none."""
        link = self.paths["current"]
        if not os.path.islink(link):
            return ""
        name = os.path.basename(os.path.realpath(link))
        return name if os.path.isdir(self.release_dir(name)) else ""

    def announce(self, release: str) -> None:
        """Let nginx find the files of the release that is about to go live; of none where it is empty.

        While nginx reloads, workers with the former configuration take visitors for another 0.1 s. A page of the new release
        may ask them for its files, and all they know of it is this link.
        """
        link = os.path.join(self.paths["releases"], ".next")
        with contextlib.suppress(OSError):
            os.unlink(link)
        if release:
            os.symlink(release, link)
            # nginx follows a link only where it belongs to the owner of what it names
            owner = os.stat(self.release_dir(release)).st_uid
            os.chown(link, owner, -1, follow_symlinks=False)

    def named(self) -> set[str]:
        """The releases that the switch file names: also those whose files nginx serves to pages that are still open."""
        text = self._switch_text()
        return {release for release in self.releases() if re.search(rf"(?<![\w-]){re.escape(release)}(?![\w-])", text)}

    def _switch_text(self) -> str:
        """What the switch file says; empty when there is none."""
        with contextlib.suppress(OSError), open(self.switch_file, encoding="utf-8", errors="replace") as stream:
            return stream.read()
        return ""

    def _upstream(self, end: str = "") -> str:
        """The release that an upstream of the app names, where that is on the host."""
        block = rf"upstream flaskhost_{re.escape(self.name)}{re.escape(end)} {{"
        socket = rf"server unix:{re.escape(self.paths['run'])}/([^\s;/]+)\.sock"
        found = re.search(rf"^{block}\s*{socket}", self._switch_text(), re.MULTILINE)
        name = found.group(1) if found else ""
        return name if name and os.path.isdir(self.release_dir(name)) else ""

    def served(self) -> str:
        """The release that the switch file names; empty when there is none."""
        if not self.port:
            return self._upstream()
        name = self._switch_text().strip()
        return name if name and os.path.isdir(self.release_dir(name)) else ""

    def canary(self) -> Canary | None:
        """The candidate that nginx sends some visitors to, and that its record calls one."""
        release = "" if self.port else self._upstream(CANARY)
        record = self.record(release) if release else {}
        if record.get("state") != "candidate":
            return None
        pattern = rf"^\s*([0-9.]+)% flaskhost_{re.escape(self.name + CANARY)};"
        share = re.search(pattern, self._switch_text(), re.MULTILINE)
        return Canary(release, float(share.group(1)) if share else 0.0, str(record.get("preview", "")))

    def side(self, release: str) -> str:
        """What a visitor's cookie says to be sent to a release, whatever the shares; empty when there is no choice."""
        canary = self.canary()
        return "" if canary is None else canary.preview if canary.release == release else "live"

    def shares(self) -> list[dict[str, Any]]:
        """Which release gets which share of the visitors, in percent: the live one first, then a canary.

        Empty where they get none.
        """
        live, canary = self.served(), self.canary()
        percent = canary.share if canary else 0.0
        shares = [{"release": live, "share": round(100 - percent, 2)}] if live else []
        return shares + ([{"release": canary.release, "share": percent}] if canary else [])

    def live(self) -> str:
        """The release that gets the traffic: what the switch file says, else ``current``."""
        return self.served() or self.current()

    def previous(self, live: str) -> str:
        """Where a rollback goes: the release that was live before; empty when there is none.

        A release that was rolled back from is never gone back to by itself.
        """
        former = str(self.record(live).get("former") or "")
        if former and former != live and self.finished(former) and self.record(former).get("state") != "rolled_back":
            return former
        older = [
            release
            for release in self.releases()
            if release < live and self.finished(release) and self.record(release).get("state") != "rolled_back"
        ]
        return older[-1] if older else ""

    def remove(self, release: str) -> bool:
        """Delete a release, its secrets and the socket that it left, once nothing of it runs any more.

        :returns: whether there was anything.
        """
        found = bool(_strays.end(self.user, release))
        told = self.socket(release).removesuffix(".sock") + ".workers"
        for path in [*self.environment_files(release), self.socket(release), told]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
                found = True
        if os.path.isdir(self.release_dir(release)):
            found = True
            # out of sight first: a killed removal must not leave half a release under its name
            aside = os.path.join(self.paths["releases"], f".removed-{release}")
            shutil.rmtree(aside, ignore_errors=True)
            os.rename(self.release_dir(release), aside)
            shutil.rmtree(aside)
        return found

    def unused_venvs(self) -> list[str]:
        """Virtual environments that no release uses."""
        root = self.paths["venvs"]
        if not os.path.isdir(root):
            return []
        links = (os.path.join(self.release_dir(release), ".venv") for release in self.releases())
        used = {os.path.basename(os.path.realpath(link)) for link in links}
        return [os.path.join(root, name) for name in sorted(os.listdir(root)) if name not in used]
