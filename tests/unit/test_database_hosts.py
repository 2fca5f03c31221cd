# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory says of database hosts."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.filter.database_hosts import database_hosts
from ansible_collections.flaskhost.stack.plugins.filter.database_primary import database_primary


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
        (["a", "b"], {"mysql_replication": "yes"}, "a"),
        (["a", "b"], {"mysql_replication": False}, ""),
        (["a", "b"], {"mysql_replication": "false"}, ""),
        # a mistake, which is told of elsewhere
        (["a", "b"], {"mysql_replication": "perhaps"}, ""),
    ],
)
def test_the_primary(hosts: list[str], first: dict[str, Any], expected: str) -> None:
    assert database_primary(hosts, {"a": first, "b": {"mysql_primary": "c"}}) == expected
