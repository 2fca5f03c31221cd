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
    """One command of the suite; `counts` if it is pytest's and there is nothing else to count."""

    name: str
    command: tuple[str, ...]
    needs_boxes: bool = False
    counts: bool = False


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
        Part("lint", ("make", "lint")),
    ]


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
            code = 124
        finally:
            self._running.discard(process)
        said = testreport.read(report)
        passed, failed = said.passed, said.failed
        if not part.counts and not code:
            passed += 1  # the scenario itself: it converged, was idempotent, verified
        if code and not failed:
            failed = 1
        seconds = time.monotonic() - began
        say(f"{part.name}: {'ok' if not failed else f'FAILED (exit code {code})'}, {seconds:.0f} s")
        if failed:
            say("\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-60:]))
        return Result(part, passed, failed, seconds, said.causes)

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
