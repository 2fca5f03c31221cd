# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out which login works on a host and may become root."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

# says who it is, and whether it may become root without a password
_QUESTION = 'id -un; if [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then echo root; else echo no-root; fi'

# what ssh says of a port where nothing listens, or where a firewall drops what comes
_NOBODY_THERE = ("Connection refused", "Connection timed out", "No route to host")


class ActionModule(ActionBase):
    """Action of ``flaskhost.stack.login``; runs on the control node only."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(["users", "ports", "fresh"])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the control node's part, then have the module do the host's."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        users = list(dict.fromkeys(user for user in self._task.args.get("users") or [] if user))
        given = dict.fromkeys(int(port) for port in self._task.args.get("ports") or [] if port)
        ports: list[int | None] = [*given] or [None]
        if not users:
            raise AnsibleActionFail("login needs a list of users to try")
        if self._connection.transport != "ssh":
            # a local or container connection has no choice of logins
            return {**result, "changed": False, "user": None, "port": None, "tried": []}
        tried: list[str] = []
        for port in ports:
            for user in users:
                answer = self._ask(user, port, bool(self._task.args.get("fresh")))
                if answer == "root":
                    return {**result, "changed": False, "user": user, "port": port, "tried": tried}
                tried.append(f"{user}{f' (port {port})' if port else ''}: {answer}")
                if len(ports) > 1 and answer.endswith(_NOBODY_THERE):
                    break  # another user would wait as long for the same
        host = (task_vars or {}).get("inventory_hostname", "this host")
        return {
            **result,
            "failed": True,
            "tried": tried,
            "msg": f"No login works on {host}. Tried " + "; ".join(tried) + ". "
            "Give the host's first login with `ansible_user`, its address with `ansible_host` and its key with "
            "`ansible_ssh_private_key_file` in the inventory; that user must be root or have sudo without a password.",
        }

    def _ask(self, user: str, port: int | None, fresh: bool) -> str:
        """``root`` when the login works and may become root, else why not."""
        connection = self._shared_loader_obj.connection_loader.get(
            self._connection._load_name, self._play_context, new_stdin=None
        )
        connection._options = dict(self._connection._options)
        connection._options["remote_user"] = user
        # a host that is down is not tried again and again for every user
        connection._options["reconnection_retries"] = 0
        if port:
            connection._options["port"] = port
        if fresh:
            # a connection of its own, so that nothing is proven by one that was open before
            args = connection._options.get("ssh_extra_args") or ""
            connection._options["ssh_extra_args"] = f"{args} -o ControlMaster=no -o ControlPath=none".strip()
        try:
            code, out, err = connection.exec_command(_QUESTION, sudoable=False)
        except AnsibleConnectionFailure as error:
            return _reason(str(error))
        except AnsibleError as error:
            raise AnsibleActionFail(str(error)) from error
        words = out.decode(errors="replace").split()
        if code or len(words) != 2:
            return _reason((err or out).decode(errors="replace"))
        return "root" if words[1] == "root" else "logs in, but may not become root without a password"


def _reason(text: str) -> str:
    """The last line of ssh's complaint, which is the one that matters."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "no answer"
