#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a release, prove that it is healthy, give it the traffic, and prove that it serves."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_serve
short_description: Starts a release beside the live one, and gives it the traffic once it is healthy
version_added: "0.1.0"
description:
  - Writes the release's supervisor group, starts just that, and asks the health path over the release's own socket until
    three answers in a row have the expected status and name this release, or the time is over, or the process has died.
    Then all its workers must be there, and stay.
  - The release's other processes start once the web process is healthy, and have to stay up for a moment. With O(share), those of
    the live release do the work, and these do not start.
  - Then rewrites the upstream file of the app, has nginx check and gracefully reload it, and asks through nginx, as a visitor
    would, until three answers in a row come from this release.
  - With O(share), the former release stays live, and this one is a canary beside it, which gets that share of the visitors.
    Through nginx, both are asked then, each by the cookie that chooses it.
  - With O(watch), the access log is watched then. Where a release fails too much, the former one gets all visitors back, as if it
    had not served. A canary gets all of them at the end of a good watch, and stays one where there were too few requests.
  - A release that is not healthy is stopped again, and its group removed. One that does not serve loses the traffic again; the
    former upstream file is put back and loaded.
  - An app with a port of its own has no nginx in front. Its releases listen on the port side by side for a moment; which one may is in a
    file that this module writes and the app's workers look at.
  - Once all visitors have it and nobody is on the way to the former one any more, that is told to end. It is not waited for here.
  - All in one call on the host, so that a lost connection to the control node cannot leave it half done.
options:
  release:
    description: Id of the release.
    type: str
    required: true
  former:
    description: Id of the release that has the traffic now; empty when there is none.
    type: str
    default: ""
  previous:
    description: Id of the release whose static files are served too. Empty means O(former).
    type: str
    default: ""
  share:
    description: Percentage of the visitors that the release gets as a canary, as a text. Empty means all, without a canary.
    type: str
    default: ""
  preview:
    description: What a visitor's cookie says to get the canary. Empty means a new random one.
    type: str
    default: ""
  steady:
    description:
      - Seconds from its first answer on that the release and all its workers must stay up before it gets the traffic.
      - Without a former release nobody loses anything by it, and it is not waited.
    type: float
    default: 0
  watch:
    description: How long and how strictly to watch the release after the switch. Without it, or with no seconds, it is not watched.
    type: dict
    suboptions:
      seconds:
        description: How long.
        type: int
        required: true
      limit:
        description:
          - Percent points that its error ratio may be above that of the former release. An error is a status from 500 on; no answer at
            all is one as well.
        type: float
        required: true
      requests:
        description: Requests that the release must have had before anything is said of it.
        type: int
        required: true
  phase:
    description:
      - C(prepare) ends once the release and its other processes have been started and probed; nobody gets it yet.
      - C(switch) goes on from there. The former release is not told to end, so that it can have its visitors back at once.
      - C(all) is both. Several hosts are prepared together, and switched only if all of them could be.
    type: str
    choices: [all, prepare, switch]
    default: all
  program:
    description:
      - Template of the group's file below the role's templates.
      - Without it, the release has been started before. It goes on as it is, whatever the inventory says by now.
    type: str
  workers:
    description: Template of the file of the group of the release's other processes. Without it, it has none.
    type: str
  upstream:
    description: Template of the upstream file below the role's templates.
    type: str
    required: true
  files:
    description: Files that the release needs before it starts, as in M(flaskhost.stack.fileset).
    type: list
    elements: dict
    default: []
extends_documentation_fragment: [flaskhost.stack.release_step]
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: none, description: Belongs to a release that is not there in check mode.}
"""

EXAMPLES = r"""
- name: Serve
  flaskhost.stack.release_serve:
    app: "{{ app }}"
    release: "{{ source.release }}"
    token: "{{ begin.token }}"
    former: "{{ begin.live }}"
    program: etc/supervisor/conf.d/web.conf.j2
    upstream: etc/nginx/flaskhost/upstreams/app.conf.j2
"""

RETURN = r"""
switched:
  description: Whether the release has its visitors now; not yet after O(phase=prepare).
  returned: success
  type: bool
canary:
  description: Whether the release is a canary now.
  returned: success
  type: bool
seen:
  description: In words, what became of the requests while they were watched; empty when they were not.
  returned: success
  type: str
preview:
  description: What a visitor's cookie says to get the canary.
  returned: success
  type: str
former_workers:
  description: Process ids of nginx's workers from before the last reload; they may still hold requests for the former release.
  returned: success
  type: list
  elements: int
seconds:
  description: How long each step took on the host, by its name.
  returned: always
  type: dict
"""

import contextlib
import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils import _strays
from ansible_collections.flaskhost.stack.plugins.module_utils._drain import deserted, workers_of_web
from ansible_collections.flaskhost.stack.plugins.module_utils._fileset import apply_fileset
from ansible_collections.flaskhost.stack.plugins.module_utils._health import complaint, died_early
from ansible_collections.flaskhost.stack.plugins.module_utils._priority import giving_way
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError
from ansible_collections.flaskhost.stack.plugins.module_utils._steady import Workers
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import Steps
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import (
    Supervisord,
    SupervisordError,
    app_groups,
    group_file,
    release_of,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._tidy import stop_groups
from ansible_collections.flaskhost.stack.plugins.module_utils._traffic import serve

# seconds that a candidate gets to end: it has no visitors whom it would have to answer
_GRACE = 2.0
# part of the time that it has to answer in which it gives way to visitors
_GIVES_WAY = 1 / 3
# seconds in which a worker that cannot start shows that
WORKERS_WATCHED = 1.5


def boot(app: App, release: str, payload: dict[str, Any], steady: float, steps: Steps) -> None:
    """Start a release and ask it over its own socket.

    :param steady: seconds that its processes have to stay once it has answered.
    :raises ReleaseError: it does not start or is not healthy; then nothing of it runs any more.
    """
    group, program = f"{app.name}@{release}", payload["program"]
    own = {"path": group_file(group), "content": program, "mode": "0600", "secret": True}
    workers = Workers(app, release)

    def processes() -> list[int]:
        with contextlib.suppress(SupervisordError):
            return Supervisord().process_ids(group)
        return []

    try:
        with steps.step("boot"):
            apply_fileset([*payload["files"], *([own] if program else [])], [])
            if program:
                workers.expect()
            Supervisord().start(group)
        # visitors of the live release must not wait because the candidate starts
        patience = app.app["healthcheck"]["timeout"] * _GIVES_WAY
        way = giving_way(processes, patience) if program else contextlib.nullcontext()
        with steps.step("probe"), way:
            why = complaint(app, release, through_web=False)
            # what ran before has visitors, and has shown that it stays
            if program:
                why = why or workers.complaint(steady, app.app["healthcheck"]["timeout"])
                if why:
                    stop_groups([group], grace=_GRACE)
                    _strays.end(app.user, release)
            if why:
                raise ReleaseError(f"probe: {why}")
    finally:
        workers.forget()


def start_workers(app: App, release: str, content: str | None, steps: Steps) -> None:
    """Start the other processes of a release, before all visitors get it.

    :param content: the file of their group; none where it has no other processes.
    :raises ReleaseError: one of them died at once.
    """
    if not content:
        return
    group = f"{app.name}@{release}+workers"
    with steps.step("probe"):
        apply_fileset([{"path": group_file(group), "content": content, "mode": "0600", "secret": True}], [])
        Supervisord().start(group)
        why = died_early(app, release, group, WORKERS_WATCHED)
        if why:
            raise ReleaseError(f"probe: a worker process does not stay up: {why}")


def hands_over(path: str = "/proc/sys/net/ipv4/tcp_migrate_req") -> bool:
    """Whether the kernel gives those who wait at a port that is closed to whoever listens there beside it; since Linux 5.14."""
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read().strip() == "1"
    except OSError:
        return False


def tell_to_end(app: App, former: str, former_workers: list[int]) -> None:
    """Tell a release that has no visitors any more to end, so that it has done so by the time of `retire`.

    Its files stay: that step takes them away, waits, and does all of this itself where this was too early or failed.
    """
    with contextlib.suppress(SupervisordError, OSError):
        if deserted(app, former, former_workers):
            daemon = Supervisord()
            for group in app_groups(app.name):
                if release_of(group) == former:
                    daemon.tell_to_stop(group)


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "dict", "required": True},
            "release": {"type": "str", "required": True},
            "token": {"type": "str", "required": True, "no_log": False},
            "former": {"type": "str", "default": ""},
            "share": {"type": "str", "default": ""},
            "preview": {"type": "str", "default": ""},
            "steady": {"type": "float", "default": 0.0},
            "phase": {"type": "str", "choices": ["all", "prepare", "switch"], "default": "all"},
            "watch": {
                "type": "dict",
                "options": {
                    "seconds": {"type": "int", "required": True},
                    "limit": {"type": "float", "required": True},
                    "requests": {"type": "int", "required": True},
                },
            },
            # rendered by the action plugin: files, program, workers, upstream, back, whole
            "payload": {"type": "str", "required": True, "no_log": True},
        },
    )
    app = App(module.params["app"])
    params = {**module.params, "payload": json.loads(module.params["payload"])}
    if params["watch"] and not params["watch"]["seconds"]:
        params["watch"] = None
    steps, phase = Steps(app, params["token"]), params["phase"]
    if phase == "switch":
        # as it was prepared
        params["payload"] |= {"files": [], "program": None}

    def before_all() -> None:
        if phase != "switch":
            start_workers(app, params["release"], params["payload"]["workers"], steps)

    try:
        boot(app, params["release"], params["payload"], params["steady"] if params["former"] else 0.0, steps)
        try:
            if phase == "prepare":
                if not params["share"]:
                    before_all()
                told: dict[str, Any] = {"canary": False, "seen": "", "former_workers": workers_of_web(app)}
            else:
                told = serve(app, params, steps, before_all)
        except ReleaseError:
            # the web process ends with the candidate; that of a canary, which was there before, goes on
            with contextlib.suppress(SupervisordError, OSError):
                stop_groups([f"{app.name}@{params['release']}+workers"] if params["payload"]["workers"] else [])
            raise
    except (ReleaseError, SupervisordError) as error:
        module.fail_json(msg=str(error), seconds=steps.seconds)
    if app.port and not hands_over():
        module.warn(
            "This kernel does not hand over connections that wait at a port when a release ends (net.ipv4.tcp_migrate_req); a visitor "
            "in a thousand may lose one."
        )
    if phase == "all" and not told["canary"] and params["former"] not in ("", params["release"]):
        tell_to_end(app, params["former"], told["former_workers"])
    told |= {"switched": phase != "prepare", "preview": params["preview"], "seconds": steps.seconds}
    module.exit_json(changed=True, **told)


if __name__ == "__main__":
    main()
