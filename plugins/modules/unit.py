#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""A systemd unit that is enabled, runs, and runs with the configuration that lies there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: unit
short_description: Has a systemd unit enabled, running, and running with the configuration that lies there
version_added: "0.1.0"
description:
  - Where a handler forgets what a killed run had still to reload, this compares what the unit loaded with what is on disk.
  - After a load it notes a fingerprint of O(config) below C(/run/flaskhost/units); without a note, the files' times
    are compared with the start of the unit.
options:
  name:
    description: The unit.
    type: str
    required: true
  config:
    description: Files and directories that the unit reads; directories count with all that is in them.
    type: list
    elements: path
    default: []
  exclude:
    description: Directories below O(config) that somebody else loads, and that do not count here.
    type: list
    elements: path
    default: []
  on_change:
    description: How a changed configuration is loaded.
    type: str
    choices: [reload, restart]
    default: reload
  validate:
    description: Command that must succeed before the configuration is loaded, without a shell.
    type: str
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Says what would be done.}
"""

EXAMPLES = r"""
- name: Have nginx serve what is configured
  flaskhost.stack.unit:
    name: nginx
    config: [/etc/nginx, /etc/ssl/flaskhost]
    validate: nginx -t
"""

RETURN = r"""
done:
  description: What was done.
  returned: always
  type: list
  elements: str
"""

import hashlib
import os
import time

from ansible.module_utils.basic import AnsibleModule

STAMPS = "/run/flaskhost/units"


def config_files(paths: list[str], exclude: list[str]) -> tuple[list[str], list[str]]:
    """All directories and all files at and below the paths, each sorted; links are no directories."""
    folders: list[str] = []
    files: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            for top, below, names in os.walk(path):
                below[:] = sorted(name for name in below if os.path.join(top, name) not in exclude)
                folders.append(top)
                files += [os.path.join(top, name) for name in sorted(names)]
        elif os.path.exists(path):
            files.append(path)
    return folders, files


def fingerprint(paths: list[str], exclude: list[str]) -> tuple[str, float]:
    """A hash of names and contents, and the newest time of change.

    That is ctime, so that an old file that was moved in counts as new; a directory's tells of what was removed.
    """
    digest = hashlib.sha256()
    folders, files = config_files(paths, exclude)
    newest = max((os.stat(folder).st_ctime for folder in folders), default=0.0)
    for path in files:
        # what a link names is what is read; a pipe would keep us waiting
        if not os.path.isfile(path):
            continue
        try:
            with open(path, "rb") as stream:
                content = stream.read()
            newest = max(newest, os.stat(path).st_ctime)
        except OSError:
            # gone between the two looks
            continue
        digest.update(f"{path}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content)
    return digest.hexdigest(), newest


def started_at(properties: dict[str, str]) -> float:
    """When the unit became active, as a time of day; from the monotonic clock, which no time zone touches."""
    since_boot = int(properties.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    return time.time() - time.monotonic() + since_boot if since_boot else 0.0


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "config": {"type": "list", "elements": "path", "default": []},
            "exclude": {"type": "list", "elements": "path", "default": []},
            "on_change": {"type": "str", "choices": ["reload", "restart"], "default": "reload"},
            "validate": {"type": "str"},
        },
        supports_check_mode=True,
    )
    params = module.params
    name = params["name"]
    done: list[str] = []

    def systemctl(*words: str) -> str:
        code, out, err = module.run_command(["systemctl", *words])
        if code:
            reason = module.run_command(["journalctl", "-u", name, "-n", "20", "--no-pager", "-o", "cat"])[1]
            module.fail_json(msg=f"systemctl {' '.join(words)} ended with {code}: {(out + err).strip()}\n{reason}")
        return str(out)

    wanted = "LoadState,ActiveState,UnitFileState,NeedDaemonReload,ActiveEnterTimestampMonotonic"
    properties = dict(
        line.split("=", 1) for line in systemctl("show", name, "--property", wanted).splitlines() if "=" in line
    )
    if properties.get("LoadState") == "not-found":
        if module.check_mode:
            module.exit_json(changed=True, done=["start"])
        module.fail_json(msg=f"there is no unit {name} on this host")
    mark, newest = fingerprint(params["config"], params["exclude"])
    stamp = os.path.join(STAMPS, name)
    try:
        with open(stamp, encoding="utf-8") as stream:
            loaded = stream.read().strip()
    except OSError:
        loaded = mark if newest <= started_at(properties) else ""
    active = properties.get("ActiveState") in ("active", "reloading")
    if properties.get("UnitFileState") not in ("enabled", "static", "indirect", "alias", "generated"):
        done.append("enable")
    if not active:
        done.append("start")
    elif params["config"] and loaded != mark:
        done.append(params["on_change"])
    if not module.check_mode:
        if properties.get("NeedDaemonReload") == "yes":
            systemctl("daemon-reload")
        if params["validate"] and ("start" in done or params["on_change"] in done):
            code, out, err = module.run_command(params["validate"])
            if code:
                module.fail_json(msg=f"`{params['validate']}` ended with {code}; {name} is left as it is:\n{out}{err}")
        for verb in done:
            systemctl(verb, name)
        if params["config"] and (done or not os.path.exists(stamp)):
            os.makedirs(STAMPS, exist_ok=True)
            with open(stamp, "w", encoding="utf-8") as stream:
                stream.write(mark + "\n")
    module.exit_json(changed=bool(done), done=done)


if __name__ == "__main__":
    main()
