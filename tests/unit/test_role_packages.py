# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages a play installs for its roles in one go."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleLookupError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.flaskhost.stack.plugins.lookup.role_packages import LookupModule


def packages(*roles: str, **variables: Any) -> list[str]:
    return LookupModule(templar=Templar(DataLoader())).run(roles, variables)


def test_defaults_of_several_roles() -> None:
    assert packages("nginx", "firewall", "supervisor") == ["nginx", "supervisor", "ufw"]
    assert packages() == []


def test_a_default_that_follows_from_facts_and_other_defaults() -> None:
    """Nobody has loaded the role mysql when base.yml asks for its packages."""
    for system, server in (("ubuntu", "mysql-server"), ("debian", "mariadb-server")):
        assert server in packages("mysql", ansible_facts={"flaskhost": {"os": {"id": system}}})
    assert "mysql-server" in packages("mysql", mysql_provider="mysql")


def test_the_inventory_wins() -> None:
    assert packages("nginx", nginx_packages=["nginx-light"]) == ["nginx-light"]
    template = trust_as_template("{{ ['nginx-' ~ flavour] }}")
    assert packages("nginx", nginx_packages=template, flavour="full") == ["nginx-full"]


def test_an_unknown_role() -> None:
    with pytest.raises(AnsibleLookupError, match="there is no role apache"):
        packages("apache")
