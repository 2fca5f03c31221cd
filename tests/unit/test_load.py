# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of the answers that a load had."""

from __future__ import annotations

import pytest

from tests.support.load import Report


def report(*times: float, began: float = 0.0) -> Report:
    return Report(began=began, answered=[(when, "one") for when in times])


def test_the_longest_gap_is_between_two_answers() -> None:
    assert report(5.0, 1.0, 2.0).longest_gap == 3.0
    assert report(1.0).longest_gap == report().longest_gap == 0.0


@pytest.mark.parametrize(
    ("other", "own"),
    [
        (report(0.0, 1.0, 2.0, 3.0, 4.0, 5.0), 2.0),  # went on meanwhile, once a second
        (report(0.0, 1.0, 4.0, 5.0), 0.0),  # stood still at the same time
        (report(0.0, 1.0, 2.5, 4.0), 1.5),  # half of it
        (report(0.0, 4.0, 4.5, 7.5), 0.0),
        (report(4.0, 4.5, 7.5), 3.0),  # at another time
        (report(), 3.0),
        (report(-10.0, -9.0, -6.0, -5.5, began=10.0), 0.0),  # the same moments by the clock
    ],
)
def test_what_both_miss_at_once_is_no_gap_of_its_own(other: Report, own: float) -> None:
    mine = report(0.0, 1.0, 4.0, 4.5)
    assert mine.longest_gap == 3.0
    assert mine.gap_of_its_own(other) == own
