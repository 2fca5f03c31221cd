# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of the README, as tests run them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
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


@dataclass(frozen=True)
class Stack:
    """The repository, used with one inventory."""

    inventory: Path

    def playbook(self, name: str, *words: str, **extra: Any) -> Run:
        """``ansible-playbook NAME -i INVENTORY -e KEY=VALUE ... WORDS``; never raises."""
        command = [sys.executable, "-m", "ansible", "playbook", f"{name}.yml", "-i", str(self.inventory), *words]
        if extra:
            command += ["-e", json.dumps(extra)]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        environment.pop("ANSIBLE_FORCE_COLOR", None)
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        return Run(done.returncode, done.stdout)


def box(*words: str) -> str:
    """``scripts/box WORDS``."""
    done = subprocess.run(
        [str(ROOT / "scripts" / "box"), *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()
