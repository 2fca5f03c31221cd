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
ON_EACH = {"plan": "preflight_plan", "primary": "preflight_primary", "database_tls": "preflight_database_tls"}
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
    ("groups", "worked_out"),
    [
        (
            ["web"],
            {
                "apps": "preflight_apps",
                "nginx": "preflight_sites",
                "environments": "preflight_environments",
                **ON_EACH,
            },
        ),
        (
            ["balancer"],
            {
                "apps": "preflight_balanced",
                "nginx": True,
                **ON_EACH,
            },
        ),
        (
            ["db"],
            {
                "databases": "preflight_databases",
                "database_peers": "preflight_database_peers",
                "replication": "preflight_replication",
                **ON_EACH,
            },
        ),
        # what a playbook has no use for that changes no server
        (
            ["web", "db", "no servers"],
            {"apps": "preflight_apps", "nginx": "preflight_sites", "environments": "preflight_environments"},
        ),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_a_host_works_out_what_it_needs(tmp_path: Path, groups: list[str], worked_out: dict[str, Any]) -> None:
    """An expression evaluates every variable that it names, behind `else` too; a host of one group has no use for most."""
    variables = trusted(yaml.safe_load((ROOT / "roles/preflight/vars/main.yml").read_text()))
    tasks = yaml.safe_load((ROOT / "playbooks" / "connect.yml").read_text())[0]["tasks"]
    task = next(task for task in tasks if "ansible.builtin.set_fact" in task)
    facts = task["ansible.builtin.set_fact"]
    variables |= trusted(task["vars"])
    for name in ("sites", "balanced", *(name.removeprefix("flaskhost_") for name in facts)):
        variables[f"preflight_{name}"] = trust_as_template(
            f"{{{{ lookup('ansible.builtin.pipe', 'echo preflight_{name} | tee {tmp_path}/preflight_{name}') }}}}"
        )
    variables |= {
        "inventory_hostname": "one",
        "group_names": groups,
        "groups": {group: ["one"] for group in [*groups, "all"]},
    }
    variables |= {"inventory_dir": str(tmp_path), "preflight_secrets_dir": str(tmp_path), "hostvars": {"one": {}}}
    if "no servers" in groups:
        variables["flaskhost_servers"] = False
    templar = Templar(loader=DataLoader(), variables=variables)
    known = {name.removeprefix("flaskhost_"): templar.template(trust_as_template(text)) for name, text in facts.items()}
    assert {name: value for name, value in known.items() if value} == worked_out
    needed = {str(value) for value in worked_out.values() if isinstance(value, str)}
    assert {path.name for path in tmp_path.glob("preflight_*")} == needed


def test_playbooks_that_change_no_server_name_nothing_of_it() -> None:
    """They have it not worked out, and would meet nothing where the inventory says something."""
    texts = {path.stem: path.read_text() for path in (ROOT / "playbooks").glob("*.yml")}
    without = {name for name, text in texts.items() if "flaskhost_servers: false" in text}
    assert {"deploy", "rollback", "promote", "abort"} <= without
    of_servers = ("flaskhost_plan", "flaskhost_primary", "flaskhost_replication", "flaskhost_database")
    assert not [name for name in without if any(word in texts[name] for word in of_servers)]
    assert not [name for name in without if "name: flaskhost.stack.mysql" in texts[name]]
    for role in ("release", "nginx", "preflight"):
        files = [path for path in (ROOT / "roles" / role).rglob("*") if path.is_file() and path.name != "README.md"]
        assert not [path for path in files if any(word in path.read_text() for word in of_servers)]
