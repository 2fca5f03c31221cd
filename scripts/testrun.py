# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the parts of the test suite, two at a time, each with its log in build/logs; leaves no box of its own behind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import testreport
from boxlib import boxes, daemon
from boxlib.image import Recipe, ensure
from boxlib.system import ROOT, Problem, say

LOGS = ROOT / "build" / "logs"
# On the two cores this is meant for: with three, nothing is left over for what gives way to visitors, and a build that takes
# a second took 25.
AT_A_TIME = 2
# of one part; the longest takes 25 on a quiet machine of two cores, and twice that on a busy one
MINUTES = 60
# exit code of a part that took longer, as timeout(1) has it
TIMEOUT = 124
# of a part's log, where no test says why it failed
_LAST_LINES = 15
# what takes longest begins first, so that nothing long is left alone in the end
_LONG = ("public", "trial", "options", "replica", "fleet", "default")
# run by name only: under emulation it takes as long as half of all others
_APART = ("arm",)

_GUESTBOOK = [
    *("uv", "run", "--quiet", "--isolated", "--no-project", "--with", "pytest"),
    *("--with-requirements", "examples/guestbook/requirements.txt"),
]


@dataclasses.dataclass(frozen=True)
class Part:
    """One command of the suite.

    :ivar counts: it is pytest itself; else what is around its tests counts as one more.
    :ivar tests: pytest is run by it, and leaves a report.
    """

    name: str
    command: tuple[str, ...]
    needs_boxes: bool = False
    counts: bool = False
    tests: bool = True


@dataclasses.dataclass(frozen=True)
class Result:
    """How a part went."""

    part: Part
    passed: int
    failed: int
    seconds: float
    causes: tuple[str, ...] = ()


def parts() -> list[Part]:
    """The suite, longest part first. A new Molecule scenario is a part by itself."""
    there = {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")}
    scenarios = [*(name for name in _LONG if name in there), *sorted(there.difference(_LONG))]
    folders = [
        folder
        for folder in ("tests/unit", "tests/templates", "tests/artifact")
        if any((ROOT / folder).glob("test_*.py"))
    ]
    return [
        *(Part(name, ("molecule", "test", "--scenario-name", name), needs_boxes=True) for name in scenarios),
        Part("vagrant", ("pytest", "-q", "tests/vagrant"), needs_boxes=True, counts=True),
        Part("arm64", ("pytest", "-q", "-rs", "tests/arm64"), counts=True),
        Part("unit", ("pytest", "-q", *folders), counts=True),
        # the example has requirements of its own, so it gets an environment of its own
        Part("guestbook", (*_GUESTBOOK, "pytest", "-q", "examples/guestbook/tests"), counts=True),
        Part("lint", ("make", "lint"), tests=False),
    ]


def outcome(part: Part, code: int, seconds: float, report: testreport.Report | None, log: list[str]) -> Result:
    """What a part that has ended with an exit code counts for, and why if it failed."""
    said = report or testreport.Report()
    # the scenario itself: it converged, was idempotent, verified
    passed = said.passed + (not part.counts and not code)
    failed, causes = said.failed, said.causes
    if not failed and (code or (part.tests and report is None)):
        why = f"ended with exit code {code}" if code else "pytest left no report of what it tested"
        end = [f"  {line}" for line in testreport.last_words(log, 0, _LAST_LINES)]
        failed, causes = 1, ("\n".join([f"{why}{f', after {MINUTES} minutes' * (code == TIMEOUT)}", *end]),)
    return Result(part, passed, failed, seconds, causes)


class Suite:
    """The running parts; ends them all when it is interrupted."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(self, part: Part) -> Result:
        """Run one part to its end."""
        began = time.monotonic()
        log, report = LOGS / f"{part.name}.log", LOGS / f"{part.name}.xml"
        if self._stopped:
            return Result(part, 0, 1, 0)
        say(f"{part.name}: starts (build/logs/{part.name}.log)")
        report.unlink(missing_ok=True)
        with log.open("wb") as output:
            process = subprocess.Popen(
                part.command, cwd=ROOT, env=_environment(part, report), stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._running.add(process)
        try:
            code = process.wait(timeout=MINUTES * 60)
        except subprocess.TimeoutExpired:
            _end(process)
            code = TIMEOUT
        finally:
            self._running.discard(process)
        lines = log.read_text(errors="replace").splitlines()
        result = outcome(part, code, time.monotonic() - began, testreport.read(report), lines)
        say(f"{part.name}: {'ok' if not result.failed else f'FAILED (exit code {code})'}, {result.seconds:.0f} s")
        if result.failed:
            say("\n".join(f"    {line}" for line in lines[-60:]))
        return result

    def stop(self) -> None:
        """End what runs, start nothing more."""
        self._stopped = True
        for process in list(self._running):
            _end(process)


def _environment(part: Part, report: Path) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return environment | {
        "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{environment.get('PATH', os.defpath)}",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
        "MOLECULE_EPHEMERAL_DIRECTORY": str(ROOT / ".ansible" / "molecule" / part.name),
        "PYTEST_ADDOPTS": f"{environment.get('PYTEST_ADDOPTS', '')} --junit-xml={shlex.quote(str(report))}",
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        "PY_COLORS": "0",
        "ANSIBLE_NOCOLOR": "1",
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a part with all its children, which share the session we gave it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            return


def own_boxes(chosen: list[Part], names: Iterable[str]) -> list[str]:
    """Those boxes that belong to the chosen scenarios: called like the scenario, or like it and a dash."""
    scenarios = [part.name for part in chosen if part.needs_boxes]
    return sorted(
        name for name in names for scenario in scenarios if name == scenario or name.startswith(f"{scenario}-")
    )


@contextlib.contextmanager
def boxes_for(chosen: list[Part]) -> Iterator[None]:
    """Docker and the usual image ready before the parts start; afterwards the boxes of these scenarios are gone.

    Others stay: somebody may work with a box of this clone meanwhile.
    """
    if not any(part.needs_boxes for part in chosen):
        yield
        return
    try:
        with daemon.in_use():
            ensure(Recipe.wanted(None, None, like_ubuntu=False))
            try:
                yield
            finally:
                boxes.down(own_boxes(chosen, boxes.boxes()))
    finally:
        daemon.stop()


def main(names: list[str]) -> int:
    """Run the suite, or the named parts of it; the last line tells the numbers."""
    known = {part.name: part for part in parts()}
    if unknown := [name for name in names if name not in known]:
        raise Problem(f"No such part: {', '.join(unknown)}. There are: {', '.join(known)}.")
    chosen = [known[name] for name in names] or [part for part in known.values() if part.name not in _APART]
    LOGS.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    suite = Suite()
    with boxes_for(chosen), ThreadPoolExecutor(AT_A_TIME) as pool:
        try:
            results = list(pool.map(suite.run, chosen))
        except KeyboardInterrupt:
            suite.stop()
            raise
    print()
    for result in results:
        verdict = "FAILED" if result.failed else "ok"
        print(
            f"{result.part.name:14} {verdict:8}{result.passed:5} passed {result.failed:4} failed {result.seconds:6.0f} s"
        )
        # beside the numbers, for whoever gets to see only the end of this
        for cause in result.causes:
            print(textwrap.indent(cause, "    "))
    failed = sum(result.failed for result in results)
    print(f"{sum(result.passed for result in results)} passed, {failed} failed", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Problem as problem:
        sys.exit(f"test: {problem}")
    except KeyboardInterrupt:
        sys.exit("test: interrupted.")
