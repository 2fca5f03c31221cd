#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a set of files, directories and links into place, all or nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fileset
short_description: Brings a whole set of files into place in one call, all or nothing
version_added: "0.1.0"
description:
  - Renders templates on the control node and writes every file, directory and link of the set in one call,
    where C(template), C(file) and C(copy) need one or more each.
  - With O(validate), the new files are checked in place; if the check fails, every file is put back as it was.
  - With O(units), the services that read them run with them afterwards, in the same call.
options:
  files:
    description: The set, in the order in which it is written.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path on the host.
        type: path
        required: true
      state:
        description: What the path is to be.
        type: str
        choices: [file, directory, link, absent]
        default: file
      template:
        description:
          - A file below the role's C(templates) folder.
          - C(<flaskhost_templates_dir>/<role>/<template>) replaces it; there C({% extends "<template>" %}) is the role's own.
        type: str
      content:
        description: The text itself, in place of O(files[].template).
        type: str
      vars:
        description: Extra variables of this template.
        type: dict
      each:
        description: Makes one entry per element; C({key}) in path, template, target, owner, group and apart is filled in, C(item) is a template variable.
        type: list
        elements: dict
      target:
        description: What a link points to.
        type: str
      owner:
        description: Owner.
        type: str
        default: root
      group:
        description: Group.
        type: str
        default: root
      mode:
        description: Octal mode, quoted. Needed for files and directories.
        type: str
      secret:
        description: Keeps the content out of the diff.
        type: bool
        default: false
      keep:
        description: Leaves a file that is there already as it is.
        type: bool
        default: false
      apart:
        description:
          - Files with the same text here stand or fall by themselves. If O(validate) refuses the set with them, but not without them, they are
            put back, all others stay and count, and the module fails in the end, naming them.
        type: str
  purge:
    description: Directories whose files match C(pattern) and are not in the set lose them.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The directory.
        type: path
        required: true
      pattern:
        description: Shell pattern of file names.
        type: str
        default: "*"
  validate:
    description: Command that is run with the new files in place, without a shell; not run when nothing changes.
    type: str
  apply:
    description:
      - Command that makes the new files count, such as a reload; run without a shell after O(validate), when something changed.
      - When it fails, the files are put back, and it is the caller's to make the former ones count again.
    type: str
  units:
    description:
      - Systemd units that are unmasked, enabled and running once the files are in place, and run with the configuration that lies there.
      - Where a handler forgets what a killed run had still to reload, this compares what the unit loaded with what is on disk.
        After a load it notes a fingerprint of C(config) below C(/run/flaskhost/units); without a note, the files' times are
        compared with the start of the unit.
    type: list
    elements: dict
    default: []
    suboptions:
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
        description: Directories below C(config) that somebody else loads, and that do not count here.
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
  guard:
    description:
      - Goes back to the former state unless somebody confirms the new one in time; armed before the first file is changed, and only
        if one is.
      - Takes the options of M(flaskhost.stack.guard).
    type: dict
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Says what would change.}
  diff_mode: {support: full, description: Shows each file that is not secret.}
"""

EXAMPLES = r"""
- name: Write all sites, remove what left the inventory, keep the old ones if nginx does not like the new
  flaskhost.stack.fileset:
    files:
      - path: /etc/nginx/flaskhost/sites/{name}.conf
        template: etc/nginx/flaskhost/sites/site.conf.j2
        each: "{{ nginx_sites }}"
        mode: "0644"
    purge:
      - {path: /etc/nginx/flaskhost/sites, pattern: "*.conf"}
    validate: nginx -t
    units: [{name: nginx, config: [/etc/nginx]}]
"""

RETURN = r"""
paths:
  description: The paths that were changed, created or removed.
  returned: always
  type: list
  elements: str
units:
  description: What was done with units, such as C(reload nginx).
  returned: always
  type: list
  elements: str
seconds:
  description: How long it took on the host.
  returned: always
  type: float
ansible_facts:
  description: C(flaskhost_guard), if O(guard) armed something.
  returned: when something was armed
  type: dict
"""

import json
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils._fileset import Change, FilesetError, apply_fileset
from ansible_collections.flaskhost.stack.plugins.module_utils._guard import OPTIONS, Guard, GuardError
from ansible_collections.flaskhost.stack.plugins.module_utils._revert import call
from ansible_collections.flaskhost.stack.plugins.module_utils._unit import Unit, UnitError


def main() -> None:
    """Entry point of the module."""
    unit = {
        "name": {"type": "str", "required": True},
        "config": {"type": "list", "elements": "path", "default": []},
        "exclude": {"type": "list", "elements": "path", "default": []},
        "on_change": {"type": "str", "choices": ["reload", "restart"], "default": "reload"},
        "validate": {"type": "str"},
    }
    module = AnsibleModule(
        argument_spec={
            # one opaque string: contents can be secret and must reach neither the log nor the output
            "payload": {"type": "str", "required": True, "no_log": True},
            "validate": {"type": "str"},
            "apply": {"type": "str"},
            "units": {"type": "list", "elements": "dict", "default": [], "options": unit},
            "guard": {"type": "dict", "options": OPTIONS},
        },
        supports_check_mode=True,
    )
    started = time.monotonic()
    payload = json.loads(module.params["payload"])

    def run(command: str) -> tuple[int, str]:
        # a command that is not there must not end the module before the files are back
        code, out, err = module.run_command(command, handle_exceptions=False)
        return code, (out + err).strip()

    guard = Guard(module.params["guard"], call)
    facts = {}

    def arm(changes: list[Change]) -> None:
        facts.update(guard.arm([change.path for change in changes]))

    left_out: dict[str, str] = {}
    try:
        changes = apply_fileset(
            payload["files"],
            payload["purge"],
            commands=[command for command in (module.params["validate"], module.params["apply"]) if command],
            run=run,
            check=module.check_mode,
            before=arm,
            left_out=left_out,
        )
        done = [
            f"{verb} {one['name']}"
            for one in module.params["units"]
            for verb in Unit(one, module.run_command).converge(module.check_mode)
        ]
    except (FilesetError, UnitError, GuardError) as error:
        if "NOT back" not in str(error) and isinstance(error, FilesetError):
            guard.disarm()
        module.fail_json(msg=str(error))
    if left_out:
        said = "\n".join(f"{name}: {output}" for name, output in left_out.items())
        module.fail_json(
            msg=f"`{module.params['validate']}` refuses the files of {', '.join(left_out)}; they are as they were, all others are in place:\n{said}",
            units=done,
            paths=[change.path for change in changes],
        )
    module.exit_json(
        changed=bool(changes or done),
        units=done,
        paths=[change.path for change in changes],
        seconds=round(time.monotonic() - started, 2),
        diff=[change.diff() for change in changes],
        **({"ansible_facts": facts} if facts else {}),
    )


if __name__ == "__main__":
    main()
