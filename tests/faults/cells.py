# SPDX-License-Identifier: GPL-3.0-or-later
"""The cells of the matrix, their results, and the table of them. Nothing here touches a box."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._steps import STEPS

# what happens at the step:
KINDS = {
    "fail": "the step fails",
    "kill": "the control process gets SIGKILL; what it began on the host goes on, beside the next deploy",
    "crash": "the control process gets SIGKILL, and so does what it began on the host",
    "reboot": "the host loses its power, and gets it back",
}
# runs in which nothing goes wrong, each under at least so many requests and with a shorter silence than that (seconds)
RUNS = ("deploy", "rollback", "canary", "promote", "abort")
SMOOTH = "smooth"
REQUESTS, SMOOTH_GAP = 2000, 0.5
# a failure here finds the new release live, and leaves it so
AFTER_THE_SWITCH = ("retire", "finish", "prune")
# seconds without an answer: as much as a visitor may wait on two busy cores; and until a host answers that lost its power
LONGEST_GAP, LONGEST_OUTAGE = 3.0, 60.0


@dataclass(frozen=True)
class Cell:
    """One way to go wrong."""

    step: str
    kind: str

    def __str__(self) -> str:
        return f"{self.step}/{self.kind}"


@dataclass
class Row:
    """What came of a cell.

    :ivar sent: requests of the load, from before the deploy until after the next one.
    :ivar failed: those that were not answered with 200; of a reboot, only those from outside of the outage.
    :ivar longest_gap: seconds between two answers; of a reboot, the outage.
    :ivar lost: requests that failed while the host was down.
    :ivar live: ``old`` or ``new``: what answers after the fault, before the next deploy.
    :ivar leftovers: what is there after the next deploy, and should not be.
    :ivar why: what is wrong, in words.
    """

    step: str
    kind: str
    sent: int = 0
    failed: int = 0
    longest_gap: float = 0.0
    lost: int = 0
    live: str = ""
    leftovers: list[str] = field(default_factory=list)
    why: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether it is green."""
        return not self.why

    def as_json(self) -> dict[str, Any]:
        """For build/faults.json."""
        return {**asdict(self), "ok": self.ok}


def every() -> list[Cell]:
    """All cells, those that restart the box last."""
    return [Cell(run, SMOOTH) for run in RUNS] + [Cell(step, kind) for kind in KINDS for step in STEPS]


def chosen(words: Sequence[str]) -> list[Cell]:
    """The cells that the words name: ``build/fail``, ``switch``, ``*/reboot``; all without words.

    :raises ValueError: a word names none.
    """
    cells = every()
    if not words:
        return cells
    patterns = [word if "/" in word else f"{word}/*" for word in words]
    for word, pattern in zip(words, patterns, strict=True):
        if not any(fnmatch.fnmatchcase(str(cell), pattern) for cell in cells):
            raise ValueError(
                f"{word}: no such cell; steps are {', '.join(STEPS)}, kinds are {', '.join(KINDS)}; {SMOOTH} are {', '.join(RUNS)}"
            )
    return [cell for cell in cells if any(fnmatch.fnmatchcase(str(cell), pattern) for pattern in patterns)]


def expected_live(cell: Cell) -> tuple[str, ...]:
    """Which release may be live after a fault."""
    if cell.step in AFTER_THE_SWITCH:
        return ("new",)
    # held at the beginning of it, the new one has the traffic; a failure takes that back
    return ("new",) if cell.step == "verify" and cell.kind != "fail" else ("old",)


def table(rows: Iterable[Row]) -> str:
    """The matrix, for people."""
    lines = [f"{'step':11}{'kind':8}{'sent':>6}{'failed':>8}{'gap (s)':>9}  {'live':6}{'leftovers':11}"]
    for row in rows:
        lines.append(
            f"{row.step:11}{row.kind:8}{row.sent:6}{row.failed:8}{row.longest_gap:9.2f}  {row.live:6}"
            f"{len(row.leftovers) or 'none'!s:11}{'ok' if row.ok else 'FAILED'}"
        )
        lines += [f"    {text}" for text in row.why]
    return "\n".join(lines)
