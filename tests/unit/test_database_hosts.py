# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory says of database hosts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flaskhost.stack.plugins.filter.database_hosts import database_hosts
from ansible_collections.flaskhost.stack.plugins.filter.database_primary import database_primary

from tests.support.stack import ROOT


def test_the_address_for_other_hosts_is_first() -> None:
    hostvars: dict[str, dict[str, Any]] = {
        "a": {"flaskhost_internal_address": "10.0.0.1", "ansible_host": "x"},
        "b": {"ansible_host": "x", "flaskhost_internal_address": ""},
        "c": {"ansible_host": "10.0.0.3", "flaskhost_internal_address": "10.0.0.3"},
        "d": {},
    }
    assert database_hosts(["a", "b", "c", "d"], hostvars) == {
        "a": ["10.0.0.1", "x"],
        "b": ["x"],
        "c": ["10.0.0.3"],
        "d": [],
    }
    assert database_hosts([], hostvars) == {}


@pytest.mark.parametrize(
    ("hosts", "first", "expected"),
    [
        ([], {}, ""),
        (["a"], {}, "a"),
        # who it replicates to, one host cannot say
        (["a"], {"mysql_replication": False, "mysql_primary": "b"}, "a"),
        (["a", "b"], {}, "a"),
        (["a", "b"], {"mysql_primary": "b"}, "b"),
        (["a", "b"], {"mysql_primary": None}, ""),
        (["a", "b"], {"mysql_replication": "yes"}, "a"),
        (["a", "b"], {"mysql_replication": False}, ""),
        (["a", "b"], {"mysql_replication": "false"}, ""),
        # a mistake, which is told of elsewhere
        (["a", "b"], {"mysql_replication": "perhaps"}, ""),
    ],
)
def test_the_primary(hosts: list[str], first: dict[str, Any], expected: str) -> None:
    assert database_primary(hosts, {"a": first, "b": {"mysql_primary": "c"}}) == expected


def test_what_is_not_known_yet_is_passed_by(tmp_path: Path) -> None:
    """A real run: to filters, what is undefined looks otherwise than to this process."""
    unknown = "{{ nobody_defines_this.at_all }}"
    hosts = {
        "a": {
            "ansible_host": unknown,
            "flaskhost_internal_address": "10.0.0.1",
            "mysql_primary": unknown,
            "mysql_replication": unknown,
        },
        "b": {"ansible_host": unknown},
    }
    inventory = {"all": {"hosts": {"localhost": {"ansible_connection": "local"}}}, "db": {"hosts": hosts}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    asked = "[[groups.db | flaskhost.stack.database_hosts(hostvars), groups.db | flaskhost.stack.database_primary(hostvars)]]"
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible")), "localhost", "-i", "hosts.yml", "-m", "debug", "-a", f"msg='{{{{ {asked} | to_json }}}}'"],
        cwd=tmp_path, env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert '[[{"a": ["10.0.0.1"], "b": []}, "a"]]' in done.stdout.replace("\\", ""), done.stdout + done.stderr
