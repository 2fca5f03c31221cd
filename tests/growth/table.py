# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of `make growth`: medians, ratios to one host, the table."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.bench_report import Trace

# what a deploy to this many hosts may cost, as a ratio to a deploy to one
GOAL, GOAL_SIZE = 2.0, 8
# `calls`: as many tasks as a deploy to one host has, which do nothing
KINDS = ("second_converge", "deploy", "calls")


@dataclasses.dataclass(frozen=True)
class Point:
    """One run: which, on how many hosts, and what it took.

    ``control`` and ``boxes`` are seconds of a processor, on the control node and in all boxes together.
    """

    kind: str
    size: int
    seconds: float
    trace: Trace
    control: float = 0
    boxes: float = 0


def nothing(like: Trace) -> list[dict[str, Any]]:
    """A playbook with the tasks of a run in their order, on the host, on the control node or skipped, none of which does anything."""
    here: dict[str, Any] = {"ansible.builtin.assert": {"that": True, "quiet": True}}
    there: dict[str, Any] = {"ansible.builtin.ping": {}}
    tasks = [
        {"name": task.name, **(there if task.wire else here), **({"when": False} if task.skipped else {})}
        for task in like.tasks
    ]
    # as whom the hosts let in once they are hardened
    play = {
        "name": "Do nothing",
        "hosts": "web",
        "gather_facts": False,
        "become": True,
        "vars": {"ansible_user": "ops"},
    }
    return [{**play, "tasks": tasks}]


def medians(points: Sequence[Point]) -> dict[tuple[str, int], float]:
    """Median seconds by kind and number of hosts."""
    values: dict[tuple[str, int], list[float]] = {}
    for point in points:
        values.setdefault((point.kind, point.size), []).append(point.seconds)
    return {key: statistics.median(each) for key, each in values.items()}


def processor(points: Sequence[Point]) -> dict[tuple[str, int], tuple[float, float]]:
    """Medians of the processor's seconds by kind and number of hosts: of the control node, and of all boxes together."""
    values: dict[tuple[str, int], list[Point]] = {}
    for point in points:
        values.setdefault((point.kind, point.size), []).append(point)
    return {
        key: (statistics.median(one.control for one in each), statistics.median(one.boxes for one in each))
        for key, each in values.items()
    }


def ratios(points: Sequence[Point]) -> dict[tuple[str, int], float]:
    """The same as ratios to the smallest number of hosts that was measured."""
    seconds = medians(points)
    least = min((size for _, size in seconds), default=1)
    return {(kind, size): value / seconds[kind, least] for (kind, size), value in seconds.items()}


def over(points: Sequence[Point]) -> bool:
    """Whether the goal is missed; compared as printed, with two digits."""
    return round(ratios(points).get(("deploy", GOAL_SIZE), 0), 2) > GOAL


def table(points: Sequence[Point]) -> str:
    """A line for each number of hosts; at its end what a deploy takes of the processors, whoever waits for what."""
    seconds, ratio, used = medians(points), ratios(points), processor(points)
    lines = [
        f"{'hosts':>5}  {'second converge':>22}  {'deploy':>22}  {'tasks that do nothing':>22}"
        f"  {'processor: control':>20} {'hosts':>8}"
    ]
    for size in sorted({size for _, size in seconds}):
        cells = [f"{seconds[kind, size]:10.1f} s {ratio[kind, size]:7.2f} x" for kind in KINDS]
        late = "  OVER" if size == GOAL_SIZE and over(points) else ""
        control, hosts = used["deploy", size]
        lines.append(f"{size:5}  {'  '.join(f'{cell:>22}' for cell in cells)}  {control:18.1f} s {hosts:6.1f} s{late}")
    return "\n".join(lines)


def document(points: Sequence[Point], compared: Mapping[str, Sequence[Point]]) -> dict[str, Any]:
    """What build/growth.json holds: seconds and ratios by kind and number of hosts; settings, if they were compared."""
    seconds, ratio, used = medians(points), ratios(points), processor(points)
    return {
        "goal": {"hosts": GOAL_SIZE, "ratio": GOAL},
        "sizes": [
            {
                "hosts": size,
                **{
                    kind: {
                        "seconds": round(seconds[kind, size], 2),
                        "ratio": round(ratio[kind, size], 3),
                        "processor": {"control": round(used[kind, size][0], 1), "hosts": round(used[kind, size][1], 1)},
                    }
                    for kind in KINDS
                },
            }
            for size in sorted({size for _, size in seconds})
        ],
        "settings": {
            name: {kind: round(value, 2) for (kind, _), value in medians(each).items()}
            for name, each in compared.items()
        },
    }
