# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of `make faults`: python -m tests.faults [CELL ...]. See docs/testing.md."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from tests.faults.cells import SMOOTH, Cell, Row, chosen, table
from tests.faults.matrix import Site, run, run_all
from tests.faults.smooth import run_smooth
from tests.support import guestbook
from tests.support.root import FAILPOINTS, Root
from tests.support.stack import ROOT, Stack, box

BUILD = ROOT / "build" / "faults"
BOX = "faults"


def prepare(fresh: bool) -> Site:
    """The box with the guestbook on it, and with everything that a release can have."""
    inventory, shipped = guestbook.prepare(BUILD, BOX, fresh)
    app = {**shipped, "processes": {"worker": "sleep 1000000"}, "snapshot": True, "keep_releases": 3}
    extra = {"flask_apps": [app]}
    stack = Stack(inventory)
    print("site.yml ...", flush=True)
    stack.playbook("site", **extra).check()
    root = Root(BOX)
    root.must('rm -rf "$1"', FAILPOINTS)
    return Site(stack, root, "guestbook", Path(app["source"]["path"]), extra)


def one(site: Site, cell: Cell) -> Row:
    """One cell, whatever kind it is of."""
    return run_smooth(site, cell) if cell.kind == SMOOTH else run(site, cell)


def tell(row: Row, seconds: float) -> None:
    """One line per cell, as it ends."""
    print(table([row]).split("\n", 1)[1] + (f"  {seconds:.0f} s" if row.ok else ""), flush=True)


def main() -> int:
    """Run the matrix; 0 when all of it is green."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument(
        "cells", nargs="*", metavar="CELL", help="build/fail, switch (all kinds), */reboot; default: all"
    )
    parser.add_argument("--keep", action="store_true", help="use the box that is there, and leave it there")
    options = parser.parse_args()
    try:
        cells = chosen(options.cells)
    except ValueError as error:
        parser.error(str(error))
    # what was started ends with us
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    try:
        rows = run_all(prepare(not options.keep), cells, one, tell)
    finally:
        if not options.keep:
            box("down", BOX)
    (ROOT / "build" / "faults.json").write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n")
    red = [row for row in rows if not row.ok]
    print(f"\n{table(rows)}\n\n{len(rows)} cells, {len(red)} failed, {time.monotonic() - began:.0f} s")
    return int(bool(red))


if __name__ == "__main__":
    sys.exit(main())
