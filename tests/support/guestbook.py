# SPDX-License-Identifier: GPL-3.0-or-later
"""A box of its own with the shipped guestbook, for programs such as `make faults` and `make audit`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from tests.support.stack import ROOT, box

HOSTS = """\
all:
  children:
    web: {{hosts: {{{box}: }}}}
    db: {{hosts: {{{box}: }}}}
  vars:
    __boxes: "{root}/.ansible/box"
    ansible_host: "{{{{ lookup('ansible.builtin.file', __boxes ~ '/{box}/address') }}}}"
    ansible_ssh_private_key_file: "{{{{ __boxes }}}}/id_ed25519"
    ansible_ssh_common_args: "-o 'UserKnownHostsFile=\\"{{{{ __boxes }}}}/known_hosts\\"'"
"""


def prepare(build: Path, name: str, fresh: bool) -> tuple[Path, dict[str, Any]]:
    """Bring the box up, and write an inventory of it.

    :param build: directory for the inventory and for a copy of the app, which may be changed.
    :param name: of the box.
    :param fresh: make it anew where there is one.
    :returns: the directory of the inventory, and the app of the repository's inventory with the copy as its source.
    """
    inventory, source = build / "inventory", build / "guestbook"
    inventory.mkdir(parents=True, exist_ok=True)
    (inventory / "hosts.yml").write_text(HOSTS.format(box=name, root=ROOT))
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "examples" / "guestbook", source)
    box("up", name, *(["--fresh"] if fresh else []))
    shipped = yaml.safe_load((ROOT / "inventory/group_vars/all/flask_apps.yml").read_text())["flask_apps"][0]
    return inventory, {**shipped, "source": {"path": str(source)}}
