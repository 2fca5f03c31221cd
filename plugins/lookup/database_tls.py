# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup flaskhost.stack.database_tls."""

from __future__ import annotations

import ipaddress
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain
from ansible_collections.flaskhost.stack.plugins.plugin_utils._authority import (
    AuthorityError,
    authority,
    certificate_of,
)

DOCUMENTATION = """
name: database_tls
author: The flaskhost founders (@flaskhost)
version_added: "0.1.0"
short_description: certificates of database servers, by an authority on the control node
description:
  - The authority is made at the first call, valid for 30 years; a server's certificate for 5, and made anew in its last one or for another name.
  - They are kept in the folder C(database) of O(directory), readable by its owner only. The authority's key never leaves the control node.
options:
  _terms:
    description: The database host in the inventory, and what clients call it, names and addresses. Without, only the authority's certificate is returned.
  directory:
    description: Directory of the generated secrets on the control node.
    type: path
    required: true
"""

EXAMPLES = """
- name: What a database host gets
  ansible.builtin.set_fact:
    tls: "{{ lookup('flaskhost.stack.database_tls', 'db1', '10.0.0.5', directory=preflight_secrets_dir) }}"
"""

RETURN = """
_raw:
  description: One dictionary with C(ca), and for a host C(key) and C(certificate), all as PEM.
  type: list
  elements: dict
"""


class LookupModule(LookupBase):
    """The lookup of this file."""

    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[dict[str, str]]:
        """One dictionary."""
        self.set_options(var_options=variables, direct=kwargs)
        directory = str(self.get_option("directory"))
        names = list(dict.fromkeys(str(term) for term in plain(terms) if term))
        try:
            made = {"ca": authority(directory)}
            if names:
                made["key"], made["certificate"] = certificate_of(names[0], list(map(_kind, names)), directory)
        except (AuthorityError, OSError) as error:
            raise AnsibleLookupError(f"database_tls: {error}") from error
        return [made]


def _kind(name: str) -> str:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return f"DNS:{name}"
    return f"IP:{name}"
