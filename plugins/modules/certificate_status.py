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
  description: The certificates that are due, as given, each with C(reason), and with its names as C(DNS:...) and C(IP:...) in C(alternative_names).
  returned: success
  type: list
  elements: dict
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
    """The names in what ``openssl x509 -ext subjectAltName`` prints, among other things or alone."""
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if "Subject Alternative Name" in line), len(lines))
    parts = (
        part.strip().replace("IP Address:", "IP:") for line in lines[start + 1 : start + 2] for part in line.split(",")
    )
    return {alternative(part.split(":", 1)[1]) if part.startswith("IP:") else part for part in parts if part}


def end_of(text: str) -> str:
    """The end of a certificate in what ``openssl x509 -enddate`` prints; empty when there is none."""
    return next((line.partition("=")[2].strip() for line in text.splitlines() if line.startswith("notAfter=")), "")


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

    certificates = module.params["certificates"]
    soon = str(module.params["renew_days"] * 86400)
    wanted = {one["name"]: [alternative(name) for name in one["names"]] for one in certificates}
    not_after = {}

    def reason(one: dict[str, str]) -> str:
        if not openssl or not os.path.exists(one["certificate"]):
            return "missing"
        # all in one call
        words = ("-enddate", "-ext", "subjectAltName", "-pubkey", "-checkend", soon)
        expires, shown = ask("x509", "-in", one["certificate"], "-noout", *words)
        not_after[one["name"]] = end_of(shown)
        if not os.path.exists(one["key"]):
            return "missing"
        if not end_of(shown):
            return "damaged"
        if expires:
            return "expires soon"
        if not set(wanted[one["name"]]) <= carried(shown):
            return "does not carry all names"
        code, public = ask("pkey", "-in", one["key"], "-pubout")
        return "" if code == 0 and public.strip() and public.strip() in shown else "does not fit its key"

    due = [
        {**one, "reason": why, "alternative_names": wanted[one["name"]]} for one in certificates if (why := reason(one))
    ]
    module.exit_json(changed=False, due=due, not_after=not_after)


if __name__ == "__main__":
    main()
