# SPDX-License-Identifier: GPL-3.0-or-later
"""Which app, on which hosts: the task that refuses before anything is done, in real runs without a host."""

from __future__ import annotations

import json
import os
import re
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
                "ansible.builtin.include_role": {
                    "name": "flaskhost.stack.release",
                    "tasks_from": "choose",
                    "public": True,
                },
            },
            {"name": "Go through them", "ansible.builtin.debug": {"msg": "goes through {{ __through }}"}},
            {
                "name": "Go through what a playbook has found",
                "ansible.builtin.debug": {"msg": "goes then through {{ __through }}"},
                "vars": {"__release_chosen": "{{ release_apps[1:] }}"},
            },
        ],
        "vars": {"__through": "{{ __release_loop[__release_way] | to_json }}"},
    }
]
HERE = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
# nobody listens there
AWAY = {"ansible_host": "127.0.0.1", "ansible_port": 1}


def choose(folder: Path, hosts: dict[str, Any], **extra: Any) -> str:
    """What it says for these hosts, which all have one app, if they have no others."""
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


APPS = {"flaskhost_apps": [{"name": "blog"}, {"name": "shop"}]}


def gone_through(said: str, word: str = "goes") -> list[Any]:
    messages = [json.loads(text) for text in re.findall(r'"msg": (".*")', said)]
    return [
        json.loads(text.removeprefix(f"{word} through ")) for text in messages if text.startswith(f"{word} through")
    ]


def test_a_host_alone_is_given_the_apps_themselves(tmp_path: Path) -> None:
    said = choose(tmp_path, {"one": HERE | APPS})
    assert gone_through(said) == [[{"name": "blog"}, {"name": "shop"}]]
    assert gone_through(said, "goes then") == [[{"name": "shop"}]]
    said = choose(tmp_path, {"one": HERE | APPS}, flask_app="shop")
    assert gone_through(said) == [[{"name": "shop"}]]


def test_several_hosts_are_given_names(tmp_path: Path) -> None:
    """And each those of its own apps: what is the same they go through together."""
    said = choose(tmp_path, {"one": HERE | APPS, "two": HERE, "three": HERE | {"flaskhost_apps": []}})
    assert sorted(gone_through(said)) == [[], ["blog"], ["blog", "shop"]]
    assert sorted(gone_through(said, "goes then")) == [[], [], ["shop"]]
