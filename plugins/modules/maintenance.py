#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Close an app for maintenance, and open it again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance
short_description: Has nginx answer for an app with a maintenance page, or the app again
version_added: "0.1.0"
description:
  - Makes or removes the file C(/var/lib/flaskhost/maintenance/<app>), at which the app's site looks at each request. So it counts at once,
    without a reload, and is forgotten by neither reloads, deploys, C(site.yml) nor reboots.
  - Then asks nginx as a visitor, and fails if that does not see it.
  - Who has a certain cookie looks past the page, as does the health check of a deploy.
options:
  app:
    description: The resolved app.
    type: dict
    required: true
  state:
    description: Whether visitors get the maintenance page.
    type: str
    choices: ["on", "off"]
    required: true
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Says what would change.}
"""

EXAMPLES = r"""
- name: Close the blog
  flaskhost.stack.maintenance:
    app: "{{ flaskhost_apps | selectattr('name', 'eq', 'blog') | first }}"
    state: "on"
"""

RETURN = r"""
link:
  description: Whoever opens it looks past the page from then on; empty when it is off.
  returned: success
  type: str
"""

import contextlib
import http.client
import os
import re
import secrets
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils._probe import connect

FLAGS = "/var/lib/flaskhost/maintenance"


def passes(name: str) -> list[str]:
    """The keys with which one looks past the page of an app."""
    try:
        files = os.listdir(FLAGS)
    except OSError:
        return []
    found = (re.fullmatch(rf"{re.escape(name)}\.([0-9a-f]{{32}})", file) for file in files)
    return sorted(match.group(1) for match in found if match)


def close(name: str) -> bool:
    """Make what is missing: a key, then the file that closes the app. Whether anything was."""
    os.makedirs(FLAGS, mode=0o711, exist_ok=True)
    missing = [] if passes(name) else [f"{name}.{secrets.token_hex(16)}"]
    if not os.path.exists(os.path.join(FLAGS, name)):
        missing.append(name)
    for file in missing:
        with open(os.path.join(FLAGS, file), "w", encoding="utf-8"):
            pass
    return bool(missing)


def reopen(name: str) -> bool:
    """Remove the file that closes the app, and its keys. Whether there were any."""
    files = [os.path.join(FLAGS, file) for file in (name, *(f"{name}.{key}" for key in passes(name)))]
    there = [file for file in files if os.path.lexists(file)]
    for file in there:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(file)
    return bool(there)


def answer(app: dict[str, Any]) -> int:
    """The status that a visitor of the app gets."""
    tls, host = app["tls"]["mode"] != "none", (app["domains"] or ["localhost"])[0]
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.sock = connect("127.0.0.1", 443 if tls else 80, host, tls, 10)
    try:
        connection.request("GET", app["healthcheck"]["path"], headers={"Host": host, "User-Agent": "flaskhost-visitor"})
        return connection.getresponse().status
    finally:
        connection.close()


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "dict", "required": True},
            "state": {"type": "str", "required": True, "choices": ["on", "off"]},
        },
        supports_check_mode=True,
    )
    app, wanted = module.params["app"], module.params["state"] == "on"
    name = app["name"]
    if module.check_mode:
        module.exit_json(changed=os.path.exists(os.path.join(FLAGS, name)) != wanted, link="")
    changed = close(name) if wanted else reopen(name)
    try:
        status = answer(app)
    except (OSError, http.client.HTTPException) as error:
        module.fail_json(msg=f"{name}: maintenance is {module.params['state']}, but nginx does not answer: {error}")
    if wanted and status != 503:
        reopen(name)
        module.fail_json(
            msg=f"{name}: visitors still get the app (status {status}), so maintenance is off again. The site does not look for "
            f"{FLAGS}/{name}: run site.yml, and see whether a template of your own leaves that out."
        )
    link = f"{app['url']}/.flaskhost/pass/{passes(name)[0]}" if wanted else ""
    module.exit_json(changed=changed, link=link)


if __name__ == "__main__":
    main()
