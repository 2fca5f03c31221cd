#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the code of a release onto the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_source
short_description: Fetches the code of an app into a new release directory
version_added: "0.1.0"
description:
  - From git, it updates a bare mirror on the host, so that only new objects travel, and resolves the version to one commit.
  - From a local tree, it packs the tree on the control node and sends it along.
  - Makes the directory C(releases/<stamp>-<first 7 of the commit>), owned by the app's user, with its RELEASE.json.
  - Takes away what the tree has at the places of C(shared). A file becomes the shared one if there is none yet.
  - Does nothing when that commit is live and running already with the same configuration.
options:
  version:
    description: Branch, tag or commit; the app's configured version when empty.
    type: str
    default: ""
  stamp:
    description: UTC time of the control node as C(YYYYMMDDTHHMMSSZ), the first part of the id.
    type: str
    required: true
  config:
    description: Hash of the app's configuration; another one makes a new release of the same commit.
    type: str
    required: true
  who:
    description: Who deploys, for the history.
    type: str
    default: ""
  canary:
    description:
      - Whether the release is to be a canary. One of this commit and configuration that is there already is not made again;
        beside any other, none is made.
    type: bool
    default: false
  commit:
    description:
      - The commit that was decided on, for all hosts. A mirror that has it asks nobody. Empty means that O(version) decides.
      - Of a local tree, what is packed has to be this.
    type: str
    default: ""
  release:
    description: The id for a release of O(commit), where the host has none of that name; else it is made from O(stamp).
    type: str
    default: ""
  decide:
    description: Only say which commit that is, and which id a release of it gets.
    type: bool
    default: false
  ids:
    description: Ids of releases that other hosts have, by their commit. With O(decide), the one of the commit is taken.
    type: dict
    default: {}
  reuse_commit:
    description: Takes the live release's commit and code again, so that a changed configuration brings no new code.
    type: bool
    default: false
  deploy_key:
    description: Private ssh key for the repository; written nowhere but a file that only the app's user reads, for the time of the fetch.
    type: str
extends_documentation_fragment: [flaskhost.stack.release_step]
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Says whether there would be a new release; asks git, writes nothing.}
"""

EXAMPLES = r"""
- name: Fetch
  flaskhost.stack.release_source:
    app: "{{ app }}"
    version: v1.2.0
    stamp: "{{ now(utc=true, fmt='%Y%m%dT%H%M%SZ') }}"
    token: "{{ begin.token }}"
    config: "{{ config }}"
  register: source
"""

RETURN = r"""
release:
  description: Id of the new release, or of the live one when nothing is new.
  returned: success
  type: str
commit:
  description: The commit, or the hash of a local tree.
  returned: success
  type: str
new:
  description: Whether a release directory was made.
  returned: success
  type: bool
due:
  description: Whether there is anything to serve, a new release or a canary that was there already.
  returned: success
  type: bool
stamp:
  description: O(stamp), for the other hosts.
  returned: with O(decide)
  type: str
seconds:
  description: How long each step took on the host, by its name.
  returned: always
  type: dict
"""

import base64
import contextlib
import io
import os
import pwd
import tarfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils import _git
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import UNFINISHED, App, ReleaseError, utc_now
from ansible_collections.flaskhost.stack.plugins.module_utils._run import run_as, tail
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import Steps
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import (
    Supervisord,
    SupervisordError,
    group_file,
)


def unpack(app: App, archive: bytes, target: str) -> None:
    """Unpack as the app's user: nothing in an archive may reach beyond the release."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as probe:
        for member in probe:
            if member.name.startswith("/") or ".." in member.name.split("/"):
                raise ReleaseError(f"fetch: the archive holds {member.name}, which leads out of the release")
    code, output = run_as(app.user, ["tar", "-xzf", "-", "-C", target], cwd=target, timeout=600, stdin=archive)
    if code:
        raise ReleaseError(f"fetch: unpacking ended with {code}:\n{tail(output)}")


def runs(group: str) -> bool:
    """Whether supervisord runs a group, by a file that brings it back after a boot."""
    try:
        states = [info["statename"] for info in Supervisord().processes(group)]
    except SupervisordError:
        return False
    return os.path.exists(group_file(group)) and bool(states) and set(states) <= {"RUNNING", "STARTING"}


def make_way(app: App, target: str) -> None:
    """Put links to ``shared`` in place of what the tree has there.

    A file of the tree becomes the shared one where there is none yet. Done as the app's user, whom a link in the tree
    leads nowhere new.
    """
    shared = app.app.get("shared") or {}
    script = (
        'set -e; cd "$1"; shared=$2; files=$3; shift 3; for place in "$@"; do mkdir -p "$(dirname "./$place")"; '
        'if [ "$files" -gt 0 ]; then files=$((files - 1)); if [ -f "./$place" ] && [ ! -L "./$place" ] && '
        '[ ! -e "$shared/$place" ]; then mkdir -p "$(dirname "$shared/$place")"; cp "./$place" "$shared/$place"; fi; fi; '
        'rm -rf "./$place"; ln -s "$shared/$place" "./$place"; done'
    )
    files, dirs = shared.get("files") or [], shared.get("dirs") or []
    if not files + dirs:
        return
    command = ["/bin/sh", "-c", script, "make-way", target, app.paths["shared"], str(len(files)), *files, *dirs]
    code, output = run_as(app.user, command, cwd=target, timeout=600)
    if code:
        raise ReleaseError(f"share: making way for {', '.join(files + dirs)} ended with {code}:\n{tail(output)}")


def require_same(app: App, canary: str, commit: str, config: str) -> None:
    """Refuse to go on with a canary that is made of something else.

    :raises ReleaseError: with what differs, and what to do.
    """
    record = app.record(canary)
    other = (
        f"of commit {str(record.get('commit'))[:12]}, and this is {commit[:12]}"
        if record.get("commit") != commit
        else "of another configuration than the inventory has now"
        if record.get("config") != config
        else ""
    )
    if other:
        raise ReleaseError(
            f"fetch: the canary {canary} of {app.name} is {other}. First end it: "
            f"`ansible-playbook abort.yml -e flask_app={app.name}` removes it, promote.yml makes it live."
        )


def archive_of(params: dict[str, Any]) -> bytes:
    """The archive that the control node sent, inside of the call or as a file."""
    if params["archive_file"]:
        with open(str(params["archive_file"]), "rb") as stream:
            return stream.read()
    return base64.b64decode(str(params["archive"] or ""))


def commit_of(app: App, live: str, params: dict[str, Any], check: bool) -> str:
    """The commit to release; empty when it is not known in check mode."""
    source = app.app["source"]
    if params["reuse_commit"] and live:
        return str(app.record(live)["commit"])
    if source["kind"] == "path":
        return str(params["commit"])
    if check and not os.path.isdir(app.paths["repo"]):
        return ""
    if params["commit"]:
        return _git.bring(app, params["commit"], params["deploy_key"] or "", fetch=not check)
    version = params["version"] or source.get("version") or ""
    return _git.resolve(app, version, params["deploy_key"] or "", fetch=not check)


def name_of(app: App, commit: str, params: dict[str, Any]) -> str:
    """The id of a new release: the one that the other hosts have of this commit, unless it is taken here."""
    wanted = str(params["release"]) if commit == params["commit"] else ""
    if wanted and not os.path.exists(app.release_dir(wanted)):
        return wanted
    return f"{params['stamp']}-{commit[:7]}" if commit else ""


def is_live(app: App, live: str, commit: str, config: str) -> bool:
    """Whether there is nothing to do: this commit serves already, with this configuration."""
    before = app.record(live) if live else {}
    if not live or before.get("commit") != commit or before.get("config") != config:
        return False
    # a live release that was never finished is made anew: nobody knows how far its deploy came. Nor does the code of an
    # app count that came back to the inventory, or that has died: it is started as any other
    return app.finished(live) and app.served() == live and runs(f"{app.name}@{live}")


def fill(app: App, live: str, release: str, commit: str, params: dict[str, Any]) -> None:
    """Put the code into the directory of a new release."""
    source, target = app.app["source"], app.release_dir(release)
    with open(os.path.join(target, UNFINISHED), "w", encoding="utf-8"):
        pass
    # the web server, whose group the directory of the sockets has, may read a release; other apps may not
    os.chown(target, pwd.getpwnam(app.user).pw_uid, os.stat(app.paths["run"]).st_gid)
    if source["kind"] == "path" and params["reuse_commit"] and live:
        _copy(app, live, target)
    elif source["kind"] == "path":
        unpack(app, archive_of(params), target)
    else:
        _git.export(app, commit, source.get("subdir") or "", target)


def record(app: App, commit: str, params: dict[str, Any]) -> dict[str, Any]:
    """RELEASE.json of a release that begins."""
    configured = app.app["source"].get("version") or ""
    return {
        "app": app.name,
        "commit": commit,
        "version": params["version"] or configured,
        "config": params["config"],
        "configured": configured,
        "who": params["who"],
        "when": utc_now(),
        "state": "building",
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "dict", "required": True},
            "version": {"type": "str", "default": ""},
            "stamp": {"type": "str", "required": True},
            "token": {"type": "str", "required": True, "no_log": False},
            "config": {"type": "str", "required": True},
            "who": {"type": "str", "default": ""},
            "canary": {"type": "bool", "default": False},
            "reuse_commit": {"type": "bool", "default": False},
            "deploy_key": {"type": "str", "no_log": True},
            # of a local tree, the action plugin knows it
            "commit": {"type": "str", "default": ""},
            "release": {"type": "str", "default": ""},
            "decide": {"type": "bool", "default": False},
            "ids": {"type": "dict", "default": {}},
            # from the action plugin
            "archive": {"type": "str", "no_log": True},
            "archive_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    app = App(params["app"])
    steps = Steps(app, params["token"])
    live = app.live() if os.path.isdir(app.paths["root"]) else ""
    made = ""
    try:
        with contextlib.nullcontext() if module.check_mode else steps.step("fetch"):
            commit = commit_of(app, live, params, module.check_mode)
            if params["decide"]:
                told = {"commit": commit, "release": str(params["ids"].get(commit, "")), "stamp": params["stamp"]}
                module.exit_json(changed=False, **told, seconds=steps.seconds)
            canary = app.canary() if params["canary"] else None
            if canary:
                require_same(app, canary.release, commit, params["config"])
                module.exit_json(
                    changed=False, new=False, due=True, release=canary.release, commit=commit, seconds=steps.seconds
                )
            if is_live(app, live, commit, params["config"]):
                module.exit_json(
                    changed=False, new=False, due=False, release=live, commit=commit, seconds=steps.seconds
                )
            release = name_of(app, commit, params)
            if module.check_mode:
                module.exit_json(changed=True, new=True, due=True, release=release, commit=commit, seconds={})
            os.mkdir(app.release_dir(release), 0o750)
            made = release
            fill(app, live, release, commit, params)
        with steps.step("share"):
            make_way(app, app.release_dir(release))
        app.write_record(release, **record(app, commit, params))
    except (ReleaseError, OSError) as error:
        if made:
            app.remove(made)
        message = str(error) if isinstance(error, ReleaseError) else f"fetch: {error}"
        module.fail_json(msg=message, seconds=steps.seconds)
    module.exit_json(changed=True, new=True, due=True, release=release, commit=commit, seconds=steps.seconds)


def _copy(app: App, live: str, target: str) -> None:
    """The live release's code once more, without what says of the release itself how far it came."""
    own = [f"--exclude=./{name}" for name in ("RELEASE.json", UNFINISHED, ".venv", ".env")]
    script = 'set -e; from=$1; to=$2; shift 2; tar -C "$from" "$@" -cf - . | tar -C "$to" -xf -'
    command = ["/bin/sh", "-c", script, "copy", app.release_dir(live), target, *own]
    code, output = run_as(app.user, command, cwd=app.paths["releases"], timeout=600)
    if code:
        raise ReleaseError(f"fetch: copying {live} ended with {code}:\n{tail(output)}")


if __name__ == "__main__":
    main()
