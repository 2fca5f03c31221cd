# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out which login works on a host and may become root."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.flaskhost.stack.plugins.plugin_utils._facts import FACTS, LOGIN, parse, small, waited
from ansible_collections.flaskhost.stack.plugins.plugin_utils._ways_in import reason, way_in

# what ssh says of a port where nothing listens, or where a firewall drops what comes
_NOBODY_THERE = ("Connection refused", "Connection timed out", "No route to host", "Name or service not known")

# seconds that a host may be behind the control node; a certificate or a list of packages made since then is not valid yet to it
_BEHIND = 24 * 3600

# how often a new connection that is refused is tried again
_AGAIN = 2

_display = Display()


class ActionModule(ActionBase):
    """Action of ``flaskhost.stack.login``; runs on the control node only."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(["users", "ports", "fresh", "cloud_init_timeout", "supported", "settle"])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the control node's part, then have the module do the host's."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        users = list(dict.fromkeys(user for user in self._task.args.get("users") or [] if user))
        given = dict.fromkeys(int(port) for port in self._task.args.get("ports") or [] if port)
        ports: list[int | None] = [*given] or [None]
        if not users:
            raise AnsibleActionFail("login needs a list of users to try")
        host = str((task_vars or {}).get("inventory_hostname", "this host"))
        if self._connection.transport != "ssh":
            # a local or container connection has no choice of logins
            code, out, err = self._connection.exec_command(self._question(), sudoable=False)
            if code:
                raise AnsibleActionFail(f"{host} does not answer: {reason(err.decode(errors='replace'))}")
            return self._found(result, task_vars or {}, None, None, [], out.decode(errors="replace"))
        tried: list[str] = []
        for port in ports:
            for user in users:
                answer, told = self._ask(user, port, bool(self._task.args.get("fresh")))
                if answer == "root" and waited(told):
                    # the ways in are other ones than a moment ago, and this connection is none of them
                    _display.display(
                        f"{host}: waited until the changes that an earlier run did not confirm were taken back"
                    )
                    self._forget(user, port)
                    return self.run(tmp, task_vars)
                if answer == "root":
                    return self._found(result, task_vars or {}, user, port, tried, told)
                tried.append(f"{user}{f' (port {port})' if port else ''}: {answer}")
                if answer.endswith(_NOBODY_THERE):
                    break  # another user would wait as long for the same
        return {
            **result,
            "failed": True,
            "tried": tried,
            "msg": f"No login works on {host}. Tried " + "; ".join(tried) + ". "
            "Give the host's first login with `ansible_user`, its address with `ansible_host` and its key with "
            "`ansible_ssh_private_key_file` in the inventory; that user must be root or have sudo without a password.",
        }

    def _question(self) -> str:
        wait = int(self._task.args.get("cloud_init_timeout") or 0)
        settle = int(self._task.args.get("settle") or 0)
        return LOGIN + "\n" + FACTS.format(wait=wait, settle=settle, since=int(time.time()) - _BEHIND if wait else 0)

    def _forget(self, user: str, port: int | None) -> None:
        """End the connection that ssh keeps open for later tasks."""
        with contextlib.suppress(AnsibleError):
            way_in(self, user, port).reset()

    def _found(
        self,
        result: dict[str, Any],
        task_vars: dict[str, Any],
        user: str | None,
        port: int | None,
        tried: list[str],
        told: str,
    ) -> dict[str, Any]:
        """The result of a login that works, with the host's facts; an error for a system that is not supported."""
        host = str(task_vars.get("inventory_hostname", "this host"))
        facts = parse(told)
        wish = task_vars.get("flaskhost_small")
        if wish is not None:
            wish = boolean(self._templar.template(wish))
        facts["small"] = small(facts, task_vars.get("group_names") or [], wish)
        supported = self._task.args.get("supported")
        system = f"{facts['os']['id']} {facts['os']['version']}"
        if supported and (system not in supported or facts["init"] != "systemd"):
            raise AnsibleActionFail(
                f"{host} runs {facts['os']['name'] or 'an unknown system'} with {facts['init'] or 'an unknown init'}; "
                f"supported are {', '.join(supported)} with systemd. Add {system!r} to preflight_supported to try all the same."
            )
        if supported and not facts["python"]:
            raise AnsibleActionFail(f"{host} has no /usr/bin/python3; install it first: apt-get install python3")
        behind = (time.time() - facts["clock"]) // _BEHIND
        if supported and facts["clock"] and behind >= 1:
            raise AnsibleActionFail(
                f"The clock of {host} is {behind:.0f} days behind, so it would take certificates and package lists for invalid. A board without "
                "a clock of its own has the time from the network a moment after its boot: see `timedatectl` there, or set it: "
                f"sudo date -s @{time.time():.0f}"
            )
        if user:
            _display.display(f"{host}: logged in as {user}{f' on port {port}' if port else ''}")
        if supported and facts["small"]:
            _display.display(
                f"{host}: treated as a small host, for {facts['small']}: few writes, logs in memory, no weekly reading of the whole disk "
                "(docs/small-hosts.md). `flaskhost_small: false` in the inventory treats it as any other."
            )
        return {
            **result, "changed": False, "user": user, "port": port, "tried": tried, "ansible_facts": {"flaskhost": facts},
        }  # fmt: skip

    def _ask(self, user: str, port: int | None, fresh: bool) -> tuple[str, str]:
        """``root`` when the login works and may become root, else why not; and what the host told."""
        connection = way_in(self, user, port, fresh)
        for left in range(_AGAIN if fresh else 0, -1, -1):
            try:
                code, out, err = connection.exec_command(self._question(), sudoable=False)
                break
            except AnsibleConnectionFailure as error:
                why = reason(str(error))
                if not left or not why.endswith("Connection refused"):
                    return why, ""
                # sshd that reads its configuration anew does not listen for a moment
                time.sleep(1)
            except AnsibleError as error:
                raise AnsibleActionFail(str(error)) from error
        told = out.decode(errors="replace")
        words = told.split("==", 1)[0].split()
        if code or len(words) != 2:
            return reason((err or out).decode(errors="replace")), ""
        return ("root" if words[1] == "root" else "logs in, but may not become root without a password"), told
