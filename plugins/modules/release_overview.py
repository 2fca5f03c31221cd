#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is told of the apps of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_overview
short_description: Tells what is live on a host, who gets it, what runs, who deploys, and what was deployed before
version_added: "0.1.0"
description:
  - Reads records, history and lock of each app, asks supervisord what runs, and counts the disk use. Changes nothing.
  - What cannot be read is told in C(problems); nothing that lies on the host makes it fail.
  - M(flaskhost.stack.release_status) answers faster what C(site.yml) asks before each run.
options:
  apps:
    description: The resolved apps.
    type: list
    elements: dict
    required: true
  history:
    description: How many runs to tell of each app, the newest first.
    type: int
    default: 10
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Changes nothing.}
"""

EXAMPLES = r"""
- name: Look at the apps
  flaskhost.stack.release_overview:
    apps: "{{ release_apps }}"
    history: 50
  register: overview
"""

RETURN = r"""
apps:
  description: What is told of each app; docs/deploying.md describes the keys.
  returned: success
  type: list
  elements: dict
  contains:
    app: {type: str, description: The name of the app.}
    url: {type: str, description: Where it answers.}
    certificate: {type: str, description: When its certificate ends, in words; empty without TLS.}
    live: {type: str, description: Id of the live release; empty when there is none.}
    previous: {type: str, description: Where a rollback goes; empty when there is nowhere to go.}
    shares: {type: list, elements: dict, description: "C(release) and its C(share) of the visitors in percent, the largest first."}
    releases: {type: list, elements: dict, description: "Each release on the host, newest first, as its record tells."}
    processes: {type: list, elements: dict, description: "C(name), C(release), C(state), C(since), C(pid), C(why) of each process."}
    lock: {type: dict, description: Who holds the lock, since when and at which step; null when nobody does.}
    disk: {type: dict, description: "Bytes: C(total), and C(releases), C(venvs), C(shared), C(cache) in it; null when unknown."}
    history: {type: list, elements: dict, description: "Runs, newest first; failed ones have C(step) and C(reason)."}
    problems: {type: list, elements: str, description: "What is not as it should be, in words."}
supervisor:
  description: Why supervisord does not tell what runs; empty when it does.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils._overview import overview
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import Supervisord, SupervisordError


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict", "required": True},
            "history": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    processes, silent = None, ""
    try:
        processes = Supervisord().processes() if module.params["apps"] else []
    except SupervisordError as error:
        silent = str(error)
    told = [overview(App(app), processes, max(0, module.params["history"])) for app in module.params["apps"]]
    module.exit_json(changed=False, apps=told, supervisor=silent)


if __name__ == "__main__":
    main()
