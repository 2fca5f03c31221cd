#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host shows to the world."""

from __future__ import annotations

DOCUMENTATION = r"""
module: outside_view
short_description: Tells what a host shows to the world, compared with what it should
version_added: "0.1.0"
description:
  - Run on the control node (C(delegate_to: localhost)), it connects to the host as visitors and attackers do and changes nothing.
options:
  address:
    description: Address of the host.
    type: str
    required: true
  open_ports:
    description: TCP ports that must answer.
    type: list
    elements: int
    default: []
  closed_ports:
    description: TCP ports that must not.
    type: list
    elements: int
    default: []
  ssh_port:
    description: Port of ssh; 0 does not ask.
    type: int
    default: 0
  sites:
    description: Each with C(name), C(host) (the name to ask for), C(path), C(status), C(tls) (bool) and C(release) (the id that must answer).
    type: list
    elements: dict
    default: []
  timeout:
    description: Seconds for one connection.
    type: int
    default: 5
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Changes nothing.}
"""

EXAMPLES = r"""
- name: Look from outside
  flaskhost.stack.outside_view:
    address: 203.0.113.10
    open_ports: [22, 80, 443]
    closed_ports: [3306]
  delegate_to: localhost
"""

RETURN = r"""
findings:
  description: What is not as it should be, in words.
  returned: always
  type: list
  elements: str
checks:
  description: How many things were looked at.
  returned: always
  type: int
"""

import concurrent.futures
import http.client
import socket

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils._probe import RELEASE_HEADER, SIDE_COOKIE, connect


def is_open(address: str, port: int, timeout: float) -> bool:
    """Whether a TCP connection is accepted."""
    try:
        with socket.create_connection((address, port), timeout):
            return True
    except OSError:
        return False


def get(address: str, host: str, path: str, tls: bool, timeout: float, port: int = 0) -> tuple[int, dict[str, str]]:
    """One GET: status and headers (names in lower case).

    :param port: 0 for that of the scheme.
    """
    connection = http.client.HTTPConnection(address, timeout=timeout)
    connection.sock = connect(address, port or (443 if tls else 80), host, tls, timeout)
    try:
        # of the live release, also while a canary is on
        headers = {"Host": host, "User-Agent": "flaskhost-validate", "Cookie": f"{SIDE_COOKIE}=live"}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.read()
        return response.status, {key.lower(): value for key, value in response.getheaders()}
    finally:
        connection.close()


def site_findings(address: str, site: dict[str, object], timeout: float) -> list[str]:
    """What is wrong with one site."""
    name, host, path, tls = str(site["name"]), str(site["host"]), str(site["path"]), bool(site["tls"])
    found = []
    try:
        status, headers = get(address, host, path, tls, timeout, int(str(site.get("port") or 0)))
        if status != site["status"]:
            found.append(f"{name}: GET {path} as {host} has status {status} where {site['status']} is expected")
        elif headers.get(RELEASE_HEADER.lower()) != site["release"]:
            found.append(
                f"{name}: release {headers.get(RELEASE_HEADER.lower())} answers where {site['release']} is live"
            )
        if tls:
            status, headers = get(address, host, path, False, timeout)
            target = headers.get("location", "")
            if status not in (301, 308) or not target.startswith("https://"):
                found.append(f"{name}: http does not lead to https (status {status}, Location {target or 'none'})")
    except (OSError, http.client.HTTPException) as error:
        found.append(f"{name}: GET {path} as {host} fails: {error}")
    return found


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "open_ports": {"type": "list", "elements": "int", "default": []},
            "closed_ports": {"type": "list", "elements": "int", "default": []},
            "ssh_port": {"type": "int", "default": 0},
            "sites": {"type": "list", "elements": "dict", "default": []},
            "timeout": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    params = module.params
    address, timeout = params["address"], params["timeout"]
    wanted = {**dict.fromkeys(params["closed_ports"], False), **dict.fromkeys(params["open_ports"], True)}
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        states = dict(zip(wanted, pool.map(lambda port: is_open(address, port, min(timeout, 2)), wanted), strict=True))
        found = [
            f"port {port} is {'open' if state else 'closed'}, but should not be"
            for port, state in states.items()
            if state != wanted[port]
        ]
        for findings in pool.map(lambda site: site_findings(address, site, timeout), params["sites"]):
            found += findings
    checks = len(wanted) + 2 * len(params["sites"])
    if params["ssh_port"]:
        ssh = ["ssh", "-p", str(params["ssh_port"]), "-o", "BatchMode=yes", "-o", "PreferredAuthentications=none"]
        ssh += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=5"]
        # asked for nothing, sshd names the ways it would accept
        for user in ("root", "nobody-in-particular"):
            checks += 1
            err = module.run_command([*ssh, f"{user}@{address}", "true"])[2]
            if "Permission denied (publickey)" not in err:
                found.append(f"ssh offers {user} more than keys: {err.strip().splitlines()[-1:]}")
    module.exit_json(changed=False, findings=found, checks=checks)


if __name__ == "__main__":
    main()
