# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of `make bench`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.tests.bench import bench_report as report

SECONDS = {"plain": 40.0, "first_converge": 50.0, "second_converge": 14.2, "deploy": 10.0, "rollback": 4.84}


def event(time: float, kind: str, **more: Any) -> str:
    return json.dumps({"event": kind, "time": time, **more})


def result(time: float, task: str, state: str = "ok", summary: bool = False) -> str:
    return event(time, "result", id=task, state=state, changed=False, summary=summary)


NOTES = [
    event(101, "start"),
    event(102, "task", id="a", name="Install", action="ansible.builtin.apt"),
    result(104, "a"),
    event(104.5, "task", id="b", name="Make users", action="ansible.builtin.user"),
    result(105, "b"),
    result(106, "b"),
    result(106, "b", summary=True),
    event(106.5, "task", id="c", name="Install", action="ansible.builtin.apt"),
    result(106.75, "c", state="skipped"),
    event(106.75, "task", id="d", name="Keep", action="ansible.builtin.set_fact"),
    result(107, "d"),
    event(107, "end", hosts={"box": {"ok": 3, "changed": 1}}),
]


def notes(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def test_parse() -> None:
    trace = report.parse(notes(*NOTES), launched=100, exited=107.5)
    assert trace == report.Trace(
        start_up=2,
        tasks=(
            report.Task("Install", 2.5, wire=1, skipped=False),
            report.Task("Make users", 2, wire=2, skipped=False),
            report.Task("Install", 0.25, wire=0, skipped=True),
            report.Task("Keep", 0.25, wire=0, skipped=False),
        ),
        shut_down=0.5,
        changed=1,
    )
    assert trace.start_up + sum(task.seconds for task in trace.tasks) + trace.shut_down == 7.5


def test_parse_without_tasks() -> None:
    trace = report.parse(notes(event(101, "start"), event(102, "end", hosts={})), launched=100, exited=103)
    assert trace == report.Trace(start_up=2, tasks=(), shut_down=1, changed=0)


@pytest.mark.parametrize("lines", [[], NOTES[:1], NOTES[:-1]])
def test_a_run_that_was_cut_off(lines: list[str]) -> None:
    with pytest.raises(ValueError, match="cut off"):
        report.parse(notes(*lines), launched=100, exited=110)


def test_merge_takes_medians_and_keeps_tasks_of_one_name_apart() -> None:
    traces = [
        report.Trace(start, (report.Task("Ask", one, 1, False), report.Task("Ask", two, 1, False)), 0.5, 0)
        for start, one, two in ((1, 3, 10), (2, 1, 30), (9, 2, 20))
    ]
    merged = report.merge(traces)
    assert merged.start_up == 2
    assert [task.seconds for task in merged.tasks] == [2, 20]


def test_merge_takes_a_task_that_only_some_runs_had() -> None:
    short = report.Trace(1, (report.Task("Ask", 1, 1, False),), 0, 0)
    long = report.Trace(1, (report.Task("Ask", 1, 1, False), report.Task("Tell", 5, 1, False)), 0, 0)
    assert [task.name for task in report.merge([long, short]).tasks] == ["Ask", "Tell"]


def test_ratios() -> None:
    expected = {"first_converge": 1.25, "second_converge": 0.355, "deploy": 0.25, "rollback": 0.121}
    assert report.ratios(SECONDS) == pytest.approx(expected)


def test_a_goal_is_missed_by_what_is_printed() -> None:
    assert report.missed({"second_converge": 0.356, "deploy": 0.2504, "rollback": 0.121}) == [
        "second_converge",
        "rollback",
    ]


def test_table() -> None:
    text = report.table({**SECONDS, "second_converge": 16}, {"plain": [39.5, 40, 44]})
    lines = [line.split() for line in text.splitlines()]
    assert lines == [
        ["seconds", "ratio", "goal", "measured"],
        ["plain", "40.0", "1.000", "39.5", "40.0", "44.0"],
        ["first", "converge", "50.0", "1.250", "1.50", "ok"],
        ["second", "converge", "16.0", "0.400", "0.35", "OVER"],
        ["deploy", "10.0", "0.250", "0.25", "ok"],
        ["rollback", "4.8", "0.121", "0.12", "OVER"],
    ]
    assert text.splitlines()[0].index("measured") == text.splitlines()[1].index("39.5")


def test_document() -> None:
    tasks = tuple(report.Task(f"task {number}", number, number % 2, False) for number in range(12))
    document = report.document(SECONDS, {"deploy": report.Trace(1.234, tasks, 0, 0)})
    assert json.loads(json.dumps(document)) == document
    assert set(document) == {"ratio", "seconds", "tasks"}
    assert set(document["ratio"]) == {"first_converge", "second_converge", "deploy", "rollback"}
    assert document["seconds"]["plain"] == 40.0
    deploy = document["tasks"]["deploy"]
    assert (deploy["wire"], deploy["total"], deploy["start_up"]) == (6, 12, 1.23)
    assert [task["name"] for task in deploy["slowest"]] == [f"task {number}" for number in range(11, 1, -1)]


def test_summary_and_listing() -> None:
    trace = report.parse(notes(*NOTES), launched=100, exited=107.5)
    assert report.summary("second_converge", trace) == (
        "second converge: start 2.00 s, 2 tasks on the wire 4.50 s, 1 tasks local 0.25 s, 1 tasks skipped 0.25 s, "
        "end 0.50 s"
    )
    assert report.listing(report.slowest(trace, 3)).splitlines() == [
        "    2.50     1  Install",
        "    2.00     2  Make users",
        "    0.25  skip  Install",
    ]


def test_one_line_changes() -> None:
    first = report.with_line("<footer>\n</footer>\n</body>", "bench 1.0")
    second = report.with_line(first, "bench 1.1")
    assert report.line_of("<footer></footer>") is None
    assert report.line_of(first) == "bench 1.0"
    assert report.line_of(second) == "bench 1.1"
    assert len(second.splitlines()) == len(first.splitlines()) == 4
