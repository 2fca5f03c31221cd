# Copyright: (c) 2025, flaskhost contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup flaskhost.stack.generated_secrets."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain
from ansible_collections.flaskhost.stack.plugins.module_utils._secrets import SecretsError, secrets_of

DOCUMENTATION = """
name: generated_secrets
author: flaskhost contributors (@flaskhost)
version_added: "1.0.0"
short_description: secrets of apps, made once on the control node
description:
  - Returns the secrets of each app that nobody has to think of. They are made at the first call and never change by themselves.
  - Each app has one JSON file, readable by its owner only. A C(.gitignore) beside the files keeps them out of repositories.
  - Two runs at the same time get the same secrets. A damaged file is an error, it is never replaced.
  - Secrets are also made in check mode, since what a run would change depends on them.
options:
  _terms:
    description: Names of apps, or lists of them.
    required: true
  directory:
    description: The directory of the files on the control node.
    type: path
    required: true
notes:
  - A back-up of the directory belongs to the back-up of the control node. Without it the passwords of the databases change.
"""

EXAMPLES = """
- name: Use the secrets of two apps
  ansible.builtin.debug:
    msg: "{{ app_secrets.blog.secret_key | length }}"
  vars:
    app_secrets: "{{ lookup('flaskhost.stack.generated_secrets', 'blog', 'shop', directory=inventory_dir ~ '/.flaskhost') }}"

- name: The same with the names of all apps
  ansible.builtin.debug:
    msg: "{{ app_secrets.keys() }}"
  vars:
    app_secrets: "{{ lookup('flaskhost.stack.generated_secrets', flask_apps | map(attribute='name'), directory=flaskhost_secrets_dir) }}"
"""

RETURN = """
_raw:
  description: One dictionary; for each app C(secret_key), 64 characters, and C(database_password), 43 characters, both URL-safe.
  type: list
  elements: dict
"""


class LookupModule(LookupBase):
    """The lookup of this file."""

    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[dict[str, dict[str, str]]]:
        """One dictionary, by app."""
        self.set_options(var_options=variables, direct=kwargs)
        directory = str(self.get_option("directory"))
        try:
            return [{name: secrets_of(name, directory) for name in _flat(plain(terms))}]
        except SecretsError as error:
            raise AnsibleLookupError(str(error)) from error


def _flat(terms: Any) -> list[str]:
    if isinstance(terms, list):
        return [name for term in terms for name in _flat(term)]
    return [str(terms)]
