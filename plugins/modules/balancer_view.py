#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""The web hosts, as the balancer before them sees them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_view
short_description: Tells which web hosts a balancer gives an app's visitors to, how they answer it, and who had how many requests
version_added: "0.1.0"
description:
  - Asks each host for the health of each app, as the balancer's nginx asks it, and counts in nginx's log who answered lately. Changes nothing.
options:
  apps:
    description: The apps, as P(flaskhost.stack.balanced_apps#filter) makes them.
    type: list
    elements: dict
    required: true
  drained:
    description: Names of hosts that get no visitors.
    type: list
    elements: str
    default: []
  seconds:
    description: How far back requests are counted.
    type: int
    default: 60
  timeout:
    description: Seconds that a host has for its answer.
    type: int
    default: 3
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Changes nothing.}
"""

EXAMPLES = r"""
- name: Look at the hosts behind this balancer
  flaskhost.stack.balancer_view:
    apps: "{{ flaskhost_apps }}"
  register: view
"""

RETURN = r"""
apps:
  description: One entry per app.
  returned: success
  type: list
  elements: dict
  contains:
    app: {type: str, description: Name of the app.}
    url: {type: str, description: What visitors open.}
    certificate: {type: str, description: "When the app's certificate ends, in words; empty without TLS."}
    problems: {type: list, elements: str, description: "What is not as it should be, in words."}
    hosts:
      type: list
      elements: dict
      description: >-
        C(host), C(address), C(drained), C(healthy), C(release) and C(seen) (the answer in words) of each; C(answered) and C(failed), requests that it
        answered and those that it did not.
"""

import concurrent.futures
import os
import re
import time
from collections.abc import Iterable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils import _certificates
from ansible_collections.flaskhost.stack.plugins.module_utils._probe import ask

LOGS = "/var/log/nginx"
FLAGS = "/var/lib/flaskhost/maintenance"
# of a log, what is looked at
_BYTES = 4 * 2**20
_LINE = re.compile(rb'.* "([^"]*)" (\d+\.\d+)\n')


def requests(lines: Iterable[bytes], since: float) -> dict[str, tuple[int, int]]:
    """By ``address:port``: how many requests it answered, and how many went on to another host.

    :param since: seconds of the epoch; what was answered before does not count.
    """
    found: dict[str, tuple[int, int]] = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        if not match or float(match.group(2)) < since:
            continue
        asked = [one.strip() for one in match.group(1).decode("utf-8", "replace").split(",")]
        for number, one in enumerate(asked):
            answered, failed = found.get(one, (0, 0))
            last = number == len(asked) - 1
            found[one] = (answered + last, failed + (not last))
    return found


def lately(name: str, seconds: float) -> dict[str, tuple[int, int]]:
    """The same, from the end of an app's log."""
    try:
        with open(os.path.join(LOGS, f"{name}.access.log"), "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _BYTES))
            return requests(stream, time.time() - seconds)
    except OSError:
        return {}


def look(app: dict[str, Any], host: dict[str, str], timeout: float) -> dict[str, Any]:
    """How a host answers for an app."""
    check, name = app["healthcheck"], (app["domains"] or ["localhost"])[0].replace("*.", "www.")
    scheme = app["url"].partition(":")[0]
    # of the live release, also while a canary is on
    answer = ask(
        f"http://{host['address']}", path=check["path"], host=name, scheme=scheme, side="live", timeout=timeout
    )
    return {
        "healthy": answer.status == check["status"],
        "release": answer.release,
        "seen": f"status {answer.status}" if answer.status else f"no answer ({answer.text})",
    }


def view(app: dict[str, Any], drained: list[str], seconds: float, timeout: float) -> dict[str, Any]:
    """All that is told of one app."""
    counted = lately(app["name"], seconds)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        seen = list(pool.map(lambda host: look(app, host, timeout), app["hosts"]))
    hosts = []
    for host, told in zip(app["hosts"], seen, strict=True):
        address = f"[{host['address']}]" if ":" in host["address"] else host["address"]
        answered, failed = counted.get(f"{address}:80", (0, 0))
        hosts.append(
            {"host": host["name"], "address": host["address"], "drained": host["name"] in drained, **told,
             "answered": answered, "failed": failed}
        )  # fmt: skip
    certificate, problem = "", ""
    if app["tls"]["mode"] != "none":
        certificate, problem = _certificates.ends_in_words(
            _certificates.look(app["tls"]["certificate"]), app["tls"]["mode"]
        )
    closed = "closed for maintenance" if os.path.exists(os.path.join(FLAGS, app["name"])) else ""
    return {
        "app": app["name"], "url": app["url"], "certificate": certificate, "hosts": hosts,
        "problems": [text for text in (problem, closed) if text],
    }  # fmt: skip


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict", "required": True},
            "drained": {"type": "list", "elements": "str", "default": []},
            "seconds": {"type": "int", "default": 60},
            "timeout": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )
    params = module.params
    told = [view(app, params["drained"], params["seconds"], params["timeout"]) for app in params["apps"]]
    module.exit_json(changed=False, apps=told)


if __name__ == "__main__":
    main()
