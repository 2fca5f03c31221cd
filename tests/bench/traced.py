# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of ansible-playbook that are timed, task by task; for `make bench` and `make growth`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench import bench_report as report
from tests.support.stack import ROOT


class Failure(Exception):
    """A run failed, or a page is not what it should be."""


def run(words: Sequence[str], log: Path, environment: Mapping[str, str]) -> tuple[float, float]:
    """One program with its output in a file; its begin and end, since the epoch. Failure if it ends with an error."""
    with log.open("w") as stream:
        launched = time.time()
        code = subprocess.run(
            words, cwd=ROOT, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=stream,
            stderr=subprocess.STDOUT, check=False,
        ).returncode  # fmt: skip
        exited = time.time()
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise Failure(f"{log.stem} failed with {code}; the end of {log}:\n{tail}")
    return launched, exited


def play(words: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> tuple[report.Trace, float]:
    """``ansible-playbook WORDS`` over connections of its own; where its time went, and seconds."""
    notes = log.with_suffix(".jsonl")
    notes.unlink(missing_ok=True)
    with _connections() as directory:
        settings = {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests" / "bench" / "callback_plugins"),
            # besides our own, that of ansible.cfg; of former runs it knows those whose logs lie beside this one's
            "ANSIBLE_CALLBACKS_ENABLED": "bench_tasks,flaskhost.stack.packed_modules",
            "FLASKHOST_PACKED_MODULES": str(log.parent.parent / "modules"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": directory,
            "ANSIBLE_NOCOLOR": "1",
            "BENCH_TASKS": str(notes),
        }
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        launched, exited = run([program, *words], log, {**settings, **(environment or {})})
    return report.parse(notes.read_text(), launched, exited), exited - launched


@contextmanager
def _connections() -> Iterator[str]:
    """A directory for ssh's shared connections of one run: each run connects anew, as one some days later does."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:  # short, as the path of a socket has to be
        yield directory
        for socket in Path(directory).iterdir():
            words = ["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "box"]
            subprocess.run(words, capture_output=True, check=False)
