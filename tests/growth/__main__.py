# SPDX-License-Identifier: GPL-3.0-or-later
"""Times site.yml and deploy.yml on one host, two, four, eight: `make growth`. See docs/performance.md.

Beside them runs a play of as many tasks as the deploy to the fewest hosts has, which do nothing: what Ansible takes for itself.

Writes build/growth.json. Exits with 1 when something failed, with 2 when a goal is missed and --strict was given.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.bench import bench_report as report
from tests.bench import traced
from tests.bench.traced import Failure
from tests.growth.table import GOAL, Point, document, nothing, over, table
from tests.support import tiny
from tests.support.cgroup import processor_seconds
from tests.support.guestbook import copy_app, write_inventory
from tests.support.stack import ROOT, box
from tests.support.web import fetch

BUILD = ROOT / "build" / "growth"
SIZES = (1, 2, 4, 8)
# what a setting is worth, at the largest size: environment of ansible-playbook by name
SETTINGS: dict[str, dict[str, str]] = {
    "as shipped": {},
    "5 forks, Ansible's default": {"ANSIBLE_FORKS": "5"},
    "50 forks": {"ANSIBLE_FORKS": "50"},
    "without pipelining": {"ANSIBLE_PIPELINING": "false"},
    "a connection per task": {"ANSIBLE_SSH_ARGS": "-o ControlMaster=no -o StrictHostKeyChecking=accept-new"},
}


class Growth:
    """Boxes, an app on all of them, and what runs on the first few took."""

    def __init__(self, names: Sequence[str], inventory: Path) -> None:
        self._names = names
        self._inventory = inventory
        self._runs = 0

    def converge(self) -> None:
        """Bring all hosts up, bare, and serve the app on each."""
        for name in self._names:
            box("up", name, "--fresh")
        self.play("site", len(self._names))

    def measure(self, size: int, repeats: int, settings: dict[str, str]) -> list[Point]:
        """site.yml that changes nothing, and a deploy of one changed line, on the first hosts."""
        points = []
        for _ in range(repeats):
            point = self.timed("second_converge", "site", size, settings)
            if point.trace.changed:
                raise Failure(f"site.yml changed {point.trace.changed} tasks on hosts that were done: see {BUILD}/log")
            points.append(point)
        for _ in range(repeats):
            line = write_app(f"{size}.{self._runs}")
            points.append(self.timed("deploy", "deploy", size, settings))
            for name in self._names[:size]:
                served = fetch(f"https://{box('address', name)}/line").text
                if served != line:
                    raise Failure(f"{name} serves {served!r} after the deploy of {line!r}.")
        return points

    def measure_calls(self, size: int, repeats: int, like: report.Trace) -> list[Point]:
        """A play of as many tasks as a run had, none of which does anything, on the first hosts."""
        file = BUILD / "calls.yml"
        file.write_text(yaml.safe_dump(nothing(like), sort_keys=False))
        return [self.timed("calls", file, size, {}) for _ in range(repeats)]

    def timed(self, kind: str, playbook: str | Path, size: int, settings: dict[str, str]) -> Point:
        """One playbook, with what it took of the processors."""
        before, control = sum(map(processor_seconds, self._names)), _of_children()
        trace, seconds = self.play(playbook, size, settings)
        used = sum(map(processor_seconds, self._names)) - before
        return Point(kind, size, seconds, trace, control=_of_children() - control, boxes=used)

    def play(
        self, playbook: str | Path, size: int, settings: dict[str, str] | None = None
    ) -> tuple[report.Trace, float]:
        """One playbook on the first hosts, over connections of its own; where its time went, and seconds."""
        self._runs += 1
        file = Path(playbook).with_suffix(".yml")
        words = [str(file), "-i", str(self._inventory), "--limit", ",".join(self._names[:size])]
        trace, seconds = traced.play(words, BUILD / "log" / f"{self._runs:02}-{file.stem}-{size}.log", settings)
        print(f"  {file.stem:8} {size:3} hosts {seconds:7.1f} s", flush=True)
        return trace, seconds


def _of_children() -> float:
    """Seconds that the programs which have ended so far had a processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make growth", description="How runs grow with the number of hosts.")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="numbers of hosts (default: 1 2 4 8)")
    parser.add_argument("--repeats", type=int, default=2, help="of each run; the median counts (default: 2)")
    parser.add_argument("--settings", action="store_true", help="compare settings of Ansible too, on the most hosts")
    parser.add_argument("--keep", action="store_true", help="use the boxes of an earlier run, and leave them up")
    parser.add_argument("--strict", action="store_true", help=f"exit with 2 when 8 hosts cost more than {GOAL} x one")
    options = parser.parse_args()
    if min([*options.sizes, options.repeats]) < 1:
        parser.error("sizes and repeats are at least 1")
    return options


def write_app(line: str) -> str:
    """The app, with a line for visitors to see; that line."""
    tiny.write(BUILD / "tiny", f"@app.get('/line')\ndef line():\n    return {line!r}\n")
    return line


def prepare(names: Sequence[str]) -> Growth:
    """An inventory of web hosts, each with an app as small as can be.

    All these hosts share the processors of this machine. What the app takes there to start, times the hosts, says
    nothing of runs on machines of their own; so there is one worker, and no build command.
    """
    shutil.rmtree(BUILD / "log", ignore_errors=True)
    (BUILD / "log").mkdir(parents=True)
    write_app("0.0")
    app: dict[str, Any] = {
        **copy_app(BUILD), **tiny.write(BUILD / "tiny"), "database": {"engine": "none"}, "workers": 1
    }  # fmt: skip
    inventory = write_inventory(BUILD, {"web": names})
    (inventory / "group_vars").mkdir(exist_ok=True)
    (inventory / "group_vars" / "all.yml").write_text(yaml.safe_dump({"flask_apps": [app]}))
    return Growth(names, inventory)


def main() -> int:
    options = arguments()
    sizes = sorted(set(options.sizes))
    names = [f"growth-{number:02}" for number in range(1, sizes[-1] + 1)]
    points: list[Point] = []
    compared: dict[str, list[Point]] = {}
    try:
        growth = prepare(names)
        there = options.keep and all((ROOT / ".ansible/box" / name / "address").exists() for name in names)
        print(f"{len(names)} hosts, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
        if not there:
            growth.converge()
        for size in sizes:
            points += growth.measure(size, options.repeats, {})
        one = [point.trace for point in points if (point.kind, point.size) == ("deploy", sizes[0])]
        for size in sizes:
            points += growth.measure_calls(size, options.repeats, report.merge(one))
        for name, settings in SETTINGS.items() if options.settings else ():
            print(f"  {name}:", flush=True)
            compared[name] = growth.measure(sizes[-1], options.repeats, settings)
    except (Failure, ValueError) as problem:
        print(f"growth: {problem}", file=sys.stderr)
        return 1
    finally:
        if not options.keep:
            box("down", *names)
    largest = [point.trace for point in points if (point.kind, point.size) == ("deploy", sizes[-1])]
    print(
        f"\n{report.summary('deploy', report.merge(largest))}\n{report.listing(report.slowest(report.merge(largest)))}"
    )
    print(f"\n{table(points)}")
    for name, measured in compared.items():
        medians = {
            kind: statistics.median(point.seconds for point in measured if point.kind == kind)
            for kind in ("second_converge", "deploy")
        }
        print(f"{name:32} {medians['second_converge']:6.1f} s {medians['deploy']:6.1f} s")
    (BUILD.parent / "growth.json").write_text(json.dumps(document(points, compared), indent=2) + "\n")
    return 2 if options.strict and over(points) else 0


if __name__ == "__main__":
    sys.exit(main())
