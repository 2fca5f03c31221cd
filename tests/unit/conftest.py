# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes `ansible_collections.flaskhost.stack` importable, from a plain checkout as from an installed collection."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLLECTIONS = ROOT / ".ansible" / "collections"


def _importable() -> None:
    if ROOT.parts[-3:] == ("ansible_collections", "flaskhost", "stack"):
        sys.path.insert(0, str(ROOT.parents[2]))
        return
    link = COLLECTIONS / "ansible_collections" / "flaskhost" / "stack"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        try:
            link.symlink_to("../../../..", target_is_directory=True)
        except FileExistsError:  # another worker of pytest-xdist was faster
            pass
    sys.path.insert(0, str(COLLECTIONS))


_importable()
