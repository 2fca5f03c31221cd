# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup flaskhost.stack.public_keys."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: public_keys
author: The flaskhost founders (@flaskhost)
version_added: "0.1.0"
short_description: Public keys that lie on the control node
description:
  - Reads files of public ssh keys. Files that are not there are passed over.
  - Where V(NAME.pub) is missing and the private key V(NAME) is there, as with a C(.pem) file of a cloud or the key that Vagrant makes,
    C(ssh-keygen) tells its public half. A private key with a passphrase is passed over.
options:
  _terms:
    description: Names of C(.pub) files; V(~) is the home of who runs this.
    required: true
"""

EXAMPLES = """
- name: Show who could log in
  ansible.builtin.debug:
    msg: "{{ query('flaskhost.stack.public_keys', '~/.ssh/id_ed25519.pub', '~/Downloads/cloud.pem.pub') }}"
"""

RETURN = """
_raw:
  description: The keys, one line each, each once, in the order of the files.
  type: list
  elements: str
"""


class LookupModule(LookupBase):
    """The lookup."""

    def run(self, terms: Any, variables: Any = None, **kwargs: Any) -> list[str]:
        """The keys of the named files."""
        keys = [key for term in terms for key in _keys(os.path.expanduser(str(term)))]
        return list(dict.fromkeys(keys))


def _keys(path: str) -> list[str]:
    """The keys of one file, or of the private key that it belongs to."""
    private = path.removesuffix(".pub")
    if os.path.isfile(path):
        with open(path, encoding="utf-8") as stream:
            lines = stream.read().splitlines()
    elif private != path and os.path.isfile(private):
        # an empty passphrase, so that nothing asks for one
        told = subprocess.run(
            ["ssh-keygen", "-y", "-P", "", "-f", private], capture_output=True, text=True, check=False
        )
        lines = told.stdout.splitlines() if told.returncode == 0 else []
    else:
        lines = []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
