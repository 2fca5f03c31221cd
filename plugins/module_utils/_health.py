# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a release of an app is healthy, and in words why not."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils import _probe
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, read_json
from ansible_collections.flaskhost.stack.plugins.module_utils._run import hide, tail
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import Supervisord, SupervisordError

# gunicorn's traceback of an app that cannot be imported takes some 60 lines, the reason stands in the middle
LOG_LINES = 90


def died(daemon: Supervisord, group: str) -> str:
    """In words, that a process of the group is dead and supervisord gave up or tries again; else empty."""
    try:
        infos = daemon.processes(group)
    except SupervisordError as error:
        return str(error)
    return died_of(infos, group)


def died_of(infos: list[dict[str, Any]], group: str) -> str:
    """The same, of what supervisord has said of a group."""
    return in_words(dead(infos)) if infos else f"supervisord runs no {group}"


def dead(infos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of supervisord's processes that have died, whether or not it tries again."""
    return [info for info in infos if info["statename"] in ("BACKOFF", "FATAL", "EXITED")]


def in_words(infos: list[dict[str, Any]]) -> str:
    """Processes and how they are."""
    return "; ".join(f"{info['name']} {info['spawnerr'] or info['statename']}" for info in infos)


def died_early(app: App, release: str, group: str, seconds: float) -> str:
    """Watch a group that has just been started; in words which of its processes died, with the ends of their logs."""
    daemon = Supervisord()
    deadline = time.monotonic() + seconds
    while True:
        found = dead(daemon.processes(group))
        if found:
            break
        if time.monotonic() >= deadline:
            return ""
        time.sleep(0.1)
    secrets = read_json(app.environment_files(release)[0])
    logs = [f"{app.paths['log']}/{info['name'].rpartition('+')[2]}.log" for info in found]
    ends = [f"\nThe end of {log}:\n{log_end(log, secrets)}" for log in logs]
    return in_words(found) + "".join(ends)


def log_end(path: str, secrets: dict[str, Any]) -> str:
    """The last lines of a log without secrets; empty when there is none.

    Hidden before lines are cut off: the rest of a secret of many lines would be known by nobody.
    """
    try:
        with open(path, "rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - 65536))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return tail(hide(text, secrets), LOG_LINES)


def complaint(app: App, release: str, *, through_web: bool, beside: str = "") -> str:
    """Ask a release for its health until that is clear; empty when it is healthy.

    :param through_web: ask as a visitor would, in place of the release's own socket.
    :param beside: another release that visitors get too for now, where they share a port.
    """
    check = app.app["healthcheck"]
    # what this host speaks, and what visitors do: behind a balancer that differs
    spoken = "http" if app.app["tls"]["mode"] == "none" else "https"
    scheme = app.app["url"].partition(":")[0] if app.app.get("balancers") else spoken
    host = (app.app["domains"] or ["localhost"])[0].replace("*.", "www.")
    target = f"{spoken}://127.0.0.1{f':{app.port}' if app.port else ''}" if through_web else app.socket(release)
    daemon = Supervisord()
    healthy, seen = _probe.wait_for(
        lambda: _probe.ask(target, path=check["path"], host=host, scheme=scheme, side=app.side(release)),
        status=check["status"],
        release=release,
        timeout=check["timeout"],
        gone=lambda: died(daemon, f"{app.name}@{release}"),
        beside=beside,
    )
    if healthy:
        return ""
    place = f"{target} as {host}" if through_web else "its own socket"
    log = f"{app.paths['log']}/web.log"
    secrets = read_json(app.environment_files(release)[0])
    return (
        f"GET {check['path']} of {app.name} {release} over {place}: {seen}\nThe end of {log}:\n{log_end(log, secrets)}"
    )
