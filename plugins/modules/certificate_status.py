#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates of a host are due."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_status
short_description: Tells which certificates of a host are missing, expire soon, or do not fit names or key
version_added: "0.1.0"
description:
  - Looks at all certificates in one call, so that only those that are due cost further tasks.
options:
  certificates:
    description: Each with C(name), C(mode), C(certificate) and C(key) (paths on the host) and C(names) that it must carry.
    type: list
    elements: dict
    required: true
  renew_days:
    description: Days before its end from which a certificate is due.
    type: int
    default: 30
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Changes nothing.}
"""

EXAMPLES = r"""
- name: Look at all
  flaskhost.stack.certificate_status:
    certificates: "{{ wanted }}"
  register: status
"""

RETURN = r"""
due:
  description: The certificates that are due, as given, each with C(reason).
  returned: success
  type: list
  elements: dict
alternative_names:
  description: By name of certificate, its names as C(DNS:...) and C(IP:...).
  returned: success
  type: dict
not_after:
  description: By name of certificate, the end of the one on the host, as openssl writes it; empty when there is none.
  returned: success
  type: dict
"""

import ipaddress
import os

from ansible.module_utils.basic import AnsibleModule


def alternative(name: str) -> str:
    """A name as openssl writes it in subjectAltName."""
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def carried(text: str) -> set[str]:
    """The names in what ``openssl x509 -ext subjectAltName`` prints."""
    names = {part.strip().replace("IP Address:", "IP:") for line in text.splitlines()[1:] for part in line.split(",")}
    return {alternative(name.split(":", 1)[1]) if name.startswith("IP:") else name for name in names if name}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "certificates": {"type": "list", "elements": "dict", "required": True, "no_log": False},
            "renew_days": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    openssl = module.get_bin_path("openssl")

    def ask(*words: str) -> tuple[int, str]:
        code, out, _err = module.run_command([openssl or "openssl", *words])
        return code, str(out)

    def reason(one: dict[str, object]) -> str:
        certificate, key = str(one["certificate"]), str(one["key"])
        if not openssl or not os.path.exists(certificate) or not os.path.exists(key):
            return "missing"
        end = ask("x509", "-in", certificate, "-noout", "-checkend", str(module.params["renew_days"] * 86400))[0]
        if end:
            return "expires soon"
        if not set(wanted[str(one["name"])]) <= carried(
            ask("x509", "-in", certificate, "-noout", "-ext", "subjectAltName")[1]
        ):
            return "does not carry all names"
        if ask("x509", "-in", certificate, "-noout", "-pubkey") != ask("pkey", "-in", key, "-pubout"):
            return "does not fit its key"
        return ""

    certificates = module.params["certificates"]
    wanted = {one["name"]: [alternative(name) for name in one["names"]] for one in certificates}
    due = [{**one, "reason": why} for one in certificates if (why := reason(one))]
    not_after = {
        one["name"]: ask("x509", "-in", one["certificate"], "-noout", "-enddate")[1].strip().partition("=")[2]
        for one in certificates
        if openssl and os.path.exists(one["certificate"])
    }
    module.exit_json(changed=False, due=due, alternative_names=wanted, not_after=not_after)


if __name__ == "__main__":
    main()
