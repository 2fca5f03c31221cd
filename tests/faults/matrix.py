# SPDX-License-Identifier: GPL-3.0-or-later
"""Does to a box what the cells say, one after the other, and looks what comes of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.cells import LONGEST_GAP, LONGEST_OUTAGE, Cell, Row, expected_live
from tests.support.load import Report, SteadyLoad
from tests.support.remains import State, look, settled
from tests.support.root import Failpoint, Root
from tests.support.stack import Run, Running, Stack

# seconds in which a deploy comes to the lock
_TO_THE_LOCK = 30.0


@dataclass(frozen=True)
class Site:
    """An app on a box, with what a deploy of it needs.

    :ivar source: the folder it is deployed from; changed for each deploy that is to make a release.
    :ivar extra: variables of each deploy.
    """

    stack: Stack
    root: Root
    app: str
    source: Path
    extra: dict[str, Any]

    def change(self, text: str) -> None:
        """Make the source another one."""
        (self.source / "note.txt").write_text(f"{text} {time.time()}\n")

    def begin(self) -> Running:
        """Start a deploy."""
        return self.stack.start("deploy", flask_app=self.app, **self.extra)

    def deploy(self) -> Run:
        """A whole deploy."""
        return self.stack.playbook("deploy", flask_app=self.app, **self.extra)

    def holder(self) -> str:
        """Token of the lock; empty when nobody has it."""
        lock = self.root.run('cat "/srv/$1/deploy.lock"', self.app)
        return str(json.loads(lock[1])["token"]) if lock[0] == 0 else ""

    def state(self) -> State:
        """How the app is on the host."""
        return look(self.root, self.app)


def run(site: Site, cell: Cell, rate: float = 50) -> Row:
    """One cell: a deploy that goes wrong there, and the next one, all under load.

    :param rate: requests per second.
    """
    row = Row(cell.step, cell.kind)
    before = site.state()
    site.change(str(cell))
    point = Failpoint(site.root, site.app, cell.step, "fail" if cell.kind == "fail" else "hold")
    cut = 0.0
    try:
        with SteadyLoad(site.root.address, rate=rate, patience=5 if cell.kind == "reboot" else 30) as load:
            time.sleep(0.5)
            if cell.kind == "fail":
                again, after = _fail(site, cell, point, row)
            else:
                with site.begin() as deploy:
                    process = _held(point, deploy)
                    if cell.kind == "reboot":
                        cut = load.now()
                        site.root.power_cut()
                        _until_it_answers(load, cut)
                after = site.state()
                again = _next(site, cell, point, process)
            time.sleep(0.5)
    except AssertionError as error:
        row.why.append(str(error))
        return row
    finally:
        point.clear()
    last = settled(site.root, site.app)
    row.live = "old" if after.live == before.live else "new"
    row.leftovers = last.leftovers
    row.why += _complaints(row, cell, again, last, load.report)
    _count(row, load.report, cut)
    others = set(load.report.releases) - {before.live, after.live, last.live}
    # one that does not serve through nginx had the traffic, once probed, until that was known
    if len(others) > (str(cell) == "verify/fail"):
        row.why.append(f"answers came also from {sorted(others)}")
    return row


def _held(point: Failpoint, deploy: Running) -> int:
    """Wait until a deploy is held at a failpoint; the process on the host."""
    try:
        return point.wait(90, unless=lambda: not deploy.alive())
    except AssertionError as error:
        deploy.kill()
        raise AssertionError(f"{error}\n{deploy.end().output[-1500:]}") from error


def _fail(site: Site, cell: Cell, point: Failpoint, row: Row) -> tuple[Run, State]:
    """A deploy whose step fails, and says so; the next one, and how it was between them."""
    failed = site.deploy()
    after = site.state()
    point.clear()
    if failed.code != 2:
        row.why.append(f"the deploy ended with {failed.code}, not with 2: {failed.output[-800:]}")
    for text in (f"{cell.step}: the failpoint", "step "):
        if text not in failed.output:
            row.why.append(f"{text!r} is not told: {failed.output[-800:]}")
    told = f"{after.live} is live" if cell.step in ("retire", "finish", "prune") else f"Still live is {after.live}"
    if cell.step != "lock" and told not in failed.output:
        row.why.append(f"{told!r} is not told: {failed.output[-800:]}")
    # what is left is left for the next run; but nothing of a candidate that is not live
    return site.deploy(), after


def _next(site: Site, cell: Cell, point: Failpoint, process: int) -> Run:
    """The next deploy, as it meets what the fault left."""
    if cell.kind != "kill":
        site.root.run('kill -KILL "$1"', str(process))
        point.clear()
        return site.deploy()
    # what the dead run began goes on once the next one has the lock, and may not get in its way
    token = site.holder()
    with site.begin() as again:
        deadline = time.monotonic() + _TO_THE_LOCK
        while site.holder() == token and again.alive() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.5)
        point.clear()
        return again.end()


def _until_it_answers(load: SteadyLoad, cut: float) -> None:
    """Wait until visitors get answers again, two seconds long, or it takes too long."""
    deadline = time.monotonic() + LONGEST_OUTAGE
    while time.monotonic() < deadline:
        recent = [when for when, _release in list(load.report.answered) if when > cut + 1]
        if recent and load.now() - min(recent) > 2:
            return
        time.sleep(0.1)


def _complaints(row: Row, cell: Cell, again: Run, last: State, report: Report) -> list[str]:
    """What is not as it should be after the next deploy."""
    found = []
    if again.code:
        found.append(f"the next deploy ended with {again.code}: {again.output[-1500:]}")
    if row.live not in expected_live(cell):
        found.append(f"live was the {row.live} release, expected: {' or '.join(expected_live(cell))}")
    if report.last_release() != last.live:
        found.append(f"{report.last_release()} answers, but the upstream names {last.live}")
    if last.record.get("state") != "finished":
        found.append(f"the live release's state is {last.record.get('state')}")
    wanted = {f"{last.live}", f"{last.live}+workers"}
    if {group.partition("@")[2] for group in last.groups} != wanted:
        found.append(f"supervisor runs {last.groups}")
    return found + [f"left over: {text}" for text in last.leftovers]


def _count(row: Row, report: Report, cut: float) -> None:
    """What the load saw; around a power cut, the longest gap is the outage."""
    row.sent, row.longest_gap = report.sent, round(report.longest_gap, 2)
    row.failed, row.lost = len(report.failed), 0
    limit = LONGEST_GAP
    if cut:
        begin, end = report.outage(cut)
        row.lost = sum(1 for began in report.failed_at if begin - 1 <= began <= end)
        row.failed -= row.lost
        row.longest_gap = round(end - begin, 2)
        limit = LONGEST_OUTAGE
    if row.failed:
        row.why.append(f"{row.failed} requests failed: {'; '.join(report.failed[-5:])}")
    if row.longest_gap > limit:
        row.why.append(f"no answer for {row.longest_gap} s; allowed are {limit:g} s")
    if row.sent < 200:
        row.why.append(f"only {row.sent} requests were sent")


def run_all(
    site: Site, cells: list[Cell], one: Callable[[Site, Cell], Row], tell: Callable[[Row, float], None]
) -> list[Row]:
    """One cell after the other."""
    rows = []
    for cell in cells:
        began = time.monotonic()
        row = one(site, cell)
        rows.append(row)
        tell(row, time.monotonic() - began)
        if not row.ok:
            # the next cell needs a host in order
            site.deploy()
    return rows
