#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is released on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_status
short_description: Tells what is released on a host
version_added: "0.1.0"
description:
  - Tells for each app which release is live, whether it runs as its configuration says, and what else is there.
  - Tells which apps have programs or releases on the host although they are not in the list.
options:
  apps:
    description: The resolved apps.
    type: list
    elements: dict
    required: true
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Changes nothing.}
"""

EXAMPLES = r"""
- name: Ask what is released
  flaskhost.stack.release_status:
    apps: "{{ release_apps }}"
  register: status
"""

RETURN = r"""
apps:
  description:
    - By name, C(live), C(previous), C(record) of the live one, C(running), C(lock), C(releases).
    - C(leftovers) is what is there beside that, and C(abandoned) whether a run has left it, or the lock, that died.
    - Of a canary C(canary), its id, else empty. C(shares) is a list of C(release) and C(share), percent of the visitors.
  returned: success
  type: dict
stranger_groups:
  description: Supervisor groups of ours that belong to apps which are not in the list.
  returned: success
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, read_json
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import (
    CONF_DIR,
    Supervisord,
    SupervisordError,
    app_groups,
    group_file,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._tidy import tidy

# first line of every file that the release role writes into conf.d
MARK = "; flaskhost.stack"


def stranger_groups(names: set[str]) -> list[str]:
    """Groups of ours in conf.d of apps that are not among ``names``."""
    found = []
    for name in sorted(os.listdir(CONF_DIR)) if os.path.isdir(CONF_DIR) else []:
        if "@" not in name or not name.endswith(".conf") or name.split("@", 1)[0] in names:
            continue
        with open(os.path.join(CONF_DIR, name), encoding="utf-8", errors="replace") as stream:
            if stream.readline().startswith(MARK):
                found.append(name[: -len(".conf")])
    return found


def status(app: App, running: dict[str, str]) -> dict[str, object]:
    """One app's part of the answer."""
    live, canary = app.live(), app.canary()
    group = f"{app.name}@{live}"
    return {
        "live": live,
        "previous": app.previous(live) if live else "",
        "canary": canary.release if canary else "",
        "shares": app.shares(),
        "record": app.record(live) if live else {},
        "running": bool(live)
        and app.served() == live
        and os.path.exists(group_file(group))
        and running.get(group) in ("RUNNING", "STARTING"),
        "finished": bool(live) and app.finished(live),
        "groups": app_groups(app.name),
        "lock": read_json(app.paths["lock"]),
        "leftovers": tidy(app, check=True),
        "releases": [app.record(release) for release in app.releases()],
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={"apps": {"type": "list", "elements": "dict", "required": True}}, supports_check_mode=True
    )
    try:
        running = {info["group"]: info["statename"] for info in Supervisord().processes()}
    except SupervisordError:
        running = {}
    apps = [App(app) for app in module.params["apps"]]
    module.exit_json(
        changed=False,
        apps={app.name: status(app, running) for app in apps},
        stranger_groups=stranger_groups({app.name for app in apps}),
    )


if __name__ == "__main__":
    main()
