#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give the traffic to a release, and prove that it serves; else give it back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_switch
short_description: Gives the traffic to a release and proves that it serves; else gives it back
version_added: "0.1.0"
description:
  - Rewrites the upstream file of the app, has nginx check and gracefully reload it, and asks through nginx, as a visitor
    would, until three answers in a row come from this release.
  - When they do not, the former file is put back and loaded before the module fails, all in one call on the host, so that
    a lost connection to the control node cannot leave it half done.
options:
  app:
    description: The resolved app.
    type: dict
    required: true
  release:
    description: Id of the release.
    type: str
    required: true
  token:
    description: The lock, as C(release_begin) returned it; a run that has lost it does nothing.
    type: str
    required: true
  former:
    description: Id of the release that has the traffic now; empty when there is none.
    type: str
    default: ""
  template:
    description: Template of the upstream file below the role's templates.
    type: str
    required: true
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: none, description: Belongs to a release that is not there in check mode.}
"""

EXAMPLES = r"""
- name: Switch
  flaskhost.stack.release_switch:
    app: "{{ app }}"
    release: "{{ source.release }}"
    token: "{{ begin.token }}"
    former: "{{ begin.live }}"
    template: etc/nginx/flaskhost/upstreams/app.conf.j2
"""

RETURN = r"""
former_workers:
  description: Process ids of nginx's workers from before the reload; they may still hold requests for the former release.
  returned: success
  type: list
  elements: int
seconds:
  description: How long it took on the host.
  returned: success
  type: float
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils import _release_lock
from ansible_collections.flaskhost.stack.plugins.module_utils._drain import nginx_workers
from ansible_collections.flaskhost.stack.plugins.module_utils._fileset import FilesetError, apply_fileset, put
from ansible_collections.flaskhost.stack.plugins.module_utils._health import complaint
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import UPSTREAMS, App, ReleaseError

_COMMANDS = ["nginx -t", "nginx -s reload"]


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "dict", "required": True},
            "release": {"type": "str", "required": True},
            "token": {"type": "str", "required": True, "no_log": False},
            "former": {"type": "str", "default": ""},
            # rendered by the action plugin
            "content": {"type": "str", "required": True},
        },
    )
    started = time.monotonic()
    app, release, former = App(module.params["app"]), module.params["release"], module.params["former"]
    path = os.path.join(UPSTREAMS, f"{app.name}.conf")

    def run(command: str) -> tuple[int, str]:
        try:
            # a command that is not there must not end the module before the file is back
            code, out, err = module.run_command(command, handle_exceptions=False)
        except OSError as error:
            return 127, str(error)
        return code, (out + err).strip()

    def ask(one: str) -> str:
        try:
            return complaint(app, one, through_web=True)
        except OSError as error:
            # not known to be healthy
            return str(error) or repr(error)

    try:
        _release_lock.require(app, module.params["token"], "switch")
    except (ReleaseError, OSError) as error:
        module.fail_json(msg=str(error) if isinstance(error, ReleaseError) else f"switch: {error}")
    former_workers = nginx_workers()
    try:
        files = [{"path": path, "content": module.params["content"], "mode": "0644"}]
        changes = apply_fileset(files, [], commands=_COMMANDS, run=run)
    except (FilesetError, OSError) as error:
        # a failed reload may have been half of one: load what is there now, which is the former file
        run(_COMMANDS[1])
        module.fail_json(msg=f"switch: {error}")
    why = ask(release)
    if why:
        try:
            for change in changes:
                put(change.path, change.before)
        except (FilesetError, OSError) as error:
            module.fail_json(
                msg=f"verify: {why}\nThe former file could not be put back ({error}), so the traffic stays with {release}. "
                f"Mend that, then run the same again."
            )
        run(_COMMANDS[1])
        again = ask(former) if former else ""
        told = f"\nThe traffic is back with {former}." if former else ""
        module.fail_json(msg=f"verify: {why}{told}" + (f"\nThat does not answer either: {again}" if again else ""))
    module.exit_json(changed=True, former_workers=former_workers, seconds=round(time.monotonic() - started, 2))


if __name__ == "__main__":
    main()
