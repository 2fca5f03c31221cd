# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation only: the work is done on the control node, by the action plugin of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: self_signed
short_description: Makes self-signed certificates, each with a fresh key
version_added: "0.1.0"
description:
  - Keys (ECC, P-256) and certificates are made on the control node and written in one call, all or nothing, so that the files that a
    web server has open always fit each other. The host needs no library for it.
  - Always makes them anew. M(flaskhost.stack.certificate_status) tells which are due.
options:
  certificates:
    description: What to make. A directory that is not there is made, open to all; keys are not.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: For messages.
        type: str
        required: true
      key:
        description: Absolute path of the private key on the host. Only root may read it.
        type: path
        required: true
      certificate:
        description: Absolute path of the certificate on the host.
        type: path
        required: true
      alternative_names:
        description: At least one name, as openssl writes them, such as C(DNS:example.com) and C(IP:192.0.2.1). The first is the common name too.
        type: list
        elements: str
        required: true
  days:
    description: Days until it ends.
    type: int
    required: true
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Says what would change.}
  diff_mode: {support: full, description: Shows certificates, not keys.}
"""

EXAMPLES = r"""
- name: Make one
  flaskhost.stack.self_signed:
    certificates:
      - name: blog
        key: /etc/ssl/private/blog.key
        certificate: /etc/ssl/certs/blog.pem
        alternative_names: ["DNS:example.com", "IP:192.0.2.1"]
    days: 90
"""

RETURN = r"""
paths:
  description: The files that were written.
  returned: success
  type: list
  elements: str
"""
