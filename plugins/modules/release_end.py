#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""End a deploy: finish or discard the release, prune, give the lock back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_end
short_description: Finishes or discards a release, prunes old ones and gives the lock back
version_added: "0.1.0"
description:
  - C(finished) and C(rolled_back) end the former release gracefully and write the record;
    a release that was rolled back from is marked, and old ones are pruned.
  - C(failed) stops what the candidate runs and deletes it, once its visitors have their answers if it had any; the live release
    is never touched, nor is a canary. Of that, only other processes than the web server end, which have no work beside those
    of the live release.
  - C(candidate) leaves the release as a canary. C(aborted) ends one that was, gracefully, and deletes it.
  - C(restored) deletes snapshots beyond C(keep_releases) of the app; no release has changed.
  - Always writes one line to C(history.jsonl) of the app, of which the newest 1000 are kept, and gives the lock back, last of all.
options:
  release:
    description: Id of the release; empty when the run failed before there was one.
    type: str
    default: ""
  result:
    description: How it went.
    type: str
    choices: [finished, failed, rolled_back, restored, unchanged, candidate, aborted]
    required: true
  former:
    description: The release that was live before.
    type: str
    default: ""
  former_workers:
    description:
      - Process ids of nginx's workers from before the last switch, as M(flaskhost.stack.release_serve) returned them.
      - The former release ends when they are gone, or after the C(drain) of the app. Then what is still connected is cut off.
    type: list
    elements: int
    default: []
  seconds:
    description: How long each step took so far, by its name.
    type: dict
    default: {}
  who:
    description: Who deploys.
    type: str
    default: ""
  failure:
    description: With C(failed), the error; its step and first line go into the history.
    type: str
    default: ""
  keep_candidate:
    description: With C(failed), leaves the release directory (it was finished once, as in a rollback).
    type: bool
    default: false
extends_documentation_fragment: [flaskhost.stack.release_step]
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Changes nothing.}
"""

EXAMPLES = r"""
- name: Finish
  flaskhost.stack.release_end:
    app: "{{ app }}"
    release: "{{ source.release }}"
    token: "{{ begin.token }}"
    result: finished
"""

RETURN = r"""
pruned:
  description: Releases and virtual environments that were deleted.
  returned: success
  type: list
  elements: str
seconds:
  description: How long each step took on the host, by its name; those that were given, and those of this call.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils import _history, _release_lock
from ansible_collections.flaskhost.stack.plugins.module_utils._drain import LAST_WORDS, let_finish
from ansible_collections.flaskhost.stack.plugins.module_utils._fileset import FilesetError
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError, read_json, utc_now
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import Steps
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import (
    SupervisordError,
    app_groups,
    release_of,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._tidy import (
    end_all_but,
    in_service,
    prune,
    remove_unfinished,
    stop_groups,
)

RESULTS = ["finished", "failed", "rolled_back", "restored", "unchanged", "candidate", "aborted"]


def retire(app: App, release: str, former: str, former_workers: list[int]) -> None:
    """End everything of the app but its live release, gracefully."""
    grace = None
    if former and former != release:
        grace = let_finish(app, former, former_workers)
    end_all_but(app, release, grace)


def finish(app: App, release: str, former: str, result: str, seconds: dict[str, float], now: str) -> None:
    """Write into the records how it went."""
    # where a rollback of this release goes; going back to a release does not change where that came from
    # and the steps of its own deploy stay told; those of the rollback are in the history
    changes = {"former": former, "finished": now, "seconds": seconds} if result == "finished" else {}
    app.write_record(release, state="finished", **changes)
    # only what was left for an older one is bad; a named newer one is a way forward
    if result == "rolled_back" and former > release:
        app.write_record(former, state="rolled_back")


def discard(app: App, release: str, keep_directory: bool, grace: float = LAST_WORDS) -> list[str]:
    """Stop and delete a candidate that never went live.

    :param grace: seconds after which its web processes are killed.
    """
    if not release or release in in_service(app):
        workers = f"{app.name}@{release}+workers"
        idle = [workers] if release not in ("", app.live()) and workers in app_groups(app.name) else []
        if idle:
            stop_groups(idle)
        return idle
    groups = [group for group in app_groups(app.name) if release_of(group) == release]
    if groups:
        # it has no visitors, or those had their time
        stop_groups(groups, grace)
    if keep_directory:
        return groups
    app.remove(release)
    return [*groups, release]


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "dict", "required": True},
            "release": {"type": "str", "default": ""},
            "token": {"type": "str", "required": True, "no_log": False},
            "result": {"type": "str", "choices": RESULTS, "required": True},
            "former": {"type": "str", "default": ""},
            "former_workers": {"type": "list", "elements": "int", "default": []},
            "seconds": {"type": "dict", "default": {}},
            "who": {"type": "str", "default": ""},
            "failure": {"type": "str", "default": ""},
            "keep_candidate": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    app = App(params["app"])
    release, result, former = params["release"], params["result"], params["former"]
    if module.check_mode:
        module.exit_json(changed=False, pruned=[])
    if not _release_lock.still_mine(app.paths["lock"], params["token"]):
        # what a failed run left is the business of the run that took over
        if result == "failed":
            module.exit_json(changed=False, pruned=[])
        module.fail_json(msg=f"finish: the lock of {app.name} was taken over by another run")
    pruned: list[str] = []
    now = utc_now()
    lock = read_json(app.paths["lock"])
    steps = Steps(app, params["token"])
    try:
        if result in ("finished", "rolled_back"):
            with steps.step("retire"):
                retire(app, release, former, params["former_workers"])
            with steps.step("finish"):
                finish(app, release, former, result, {**params["seconds"], **steps.seconds}, now)
            with steps.step("prune"):
                pruned = remove_unfinished(app, release)
                pruned += prune(app, release, params["app"]["keep_releases"])
        elif result == "restored":
            with steps.step("prune"):
                pruned = prune(app, app.live(), params["app"]["keep_releases"])
        elif result == "aborted":
            with steps.step("retire"):
                grace = let_finish(app, release, params["former_workers"])
                pruned = discard(app, release, False, grace)
            with steps.step("prune"):
                pruned += prune(app, app.live(), params["app"]["keep_releases"])
        elif result == "failed":
            workers = params["former_workers"]
            grace = let_finish(app, release, workers) if workers else LAST_WORDS
            pruned = discard(app, release, params["keep_candidate"], grace)
            pruned += prune(app, app.live(), params["app"]["keep_releases"])
    except (FilesetError, ReleaseError, SupervisordError, OSError) as error:
        # the lock stays: the next run on this control node finds it, and tidies up first
        module.fail_json(msg=str(error) if isinstance(error, ReleaseError) else f"finish: {error}")
    seconds = {**params["seconds"], **steps.seconds}
    if result != "unchanged":
        line = {"release": release, "result": result, "former": former, "who": params["who"], "when": now}
        line |= {"purpose": lock.get("purpose", ""), "seconds": seconds}
        canary = app.canary()
        if canary and result == "candidate":
            line["share"] = canary.share
        if result == "failed":
            line |= _history.failure(params["failure"], str(lock.get("step", "")))
        try:
            _history.add(app, line)
        except OSError as error:
            # a full disk, perhaps the reason of all this; the lock is given back all the same
            module.warn(f"{_history.history_file(app)} cannot be written: {error}")
    app.announce("")
    _release_lock.release(app.paths["lock"], params["token"])
    module.exit_json(changed=result != "unchanged", pruned=pruned, seconds=seconds)


if __name__ == "__main__":
    main()
