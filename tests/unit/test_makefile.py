# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Makefile starts of ours does start: with the paths that stand there, and not with those of pytest."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.support.stack import ROOT

PROGRAMS = re.findall(
    r"^\t@(?:PYTHONPATH=(\S+) )?python -m (tests\.\w+)", (ROOT / "Makefile").read_text(), re.MULTILINE
)


def test_all_of_them_are_found() -> None:
    assert {name for _, name in PROGRAMS} >= {
        "tests.bench",
        "tests.growth",
        "tests.faults",
        "tests.audit",
        "tests.board",
    }


@pytest.mark.parametrize(("paths", "name"), PROGRAMS, ids=[name for _, name in PROGRAMS])
def test_it_starts(paths: str, name: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if paths:
        environment["PYTHONPATH"] = paths
    done = subprocess.run(
        [sys.executable, "-m", name, "--help"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout
