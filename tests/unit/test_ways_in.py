# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins and confirmations: what the actions make of what hosts and ssh say."""

from __future__ import annotations

import json
import re
import time
import types
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible_collections.flaskhost.stack.plugins.action import confirm, login

ARMED = {
    "ansible_facts": {"flaskhost_guard": {"armed": True, "token": "t1", "timeout": 60}},
    "inventory_hostname": "box",
}
HOST = "root\nroot\n== waited\n0\n== os\nID=debian\n"
REFUSED = "ssh: connect to host box port 22: Connection refused"
Answer = tuple[int, str] | Exception


class Wire:
    """Connections of which each answers with what is next, whoever opens it."""

    transport = "ssh"

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.opened: list[tuple[str, Any, bool]] = []
        self.told: list[str] = []
        self.resets = 0

    def get(self, _action: Any, user: str, port: Any = None, fresh: bool = False) -> Wire:
        self.opened.append((user, port, fresh))
        return self

    def exec_command(self, command: str, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        self.told.append(command)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer[0], answer[1].encode(), b""

    def reset(self) -> None:
        self.resets += 1


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (login, confirm):
        monkeypatch.setattr(module.time, "sleep", lambda seconds: None)


def act(
    monkeypatch: pytest.MonkeyPatch, module: Any, wire: Wire, variables: Any = None, check: bool = False, **args: Any
) -> Any:
    """Run an action over the wire."""
    monkeypatch.setattr(module, "way_in", wire.get)
    task = types.SimpleNamespace(
        args=args,
        async_val=0,
        check_mode=check,
        action="x",
        environment=None,
        diff=False,
        _role=None,
        get_validated=None,
    )
    action = module.ActionModule(task, wire, types.SimpleNamespace(check_mode=check), None, None, None)
    monkeypatch.setattr(module.ActionBase, "run", lambda self, tmp=None, task_vars=None: {})
    return action.run(None, ARMED if variables is None else variables)


def gone(text: str) -> AnsibleConnectionFailure:
    return AnsibleConnectionFailure(text)


def test_a_new_connection_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(gone("Permission denied (publickey)."), (0, 'motd\n{"state": "confirmed"}\n'))
    result = act(monkeypatch, confirm, wire, users=["ops", "eve"], ports=[2222])
    assert result["way"] == "eve on port 2222"
    assert result["ansible_facts"] == {"flaskhost_guard": {"armed": False}}
    assert wire.opened == [("ops", 2222, True), ("eve", 2222, True)]
    assert "sudo -n /usr/local/lib/flaskhost/revert confirm t1" in wire.told[0]


@pytest.mark.parametrize(
    ("answers", "words", "left"),
    [
        ([gone("Permission denied (publickey)."), (0, "")], "ops: Permission denied (publickey).", 1),
        ([gone("Connection timed out"), (0, "")], "ops: Connection timed out.", 1),
        ([gone(REFUSED)] * 3, "Connection refused", 0),
        ([gone(REFUSED), (0, '{"state": "late"}'), (0, "")], "too late: the host is taking the changes back", 1),
        ([(0, '{"state": "other"}')], "another run has changed", 0),
        (
            [(0, '{"state": "reverted", "when": "10:00", "why": "slow"}')],
            "took the changes back at 10:00 already: slow",
            0,
        ),
        ([(1, "sudo: a password is required")], "a password is required", 0),
    ],
)
def test_what_could_not_be_proven_is_said(
    monkeypatch: pytest.MonkeyPatch, answers: list[Answer], words: str, left: int
) -> None:
    wire = Wire(*answers)
    result = act(monkeypatch, confirm, wire, users=["ops"])
    assert result["failed"]
    assert "could not be proven" in result["msg"]
    assert words in result["msg"]
    # only what may be better in a second is tried again
    assert len(wire.answers) == left


@pytest.mark.parametrize(("variables", "check"), [({}, False), (ARMED, True)])
def test_nothing_is_confirmed_where_nothing_is_armed(
    monkeypatch: pytest.MonkeyPatch, variables: Any, check: bool
) -> None:
    wire = Wire()
    assert act(monkeypatch, confirm, wire, variables, check=check, users=["ops"]).get("skipped")
    assert wire.opened == []


@pytest.mark.parametrize(
    ("said", "end"),
    [
        ({"state": "reverted", "token": "t1", "what": ["/etc/x"]}, "of box were taken back: /etc/x."),
        ({"state": "reverted", "token": "t1", "what": [], "already": True}, "nothing differed any more."),
        ({"state": "failed", "token": "t1", "why": "sshd -t"}, "could not take all changes back"),
        ({"state": "reverted", "token": "of another run", "already": True}, "Sshd | Reload: it failed"),
        ({}, "Sshd | Reload: it failed"),
        (None, "it takes what was changed back by itself, within 60 s."),
    ],
)
def test_a_failure_says_what_became_of_the_changes(monkeypatch: pytest.MonkeyPatch, said: Any, end: str) -> None:
    told: list[str] = []

    def run(_self: Any, command: str) -> dict[str, str]:
        told.append(command)
        if said is None:
            raise gone("broken pipe")
        return {"stdout": json.dumps(said) if said else ""}

    monkeypatch.setattr(confirm.ActionModule, "_low_level_execute_command", run)
    result = act(monkeypatch, confirm, Wire(), state="reverted", task="Sshd | Reload", error="it failed")
    assert result["failed"]
    assert result["msg"].startswith("Sshd | Reload: it failed")
    assert end in result["msg"]
    assert "revert now 'Sshd | Reload'" in told[0]


def test_a_login_waits_for_what_an_earlier_run_left(monkeypatch: pytest.MonkeyPatch) -> None:
    # the admin that the earlier run made is gone afterwards
    wire = Wire((0, HOST.replace("waited\n0", "waited\n7")), gone("Permission denied (publickey)."), (0, HOST))
    result = act(monkeypatch, login, wire, {}, users=["ops", "root"], settle=60)
    assert result["user"] == "root"
    assert wire.resets == 1
    assert "[ $n -lt 60 ]" in wire.told[0]


def test_a_new_connection_is_tried_again_while_sshd_does_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(gone(REFUSED), (0, HOST))
    assert act(monkeypatch, login, wire, {}, users=["ops"], fresh=True)["user"] == "ops"
    # a first contact does not wait for a host that is down
    assert act(monkeypatch, login, Wire(gone(REFUSED)), {}, users=["ops"])["failed"]


def test_an_expired_password_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "WARNING: Your password has expired.\nPassword change required but no TTY available.\n"
    result = act(monkeypatch, login, Wire((1, said)), {}, users=["root"])
    assert "root: its password has expired" in result["msg"]


@pytest.mark.parametrize(("behind", "refused"), [(40 * 86400 + 9, True), (3600, False), (-40 * 86400, False)])
def test_a_host_that_lives_in_the_past_is_refused(monkeypatch: pytest.MonkeyPatch, behind: int, refused: bool) -> None:
    told = f'root\nroot\n== waited\n0\n== clock\n{time.time() - behind:.0f}\n== os\nID=debian\nVERSION_ID="12"\n== init\nsystemd\n== python\nPython 3.11.2\n'
    given: dict[str, Any] = {"users": ["root"], "supported": ["debian 12"], "cloud_init_timeout": 5}
    if refused:
        with pytest.raises(
            AnsibleActionFail, match="The clock of box is 40 days behind, so it would take certificates"
        ):
            act(monkeypatch, login, Wire((0, told)), **given)
    else:
        wire = Wire((0, told))
        assert act(monkeypatch, login, wire, **given)["user"] == "root"
        # it waits there for the time from the network
        (since,) = (int(word) for word in re.findall(r'"\$\(date \+%s\)" -lt (\d+)', wire.told[0]))
        assert 0 <= time.time() - 86400 - since < 10
