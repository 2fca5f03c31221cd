# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of the README, as tests run them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Run:
    """A finished ansible-playbook."""

    code: int
    output: str

    @property
    def changed(self) -> int:
        """Sum of ``changed`` over all hosts."""
        return sum(int(number) for number in re.findall(r"changed=(\d+)", self.output))

    def check(self) -> Run:
        """The same, or the end of its output as an error."""
        assert self.code == 0, self.output[-6000:]
        return self


class Running:
    """An ansible-playbook that goes on meanwhile; killed when its ``with`` block is left before its end."""

    def __init__(self, command: list[str], environment: dict[str, str], own_group: bool) -> None:
        self._own_group = own_group
        # a file: a pipe that nobody reads would hold the run up
        self._output = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by __exit__
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=self._output,
            stderr=subprocess.STDOUT, start_new_session=own_group,
        )  # fmt: skip

    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL for it, and for all its forks where it has a group of its own: nothing of it can tidy up."""
        with contextlib.suppress(ProcessLookupError):
            if self._own_group:
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def end(self) -> Run:
        """Wait for its end."""
        code = self._process.wait()
        self._output.seek(0)
        return Run(code, self._output.read())

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.alive():
            self.kill()
        self._process.wait()
        self._output.close()


@dataclass(frozen=True)
class Stack:
    """The repository, used with one inventory."""

    inventory: Path

    def playbook(self, name: str, *words: str, **extra: Any) -> Run:
        """``ansible-playbook NAME -i INVENTORY -e KEY=VALUE ... WORDS``; never raises."""
        # in our own group: who ends the tests ends it as well
        with self._start(name, *words, own_group=False, **extra) as run:
            return run.end()

    def start(self, name: str, *words: str, **extra: Any) -> Running:
        """The same, without waiting for its end, in a process group of its own that can be killed."""
        return self._start(name, *words, own_group=True, **extra)

    def _start(self, name: str, *words: str, own_group: bool, **extra: Any) -> Running:
        command = [sys.executable, "-m", "ansible", "playbook", f"{name}.yml", "-i", str(self.inventory), *words]
        if extra:
            command += ["-e", json.dumps(extra)]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        environment.pop("ANSIBLE_FORCE_COLOR", None)
        return Running(command, environment, own_group)


def box(*words: str) -> str:
    """``scripts/box WORDS``."""
    done = subprocess.run(
        [str(ROOT / "scripts" / "box"), *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()
