#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring ufw's policy and this collection's own rules into the wanted state, in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ufw_rules
short_description: Brings ufw to the wanted rules in one call, and never locks ssh out
version_added: "0.1.0"
description:
  - Compares a whole list of rules with the files of ufw, and calls C(ufw) for the differences only.
    C(community.general.ufw) needs one task per rule, and does not remove what left the inventory.
  - Knows its own rules by their comment, which begins with O(owner) and a colon. All other rules stay
    as they are, whoever made them. Where somebody else's rule has the same port, protocol and source,
    theirs stays; if it has another action, the module warns.
  - Before anything is changed, it is worked out whether new ssh connections would still get in, on the
    port of this connection, on O(ssh_ports) and on one of those in sshd's configuration. If not, the
    module fails and nothing has happened. The firewall is turned on last.
options:
  rules:
    description: The rules for incoming connections. Where rules overlap, the first one counts.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: A port, a range such as C(8000:8010), a list of both with commas, or C(any).
        type: str
        required: true
      proto:
        description: The protocol.
        type: str
        choices: [tcp, udp, any]
        default: tcp
      action:
        description: C(limit) refuses an address that opens six connections within 30 seconds.
        type: str
        choices: [allow, limit, deny, reject]
        default: allow
      from:
        description: Addresses and networks, or C(any).
        type: list
        elements: str
        default: [any]
      comment:
        description: What the rule is for. The default is the port and protocol.
        type: str
  owner:
    description: Marks the rules that belong to this call.
    type: str
    default: flaskhost
  incoming:
    description: What happens to incoming connections that no rule speaks about.
    type: str
    choices: [deny, reject, allow]
    default: deny
  outgoing:
    description: What happens to outgoing connections that no rule speaks about.
    type: str
    choices: [deny, reject, allow]
    default: allow
  ipv6:
    description: Whether IPv6 is filtered too; has no effect on a kernel without IPv6.
    type: bool
    default: true
  ssh_ports:
    description:
      - Ports on which ssh must stay reachable, beside the one of the connection that runs this module.
      - At least one port has to be known one way or the other.
    type: list
    elements: int
    default: []
  guard:
    description:
      - Goes back to the former state unless somebody confirms the new one in time; armed before the first change, and only if there
        is one.
      - Takes the options of M(flaskhost.stack.guard).
    type: dict
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Says what would change.}
  diff_mode: {support: full, description: Shows policy and rules before and after.}
"""

EXAMPLES = r"""
- name: Let ssh and the web in, the database for two hosts only
  flaskhost.stack.ufw_rules:
    rules:
      - {port: 22, comment: ssh}
      - {port: "80,443", comment: web}
      - {port: 3306, from: [192.0.2.10, 192.0.2.11], comment: database}
"""

RETURN = r"""
added:
  description: Rules that are new.
  returned: success
  type: list
  elements: str
updated:
  description: Rules whose action or comment changed.
  returned: success
  type: list
  elements: str
moved:
  description: Rules that had to go behind a new one.
  returned: success
  type: list
  elements: str
removed:
  description: Rules that left the inventory.
  returned: success
  type: list
  elements: str
others:
  description: Rules that belong to somebody else; they were not touched.
  returned: success
  type: list
  elements: str
commands:
  description: The calls of ufw and systemctl that were made, or would be in check mode.
  returned: success
  type: list
  elements: str
ansible_facts:
  description: C(flaskhost_guard), if O(guard) armed something.
  returned: when something was armed
  type: dict
"""

import os
import re
import shlex
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskhost.stack.plugins.module_utils._guard import OPTIONS, Guard, GuardError
from ansible_collections.flaskhost.stack.plugins.module_utils._revert import call as run_on_host
from ansible_collections.flaskhost.stack.plugins.module_utils._ufw import (
    State,
    UfwError,
    admits,
    apply_plan,
    commands,
    has_ipv6,
    is_own,
    listening_ports,
    make_plan,
    read_state,
    ssh_connection,
    wanted_rules,
)

ROOT = Path("/")
DEFAULTS = Path("/etc/default/ufw")
POSIX = {"LC_ALL": "C.UTF-8", "LANGUAGE": "C"}


class Firewall:
    """One run of the module: read, plan, prove, change, read again."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.params: dict[str, Any] = module.params
        self.missing = False
        self.ipv6 = bool(self.params["ipv6"]) and has_ipv6(ROOT)
        self.ran: list[str] = []
        self.facts: dict[str, Any] = {}

    def read(self) -> State:
        """ufw's files, and whether kernel and systemd know about them."""
        try:
            state = read_state(ROOT, self.ipv6)
        except UfwError:
            if not self.module.check_mode:
                raise
            # the package would have been installed by now, with Debian's and Ubuntu's settings
            self.missing = True
            return State(enabled=False, ipv6=self.ipv6, incoming="deny", outgoing="allow", rules=(), boot=True)
        return replace(
            state,
            loaded=self.loaded("iptables", "ufw-user-input")
            and (not state.ipv6 or self.loaded("ip6tables", "ufw6-user-input")),
            boot=self.succeeds(["systemctl", "is-enabled", "--quiet", "ufw.service"]),
        )

    def loaded(self, tool: str, chain: str) -> bool:
        """Whether the kernel has ufw's rules of one family."""
        return self.succeeds([tool, "-w", "5", "-n", "-L", chain])

    def succeeds(self, command: list[str]) -> bool:
        """Whether a command that only asks ends with 0."""
        return self.call(command)[0] == 0

    def call(self, command: list[str]) -> tuple[int, str]:
        """Exit code and output; looks into the sbin directories whatever PATH says."""
        program = self.module.get_bin_path(command[0])
        if not program:
            return 127, f"{command[0]} is not installed"
        code, out, err = self.module.run_command([program, *command[1:]], environ_update=POSIX)
        return int(code), (err or out).strip()

    def run(self, *command: str) -> None:
        """Run it, or only note it in check mode."""
        self.ran.append(shlex.join(command))
        if self.module.check_mode:
            return
        code, output = self.call(list(command))
        if code:
            raise UfwError(f"`{shlex.join(command)}` ended with {code}: {output}")

    def ports(self) -> tuple[set[int], str]:
        """Ports that must stay open, and the address they are used from (empty when unknown)."""
        found = ssh_connection(ROOT, os.getpid())
        client, port = found or ("", 0)
        ports = set(self.params["ssh_ports"]) | ({port} if port else set())
        if not ports:
            raise UfwError(
                "it is not known which port ssh uses here (this connection is not ssh), so the firewall "
                "could shut everybody out: give ssh_ports"
            )
        return ports, client

    def prove(self, state: State) -> None:
        """Raise an error if state would refuse new ssh connections."""
        ports, client = self.ports()
        shut = sorted(port for port in ports if not admits(state.rules, state.incoming, port, client))
        # sshd may have moved since this connection was made: one of its ports has to be open as well
        listening = listening_ports(self.call(["sshd", "-T"])[1])
        if listening and not any(admits(state.rules, state.incoming, port, client) for port in listening):
            shut = sorted({*shut, *listening})
        if shut:
            raise UfwError(
                f"ssh on port {', '.join(map(str, shut))} would be refused"
                + (f" for {client}" if client else "")
                + f", so the firewall was {'not touched' if not self.ran else 'not turned on'}: "
                + "add a rule that allows this port, or delete the rule that denies it (ufw status numbered)"
            )

    def converge(self) -> dict[str, Any]:
        """Do it; the result is what the module returns."""
        owner = self.params["owner"]
        wanted = wanted_rules(self.params["rules"], owner, self.ipv6)
        before = self.read()
        plan = make_plan(before.rules, wanted, owner)
        after = replace(
            before,
            enabled=True,
            loaded=True,
            boot=True,
            ipv6=self.ipv6,
            incoming=self.params["incoming"],
            outgoing=self.params["outgoing"],
            rules=apply_plan(before.rules, plan),
        )
        if before != after:
            self.prove(after)
            if not self.module.check_mode:
                self.facts = Guard(self.params["guard"], run_on_host).arm()
            self.change(before, after, commands(plan))
        for rule, other in plan.conflicts:
            self.module.warn(
                f"ufw: '{rule}' is wanted, but somebody else made '{other}'; it was left alone. "
                "Delete it on the host if the inventory is to decide."
            )
        return {
            "changed": before != after,
            "added": [str(rule) for rule in plan.added],
            "updated": [str(rule) for rule in plan.updated],
            "moved": [str(rule) for rule in plan.moved],
            "removed": [str(rule) for rule in plan.removed],
            "others": [str(rule) for rule in after.rules if not is_own(rule, owner)],
            "commands": self.ran,
            **({"ansible_facts": self.facts} if self.facts else {}),
            "diff": {
                "before": "\n".join(["not installed"] if self.missing else before.lines()) + "\n",
                "after": "\n".join(after.lines()) + "\n",
                "before_header": "ufw",
                "after_header": "ufw",
            },
        }

    def change(self, before: State, after: State, calls: list[list[str]]) -> None:
        """What opens comes first, what closes after it, and turning it on last."""
        running = before.enabled and before.loaded
        if before.ipv6 != after.ipv6:
            self.set_ipv6(after.ipv6)
            if running:  # a running ufw has to know both families before it takes rules for both
                self.run("ufw", "reload")
        if before.enabled and not before.loaded:
            # half loaded (IPv6 just turned on by hand, a flush): ufw would fail to add rules
            self.run("ufw", "disable")
        for call in calls:
            self.run("ufw", *call)
        if before.incoming != after.incoming:
            self.run("ufw", "default", after.incoming, "incoming")
        if before.outgoing != after.outgoing:
            self.run("ufw", "default", after.outgoing, "outgoing")
        if not before.boot:
            self.run("systemctl", "enable", "ufw.service")
        if not self.module.check_mode:
            # what ufw really wrote down, not what it was asked for
            self.prove(self.read())
        if not running:
            self.run("ufw", "--force", "enable")
        if not self.module.check_mode:
            self.compare(after)

    def compare(self, wanted: State) -> None:
        """Raise an error if ufw's files and the kernel are not as wanted."""
        found = self.read()
        if found != wanted:
            lines = set(wanted.lines()) ^ set(found.lines())
            raise UfwError(f"ufw took all commands, but is not as it should be; differences: {sorted(lines)}")

    def set_ipv6(self, on: bool) -> None:
        """ufw has no command for it: its default file is the place."""
        value = "yes" if on else "no"
        self.ran.append(f"set IPV6={value} in {DEFAULTS}")
        if self.module.check_mode:
            return
        text = DEFAULTS.read_text(encoding="utf-8")
        text, count = re.subn(r"(?m)^\s*IPV6=.*$", f"IPV6={value}", text)
        if not count:
            text = f"{text.rstrip()}\nIPV6={value}\n"
        handle, name = tempfile.mkstemp(dir=self.module.tmpdir)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        self.module.atomic_move(name, str(DEFAULTS))


def main() -> None:
    """Entry point of the module."""
    rule = {
        "port": {"type": "str", "required": True},
        "proto": {"type": "str", "choices": ["tcp", "udp", "any"], "default": "tcp"},
        "action": {"type": "str", "choices": ["allow", "limit", "deny", "reject"], "default": "allow"},
        "from": {"type": "list", "elements": "str", "default": ["any"]},
        "comment": {"type": "str"},
    }
    policy = ["deny", "reject", "allow"]
    module = AnsibleModule(
        argument_spec={
            "rules": {"type": "list", "elements": "dict", "options": rule, "default": []},
            "owner": {"type": "str", "default": "flaskhost"},
            "incoming": {"type": "str", "choices": policy, "default": "deny"},
            "outgoing": {"type": "str", "choices": policy, "default": "allow"},
            "ipv6": {"type": "bool", "default": True},
            "ssh_ports": {"type": "list", "elements": "int", "default": []},
            "guard": {"type": "dict", "options": OPTIONS},
        },
        supports_check_mode=True,
    )
    firewall = Firewall(module)
    try:
        result = firewall.converge()
    except (UfwError, GuardError) as error:
        module.fail_json(msg=f"ufw: {error}", commands=firewall.ran)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
