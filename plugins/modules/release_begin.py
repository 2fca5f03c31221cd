#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the lock of an app, tidy up after a run that died, check that the host can take a release."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_begin
short_description: Takes the lock of an app and checks that the host can take a release
version_added: "0.1.0"
description:
  - Takes the lock of the app. A lock whose run died on this control node, or that was not touched for three hours, is taken over.
  - Removes what a run that died left behind, never the live release.
  - Checks free disk space before anything else is done.
  - For a rollback, chooses the release to go to, and refuses one that was never finished, or whose code does not know the
    migrations that the database is at.
  - Finds the snapshot of the database that is to be put back.
options:
  app:
    description: The resolved app.
    type: dict
    required: true
  purpose:
    description: What the lock is taken for, told to those who meet it.
    type: str
    default: deploy
  wait:
    description: Seconds to wait for a lock that another run holds.
    type: int
    default: 0
  min_free_mb:
    description: Free disk space in MiB below which no release is begun.
    type: int
    default: 200
  rollback:
    description: Choose a release to go back to, or give the lock back and fail.
    type: bool
    default: false
  target:
    description: Id of the release to go back to. Empty means the one that was live before.
    type: str
    default: ''
  restore:
    description:
      - Find the snapshot to put back. For a rollback, the newest that the code of the release knows; else the one of
        O(target), or the one from before the migrations that ran last.
    type: bool
    default: false
  canary:
    description:
      - What to do about a canary. C(refuse) fails while there is one, C(require) while there is none.
      - C(allow) fails where there is no live release that it could stand beside.
    type: str
    choices: [refuse, allow, require]
    default: refuse
  force:
    description: Go back also to a release whose code does not know the migrations that the database is at.
    type: bool
    default: false
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Takes no lock and removes nothing.}
"""

EXAMPLES = r"""
- name: Begin
  flaskhost.stack.release_begin:
    app: "{{ app }}"
  register: begin
"""

RETURN = r"""
token:
  description: Names this run; gives the lock back.
  returned: success
  type: str
who:
  description: Who runs this, as C(user@control node).
  returned: success
  type: str
live:
  description: Id of the release that gets the traffic, empty when there is none.
  returned: success
  type: str
previous:
  description: Id of the newest finished release that is older than the live one.
  returned: success
  type: str
target:
  description: Id of the release that a rollback goes to; empty when it is none.
  returned: success
  type: str
commit:
  description: Commit of the release that a rollback goes to, else of the canary; empty when there is neither.
  returned: success
  type: str
snapshot:
  description: Name of the snapshot to put back; empty when it is none.
  returned: success
  type: str
snapshots:
  description: Names of all snapshots, oldest first.
  returned: success
  type: list
  elements: str
canary:
  description: The canary, as C(release), C(share) in percent and C(preview); empty when there is none.
  returned: success
  type: dict
record:
  description: RELEASE.json of the live release.
  returned: success
  type: dict
releases:
  description: RELEASE.json of every release that was once finished, oldest first.
  returned: success
  type: list
  elements: dict
seconds:
  description: How long each step took on the host, by its name.
  returned: always
  type: dict
removed:
  description: What was left by runs that died, and is gone now.
  returned: success
  type: list
  elements: str
"""

import contextlib
import dataclasses
import os
import shutil
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils import _history, _release_lock
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError, read_json, utc_now
from ansible_collections.flaskhost.stack.plugins.module_utils._rollback import choose
from ansible_collections.flaskhost.stack.plugins.module_utils._snapshots import find, records
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import Steps
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import SupervisordError
from ansible_collections.flaskhost.stack.plugins.module_utils._tidy import tidy


def require_space(app: App, needed: int) -> None:
    """Refuse to begin what will not fit.

    :param needed: MiB that must be free where the app is.
    """
    free = shutil.disk_usage(app.paths["root"]).free // 2**20
    if free < needed:
        raise ReleaseError(
            f"pre-flight: only {free} MiB are free in {app.paths['root']}, {needed} MiB are needed "
            "(release_min_free_mb). Make room, or lower keep_releases of the app."
        )


def canary_of(app: App, wish: str, purpose: str) -> dict[str, Any]:
    """The canary, for those who may meet one.

    :param wish: refuse, allow or require it.
    :raises ReleaseError: what is begun does not go with what there is.
    """
    canary, live = app.canary(), app.live()
    if app.port and wish == "allow":
        raise ReleaseError(
            f"{purpose}: {app.name} answers on port {app.port} by itself, and only nginx can share its visitors out. Deploy without "
            "flask_canary, or remove `port` from the app, so that nginx is in front. Nothing was changed."
        )
    if canary and wish == "refuse":
        raise ReleaseError(
            f"{purpose}: {app.name} has a canary, {canary.release}, which gets {canary.share:g} % of the visitors beside "
            f"{live}. First end it: `ansible-playbook promote.yml -e flask_app={app.name}` makes it live, abort.yml removes "
            "it. Nothing was changed."
        )
    if canary is None and wish == "require":
        raise ReleaseError(
            f"{purpose}: {app.name} has no canary; live is {live or 'none'}. "
            f"`ansible-playbook deploy.yml -e flask_app={app.name} -e flask_canary=10` makes one."
        )
    if not live and wish == "allow":
        raise ReleaseError(
            f"{purpose}: {app.name} has no live release that a canary could stand beside. Deploy it without flask_canary first."
        )
    return dataclasses.asdict(canary) if canary else {}


def give_back(app: App, token: str) -> None:
    """Leave no lock behind; what keeps it from being deleted must not hide why this run ends."""
    with contextlib.suppress(OSError):
        _release_lock.release(app.paths["lock"], token)


def note_failure(app: App, line: dict[str, object], message: str) -> None:
    """Add a run to the history that ended here; a disk without room for that must not hide why."""
    with contextlib.suppress(OSError):
        told = {"release": "", "result": "failed", "former": app.live(), "when": utc_now()}
        _history.add(app, {**told, **line, **_history.failure(message, "pre-flight")})


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "dict", "required": True},
            "purpose": {"type": "str", "default": "deploy"},
            "wait": {"type": "int", "default": 0},
            "min_free_mb": {"type": "int", "default": 200},
            "rollback": {"type": "bool", "default": False},
            "target": {"type": "str", "default": ""},
            "force": {"type": "bool", "default": False},
            "restore": {"type": "bool", "default": False},
            "canary": {"type": "str", "choices": ["refuse", "allow", "require"], "default": "refuse"},
            # from the action plugin
            "holder": {"type": "dict", "required": True},
            "break_token": {"type": "str", "default": "", "no_log": False},
        },
        supports_check_mode=True,
    )
    app = App(module.params["app"])
    if not os.path.isdir(app.paths["root"]):
        if module.check_mode and not module.params["rollback"]:
            nothing: dict[str, object] = {
                "token": "",
                "who": "",
                "live": "",
                "previous": "",
                "target": "",
                "commit": "",
                "snapshot": "",
                "snapshots": [],
                "canary": {},
            }
            module.exit_json(changed=True, **nothing, record={}, releases=[], removed=[])
        module.fail_json(msg=f"lock: {app.paths['root']} does not exist; run site.yml first, it prepares the host")
    holder = module.params["holder"]
    broken = False
    deadline = time.monotonic() + module.params["wait"]
    while not module.check_mode:
        try:
            before = read_json(app.paths["lock"])
            broken = _release_lock.take(app.paths["lock"], holder, break_token=module.params["break_token"])
            break
        except _release_lock.Held as held:
            if time.monotonic() < deadline:
                time.sleep(1)
                continue
            module.fail_json(
                msg=f"lock: {app.name} is locked by {_release_lock.in_words(held.holder)}. Wait for it, or give "
                f"`-e flask_lock_wait=SECONDS`; if that run is dead, `unlock.yml` with `-e flask_app={app.name}` removes the lock.",
                holder=held.holder,
            )
        except OSError as error:
            give_back(app, holder["token"])
            module.fail_json(msg=f"lock: {app.paths['lock']} cannot be written: {error}")
    steps = Steps(app, holder["token"])
    who = f"{holder['owner']}@{holder['controller']}"
    try:
        if broken and before:
            _history.died(app, before, f"its lock was found by {who}")
        with contextlib.nullcontext() if module.check_mode else steps.step("lock"):
            pass
        with contextlib.nullcontext() if module.check_mode else steps.step("pre-flight"):
            removed = tidy(app, module.check_mode)
            require_space(app, module.params["min_free_mb"])
            live = app.live()
            told: dict[str, Any] = {
                "live": live,
                "previous": app.previous(live) if live else "",
                "canary": canary_of(app, module.params["canary"], module.params["purpose"]),
                "record": app.record(live) if live else {},
                "releases": [app.record(release) for release in app.releases() if app.finished(release)],
            }
        target, snapshot = "", ""
        if module.params["rollback"]:
            target, snapshot = choose(app, module.params["target"], module.params["force"], module.params["restore"])
        elif module.params["restore"]:
            snapshot = str(find(app, module.params["target"]).get("name", ""))
    except (ReleaseError, SupervisordError, OSError) as error:
        message = str(error) if isinstance(error, ReleaseError) else f"pre-flight: {error}"
        # a rollback that is refused is none
        if not module.check_mode and not message.startswith("rollback: "):
            note_failure(app, {"who": who, "purpose": module.params["purpose"], "seconds": steps.seconds}, message)
        give_back(app, holder["token"])
        module.fail_json(msg=message, live=app.live(), seconds=steps.seconds)
    aim = target or str(told["canary"].get("release", ""))
    module.exit_json(
        changed=bool(removed or broken),
        token=holder["token"],
        who=who,
        removed=removed,
        broken=broken,
        target=target,
        commit=str(app.record(aim).get("commit", "")) if aim else "",
        snapshot=snapshot,
        snapshots=[str(record["name"]) for record in records(app)],
        seconds=steps.seconds,
        **told,
    )


if __name__ == "__main__":
    main()
