# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what pytest reported of a part of the suite (JUnit XML): how many tests passed and failed, and why."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

# failures of one part that are told with their reasons; of the others the name alone
_TOLD = 5
# of each, lines from its begin and from its end: the assertion, and the last words of what it ran
_FIRST, _LAST = 8, 8
# characters
_WIDTH = 300


@dataclasses.dataclass(frozen=True)
class Report:
    """What pytest said at its end.

    :ivar passed: tests that passed, in all their phases.
    :ivar failed: failures and errors; a test may have one of each.
    :ivar causes: a block of lines for each of those.
    """

    passed: int = 0
    failed: int = 0
    causes: tuple[str, ...] = ()


def read(path: Path) -> Report | None:
    """The report that a run of pytest left; nothing if it left none, or was ended while it wrote it."""
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return None
    # the sums that the file has as well leave out tests that fail twice
    passed = sum(not any(case.find(kind) is not None for kind in ("failure", "error", "skipped")) for case in cases)
    failures = [(case, found) for case in cases for kind in ("failure", "error") for found in case.iterfind(kind)]
    told = [_cause(case, found, with_reason=number < _TOLD) for number, (case, found) in enumerate(failures)]
    return Report(passed, len(failures), tuple(told))


def _cause(case: ElementTree.Element, found: ElementTree.Element, *, with_reason: bool) -> str:
    name = f"{case.get('classname', '')}::{case.get('name', '')}".removeprefix("::")
    lines = [f"{'FAILED' if found.tag == 'failure' else 'ERROR'} {name}"]
    if with_reason:
        lines += [f"  {line[:_WIDTH]}" for line in _reason(found)]
    return "\n".join(lines)


def _reason(found: ElementTree.Element) -> list[str]:
    """What went wrong, which pytest marks with an E, and where that was, which is the last place it names."""
    lines = (found.text or "").splitlines()
    said = [line[1:].strip() for line in lines if line.startswith("E ")] or found.get("message", "").splitlines()
    said = [line for line in said if line]
    where = [line for line in lines if re.match(r"\S+:\d+: ", line)][-1:]
    return last_words(said, _FIRST, _LAST) + where


def last_words(lines: list[str], first: int, last: int) -> list[str]:
    """The begin and the end of what is too long to be told."""
    left_out = len(lines) - first - last
    return [*lines[:first], f"... {left_out} more lines", *lines[-last:]] if left_out > 1 else lines
