# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault matrix itself: its cells, what counts as green, and the load that judges it."""

from __future__ import annotations

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import STEPS

from tests.faults.cells import KINDS, RUNS, Cell, Row, chosen, every, expected_live, table
from tests.faults.matrix import _count
from tests.support.load import Report


def test_every_step_goes_wrong_in_every_way() -> None:
    assert len(every()) == len(STEPS) * len(KINDS) + len(RUNS) == len(set(every()))
    assert {cell.kind for cell in every()} >= {"fail", "kill", "reboot"}
    assert [cell.kind for cell in every()][-len(STEPS) :] == ["reboot"] * len(STEPS), "those restart the box: last"


@pytest.mark.parametrize(
    ("words", "cells"),
    [
        (["build/fail"], ["build/fail"]),
        (["*/smooth"], [f"{run}/smooth" for run in RUNS]),
        (["switch"], [f"switch/{kind}" for kind in KINDS]),
        (["*/reboot"], [f"{step}/reboot" for step in STEPS]),
        (["switch/kill", "build/fail"], ["build/fail", "switch/kill"]),
        ([], [str(cell) for cell in every()]),
    ],
)
def test_cells_are_chosen_by_name(words: list[str], cells: list[str]) -> None:
    assert [str(cell) for cell in chosen(words)] == cells


def test_unknown_cell_is_refused() -> None:
    with pytest.raises(ValueError, match=r"bild/fail: no such cell; steps are lock, .* kinds are fail"):
        chosen(["build/fail", "bild/fail"])


def test_who_is_live_after_a_fault() -> None:
    assert expected_live(Cell("switch", "kill")) == ("old",)
    assert expected_live(Cell("verify", "fail")) == ("old",), "a switch that does not verify is taken back"
    assert expected_live(Cell("verify", "reboot")) == ("new",)
    assert expected_live(Cell("retire", "fail")) == ("new",)


def load(failed_at: list[float], silence: tuple[float, float] = (0, 0)) -> Report:
    """Ten seconds of load with 50 answers a second, but for a silence."""
    times = [number / 50 for number in range(501) if not silence[0] < number / 50 < silence[1]]
    return Report(501, ["no"] * len(failed_at), failed_at, [(when, "r1") for when in times])


@pytest.mark.parametrize(
    ("report", "cut", "failed", "lost", "ok"),
    [
        (load([]), 0.0, 0, 0, True),
        (load([3.0]), 0.0, 1, 0, False),
        (load([], (3.0, 8.0)), 0.0, 0, 0, False),  # no answer for five seconds
        (load([3.1, 7.9], (3.0, 8.0)), 2.5, 0, 2, True),  # the host was off then
        (load([8.5], (3.0, 8.0)), 2.5, 1, 0, False),  # it had answered again before
        (load([1.0], (3.0, 8.0)), 2.5, 1, 0, False),
    ],
)
def test_what_counts_as_lost(report: Report, cut: float, failed: int, lost: int, ok: bool) -> None:
    row = Row("switch", "reboot" if cut else "kill")
    _count(row, report, cut)
    assert (row.failed, row.lost, row.ok) == (failed, lost, ok), row.why


def test_table_and_rows_for_programs() -> None:
    green, red = (
        Row("build", "fail", sent=400, live="old"),
        Row("prune", "kill", leftovers=["a lock"], why=["left over"]),
    )
    shown = table([green, red]).splitlines()
    assert shown[1].split() == ["build", "fail", "400", "0", "0.00", "old", "none", "ok"]
    assert shown[2].split()[-2:] == ["1", "FAILED"]
    assert {"step", "kind", "sent", "failed", "longest_gap", "live", "leftovers", "ok"} <= set(green.as_json())
    assert (green.as_json()["ok"], red.as_json()["ok"]) == (True, False)
