# SPDX-License-Identifier: GPL-3.0-or-later
"""The guestbook on a virtual board of arm64 with 512 MB: `make test-board`. See docs/testing.md.

A box shares the kernel of its machine, and of another architecture it brings the emulator's memory along. Here everything is the
board's own: kernel, firewall, compressed swap, 512 MB. Exits with 1 when something is not as it should be.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from boxlib import daemon
from boxlib.system import Problem, say

from tests.board.machine import ADDRESS, Board
from tests.support.load import SteadyLoad
from tests.support.stack import ROOT, Run, Stack
from tests.support.web import fetch

BUILD = ROOT / "build" / "board"
# of this machine; the board answers some twenty a second when it has nothing else to do
RATE, VISITORS, PATIENCE = 2, 4, 120


class Failure(Exception):
    """Something is not as it should be."""


class Proof:
    """The runs, one after the other, each told in a line."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._source = BUILD / "guestbook"
        shutil.rmtree(self._source, ignore_errors=True)
        shutil.copytree(ROOT / "examples" / "guestbook", self._source)
        self._app: dict[str, Any] = {
            "name": "guestbook", "source": {"path": str(self._source)}, "wsgi": "guestbook:create_app()", "port": 80,
            "workers": 1, "database": {"engine": "sqlite"}, "build": ["flask translate compile"],
            "migrate": ["flask db upgrade"], "healthcheck": {"path": "/healthz", "timeout": 300},
        }  # fmt: skip
        self._stack = Stack(self._write_inventory())

    def _write_inventory(self) -> Path:
        inventory = BUILD / "inventory"
        (inventory / "group_vars").mkdir(parents=True, exist_ok=True)
        variables = {
            "ansible_host": ADDRESS,
            "ansible_ssh_private_key_file": str(self._board.key),
            "ansible_ssh_common_args": f"-o 'UserKnownHostsFile=\"{self._board.known_hosts}\"'",
        }
        groups = {"web": {"hosts": {"board": None}}, "raspberry_pi": {"hosts": {"board": None}}}
        (inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups, "vars": variables}}))
        (inventory / "group_vars" / "all.yml").write_text(yaml.safe_dump({"flask_apps": [self._app]}))
        return inventory

    def converge(self) -> None:
        """site.yml twice, and validate.yml."""
        self._play("site")
        if changed := self._play("site").changed:
            raise Failure(f"The second run of site.yml changed {changed} tasks.")
        self._play("validate")

    def releases(self) -> None:
        """A deploy, a rollback and a deploy that fails, while visitors come."""
        first = live()
        (self._source / "note.txt").write_text("two")
        self._under_load("deploy", lambda seen: len(seen) == 2 and seen[0] == first)
        second = live()
        self._under_load("rollback", lambda seen: seen == [second, first])
        nowhere = {"healthcheck": {"path": "/nowhere", "timeout": 5}}
        (self._source / "note.txt").write_text("three")
        self._under_load("deploy", lambda seen: seen == [first], fails=True, **nowhere)

    def reboot(self) -> None:
        """Its kernel starts anew, and the live release is back."""
        before = live()
        began = time.monotonic()
        self._board.run("systemctl reboot", "ops")
        time.sleep(10)
        self._board.wait("ops")
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            try:
                if live() != before:
                    raise Failure(f"After the reboot {live()} is live, not {before}.")
                say(f"reboot     {time.monotonic() - began:6.0f} s")
                return
            except OSError:
                time.sleep(2)
        raise Failure("After the reboot nothing answers.")

    def _under_load(self, verb: str, expected: Any, *, fails: bool = False, **changes: Any) -> None:
        with SteadyLoad(
            ADDRESS, tls=False, rate=RATE, visitors=VISITORS, longest=3600, patience=PATIENCE
        ) as load:  # fmt: skip
            time.sleep(2)
            self._play(verb, fails=fails, flask_app="guestbook", flask_apps=[{**self._app, **changes}])
            time.sleep(2)
        say(f"  {load.report}")
        if load.report.failed or load.report.sent < 20 or not expected(load.report.releases):
            raise Failure(f"Visitors of this {verb} did not see what they should: {load.report}")

    def _play(self, verb: str, *, fails: bool = False, **extra: Any) -> Run:
        began = time.monotonic()
        run = self._stack.playbook(verb, **extra)
        (BUILD / f"{verb}.log").write_text(run.output)
        say(f"{verb:10} {time.monotonic() - began:6.0f} s, changed={run.changed}")
        if (run.code != 0) != fails:
            raise Failure(f"{verb}.yml ended with {run.code}:\n{run.output[-3000:]}")
        return run


def live() -> str:
    """The release that answers."""
    return fetch(f"http://{ADDRESS}/").headers["x-flaskhost-release"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make test-board", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave the board running when all is done, until Ctrl-C")
    options = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    try:
        with daemon.in_use(), Board(BUILD) as board:
            say(f"the board is up after {time.monotonic() - began:.0f} s")
            board.watch()
            proof = Proof(board)
            try:
                proof.converge()
                proof.releases()
            finally:
                memory = board.memory()
                say(f"memory: {memory}")
            if memory.killed:
                raise Failure(f"{memory.killed} processes were ended for want of memory.")
            proof.reboot()
            if options.keep:
                board.run("true", "ops")
                while True:
                    time.sleep(60)
    except (Failure, Problem, TimeoutError) as problem:
        say(f"test-board: {problem}")
        return 1
    say(f"all of it: {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
