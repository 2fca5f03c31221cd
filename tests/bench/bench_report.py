# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of `make bench`: reading what the callback noted, ratios, tables."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

PLAIN = "plain"
# ratio to the plain script that each kind of run may take at most
GOALS = {"first_converge": 1.5, "second_converge": 0.35, "deploy": 0.25, "rollback": 0.12}
SLOWEST = 10

# these run on the control node and send nothing to the host
LOCAL = frozenset(
    f"ansible.builtin.{name}"
    for name in (
        "add_host", "assert", "debug", "fail", "group_by", "import_playbook", "import_role", "import_tasks",
        "include_role", "include_tasks", "include_vars", "meta", "pause", "set_fact", "validate_argument_spec",
    )
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Task:
    """One task of a run; `seconds` go from its start to the next one's, so they add up to the run."""

    name: str
    seconds: float
    wire: int  # how many times something was sent to the host: 0 if local or skipped, one per item of a loop
    skipped: bool


@dataclasses.dataclass(frozen=True)
class Trace:
    """Where the time of one ansible-playbook went: start_up + tasks + shut_down, in seconds."""

    start_up: float
    tasks: tuple[Task, ...]
    shut_down: float
    changed: int


def parse(text: str, launched: float, exited: float) -> Trace:
    """Read the lines of the callback bench_tasks; `launched` and `exited` are times of the process, since the epoch.

    Raises ValueError when the run did not come to its end.
    """
    events: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    if not events or events[-1]["event"] != "end":
        raise ValueError("the run was cut off before its end")
    end = events[-1]
    started = [event for event in events if event["event"] == "task"]
    results = [event for event in events if event["event"] == "result"]
    sent = Counter(event["id"] for event in results if event["state"] != "skipped" and not event["summary"])
    done = {event["id"] for event in results if event["state"] != "skipped"}
    left_out = {event["id"] for event in results} - done
    tasks = tuple(
        Task(
            name=event["name"],
            seconds=following["time"] - event["time"],
            wire=0 if event["action"] in LOCAL else sent[event["id"]],
            skipped=event["id"] in left_out,
        )
        for event, following in pairwise([*started, end])
    )
    return Trace(
        start_up=(started[0] if started else end)["time"] - launched,
        tasks=tasks,
        shut_down=exited - end["time"],
        changed=sum(summary["changed"] for summary in end["hosts"].values()),
    )


def merge(traces: Sequence[Trace]) -> Trace:
    """One trace out of several of the same playbook: medians, each task by its name and its turn under that name."""
    seconds: dict[tuple[str, int], list[float]] = {}
    last: dict[tuple[str, int], Task] = {}
    for trace in traces:
        turns: Counter[str] = Counter()
        for task in trace.tasks:
            key = (task.name, turns[task.name])
            turns[task.name] += 1
            seconds.setdefault(key, []).append(task.seconds)
            last[key] = task
    return Trace(
        start_up=median(trace.start_up for trace in traces),
        tasks=tuple(dataclasses.replace(task, seconds=median(seconds[key])) for key, task in last.items()),
        shut_down=median(trace.shut_down for trace in traces),
        changed=traces[-1].changed,
    )


def with_line(template: str, line: str) -> str:
    """The template of a page with `line` for visitors to see, in place of an earlier one."""
    without = re.sub(r"\n *<p>bench [0-9.]+</p>", "", template)
    return without.replace("</footer>", f"</footer>\n  <p>{line}</p>", 1)


def line_of(page: str) -> str | None:
    """The line of with_line in a page; None if there is none."""
    found = re.search(r"<p>(bench [0-9.]+)</p>", page)
    return found[1] if found else None


def ratios(seconds: Mapping[str, float]) -> dict[str, float]:
    """Seconds of each kind of run as a ratio to those of the plain script."""
    return {kind: seconds[kind] / seconds[PLAIN] for kind in GOALS if kind in seconds}


def missed(ratio: Mapping[str, float]) -> list[str]:
    """The kinds of run that take longer than their goal allows; compared as printed, with three digits."""
    return [kind for kind, value in ratio.items() if round(value, 3) > GOALS[kind]]


def table(seconds: Mapping[str, float], spread: Mapping[str, Sequence[float]]) -> str:
    """Seconds, ratio and goal of each kind of run; `spread` has all measured values behind a median."""
    ratio = ratios(seconds)
    over = missed(ratio)
    lines = [f"{'':18}{'seconds':>8}{'ratio':>8}{'goal':>8}        measured"]
    for kind in (PLAIN, *ratio):
        values = "  ".join(f"{value:.1f}" for value in spread.get(kind, ()))
        goal = f"{GOALS[kind]:8.2f}  {'OVER' if kind in over else 'ok':6}" if kind in GOALS else " " * 16
        lines.append(f"{kind.replace('_', ' '):18}{seconds[kind]:8.1f}{ratio.get(kind, 1):8.3f}{goal}{values}".rstrip())
    return "\n".join(lines)


def slowest(trace: Trace, count: int = SLOWEST) -> list[Task]:
    """The tasks that took longest, longest first."""
    return sorted(trace.tasks, key=lambda task: -task.seconds)[:count]


def summary(kind: str, trace: Trace) -> str:
    """One line on where the time of a run went."""
    on_wire = [task for task in trace.tasks if task.wire]
    skipped = [task for task in trace.tasks if task.skipped]
    local = [task for task in trace.tasks if not task.wire and not task.skipped]
    parts = [f"start {trace.start_up:.2f} s"]
    for tasks, what in ((on_wire, "on the wire"), (local, "local"), (skipped, "skipped")):
        parts.append(f"{len(tasks)} tasks {what} {sum(task.seconds for task in tasks):.2f} s")
    return f"{kind.replace('_', ' ')}: {', '.join(parts)}, end {trace.shut_down:.2f} s"


def listing(tasks: Sequence[Task]) -> str:
    """Seconds, how many times over the wire, and name; a line for each task."""
    wire = ["skip" if task.skipped else str(task.wire or "-") for task in tasks]
    return "\n".join(f"{task.seconds:8.2f}  {sent:>4}  {task.name}" for task, sent in zip(tasks, wire, strict=True))


def document(seconds: Mapping[str, float], traces: Mapping[str, Trace]) -> dict[str, Any]:
    """What build/bench.json holds."""
    return {
        "ratio": {kind: round(value, 3) for kind, value in ratios(seconds).items()},
        "seconds": {kind: round(value, 2) for kind, value in seconds.items()},
        "tasks": {
            kind: {
                "wire": sum(task.wire for task in trace.tasks),
                "total": len(trace.tasks),
                "start_up": round(trace.start_up, 2),
                "slowest": [{"name": task.name, "seconds": round(task.seconds, 2)} for task in slowest(trace)],
            }
            for kind, trace in traces.items()
        },
    }
