# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what pytest reported of a part of the suite (JUnit XML): how many tests passed and failed, and why."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

# of each failure, lines from its begin and from its end: the assertion, and the last words of what it ran
_FIRST, _LAST = 8, 8
# characters
_WIDTH = 300


@dataclasses.dataclass(frozen=True)
class Report:
    """What pytest said at its end; `causes` has a block of lines for each failure."""

    passed: int = 0
    failed: int = 0
    causes: tuple[str, ...] = ()


def read(path: Path) -> Report:
    """The report that a run of pytest left; an empty one if it left none, or was ended while it wrote it."""
    try:
        suites = list(ElementTree.parse(path).getroot().iter("testsuite"))
    except (OSError, ElementTree.ParseError):
        return Report()
    tests, failures, errors, skipped = (
        sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "failures", "errors", "skipped")
    )
    return Report(tests - failures - errors - skipped, failures + errors, tuple(_causes(suites)))


def _causes(suites: list[ElementTree.Element]) -> Iterator[str]:
    for suite in suites:
        for case in suite.iter("testcase"):
            for kind in ("failure", "error"):
                for found in case.iterfind(kind):
                    name = f"{case.get('classname', '')}::{case.get('name', '')}".removeprefix("::")
                    yield "\n".join([f"{'FAILED' if kind == 'failure' else 'ERROR'} {name}", *_essence(found)])


def _essence(found: ElementTree.Element) -> list[str]:
    """What went wrong and where: pytest marks the first with an E, and has the second at the end."""
    lines = [line.rstrip() for line in (found.text or "").splitlines() if line.strip()]
    said = [line[1:].strip() for line in lines if line.startswith("E ")] or [found.get("message", "")]
    if len(said) > _FIRST + _LAST:
        said[_FIRST:-_LAST] = [f"... {len(said) - _FIRST - _LAST} more lines"]
    where = lines[-1:]
    return [f"  {line[:_WIDTH]}" for line in said + where]
