#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn measures on and off, each with all that belongs to it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: measures
short_description: Turns named measures on and off in one call, and leaves the host as it was when they are off
version_added: "0.2.0"
description:
  - A measure is a set of kernel settings, files, lines in files of others, modes and mount options that serve one purpose.
  - Before anything is changed, what was there is noted in C(/var/lib/flaskhost/measures.json). A measure that is turned off
    gives it back, except what somebody else changed meanwhile.
  - What the kernel refuses is told, and is no failure. In a container most of its settings belong to the machine below.
options:
  measures:
    description: All of them, also those that are off.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What it is called in messages.
        type: str
        required: true
      enabled:
        description: Whether it is on.
        type: bool
        required: true
      sysctl:
        description:
          - Kernel settings, written to C(/etc/sysctl.d/zz-flaskhost.conf) and set now.
          - C(*) stands for C(all), C(default) and every interface there is.
        type: dict
      files:
        description: Files as in M(flaskhost.stack.fileset). What stood there comes back when the measure is off.
        type: list
        elements: dict
      lines:
        description: Lines of files that belong to others; a file that is not there is left alone.
        type: list
        elements: dict
        suboptions:
          path: {description: The file., type: path, required: true}
          match: {description: Regular expression of the line that is replaced., type: str, required: true}
          line: {description: The line itself., type: str, required: true}
          after: {description: "Regular expression of the line that a new one comes behind; else it is the last.", type: str}
      modes:
        description: Octal modes by path, quoted. A path that is not there is left alone.
        type: dict
      mounts:
        description: C(noexec) by mount point of a tmpfs; set now, and in C(/etc/fstab) where the host does not do it by itself.
        type: dict
  validate:
    description: Command that is run with the new files in place, without a shell; if it fails, they are put back.
    type: str
  units:
    description: Systemd units that run with the configuration that lies there, as in M(flaskhost.stack.fileset).
    type: list
    elements: dict
    default: []
  guard:
    description:
      - Goes back to the former files (those of sudo and PAM are among them) unless somebody confirms the new ones in time; armed before the
        first is changed, and only if one is.
      - Takes the options of M(flaskhost.stack.guard).
    type: dict
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Says what would change.}
  diff_mode: {support: full, description: Shows files and settings.}
"""

EXAMPLES = r"""
- name: Keep others out of the kernel's log
  flaskhost.stack.measures:
    measures:
      - {name: log of the kernel, enabled: true, sysctl: {kernel.dmesg_restrict: 1}}
"""

RETURN = r"""
paths: {description: The files that were changed, returned: always, type: list, elements: str}
ansible_facts: {description: "C(flaskhost_guard), if O(guard) armed something", returned: when something was armed, type: dict}
settings: {description: "Kernel settings, modes and mount options that were changed, each with its former value", returned: always, type: list, elements: str}
refused: {description: What the kernel refuses, returned: always, type: list, elements: str}
units: {description: "What was done with units, such as C(restart systemd-journald)", returned: always, type: list, elements: str}
"""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils._fileset import Change, FilesetError, apply_fileset
from ansible_collections.flaskhost.stack.plugins.module_utils._guard import OPTIONS, Guard, GuardError
from ansible_collections.flaskhost.stack.plugins.module_utils._measures import Memory, Settings, file_entries
from ansible_collections.flaskhost.stack.plugins.module_utils._revert import call
from ansible_collections.flaskhost.stack.plugins.module_utils._unit import Unit, UnitError


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "payload": {"type": "str", "required": True, "no_log": True},
            "validate": {"type": "str"},
            "units": {"type": "list", "elements": "dict", "default": []},
            "guard": {"type": "dict", "options": OPTIONS},
        },
        supports_check_mode=True,
    )
    measures = json.loads(module.params["payload"])
    memory = Memory()
    settings = Settings(memory, module.check_mode)

    facts = {}

    def arm(changes: list[Change]) -> None:
        facts.update(Guard(module.params["guard"], call).arm([change.path for change in changes]))

    def run(command: str) -> tuple[int, str]:
        code, out, err = module.run_command(command, handle_exceptions=False)
        return code, (out + err).strip()

    try:
        entries = file_entries(measures, memory)
        if not module.check_mode:
            memory.write()
        commands = [module.params["validate"]] if module.params["validate"] else []
        changes = apply_fileset(entries, [], commands=commands, run=run, check=module.check_mode, before=arm)
        settings.apply(measures)
        if not module.check_mode:
            memory.close()
        done = [
            f"{verb} {one['name']}"
            for one in module.params["units"]
            for verb in Unit({"exclude": [], "validate": None, **one}, module.run_command).converge(module.check_mode)
        ]
    except (FilesetError, UnitError, GuardError, OSError, UnicodeDecodeError) as error:
        module.fail_json(msg=str(error))
    shown = [change.diff() for change in changes]
    if settings.changed:
        shown.append({"prepared": "".join(f"{one}\n" for one in settings.changed)})
    module.exit_json(
        changed=bool(changes or settings.changed or done),
        paths=[change.path for change in changes],
        settings=settings.changed,
        refused=settings.refused,
        units=done,
        diff=shown,
        **({"ansible_facts": facts} if facts else {}),
    )


if __name__ == "__main__":
    main()
