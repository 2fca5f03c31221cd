# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of `make growth`."""

from __future__ import annotations

import pytest

from tests.bench.bench_report import Task, Trace
from tests.growth import table as growth

NONE = Trace(start_up=0, tasks=(), shut_down=0, changed=0)


def points(eight: float) -> list[growth.Point]:
    """One host in 10 s, eight in so many; the median of three counts."""
    found = []
    for kind in growth.KINDS:
        for size, seconds in ((1, 10.0), (8, eight)):
            for off in (-1.0, 0.0, 3.0):
                found.append(growth.Point(kind, size, seconds + off, NONE, control=seconds / 2, boxes=seconds / 4))
    return found


@pytest.mark.parametrize(("eight", "over"), [(20.0, False), (20.04, False), (20.1, True)])
def test_goal(eight: float, over: bool) -> None:
    assert growth.over(points(eight)) is over
    assert ("OVER" in growth.table(points(eight))) is over


def test_what_is_printed() -> None:
    lines = growth.table(points(24)).splitlines()
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "1 10.0 s 1.00 x 10.0 s 1.00 x 10.0 s 1.00 x 5.0 s 2.5 s",
        "8 24.0 s 2.40 x 24.0 s 2.40 x 24.0 s 2.40 x 12.0 s 6.0 s OVER",
    ]


def test_what_is_written() -> None:
    written = growth.document(points(24), {"50 forks": [growth.Point("deploy", 8, 21.0, NONE)]})
    assert written["goal"] == {"hosts": 8, "ratio": 2.0}
    assert [entry["hosts"] for entry in written["sizes"]] == [1, 8]
    assert written["sizes"][1]["deploy"] == {
        "seconds": 24.0, "ratio": 2.4, "processor": {"control": 12.0, "hosts": 6.0}
    }  # fmt: skip
    assert written["settings"] == {"50 forks": {"deploy": 21.0}}


def test_what_does_nothing_does_it_as_often() -> None:
    tasks = (Task("a call", 0.5, 1, False), Task("a check", 0.1, 0, False), Task("left out", 0.1, 0, True))
    (play,) = growth.nothing(Trace(start_up=1, tasks=tasks, shut_down=0, changed=0))
    assert [(task["name"], "ansible.builtin.ping" in task, task.get("when", True)) for task in play["tasks"]] == [
        ("a call", True, True),
        ("a check", False, True),
        ("left out", False, False),
    ]
