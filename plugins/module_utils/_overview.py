# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is told of an app on its host: what is live, who gets it, what runs, who deploys, what was deployed before.

Nothing here may fail because of what lies on the host: what cannot be read is told as a problem.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import time
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils import _certificates, _history
from ansible_collections.flaskhost.stack.plugins.module_utils._release_lock import STALE_AFTER
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, read_json
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import release_of

# parts of an app's directory whose size is told; the rest is in the total
_PARTS = ("releases", "venvs", "shared", "cache")
# seconds that counting an app's files may take: a folder of uploads may hold millions
_DISK_TIMEOUT = 20.0
# closes an app for visitors; made by the module maintenance
_MAINTENANCE = "/var/lib/flaskhost/maintenance"
_ROLLED_BACK, _FINISHED = "rolled_back", "finished"


def overview(app: App, processes: list[dict[str, Any]] | None, lines: int) -> dict[str, Any]:
    """One app.

    :param processes: what supervisord says of all its processes; None when it says nothing.
    :param lines: how much of the history to tell.
    :returns: see the documentation of the module ``release_overview``.
    """
    history, damaged = _history.read(app, max(lines, _history.LINES))
    live = app.live()
    releases = [_release(app, release, history) for release in reversed(app.releases())]
    # a group that is not ours may have any name
    certificate, ends = _certificate(app)
    own = [_process(info) for info in processes or [] if info["group"].startswith(f"{app.name}@")]
    shares = app.shares()
    return {
        "app": app.name,
        "url": app.app.get("url", ""),
        "certificate": certificate,
        "live": live,
        "previous": app.previous(live) if live else "",
        "shares": shares,
        "releases": releases,
        "processes": own,
        "lock": _lock(app),
        "disk": disk_use(app),
        "history": history[:lines],
        "problems": _problems(app, live, shares, releases, own, damaged, asked=processes is not None)
        + ends
        + _closed(app),
    }


def _closed(app: App) -> list[str]:
    """Since when visitors get a maintenance page, if they do."""
    try:
        since = os.path.getmtime(os.path.join(_MAINTENANCE, app.name))
    except OSError:
        return []
    return [
        f"closed for maintenance since {stamp(since)}: maintenance.yml -e flask_app={app.name} -e state=off opens it"
    ]


def _certificate(app: App) -> tuple[str, list[str]]:
    """The app's certificate in words, empty without TLS; and what is wrong with it."""
    tls = app.app.get("tls") or {}
    if not tls.get("certificate") or not os.path.isdir(app.paths["root"]):
        return "", []
    told, problem = _certificates.ends_in_words(_certificates.look(tls["certificate"]), tls["mode"])
    return told, [problem] if problem else []


def _release(app: App, release: str, history: list[dict[str, Any]]) -> dict[str, Any]:
    """What is known of one release. ``since`` and ``who`` are of when it was made live last, be it by a rollback."""
    record = app.record(release)
    went = (line for line in history if line.get("result") in (_FINISHED, _ROLLED_BACK))
    last = next((line for line in went if line.get("release") == release), {})
    return {
        "release": release,
        "version": _text(record.get("version")),
        "commit": _text(record.get("commit")),
        "state": _text(record.get("state")) or "unknown",
        "since": _text(last.get("when") or record.get("finished")),
        "who": _text(last.get("who") or record.get("who")),
        "made": _text(record.get("when")),
        "former": _text(record.get("former")),
        "seconds": seconds_of(record),
    }


def _text(value: Any) -> str:
    """Records are files, which somebody may have edited."""
    return str(value) if isinstance(value, (str, int, float)) else ""


def seconds_of(line: dict[str, Any]) -> dict[str, float]:
    """The duration of each step in a record or a line of the history."""
    given = line.get("seconds")
    if not isinstance(given, dict):
        return {}
    return {str(step): float(value) for step, value in given.items() if isinstance(value, (int, float))}


def _process(info: dict[str, Any]) -> dict[str, Any]:
    """One process of supervisord's; ``web``, or a name of the app's ``processes``."""
    since = info.get("start") or 0
    running = info["statename"] in ("RUNNING", "STARTING")
    return {
        "name": info["name"].partition("@")[2].partition("+")[2] or "web",
        "release": release_of(info["group"]),
        "state": info["statename"],
        "since": stamp(since) if since and running else "",
        "pid": info.get("pid") or 0,
        "why": info.get("spawnerr") or ("" if running else _text(info.get("description"))),
    }


def _lock(app: App) -> dict[str, Any] | None:
    """Who holds the lock; None when nobody does."""
    path = app.paths["lock"]
    try:
        touched = os.path.getmtime(path)
    except OSError:
        return None
    holder = read_json(path)
    told = {key: _text(holder.get(key)) for key in ("owner", "controller", "pid", "since", "purpose", "step", "at")}
    return {**told, "touched": stamp(touched), "stale": time.time() - touched > STALE_AFTER, "readable": bool(holder)}


def stamp(seconds: float) -> str:
    """A time of this host as records have it."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def disk_use(app: App) -> dict[str, int] | None:
    """Bytes of the app's directory and its parts; what is linked twice counts once. None where counting takes too long."""
    root = app.paths["root"]
    parts = [part for part in _PARTS if os.path.isdir(os.path.join(root, part))]
    if not os.path.isdir(root):
        return None
    # each directory is told without what was counted before it, and the last is the rest
    command = ["du", "--summarize", "--block-size=1", "--one-file-system", "--", *parts, "."]
    try:
        shown = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=_DISK_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    counted = {}
    for line in shown.stdout.splitlines():
        size, _tab, name = line.partition("\t")
        counted[name] = int(size)
    if "." not in counted:
        return None
    return {"total": sum(counted.values()), **{part: counted.get(part, 0) for part in _PARTS}}


def _problems(
    app: App,
    live: str,
    shares: list[dict[str, Any]],
    releases: list[dict[str, Any]],
    processes: list[dict[str, Any]],
    damaged: int,
    *,
    asked: bool,
) -> list[str]:
    """What is not as it should be, in words."""
    if not os.path.isdir(app.paths["root"]):
        return ["this host is not prepared for it: run site.yml"]
    found = []
    if not live:
        found.append("it was never deployed, or its releases are gone: run deploy.yml")
    elif not shares:
        found.append(
            f"{'no release may open its port' if app.port else 'nginx sends the visitors to no release'}, although {live} is the last "
            "that was live: run deploy.yml"
        )
    elif app.current() not in ("", live):
        found.append(
            f"the link current names {app.current()}, but {'visitors get' if app.port else 'nginx serves'} {live}: the next deploy mends that"
        )
    found += [
        f"the record of {release['release']} (RELEASE.json) is missing or damaged"
        for release in releases
        if release["state"] == "unknown"
    ]
    web = [process for process in processes if process["name"] == "web" and process["release"] == live]
    if live and asked and not web:
        found.append(f"no web process of {live} runs: run site.yml")
    found += [
        f"{process['name']} of {process['release']} is {process['state']}{': ' if process['why'] else ''}{process['why']}"
        for process in processes
        if process["state"] not in ("RUNNING", "STARTING")
    ]
    stray = {process["release"] for process in processes} - {live} - {share["release"] for share in shares}
    if stray and _lock(app) is None:
        found.append(f"processes of {', '.join(sorted(stray))} run without visitors: the next deploy ends them")
    if damaged:
        found.append(f"{damaged} line{'s' if damaged > 1 else ''} of {_history.history_file(app)} cannot be read")
    return found
