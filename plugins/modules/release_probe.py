#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that a release is healthy and that it is that release which answers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_probe
short_description: Proves that a release is healthy, and that it is that release which answers
version_added: "0.1.0"
description:
  - Asks the health path until three answers in a row have the expected status and name the expected release,
    or the time is over, or the process has died.
  - The server process itself names its release (header C(X-Flaskhost-Release)); the web server only passes that on.
options:
  app:
    description: The resolved app.
    type: dict
    required: true
  release:
    description: Id of the release that must answer.
    type: str
    required: true
  through:
    description: C(socket) asks the release itself, C(web) asks the web server of the host, as a visitor would.
    type: str
    choices: [socket, web]
    default: socket
  step:
    description: Name of the step, for the error.
    type: str
    default: probe
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Changes nothing.}
"""

EXAMPLES = r"""
- name: Probe the candidate
  flaskhost.stack.release_probe:
    app: "{{ app }}"
    release: "{{ source.release }}"
"""

RETURN = r"""
answer:
  description: What was last seen.
  returned: success
  type: str
seconds:
  description: How long it took on the host.
  returned: success
  type: float
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils import _probe
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, read_json
from ansible_collections.flaskhost.stack.plugins.module_utils._run import hide
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import Supervisord, SupervisordError


def died(daemon: Supervisord, group: str) -> str:
    """In words, that a process of the group is dead and supervisord gave up or tries again; else empty."""
    try:
        infos = daemon.processes(group)
    except SupervisordError as error:
        return str(error)
    if not infos:
        return f"supervisord runs no {group}"
    dead = [info for info in infos if info["statename"] in ("BACKOFF", "FATAL", "EXITED")]
    return "; ".join(f"{info['name']} {info['spawnerr'] or info['statename']}" for info in dead)


def log_tail(path: str, lines: int = 30) -> str:
    """The last lines of a log."""
    try:
        with open(path, "rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - 16384))
            return "\n".join(stream.read().decode("utf-8", "replace").splitlines()[-lines:])
    except OSError:
        return ""


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "dict", "required": True},
            "release": {"type": "str", "required": True},
            "through": {"type": "str", "choices": ["socket", "web"], "default": "socket"},
            "step": {"type": "str", "default": "probe"},
        },
        supports_check_mode=True,
    )
    started = time.monotonic()
    params = module.params
    app = App(params["app"])
    check = params["app"]["healthcheck"]
    scheme = "http" if params["app"]["tls"]["mode"] == "none" else "https"
    host = (params["app"]["domains"] or ["localhost"])[0].replace("*.", "www.")
    target = app.socket(params["release"]) if params["through"] == "socket" else f"{scheme}://127.0.0.1"
    group = f"{app.name}@{params['release']}"
    daemon = Supervisord()
    healthy, seen = _probe.wait_for(
        lambda: _probe.ask(target, path=check["path"], host=host, scheme=scheme),
        status=check["status"],
        release=params["release"],
        timeout=check["timeout"],
        gone=lambda: died(daemon, group),
    )
    seconds = round(time.monotonic() - started, 2)
    if not healthy:
        log = hide(log_tail(f"{app.paths['log']}/web.log"), read_json(app.environment_files(params["release"])[0]))
        place = "its own socket" if params["through"] == "socket" else f"{target} as {host}"
        module.fail_json(
            msg=f"{params['step']}: GET {check['path']} of {app.name} {params['release']} over {place}: {seen}\n"
            f"The end of {app.paths['log']}/web.log:\n{log}"
        )
    module.exit_json(changed=False, answer=seen, seconds=seconds)


if __name__ == "__main__":
    main()
