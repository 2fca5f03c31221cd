# SPDX-License-Identifier: GPL-3.0-or-later
"""Boxes of their own with the shipped guestbook, for programs such as `make faults`, `make audit` and `make growth`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.stack import ROOT, box

# how boxes are reached, from an inventory that lies as deep as those of the scenarios
_BOXES = ROOT / "molecule/shared/inventory/boxes.yml"


def write_inventory(build: Path, groups: Mapping[str, Sequence[str]]) -> Path:
    """An inventory of boxes by group; its directory.

    :param build: a directory in ``build``.
    """
    inventory = build / "inventory"
    inventory.mkdir(parents=True, exist_ok=True)
    children = {group: {"hosts": dict.fromkeys(names)} for group, names in groups.items()}
    (inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": children}}))
    places = inventory / "places.yml"
    places.unlink(missing_ok=True)
    places.symlink_to(_BOXES)
    return inventory


def copy_app(build: Path) -> dict[str, Any]:
    """The app of the repository's inventory, from a copy of its own that may be changed."""
    source = build / "guestbook"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "examples" / "guestbook", source)
    shipped = yaml.safe_load((ROOT / "inventory/group_vars/all/flask_apps.yml").read_text())["flask_apps"][0]
    return {**shipped, "source": {"path": str(source)}}


def prepare(build: Path, name: str, fresh: bool) -> tuple[Path, dict[str, Any]]:
    """Bring one box up, and write an inventory of it.

    :param build: directory for the inventory and for a copy of the app, which may be changed.
    :param name: of the box.
    :param fresh: make it anew where there is one.
    :returns: the directory of the inventory, and the app of the repository's inventory with the copy as its source.
    """
    inventory = write_inventory(build, {"web": [name], "db": [name]})
    box("up", name, *(["--fresh"] if fresh else []))
    return inventory, copy_app(build)
