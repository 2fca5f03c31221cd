# SPDX-License-Identifier: GPL-3.0-or-later
"""unlock.yml: which holders are dead, and what is done with their locks."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.action import release_unlock as action
from ansible_collections.flaskhost.stack.plugins.module_utils import _history, _release_lock
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App
from ansible_collections.flaskhost.stack.plugins.modules import release_unlock
from ansible_collections.flaskhost.stack.plugins.plugin_utils import _holder

from tests.support.host import Host

MACHINE = {"_MACHINE_ID": "machine", "_BOOT_ID": "boot", "_STAT": "cpu 1\nbtime 1000000\n"}
BEFORE_BOOT, AFTER_BOOT = "1970-01-12 13:46:39 UTC", "1970-01-12 13:46:41 UTC"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A control node outside of any container, with one network card and one bridge, started 1,000,000 s after 1970."""
    for name, text in MACHINE.items():
        (tmp_path / name).write_text(f"{text}\n")
        monkeypatch.setattr(_holder, name, str(tmp_path / name))
    (tmp_path / "net/eth0/device").mkdir(parents=True)
    (tmp_path / "net/docker0").mkdir()
    for card, address in (("eth0", "02:00:00:00:00:01"), ("docker0", "02:42:00:00:00:02")):
        (tmp_path / "net" / card / "address").write_text(f"{address}\n")
    monkeypatch.setattr(_holder, "_CARDS", str(tmp_path / "net/*/device"))
    (tmp_path / "ns").symlink_to(_holder._FIRST_NAMESPACE)
    monkeypatch.setattr(_holder, "_PID_NAMESPACE", str(tmp_path / "ns"))


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def left_by(pid: int, **changed: str) -> dict[str, Any]:
    """A lock that another process of this machine has taken."""
    return {
        **_holder.holder("deploy main"),
        "pid": pid,
        "started": _holder.started(pid),
        "since": AFTER_BOOT,
        **changed,
    }


def elsewhere(**changed: str) -> dict[str, Any]:
    """A lock of a machine like this one, but for what is given."""
    parts = {"name": os.uname().nodename, "machine": "machine", "boot": "former", "namespace": _holder._FIRST_NAMESPACE}
    more: dict[str, Any] = {key: changed.pop(key) for key in ("cards", "since") if key in changed}
    node = " ".join({**parts, **changed}.values())
    return {"token": "t", "node": node, "pid": os.getpid(), "cards": "02:00:00:00:00:01", "since": BEFORE_BOOT, **more}


@pytest.mark.usefixtures("machine")
def test_fate_of_a_run_on_this_machine(sleeper: subprocess.Popen[bytes]) -> None:
    assert _holder.cards() == "02:00:00:00:00:01", "a bridge is mere software"
    found = left_by(sleeper.pid)
    assert _holder.fate(found) == _holder.ALIVE
    assert _holder.fate({**found, "started": "1"}) == _holder.DEAD, "another process of the same number"
    sleeper.kill()
    sleeper.wait()
    assert _holder.fate(found) == _holder.DEAD


@pytest.mark.usefixtures("machine")
def test_run_before_this_machine_was_started_anew_is_dead() -> None:
    assert _holder.fate(elsewhere()) == _holder.DEAD


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    "changed",
    [
        {"name": "other"},
        {"machine": "other"},
        {"machine": ""},  # a container may have none
        {"boot": ""},
        {"namespace": "pid:[4026532000]"},  # a container: the other kernel may still run it
        {"namespace": ""},
        {"cards": "02:00:00:00:00:09"},  # a clone of this machine
        {"cards": ""},
        {"since": AFTER_BOOT},  # a clone that shares even the card
        {"since": "noon"},
    ],
)
def test_what_may_still_go_on_elsewhere_is_unknown(changed: dict[str, str]) -> None:
    assert _holder.fate(elsewhere(**changed)) == _holder.UNKNOWN


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("gone", ["_MACHINE_ID", "_BOOT_ID", "_CARDS", "_PID_NAMESPACE", "_STAT"])
def test_a_machine_that_does_not_know_itself_knows_no_other(monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    found = elsewhere()
    monkeypatch.setattr(_holder, gone, "/nowhere")
    assert _holder.fate(found) == _holder.UNKNOWN


def test_without_a_boot_id_the_name_alone_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a laptop without /proc, of which there are many of the same name."""
    for name in ("_MACHINE_ID", "_BOOT_ID", "_PID_NAMESPACE"):
        monkeypatch.setattr(_holder, name, "/nowhere")
    assert _holder.fate({**_holder.holder("deploy"), "pid": "none"}) == _holder.UNKNOWN


@pytest.mark.parametrize("found", [{}, {"node": 3}, {"node": None, "pid": "x"}])
def test_lock_of_an_older_version_is_unknown(found: dict[str, Any]) -> None:
    assert _holder.fate(found) == _holder.UNKNOWN


# the playbook's task, with the module run in this process


class Ended(Exception):
    """A module's result."""

    def __init__(self, **result: Any) -> None:
        super().__init__()
        self.result = result


class Module:
    """What the module sees of Ansible."""

    def __init__(self, params: dict[str, Any], check_mode: bool) -> None:
        self.params = {"holder": None, "break_token": "", **params}
        self.check_mode = check_mode

    def fail_json(self, **result: Any) -> None:
        raise Ended(failed=True, **result)

    def exit_json(self, **result: Any) -> None:
        raise Ended(**result)


@pytest.fixture
def blog(host: Host) -> App:
    return host.app()


def unlock(monkeypatch: pytest.MonkeyPatch, app: App, check: bool = False, **given: Any) -> dict[str, Any]:
    class Task:
        args: dict[str, Any] = {"app": app.app, **given}
        check_mode = check

    class Action(action.ActionModule):
        def __init__(self) -> None:
            self._task = Task()

        def _execute_module(self, module_name: str, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
            monkeypatch.setattr(release_unlock, "AnsibleModule", lambda **spec: Module(module_args, check))
            with pytest.raises(Ended) as ended:
                release_unlock.main()
            return dict(ended.value.result)

    monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *given: {})
    return Action().run(None, {})


def test_no_lock(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    result = unlock(monkeypatch, blog)
    assert (result["changed"], result["msg"]) == (False, "blog is not locked.")


def test_lock_of_a_dead_run_is_removed_and_told(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {**_holder.holder("deploy main"), "owner": "ann", "controller": "laptop", "pid": "none", "since": "noon"}
    _release_lock.take(blog.paths["lock"], {**found, "step": "build", "at": "later"})
    told = unlock(monkeypatch, blog, check=True)
    assert (told["changed"], "would be removed" in told["msg"], os.path.exists(blog.paths["lock"])) == (
        True,
        True,
        True,
    )
    result = unlock(monkeypatch, blog)
    assert result["changed"]
    assert result["msg"] == (
        "blog was locked by ann on laptop (process none) since noon: deploy main, at step build since later. That run is dead: "
        "its process on this machine is gone. The lock is removed; the next deploy tidies up what that run left."
    )
    assert not os.path.exists(blog.paths["lock"])
    (line,) = _history.read(blog, 9)[0]
    assert (line["result"], line["who"], line["step"]) == ("died", "ann@laptop", "build")


def test_lock_of_a_living_run_stays_unless_forced(
    blog: App, monkeypatch: pytest.MonkeyPatch, sleeper: subprocess.Popen[bytes]
) -> None:
    found = left_by(sleeper.pid)
    _release_lock.take(blog.paths["lock"], found)
    result = unlock(monkeypatch, blog)
    assert result["failed"]
    assert result["msg"].startswith(f"unlock: blog is locked by {found['owner']} on ")
    assert "flask_unlock_force=true" in result["msg"]
    assert _release_lock.still_mine(blog.paths["lock"], found["token"])
    assert unlock(monkeypatch, blog, force=True)["changed"]
    assert not os.path.exists(blog.paths["lock"])


def test_lock_of_another_machine_is_removed(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    _release_lock.take(blog.paths["lock"], {**elsewhere(), "node": "elsewhere"})
    result = unlock(monkeypatch, blog)
    assert "cannot be told from here" in result["msg"]
    assert not os.path.exists(blog.paths["lock"])


def test_damaged_lock_is_removed(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(blog.paths["lock"]).write_text("{")
    assert unlock(monkeypatch, blog)["msg"] == (
        "The lock of blog was damaged. The lock is removed; the next deploy tidies up what that run left."
    )
    assert not os.path.exists(blog.paths["lock"])


def test_lock_that_another_run_took_meanwhile_stays(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    _release_lock.take(blog.paths["lock"], elsewhere())
    look = _holder.fate

    def meanwhile(found: dict[str, Any]) -> str:
        _release_lock.take(blog.paths["lock"], {"token": "new", "owner": "bob"}, break_token="t")
        return look(found)

    monkeypatch.setattr(_holder, "fate", meanwhile)
    result = unlock(monkeypatch, blog)
    assert result["failed"]
    assert "meanwhile blog was locked by bob" in result["msg"]
    assert _release_lock.still_mine(blog.paths["lock"], "new")
