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
    description: Days before its end from which a certificate is due; one of C(mode) C(acme) is when certbot's timer should have renewed it long ago.
    type: int
    default: 30
  directory:
    description: The ACME directory from which those of C(mode) C(acme) are to come.
    type: str
    default: ""
  files:
    description: Files of the ACME client that are to be there, with their SHA-256; empty for one that is to be absent.
    type: dict
    default: {}
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
  description:
    - The certificates that are due, as given, each with C(reason), with its names as C(DNS:...) and C(IP:...) in C(alternative_names),
      and with C(usable), which says whether a web server could go on with what is there.
  returned: success
  type: list
  elements: dict
strays:
  description: Apps for which certbot keeps a certificate that nobody wants any more.
  returned: success
  type: list
  elements: str
acme_due:
  description: Whether anything is to be done about certificates that are fetched, be it certbot's timer.
  returned: success
  type: bool
not_after:
  description: By name of certificate, the end of the one on the host, as openssl writes it; empty when there is none.
  returned: success
  type: dict
"""

import hashlib
import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils._certificates import (
    Certificate,
    alternative,
    fits,
    lineage,
    lineages,
    look,
    server_of,
)

TIMER = "certbot.timer"


def unusable(one: dict[str, Any], found: Certificate | None) -> str:
    """Why a web server could not use what is there, or nothing."""
    if not os.path.exists(one["certificate"]) or not os.path.exists(one["key"]):
        return "missing"
    if found is None:
        return "damaged"
    return "" if fits(found, one["key"]) else "does not fit its key"


def reason(one: dict[str, Any], found: Certificate, wanted: set[str], renew_days: int, directory: str) -> str:
    """Why a certificate that can be used is due, or nothing."""
    now = time.time()
    if one["mode"] == "acme":
        if os.path.realpath(one["certificate"]) != os.path.realpath(lineage(one["name"], "fullchain")):
            return "is a placeholder"
        if found.names != wanted:
            return "does not carry exactly its names"
        if server_of(one["name"]) != directory:
            return "is of another directory"
        return "was not renewed in time" if found.forgotten(now) else ""
    if found.ends - now < renew_days * 86400:
        return "expires soon"
    return "" if wanted <= found.names else "does not carry all names"


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "certificates": {"type": "list", "elements": "dict", "required": True, "no_log": False},
            "renew_days": {"type": "int", "default": 30},
            "directory": {"type": "str", "default": ""},
            "files": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    openssl = module.get_bin_path("openssl")
    due: list[dict[str, Any]] = []
    not_after = {}
    for one in module.params["certificates"]:
        names = [alternative(name) for name in one["names"]]
        found = look(one["certificate"]) if openssl else None
        if found:
            not_after[one["name"]] = found.end
        useless = unusable(one, found) if openssl else "missing"
        why = useless or (
            reason(one, found, set(names), module.params["renew_days"], module.params["directory"]) if found else ""
        )
        if why:
            due.append({**one, "reason": why, "usable": not useless, "alternative_names": names})
    acme = [one["name"] for one in module.params["certificates"] if one["mode"] == "acme"]
    strays = [name for name in lineages() if name not in acme]
    module.exit_json(
        changed=False,
        due=due,
        not_after=not_after,
        strays=strays,
        # what is asked of certbot and its timer costs nothing where all of this is as it should be
        acme_due=bool(strays)
        or any(one["mode"] == "acme" for one in due)
        or any(digest(path) != wanted for path, wanted in module.params["files"].items())
        or (bool(acme) and not timer_runs(module)),
    )


def digest(path: str) -> str:
    """SHA-256 of a file; empty when it is not there."""
    try:
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except OSError:
        return ""


def timer_runs(module: AnsibleModule) -> bool:
    """Whether certbot's timer is on, now and after a reboot."""
    shown = module.run_command(["systemctl", "show", TIMER, "--property", "ActiveState,UnitFileState"])[1].split()
    return set(shown) == {"ActiveState=active", "UnitFileState=enabled"}


if __name__ == "__main__":
    main()
