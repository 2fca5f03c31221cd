# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts tell of their apps, as two tables for a terminal. Pure functions."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._steps import STEPS

Paint = Callable[[str, str], str]
# a last column that would be narrower than this begins on the line below
_NARROWEST = 30
_GAP = "  "
_UP = ("RUNNING", "STARTING")
_COLOURS = {"finished": "green", "rolled_back": "yellow", "aborted": "yellow", "failed": "red", "died": "red"}


@dataclass(frozen=True)
class Line:
    """A row of cells of which the last takes what is left of the width, or one text across all columns."""

    cells: tuple[str, ...] = ()
    text: str = ""
    colour: str = ""


def render(
    hosts: Mapping[str, Mapping[str, Any]],
    *,
    width: int,
    now: float,
    paint: Paint,
    balancers: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """What is live, and what was deployed.

    :param hosts: by name, ``apps`` as the module release_overview returns them, and ``problems`` of the host.
    :param width: columns of the terminal.
    :param now: the time, in seconds since 1970.
    :param paint: gives a text a colour of Ansible's, or none for an empty name.
    :param balancers: by name, ``apps`` as the module balancer_view returns them, and ``problems`` of the balancer.
    """
    live = [Line(("SHARE", "RELEASE", "VERSION", "LIVE SINCE (UTC)", "BY", "STATE"), colour="bright gray")]
    past = [Line(("WHEN (UTC)", "RESULT", "RELEASE", "BY", "SECONDS", "STEPS"), colour="bright gray")]
    for host, told in hosts.items():
        if not told["apps"]:
            live.append(Line(text=f"{host}: no apps"))
        live += [Line(text=f"{_GAP}{problem}", colour="red") for problem in told["problems"]]
        for app in told["apps"]:
            live += [*_of_live(host, app, now)]
            past += [Line(text=f"{app['app']} on {host}"), *(_of_run(run) for run in app["history"])]
            if not app["history"]:
                past.append(Line(text=f"{_GAP}nothing was deployed yet"))
    gives = [Line(("HOST", "RELEASE", "ANSWERED", "FAILED", "STATE"), colour="bright gray")]
    for balancer, told in (balancers or {}).items():
        gives += [Line(text=f"{balancer}: {problem}", colour="red") for problem in told["problems"]]
        for app in told["apps"]:
            gives += _of_balanced(balancer, app)
    through = [*_draw(gives, width, paint), ""] if len(gives) > 1 else []
    return "\n".join(
        ["", *through, *_draw(live, width, paint), *(["", *_draw(past, width, paint)] if len(past) > 1 else []), ""]
    )


def _of_balanced(balancer: str, app: Mapping[str, Any]) -> Iterator[Line]:
    yield Line(text=_GAP.join([f"{app['app']} through {balancer}, the last minute", app["url"], app["certificate"]]))
    for host in app["hosts"]:
        state = (
            "drained: gets nobody"
            if host["drained"]
            else "gets visitors"
            if host["healthy"]
            else "is tried again and again"
        )
        colour = "yellow" if host["drained"] else "green" if host["healthy"] else "red"
        yield Line(
            (
                host["host"],
                host["release"] or "-",
                str(host["answered"]),
                str(host["failed"]),
                f"{state}; {host['seen']}",
            ),
            colour=colour,
        )
    for problem in app["problems"]:
        yield Line(text=f"{_GAP}{problem}", colour="red")


def _of_live(host: str, app: Mapping[str, Any], now: float) -> Iterator[Line]:
    size = app["disk"]["total"] if app["disk"] else None
    yield Line(
        text=_GAP.join(
            [f"{app['app']} on {host}", app["url"], in_bytes(size) if size is not None else "", app["certificate"]]
        )
    )
    releases = {release["release"]: release for release in app["releases"]}
    shares = {share["release"]: share["share"] for share in app["shares"]}
    running = [process["release"] for process in app["processes"]]
    shown = dict.fromkeys([*shares, *([app["live"]] if app["live"] else []), *running])
    for name in [*shown, *([app["previous"]] if app["previous"] and app["previous"] not in shown else [])]:
        release = releases.get(name, {})
        state = ", ".join(_of_process(process, now) for process in app["processes"] if process["release"] == name)
        if release.get("state") == "candidate" and name in shares:
            state = ", ".join(filter(None, ["canary", state]))
        if name == app["previous"]:
            state = ", ".join(filter(None, [state, "a rollback goes here"]))
        share = f"{shares[name]:g} %" if name in shares else "-"
        since, who = minute(release.get("since", "")), release.get("who", "")
        yield Line(
            (share, name, release.get("version") or release.get("commit", "")[:7], since, who, state),
            colour="green" if name in shares else "",
        )
    if app["lock"]:
        yield Line(text=f"{_GAP}locked by {of_lock(app['lock'], now)}", colour="yellow")
    for problem in app["problems"]:
        yield Line(text=f"{_GAP}{problem}", colour="red")


def _of_process(process: Mapping[str, Any], now: float) -> str:
    if process["state"] not in _UP or not process["since"]:
        return f"{process['name']} {process['state']}"
    return f"{process['name']} up {how_long(now - seconds(process['since']))}"


def of_lock(lock: Mapping[str, Any], now: float) -> str:
    """Who holds a lock, for how long, and at what."""
    if not lock["readable"]:
        return "nobody knows whom: the file cannot be read, and the next deploy takes it over"
    who = (
        f"{lock['owner'] or 'somebody'} on {lock['controller'] or 'an unknown machine'} (process {lock['pid'] or '?'})"
    )
    step = f", at step {lock['step']}" if lock["step"] else ""
    quiet = how_long(now - seconds(lock["touched"]))
    end = "; it is stale, and the next deploy takes it over" if lock["stale"] else ""
    return f"{who} since {lock['since'] or 'an unknown time'}: {lock['purpose'] or '?'}{step}, last sign of life {quiet} ago{end}"


def _of_run(run: Mapping[str, Any]) -> Line:
    result = str(run.get("result") or "?")
    taken = _in_order(run.get("seconds"))
    steps = ", ".join(f"{step} {value:.1f}" for step, value in taken.items() if value >= 0.05)
    why = ": ".join(str(run[key]) for key in ("step", "reason") if run.get(key))
    return Line(
        (
            minute(str(run.get("when") or "")),
            result.replace("_", " "),
            str(run.get("release") or "-"),
            str(run.get("who") or "-"),
            f"{sum(taken.values()):.1f}" if taken else "-",
            "; ".join(filter(None, [f"at {why}" if why else "", steps])),
        ),
        colour=_COLOURS.get(result, ""),
    )


def _in_order(given: Any) -> dict[str, float]:
    """Seconds by step, in the order of the steps; a history is a file, which somebody may have edited."""
    taken = (
        {name: value for name, value in given.items() if isinstance(value, (int, float))}
        if isinstance(given, dict)
        else {}
    )
    return dict(sorted(taken.items(), key=lambda item: STEPS.index(item[0]) if item[0] in STEPS else len(STEPS)))


def minute(stamp: str) -> str:
    """A record's time, to the minute."""
    return stamp[:16].replace("T", " ") or "-"


def seconds(stamp: str) -> float:
    """A record's time in seconds since 1970; 0 for what is none."""
    try:
        return datetime.datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except ValueError:
        return 0.0


def how_long(taken: float) -> str:
    """A duration in its largest unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if taken >= size:
            return f"{taken // size:.0f} {unit}"
    return f"{max(taken, 0):.0f} s"


def in_bytes(size: float) -> str:
    """A size in its largest unit."""
    unit = "KiB" if size < 2**20 else "MiB" if size < 2**30 else "GiB"
    size /= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[unit]
    return f"{size:.1f} {unit}" if size < 10 else f"{size:.0f} {unit}"


def _draw(table: list[Line], width: int, paint: Paint) -> Iterator[str]:
    """The lines of a table, each column as wide as its widest cell; numbers stand to the right."""
    table = [Line(tuple(map(clean, line.cells)), clean(line.text), line.colour) for line in table]
    rows = [line.cells for line in table if line.cells]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    right = [rows[0][column] in ("SHARE", "SECONDS", "ANSWERED", "FAILED") for column in range(len(widths))]
    for line in table:
        if not line.cells:
            start = line.text[: len(line.text) - len(line.text.lstrip())]
            for text in textwrap.wrap(line.text, max(width, 40), subsequent_indent=f"{start}{_GAP}") or [""]:
                yield paint(text, line.colour)
            continue
        columns = zip(line.cells, widths, right, strict=False)
        fixed = _GAP + _GAP.join(cell.rjust(size) if numeric else cell.ljust(size) for cell, size, numeric in columns)
        last, left = line.cells[-1], width - len(fixed) - len(_GAP)
        if len(last) > left and left < _NARROWEST:
            yield paint(fixed.rstrip(), line.colour)
            yield from textwrap.wrap(last, max(width, 40), initial_indent=_GAP * 3, subsequent_indent=_GAP * 3)
            continue
        first, *others = textwrap.wrap(last, left) if last else [""]
        yield (paint(fixed, line.colour) + _GAP + first).rstrip()
        yield from (" " * (len(fixed) + len(_GAP)) + other for other in others)


def clean(text: str) -> str:
    """The text without what a terminal would obey: part of it comes from files on hosts."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
