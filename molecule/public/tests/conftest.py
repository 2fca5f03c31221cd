# SPDX-License-Identifier: GPL-3.0-or-later
"""The box under test, public-host, and the one around it, public-net."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.internet import Internet
from tests.support.stack import box

SCENARIO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def name() -> str:
    """Name of the box under test."""
    return "public-host"


@pytest.fixture(scope="session")
def address(name: str) -> str:
    """Address of the box under test."""
    return box("address", name)


@pytest.fixture(scope="session")
def internet() -> Internet:
    """The box around it."""
    return Internet.reach()


@pytest.fixture(scope="session")
def own_apps() -> dict[str, dict[str, Any]]:
    """The apps of the host by name, as the inventory has them."""
    entries = yaml.safe_load((SCENARIO / "inventory/host_vars/public-host.yml").read_text())["own_apps"]
    return {entry["name"]: entry for entry in entries}
