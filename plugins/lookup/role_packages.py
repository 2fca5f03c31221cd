# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup flaskhost.stack.role_packages."""

from __future__ import annotations

import os
from typing import Any

import yaml
from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible.template import trust_as_template

DOCUMENTATION = """
name: role_packages
author: The flaskhost founders (@flaskhost)
version_added: "0.1.0"
short_description: The Debian packages that roles of this collection install
description:
  - Reads C(<role>_packages) of each role, as the inventory or else the defaults of the role have it.
  - With it a play installs the packages of many roles in one transaction of apt, which takes a third of the time.
options:
  _terms:
    description: Names of roles of this collection.
    required: true
"""

EXAMPLES = """
- name: Install the packages of two roles
  ansible.builtin.apt:
    name: "{{ query('flaskhost.stack.role_packages', 'nginx', 'firewall') }}"
"""

RETURN = """
_raw:
  description: The packages, each once, sorted.
  type: list
  elements: str
"""

_ROLES = os.path.join(os.path.dirname(os.path.realpath(__file__)), os.pardir, os.pardir, "roles")


class LookupModule(LookupBase):
    """The lookup."""

    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[str]:
        """The packages of the named roles."""
        packages: set[str] = set()
        for role in terms:
            name = f"{role}_packages"
            # a default may speak of other defaults of its role, whether the play has loaded that role or not
            known = {**_defaults(str(role)), **variables}
            templar = self._templar.copy_with_new_env(available_variables=known)
            packages.update(str(package) for package in templar.template(known.get(name)) or [])
        return sorted(packages)


def _defaults(role: str) -> dict[str, Any]:
    """The defaults of a role of this collection, texts as templates."""
    path = os.path.join(_ROLES, role, "defaults", "main.yml")
    try:
        with open(path, encoding="utf-8") as stream:
            defaults = yaml.safe_load(stream) or {}
    except OSError as error:
        raise AnsibleLookupError(f"role_packages: there is no role {role} in this collection ({error})") from error
    return {key: trust_as_template(value) if isinstance(value, str) else value for key, value in defaults.items()}
