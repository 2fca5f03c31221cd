# SPDX-License-Identifier: GPL-3.0-or-later
"""Which app, on which hosts: the task that refuses before anything is done, in real runs without a host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.stack import ROOT

PLAY: list[dict[str, Any]] = [
    {
        "name": "Choose",
        "hosts": "all",
        "gather_facts": False,
        "tasks": [
            {"name": "Look who is there", "ansible.builtin.ping": None},
            {
                "name": "Choose",
                "ansible.builtin.include_role": {"name": "flaskhost.stack.release", "tasks_from": "choose"},
            },
        ],
    }
]
HERE = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
# nobody listens there
AWAY = {"ansible_host": "127.0.0.1", "ansible_port": 1}


def choose(folder: Path, hosts: dict[str, Any], **extra: Any) -> str:
    """What it says for these hosts, which all have one app."""
    inventory = {"all": {"hosts": hosts, "vars": {"flaskhost_apps": [{"name": "blog"}]}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
    (folder / "play.yml").write_text(yaml.safe_dump(PLAY))
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "hosts.yml", "play.yml", "-e", json.dumps(extra)],
        cwd=folder, env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout


def test_no_app_at_all_is_not_all_apps(tmp_path: Path) -> None:
    said = choose(tmp_path, {"one": HERE}, flask_app=None, __release_verb="rollback")
    assert "rollback: which app? Give `-e flask_app=NAME`; one has blog." in said


@pytest.mark.parametrize("name", ["flask_skip_unreachable", "release_skip_unreachable"])
def test_to_go_on_without_a_host_has_to_be_said(tmp_path: Path, name: str) -> None:
    """Also as a text, which all that is given by ``-e NAME=VALUE`` is."""
    hosts = {"one": HERE, "two": AWAY}
    refusal = "two cannot be reached (see above) and is to have apps too, so nothing was changed on any host"
    assert refusal in choose(tmp_path, hosts, **{name: "false"})
    assert refusal not in choose(tmp_path, hosts, **{name: "true"})
