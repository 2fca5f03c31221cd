# SPDX-License-Identifier: GPL-3.0-or-later
"""How the rehearsal's hosts are reached: read by Ansible from a copy of the repository's inventories."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

from tests.support.stack import ROOT

HOSTS = """
all:
  hosts:
    box: {vagrant_address: 192.0.2.1}
    real: {ansible_host: 203.0.113.1}
    named: {}
"""


def read(root: Path, folder: str) -> dict[str, dict[str, Any]]:
    """Variables of each host of an inventory."""
    found = InventoryManager(loader=DataLoader(), sources=[str(root / folder)])
    return {host.name: host.get_vars() for host in found.get_hosts()}


@pytest.fixture(params=["inventory", "examples/fleet"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    place = tmp_path / request.param
    place.mkdir(parents=True)
    shutil.copy(ROOT / request.param / "rehearsal.yml", place)
    (place / "hosts.yml").write_text(HOSTS)
    return str(request.param)


def make_box(root: Path, *names: str) -> None:
    for name in names:
        (root / ".ansible/box" / name).mkdir(parents=True)
        (root / ".ansible/box" / name / "address").write_text("198.51.100.7\n")
    (root / ".ansible/box/id_ed25519").touch()


def test_a_machine_of_vagrant(tmp_path: Path, folder: str) -> None:
    key = tmp_path / ".vagrant/machines/box/libvirt/private_key"
    host = read(tmp_path, folder)["box"]
    assert (host["ansible_host"], host["ansible_ssh_private_key_file"]) == ("192.0.2.1", "~/.ssh/id_ed25519")
    key.parent.mkdir(parents=True)
    key.touch()
    assert Path(read(tmp_path, folder)["box"]["ansible_ssh_private_key_file"]).resolve() == key


def test_a_box_comes_first(tmp_path: Path, folder: str) -> None:
    make_box(tmp_path, "box")
    host = read(tmp_path, folder)["box"]
    assert host["ansible_host"] == "198.51.100.7"
    assert Path(host["ansible_ssh_private_key_file"]).resolve() == tmp_path / ".ansible/box/id_ed25519"
    (_option, known_hosts) = shlex.split(host["ansible_ssh_common_args"])
    name, _equals, place = known_hosts.partition("=")
    assert (name, Path(place.strip('"')).resolve()) == ("UserKnownHostsFile", tmp_path / ".ansible/box/known_hosts")


def test_of_real_hosts_nothing_is_said(tmp_path: Path, folder: str) -> None:
    """Also where a box of that name is left."""
    make_box(tmp_path, "real", "named")
    found = read(tmp_path, folder)
    assert found["real"]["ansible_host"] == "203.0.113.1"
    assert not [name for host in ("real", "named") for name in found[host] if name.startswith("ansible_ssh")]
    assert "ansible_host" not in found["named"]


def test_the_fleet_has_the_same() -> None:
    """But for the way to the checkout."""
    fleet = (ROOT / "examples/fleet/rehearsal.yml").read_text()
    assert fleet.replace("/../../.", "/../.") == (ROOT / "inventory/rehearsal.yml").read_text()
