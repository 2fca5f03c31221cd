# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in which nothing goes wrong, each under so many requests that a rare loss would show."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.faults.cells import REQUESTS, SMOOTH_GAP, Cell, Row
from tests.faults.matrix import Site
from tests.support.load import SteadyLoad
from tests.support.remains import settled
from tests.support.stack import Run

# percent of the visitors that a canary gets here
_SHARE = 30


def run_smooth(site: Site, cell: Cell) -> Row:
    """One run from before its begin until after its end, and until enough visitors have come by."""
    row = Row(cell.step, cell.kind)

    def play(name: str, **more: Any) -> Run:
        return site.stack.playbook(name, flask_app=site.app, **{**site.extra, **more})

    def canary() -> Run:
        return play("deploy", flask_canary=_SHARE)

    # what has to be there before the run, the run, and what is done about it afterwards
    plays: dict[str, tuple[Callable[[], Run] | None, Callable[[], Run], Callable[[], Run] | None]] = {
        "deploy": (None, lambda: play("deploy"), None),
        "rollback": (lambda: play("deploy"), lambda: play("rollback"), None),
        "canary": (None, canary, lambda: play("abort")),
        "promote": (canary, lambda: play("promote"), None),
        "abort": (canary, lambda: play("abort"), None),
    }
    prepare, act, undo = plays[cell.step]
    try:
        site.change(str(cell))
        if prepare:
            prepare().check()
        before = site.state()
        with SteadyLoad(site.root.address) as load:
            time.sleep(1)
            act().check()
            while load.report.sent < REQUESTS and load.now() < 120:
                time.sleep(0.2)
        after = site.state()
        if undo:
            undo().check()
    except AssertionError as error:
        row.why.append(str(error))
        return row
    report = load.report
    row.sent, row.failed, row.longest_gap = report.sent, len(report.failed), round(report.longest_gap, 2)
    row.live = "old" if after.live == before.live else "new"
    row.leftovers = settled(site.root, site.app).leftovers
    row.why += [f"left over: {text}" for text in row.leftovers]
    if row.failed:
        row.why.append(f"{row.failed} requests failed: {'; '.join(report.failed[-5:])}")
    if row.sent < REQUESTS:
        row.why.append(f"only {row.sent} requests were sent")
    if row.longest_gap >= SMOOTH_GAP:
        row.why.append(f"no answer for {row.longest_gap} s; less than {SMOOTH_GAP:g} s is demanded")
    changed = cell.step in ("deploy", "rollback", "promote")
    if changed != (row.live == "new"):
        row.why.append(f"live is {after.live}, before it was {before.live}")
    # both are seen, but for a canary nobody else
    if len(report.releases) != 2:
        row.why.append(f"answers came from {report.releases}")
    return row
