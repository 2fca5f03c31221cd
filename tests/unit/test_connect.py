# SPDX-License-Identifier: GPL-3.0-or-later
"""How every run begins: connect.yml has the main process load our filters, and the process of no task has to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.support.render import trusted
from tests.support.stack import ROOT

LOADED = """
import sys


class FilterModule:
    def filters(self):
        return {"loaded": lambda _any: "ansible_collections.flaskhost.stack.plugins.filter.resolve_apps" in sys.modules}
"""
TASK = {"name": "Tell", "ansible.builtin.debug": {"msg": "{{ '' | loaded }} {{ ansible_play_hosts | join(' ') }}"}}


def told(folder: Path, hosts: str) -> list[str]:
    """What a task says in a play for these hosts: whether our filters are there, and who takes part."""
    (folder / "filter_plugins").mkdir()
    (folder / "filter_plugins" / "loaded.py").write_text(LOADED)
    (folder / "hosts").write_text("[all:vars]\nansible_connection=local\n[some]\none\ntwo\n")
    play = {"name": "Tell", "hosts": hosts, "gather_facts": False, "tasks": [TASK]}
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    program = Path(sys.executable).with_name("ansible-playbook")
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    output = subprocess.run(
        [program, "-i", "hosts", "play.yml"], cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout
    return sorted(line.strip() for line in output.splitlines() if line.strip().startswith("msg: "))


def test_our_filters_are_loaded_once(tmp_path: Path) -> None:
    hosts = yaml.safe_load((ROOT / "playbooks" / "connect.yml").read_text())[0]["hosts"]
    assert told(tmp_path, hosts) == ["msg: True one two"] * 2


def test_otherwise_they_are_not(tmp_path: Path) -> None:
    assert told(tmp_path, "all") == ["msg: False one two"] * 2


@pytest.mark.parametrize("known", [True, False])
def test_the_admins_are_looked_up_once(tmp_path: Path, known: bool) -> None:
    """What the inventory says of them reads files of keys, so it is worked out only until the login has noted them."""
    variables = trusted(yaml.safe_load((ROOT / "roles/preflight/vars/main.yml").read_text()))
    looked = f"{{{{ lookup('ansible.builtin.pipe', 'touch {tmp_path}/looked') and [] or [{{'name': 'ops'}}] }}}}"
    variables |= {"preflight_admins": trust_as_template(looked)}
    if known:
        variables |= {"__preflight_admins": [{"name": "ops"}]}
    templar = Templar(loader=DataLoader(), variables=variables)
    assert templar.template(trust_as_template("{{ __preflight_admin_names }}")) == ["ops"]
    assert (tmp_path / "looked").exists() is not known


@pytest.mark.parametrize(
    ("group", "worked_out"),
    [
        ("web", {"apps": "preflight_apps", "nginx": "preflight_sites", "environments": "preflight_environments"}),
        ("balancer", {"apps": "preflight_balanced", "nginx": True}),
        (
            "db",
            {
                "databases": "preflight_databases",
                "database_peers": "preflight_database_peers",
                "replication": "preflight_replication",
            },
        ),
    ],
)
def test_a_host_works_out_what_it_needs(tmp_path: Path, group: str, worked_out: dict[str, Any]) -> None:
    """An expression evaluates every variable that it names, behind `else` too; a host of one group has no use for most."""
    variables = trusted(yaml.safe_load((ROOT / "roles/preflight/vars/main.yml").read_text()))
    for name in ("apps", "sites", "environments", "balanced", "databases", "replication", "database_peers"):
        name = f"preflight_{name}"
        variables[name] = trust_as_template(
            f"{{{{ lookup('ansible.builtin.pipe', 'echo {name} | tee {tmp_path}/{name}') }}}}"
        )
    groups = {group: ["one"], "all": ["one"]}
    variables |= {"inventory_hostname": "one", "group_names": [group], "groups": groups, "hostvars": {"one": {}}}
    variables |= {"inventory_dir": str(tmp_path), "preflight_secrets_dir": str(tmp_path), "preflight_database_tls": {}}
    tasks = yaml.safe_load((ROOT / "playbooks" / "connect.yml").read_text())[0]["tasks"]
    facts = next(task["ansible.builtin.set_fact"] for task in tasks if "ansible.builtin.set_fact" in task)
    templar = Templar(loader=DataLoader(), variables=variables)
    known = {name.removeprefix("flaskhost_"): templar.template(trust_as_template(text)) for name, text in facts.items()}
    named = {name: value for name, value in known.items() if value and name not in ("plan", "primary")}
    assert named == worked_out
    needed = {str(value) for value in worked_out.values() if isinstance(value, str)}
    assert {path.name for path in tmp_path.glob("preflight_*")} == needed
