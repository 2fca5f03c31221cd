# SPDX-License-Identifier: GPL-3.0-or-later
"""The two boxes of this scenario; their ssh has another port."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import testinfra
import testinfra.host
import yaml

from tests.support.stack import ROOT, Run, Stack, box

SCENARIO = Path(__file__).resolve().parents[1]
Host = testinfra.host.Host


@pytest.fixture(scope="session")
def made() -> Path:
    """What prepare.yml made."""
    return SCENARIO / "made"


@pytest.fixture(scope="session")
def addresses() -> dict[str, str]:
    """The addresses of `a`, with the plain http app, and `b`, with blog, blog2 and the database."""
    return {letter: box("address", f"options-{letter}") for letter in "ab"}


@pytest.fixture(scope="session")
def address(addresses: dict[str, str]) -> str:
    """Address of b, where most of the scenario is."""
    return addresses["b"]


@pytest.fixture(scope="session")
def hosts(addresses: dict[str, str]) -> dict[str, Host]:
    """Both boxes, over ssh as the admin, as root."""
    state = ROOT / ".ansible" / "box"
    options = f"-o UserKnownHostsFile={state}/known_hosts -o ControlMaster=auto -o ControlPersist=60"
    return {
        letter: testinfra.get_host(
            f"ssh://ops@{address}:2222",
            ssh_identity_file=str(state / "id_ed25519"),
            ssh_extra_args=options + " -o ControlPath=/tmp/flaskhost-%C",
            sudo=True,
        )
        for letter, address in addresses.items()
    }


@pytest.fixture(scope="session")
def host(hosts: dict[str, Host]) -> Host:
    """The box b."""
    return hosts["b"]


@pytest.fixture(scope="session")
def own_apps() -> dict[str, dict[str, Any]]:
    """The apps of b by name, as the inventory has them."""
    entries = yaml.safe_load((SCENARIO / "inventory/host_vars/options-b.yml").read_text())["own_apps"]
    return {entry["name"]: entry for entry in entries}


@pytest.fixture(scope="session")
def on_b(stack: Stack) -> Callable[..., Run]:
    """Runs a playbook for the box b alone."""
    return lambda name, *words, **extra: stack.playbook(name, "--limit", "options-b", *words, **extra)


@pytest.fixture(scope="session")
def live(host: Host) -> Callable[[str], str]:
    """The live release of an app."""
    return lambda app: str(host.check_output("readlink /srv/%s/current", app)).rpartition("/")[2]


@pytest.fixture(scope="session")
def master(host: Host, live: Callable[[str], str]) -> Callable[[str], str]:
    """The id of the process that serves an app: another one after any restart."""
    return lambda app: str(host.check_output("supervisorctl pid %s", f"{app}@{live(app)}"))
