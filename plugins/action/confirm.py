# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove over a new connection that the new ways in work, and keep them; or have them taken back."""

from __future__ import annotations

import json
import shlex
import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.flaskhost.stack.plugins.module_utils._revert import PROGRAM
from ansible_collections.flaskhost.stack.plugins.plugin_utils._ways_in import reason, way_in

# sshd may be about to listen again, or have too many at its door; all else will not be better in a second
_TRIES = 3
_FOR_A_MOMENT = ("Connection refused", "Connection reset by peer", "Connection closed by remote host")
_display = Display()


class ActionModule(ActionBase):
    """Action of ``flaskhost.stack.confirm``; there is no module of it on the host, but the program of _revert."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(["state", "users", "ports", "task", "error"])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Confirm or go back."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        armed = (variables.get("ansible_facts") or {}).get("flaskhost_guard") or {}
        host = str(variables.get("inventory_hostname", "this host"))
        if self._task.args.get("state", "confirmed") == "reverted":
            return {**result, **self._take_back(host, armed)}
        if self._task.check_mode or not armed.get("armed"):
            return {**result, "skipped": True, "changed": False}
        return {**result, **self._confirm(host, armed)}

    def _confirm(self, host: str, armed: dict[str, Any]) -> dict[str, Any]:
        """The result of a confirmation; it fails with what could not be proven."""
        users = list(dict.fromkeys(str(user) for user in self._task.args.get("users") or [] if user))
        ports: list[int | None] = [int(port) for port in self._task.args.get("ports") or [] if port] or [None]
        ways = [(user, port) for port in ports for user in users]
        if self._connection.transport != "ssh":
            ways = [("", None)]
        tried: dict[str, str] = {}
        for number in range(_TRIES):
            time.sleep(number)
            for user, port in ways:
                name = f"{user or 'this connection'}{f' on port {port}' if port else ''}"
                answer, error = self._ask(user, port, str(armed.get("token", "")))
                if answer.get("state") == "confirmed":
                    _display.display(f"{host}: confirmed by {name} over a new connection")
                    return {"changed": False, "way": name, "ansible_facts": {"flaskhost_guard": {"armed": False}}}
                tried[name] = error or _why_not(answer)
            if not any(error.rstrip(".").endswith(_FOR_A_MOMENT) for error in tried.values()):
                break
        return self._unproven(host, tried)

    def _unproven(self, host: str, tried: dict[str, str]) -> dict[str, Any]:
        told = "; ".join(f"{name}: {error.rstrip('.')}" for name, error in tried.items())
        return {
            "failed": True, "changed": False, "tried": [f"{name}: {error}" for name, error in tried.items()],
            "msg": f"It could not be proven that an admin still gets into {host} over a new connection and becomes root. Tried {told}.",
        }  # fmt: skip

    def _ask(self, user: str, port: int | None, token: str) -> tuple[dict[str, Any], str]:
        """What the program says to a confirmation over a new connection, or why that did not come about."""
        program = f"{PROGRAM} confirm {shlex.quote(token)}"
        connection = way_in(self, user, port, fresh=True) if user else self._connection
        try:
            code, out, err = connection.exec_command(
                f'if [ "$(id -u)" = 0 ]; then {program}; else sudo -n {program}; fi', sudoable=False
            )
        except AnsibleConnectionFailure as error:
            return {}, reason(str(error))
        except AnsibleError as error:
            return {}, str(error)
        answer = _answer(out.decode(errors="replace"))
        if code or not answer:
            return {}, reason((err or out).decode(errors="replace"))
        return answer, ""

    def _take_back(self, host: str, armed: dict[str, Any]) -> dict[str, Any]:
        """Always a failure: of the task that went wrong, with what became of the changes."""
        task, error = (str(self._task.args.get(key) or "") for key in ("task", "error"))
        told = {"failed": True, "changed": False, "msg": f"{task}: {error}"}
        if self._task.check_mode:
            return told
        # by the connection that is there, which is not one of those that could not be made
        command = f"if [ -x {PROGRAM} ]; then {PROGRAM} now {shlex.quote(task[:200])}; fi"
        try:
            answer = _answer(self._low_level_execute_command(command)["stdout"])
        except AnsibleError:
            seconds = armed.get("timeout")
            return {**told, "msg": f"{told['msg']}\n{host} does not answer; it takes what was changed back by itself"
                    + (f", within {seconds} s." if seconds else ".")}  # fmt: skip
        if not answer or (answer.get("already") and answer.get("token") != armed.get("token")):
            # nothing was armed in this run
            return told
        if answer.get("state") == "reverted":
            what = ", ".join(answer.get("what") or []) or "nothing differed any more"
            end = f"The changes of this run to accounts, firewall and ssh of {host} were taken back: {what}."
        else:
            end = f"{host} could not take all changes back ({_why_not(answer)}); it goes on trying: journalctl -u flaskhost-revert."
        return {**told, "msg": f"{told['msg']}\n{end}", "ansible_facts": {"flaskhost_guard": {"armed": False}}}


def _answer(text: str) -> dict[str, Any]:
    """The program's last line."""
    lines = [line for line in text.strip().splitlines() if line.startswith("{")]
    try:
        return dict(json.loads(lines[-1])) if lines else {}
    except ValueError:
        return {}


def _why_not(answer: dict[str, Any]) -> str:
    """In words, why a host that answered did not confirm."""
    state = answer.get("state")
    if state == "reverted":
        return f"gets in, but the host took the changes back at {answer.get('when')} already: {answer.get('why')}"
    if state == "late":
        return "gets in, but too late: the host is taking the changes back; raise flaskhost_confirm_timeout"
    if state == "other":
        return "gets in, but another run has changed ssh, accounts or firewall meanwhile"
    return f"the host says {answer.get('state') or 'nothing'}{': ' + answer['why'] if answer.get('why') else ''}"
