# SPDX-License-Identifier: GPL-3.0-or-later
"""The way back: what is noted before a change, and what comes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _revert
from ansible_collections.flaskhost.stack.plugins.module_utils._fileset import apply_fileset
from ansible_collections.flaskhost.stack.plugins.module_utils._guard import BOOT_LINK, BOOT_UNIT, Guard, GuardError
from ansible_collections.flaskhost.stack.plugins.module_utils._revert import MARKER, PROGRAM, Revert, put

from tests.support.host import GROUP, USER

PASSWD = "root:x:0:0:root:/root:/bin/bash\nops:x:1000:1000::/home/ops:/bin/bash\n"
SHADOW = "root:*:20000:0:99999:7:::\nops:*:20000:0:99999:7:::\n"
GROUPS = "root:x:0:\nsudo:x:27:ops,pi\nops:x:1000:\n"
DROP_IN = "/etc/ssh/sshd_config.d/00-flaskhost.conf"
KEYS = "/home/ops/.ssh/authorized_keys"


class Machine:
    """A host's files below a directory, and its systemd, ufw and sshd, which note what they are told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.told: list[str] = []
        self.fails: dict[str, str] = {}
        self.answers = {
            "systemctl is-active --quiet ssh.socket": 3,
            "systemctl is-active flaskhost-revert.timer flaskhost-revert.service": 3,
            "iptables -w 5 -n -L ufw-user-input": 1,
        }
        for path, text in {
            "/proc/sys/kernel/random/boot_id": "first",
            "/etc/passwd": PASSWD, "/etc/shadow": SHADOW, "/etc/group": GROUPS, "/etc/gshadow": GROUPS,
            "/etc/sudoers": "root ALL=(ALL) ALL\n", "/etc/sudoers.d/README": "read\n",
            "/etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\n", "/etc/ssh/moduli": "large\n",
            "/etc/ssh/sshd_config.d/50-cloud-init.conf": "PasswordAuthentication yes\n",
            "/etc/default/ufw": "IPV6=yes\n", "/etc/ufw/ufw.conf": "ENABLED=no\n", "/etc/ufw/user.rules": "### old\n",
            KEYS: "ssh-ed25519 OLD\n",
        }.items():  # fmt: skip
            self.write(path, text)

    def run(self, words: list[str]) -> tuple[int, str]:
        command = " ".join(words)
        self.told.append(command)
        for beginning, output in self.fails.items():
            if command.startswith(beginning):
                return 1, output
        return self.answers.get(command, 0), ""

    def write(self, path: str, text: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def there(self, path: str) -> bool:
        return os.path.lexists(self.root / path.lstrip("/"))

    def guard(self, area: str, token: str = "", timeout: int = 60, accounts: tuple[str, ...] = ()) -> Guard:
        wanted = {"area": area, "timeout": timeout, "token": token, "accounts": list(accounts)}
        return Guard(wanted, self.run, str(self.root))

    def revert(self) -> Revert:
        return Revert(str(self.root), self.run, lambda line: None)

    def state(self) -> dict[str, str]:
        """All of /etc and /home, but for what arming itself brings."""
        places = [*(self.root / "etc").rglob("*"), *(self.root / "home").rglob("*")]
        mine = (BOOT_UNIT, BOOT_LINK, "/etc/.pwd.lock")
        files = {"/" + str(path.relative_to(self.root)): path for path in places if path.is_file() or path.is_symlink()}
        return {name: path.read_text() for name, path in files.items() if name not in mine}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def change(machine: Machine) -> str:
    """What a run does to all three areas; its token."""
    facts = machine.guard("accounts", accounts=("ops", "new")).arm([KEYS, "/etc/sudoers.d/flaskhost-admins"])
    token = str(facts["flaskhost_guard"]["token"])
    machine.write(KEYS, "ssh-ed25519 NOBODYS\n")
    machine.write("/etc/sudoers.d/flaskhost-admins", "new ALL=(ALL) ALL\n")
    machine.write(
        "/etc/passwd",
        PASSWD.replace("/home/ops:/bin/bash", "/home/ops:/usr/sbin/nologin") + "new:x:1001:1001::/home/new:/bin/bash\n",
    )
    machine.write(
        "/etc/shadow",
        SHADOW.replace("ops:*:20000:0:99999:7:::", "ops:!*:20000:0:99999:7::0:") + "new:*:20000:0:99999:7:::\n",
    )
    machine.write("/etc/group", GROUPS.replace("ops,pi", "pi,postfix") + "new:x:1001:\npostfix:x:110:\n")
    machine.guard("firewall", token).arm()
    machine.write("/etc/ufw/ufw.conf", "ENABLED=yes\n")
    machine.write("/etc/ufw/user.rules", "### new\n")
    machine.guard("ssh", token).arm([DROP_IN])
    machine.write(DROP_IN, "Port 2222\n")
    (machine.root / "etc/ssh/sshd_config.d/50-cloud-init.conf").unlink()
    return token


def expire_now(machine: Machine) -> None:
    revert = machine.revert()
    marker = revert.marker()
    assert marker
    marker["deadline"] = 0.0
    revert.set_marker(marker)


def test_all_is_as_it_was_when_nobody_confirms(machine: Machine) -> None:
    before = machine.state()
    change(machine)
    expire_now(machine)
    assert machine.revert().due() == 0
    after = machine.state()
    # an account that was made stays, shut out; what others did meanwhile stays too
    assert after.pop("/etc/passwd") == PASSWD + "new:x:1001:1001::/home/new:/bin/bash\n"
    assert after.pop("/etc/shadow") == SHADOW + "new:*:20000:0:99999:7::1:\n"
    assert after.pop("/etc/group") == GROUPS.replace("ops,pi", "pi,postfix,ops") + "new:x:1001:\npostfix:x:110:\n"
    assert after == {
        name: text for name, text in before.items() if name not in ("/etc/passwd", "/etc/shadow", "/etc/group")
    }
    assert not machine.there(MARKER)
    assert machine.revert().last()["state"] == "reverted"
    assert "ufw --force disable" in machine.told
    assert machine.told.index("sshd -t") < machine.told.index("systemctl reload-or-restart ssh.service")


def test_what_is_confirmed_stays(machine: Machine) -> None:
    token = change(machine)
    before = machine.state()
    assert machine.revert().confirm(token)["state"] == "confirmed"
    assert "systemctl stop flaskhost-revert.timer" in machine.told
    assert machine.revert().due() == 0
    assert machine.revert().at_boot() == 0
    assert machine.state() == before
    # nor is anything left that could be read: it held hashes of passwords
    assert not machine.there(MARKER)


def test_only_what_is_armed_can_be_confirmed(machine: Machine) -> None:
    token = change(machine)
    assert machine.revert().confirm("another")["state"] == "other"
    assert machine.there(MARKER)
    expire_now(machine)
    assert machine.revert().confirm(token)["state"] == "late"
    machine.revert().due()
    assert machine.revert().confirm(token)["state"] == "reverted"


@pytest.mark.parametrize("after", range(0, 14))
def test_it_may_be_killed_anywhere_and_begin_anew(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    before = machine.state()
    change(machine)
    expire_now(machine)
    calls = 0

    def deadly(*words: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == after:
            raise KeyboardInterrupt
        return real(*words)

    real = _revert.put if after % 2 else _revert.write
    monkeypatch.setattr(_revert, "put" if after % 2 else "write", deadly)
    try:
        machine.revert().due()
    except KeyboardInterrupt:
        assert machine.there(MARKER)
    monkeypatch.undo()
    machine.revert().due()
    after_all = machine.state()
    for name in (KEYS, "/etc/ufw/user.rules", "/etc/ssh/sshd_config.d/50-cloud-init.conf"):
        assert after_all[name] == before[name]
    assert DROP_IN not in after_all
    assert not [name for name in after_all if ".revert-" in name and calls < after]


def test_a_reboot_in_the_middle_goes_back_before_anything_starts(machine: Machine) -> None:
    change(machine)
    machine.write("/proc/sys/kernel/random/boot_id", "second")
    machine.told.clear()
    assert machine.revert().at_boot() == 0
    assert not machine.there(DROP_IN)
    assert machine.read("/etc/ufw/ufw.conf") == "ENABLED=no\n"
    assert not [
        command for command in machine.told if command.startswith(("ufw", "systemctl reload", "systemctl restart"))
    ]
    # it would fail: its directory in /run is not there yet
    assert "sshd -t" not in machine.told
    assert not machine.there(MARKER)
    unit = machine.read(BOOT_UNIT)
    assert f"ConditionPathExists={MARKER}" in unit
    assert "ufw.service ssh.service ssh.socket" in unit
    assert os.readlink(machine.root / BOOT_LINK.lstrip("/")) == BOOT_UNIT


def test_what_fails_at_boot_is_tried_again_when_all_runs(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    change(machine)
    machine.write("/proc/sys/kernel/random/boot_id", "second")
    machine.told.clear()
    monkeypatch.setattr(Revert, "set_aside", fail)
    assert machine.revert().at_boot() == 1
    assert machine.there(MARKER)
    assert [command.split()[2] for command in machine.told if command.startswith("systemd-run")] == ["--on-active=3s"]
    monkeypatch.undo()
    assert machine.revert().due() == 0
    assert not machine.there(DROP_IN)


def fail(*_words: Any) -> None:
    raise OSError("the disk is not there yet")


def test_what_fails_is_tried_again_and_the_rest_is_done(machine: Machine) -> None:
    change(machine)
    expire_now(machine)
    machine.fails["sshd -t"] = "Bad configuration option"
    # systemd starts it anew
    assert machine.revert().due() == 1
    assert "ufw --force disable" in machine.told
    assert machine.read(KEYS) == "ssh-ed25519 OLD\n"
    assert not [command for command in machine.told if "reload-or-restart" in command]
    machine.fails.clear()
    assert machine.revert().due() == 0
    assert [command for command in machine.told if "reload-or-restart" in command]


def test_it_gives_up_at_last_and_says_so(machine: Machine) -> None:
    change(machine)
    expire_now(machine)
    machine.fails["sshd -t"] = "Bad configuration option"
    assert [machine.revert().due() for _ in range(_revert.ATTEMPTS)] == [1] * (_revert.ATTEMPTS - 1) + [0]
    last = machine.revert().last()
    assert last["state"] == "failed"
    assert "Bad configuration option" in last["what"][0]


def test_the_first_state_counts_however_often_it_is_armed(machine: Machine) -> None:
    token = change(machine)
    machine.guard("accounts", token, accounts=("ops",)).arm([KEYS])
    machine.guard("ssh", token).arm([DROP_IN])
    starts = [command for command in machine.told if command.startswith("systemd-run")]
    assert starts
    assert "--on-active=60s" in starts[0]
    machine.answers["systemctl is-active flaskhost-revert.timer flaskhost-revert.service"] = 0
    expire_now(machine)
    machine.revert().due()
    assert machine.read(KEYS) == "ssh-ed25519 OLD\n"
    assert not machine.there(DROP_IN)


def test_a_run_that_was_too_slow_changes_nothing_more(machine: Machine) -> None:
    token = change(machine)
    expire_now(machine)
    machine.revert().due()
    with pytest.raises(GuardError, match="raise flaskhost_confirm_timeout"):
        machine.guard("ssh", token).arm([DROP_IN])
    assert not machine.there(MARKER)


def test_without_a_timer_nothing_changes(machine: Machine) -> None:
    machine.fails["systemd-run"] = "Failed to connect to bus"
    with pytest.raises(GuardError, match="nothing was changed: Failed to connect"):
        machine.guard("ssh").arm([DROP_IN])
    assert not machine.there(MARKER)


def test_zero_seconds_arm_nothing(machine: Machine) -> None:
    assert machine.guard("ssh", timeout=0).arm([DROP_IN]) == {}
    assert machine.told == []
    assert not machine.there("/var/lib/flaskhost")


def test_a_file_that_sshd_never_read_was_not_part_of_what_was(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = "/etc/ssh/sshd_config.d/99-hand.conf"
    old = machine.root / "etc/ssh/sshd_config.d/50-cloud-init.conf"
    machine.write(hand, "Match User ops\n    ForceCommand /bin/false\n")
    machine.write(DROP_IN, "# (role sshd of flaskhost.stack)\n")
    loaded = old.stat().st_ctime
    for name, when in (
        ("50-cloud-init.conf", loaded - 100),
        ("99-hand.conf", loaded + 100),
        ("00-flaskhost.conf", loaded + 100),
    ):
        monkeypatch.setitem(TIMES, name, when)
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **kw: Stat(real(path, **kw), TIMES.get(os.path.basename(str(path)))))
    guard = machine.guard("ssh")
    monkeypatch.setattr(guard, "run", lambda words: (0, "5000000") if "show" in words else machine.run(words))
    monkeypatch.setattr("time.clock_gettime", lambda clock: 5.0)
    monkeypatch.setattr("time.time", lambda: loaded)
    guard.arm()
    monkeypatch.undo()
    expire_now(machine)
    machine.revert().due()
    assert not machine.there(hand)
    assert machine.there(DROP_IN)
    assert machine.there("/etc/ssh/sshd_config.d/50-cloud-init.conf")
    kept = list((machine.root / "var/lib/flaskhost/set-aside").iterdir())
    assert [path.read_text() for path in kept] == ["Match User ops\n    ForceCommand /bin/false\n"]


TIMES: dict[str, float] = {}


class Stat:
    """A file's state with another time of change."""

    def __init__(self, real: os.stat_result, when: float | None) -> None:
        self._real = real
        self.st_ctime = real.st_ctime if when is None else when

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_what_systemd_listened_on_it_listens_on_again(machine: Machine) -> None:
    machine.answers["systemctl is-active --quiet ssh.socket"] = 0
    change(machine)
    expire_now(machine)
    machine.revert().due()
    assert machine.told.index("systemctl stop ssh.service") < machine.told.index("systemctl restart ssh.socket")
    assert not [command for command in machine.told if "reload-or-restart" in command]


def test_a_firewall_that_was_on_stays_on(machine: Machine) -> None:
    machine.write("/etc/ufw/ufw.conf", "ENABLED=yes\n")
    machine.answers["iptables -w 5 -n -L ufw-user-input"] = 0
    change(machine)
    expire_now(machine)
    machine.revert().due()
    assert "ufw reload" in machine.told
    assert not [command for command in machine.told if "disable" in command]
    assert not [command for command in machine.told if "iptables" in command and "-L" not in command]


def test_kinds_of_files_come_back(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "folder").mkdir(mode=0o750)
    (tmp_path / "file").write_text("x")
    (tmp_path / "file").chmod(0o600)
    former = {name: _revert.look(str(tmp_path / name)) for name in ("link", "folder", "file", "none")}
    (tmp_path / "link").unlink()
    (tmp_path / "folder").rmdir()
    (tmp_path / "file").write_text("y")
    (tmp_path / "file").chmod(0o644)
    (tmp_path / "none").mkdir()
    assert all(put(str(tmp_path / name), state) for name, state in former.items())
    assert {name: _revert.look(str(tmp_path / name)) for name in former} == former
    assert not any(put(str(tmp_path / name), state) for name, state in former.items())
    # somebody put something into what was not there: it is not ours to delete
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "theirs").touch()
    assert not put(str(tmp_path / "none"), former["none"])


def test_a_fileset_arms_only_for_a_change(tmp_path: Path) -> None:
    armed: list[list[str]] = []
    entry = {"path": str(tmp_path / "a"), "content": "x", "mode": "0600", "owner": USER, "group": GROUP}

    def before(changes: Any) -> None:
        assert not (tmp_path / "a").exists()
        armed.append([change.path for change in changes])

    apply_fileset([entry], [], check=True, before=before)
    assert armed == []
    for _ in range(2):
        apply_fileset([entry], [], before=before)
    assert armed == [[str(tmp_path / "a")]]


def test_the_program_stands_alone(machine: Machine) -> None:
    """On the host there is no Ansible: it has to run from its own text, with nothing but Python."""
    change(machine)
    program = machine.root / PROGRAM.lstrip("/")
    assert os.access(program, os.X_OK)
    run = subprocess.run([sys.executable, "-I", str(program), "nonsense"], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "usage: /usr/local/lib/flaskhost/revert" in run.stderr
    assert json.loads(machine.read(MARKER))["areas"].keys() == {"accounts", "firewall", "ssh"}
    assert (machine.root / MARKER.lstrip("/")).stat().st_mode & 0o777 == 0o600
    assert "/etc/ssh/moduli" not in machine.read(MARKER)
