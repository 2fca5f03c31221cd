# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes `ansible_collections.flaskhost.stack` and `tests.support` importable, from a plain checkout as from an installed collection."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _collections() -> Path:
    """The directory that holds ansible_collections; in a plain checkout it is made of one link."""
    if ROOT.parts[-3:] == ("ansible_collections", "flaskhost", "stack"):
        return ROOT.parents[1]
    collections = ROOT / ".ansible" / "collections"
    link = collections / "ansible_collections" / "flaskhost" / "stack"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        with contextlib.suppress(FileExistsError):  # another worker of pytest-xdist was faster
            link.symlink_to("../../../..", target_is_directory=True)
    return collections


# pytest has looked there before the link was made, and remembers that there was nothing
importlib.invalidate_caches()
sys.path[:0] = [str(_collections()), str(ROOT)]
os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(_collections())

# before anything of a collection is imported: templates call our filters by their full names
from ansible.plugins.loader import init_plugin_loader  # noqa: E402 - the collection path has to be set before

init_plugin_loader()
