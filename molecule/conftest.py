# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of all scenarios share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import testinfra
import testinfra.host

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.stack import Stack, box  # noqa: E402 - the path above is what makes it importable


def pytest_addoption(parser: pytest.Parser) -> None:
    """The scenario's inventory."""
    parser.addoption("--inventory", required=True, help="inventory of the scenario")


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Stack:
    """The repository with the scenario's inventory."""
    return Stack(Path(request.config.getoption("--inventory")).resolve())


@pytest.fixture(scope="module")
def name(request: pytest.FixtureRequest) -> str:
    """Name of the box under test: that of the scenario, or what a test module sets as ``BOX``."""
    return str(getattr(request.module, "BOX", Path(request.path).parents[1].name))


@pytest.fixture(scope="module")
def address(name: str) -> str:
    """Address of the box under test."""
    return box("address", name)


@pytest.fixture(scope="module")
def host(address: str) -> testinfra.host.Host:
    """The box under test, over ssh as the admin, as root."""
    box_state = ROOT / ".ansible" / "box"
    options = f"-o UserKnownHostsFile={box_state}/known_hosts -o ControlMaster=auto -o ControlPersist=60"
    return testinfra.get_host(
        f"ssh://ops@{address}",
        ssh_identity_file=str(box_state / "id_ed25519"),
        ssh_extra_args=options + " -o ControlPath=/tmp/flaskhost-%C",
        sudo=True,
    )
