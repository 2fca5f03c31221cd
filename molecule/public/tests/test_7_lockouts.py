# SPDX-License-Identifier: GPL-3.0-or-later
"""Attempts to shut everybody out. After each, the host lets its admin in by key again in time, and is what it was.

The roles refuse most mistakes before anything changes. What they cannot foresee ends with the host going back by itself.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.stack import ROOT, Run, Running, Stack, box

# for runs that die. Others have the usual two minutes, which a busy machine may need; they do not wait for their end, but have the changes taken back at once.
TIMEOUT = 20
BOXES = ROOT / ".ansible" / "box"
MARKER = "/var/lib/flaskhost/revert-armed.json"
# what a run says that had something to change in the ways in
KEPT = "public-host: confirmed by"
HAND = "/etc/ssh/sshd_config.d/99-hand.conf"
# What lets people in or keeps them out, with owners, modes and contents. Not by -printf: find buffers that, and what it
# runs meanwhile writes into the middle of its lines. Without ufw.service, which counts as started after a boot only.
WAYS_IN = (
    "{ find /etc/ssh /etc/sudoers.d /etc/ufw /etc/default/ufw /home/*/.ssh /etc/systemd/system/ssh.socket.d ! -type d"
    " -exec stat -c '%n %U %G %a' {} + -exec sha256sum {} + 2>/dev/null | sort; sha256sum /etc/sudoers /etc/passwd /etc/shadow /etc/group;"
    " ufw status; systemctl is-active ssh.service ssh.socket; sshd -T | sort | sha256sum; }"
)
Ways = Callable[[], str]
Base = Callable[..., Run]


class Admin:
    """The admin of the host, who has nothing but ssh; each call is a connection of its own."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ssh(self, command: str, port: int = 22, user: str = "ops") -> subprocess.CompletedProcess[str]:
        """A command as root."""
        words = [
            "ssh",
            "-i",
            str(BOXES / "id_ed25519"),
            "-p",
            str(port),
            "-o",
            f"UserKnownHostsFile={BOXES}/known_hosts",
        ]
        for option in (
            "IdentitiesOnly=yes",
            "BatchMode=yes",
            "ControlPath=none",
            "StrictHostKeyChecking=no",
            "ConnectTimeout=3",
        ):
            words += ["-o", option]
        words += [f"{user}@{self.address}", f"sudo -n sh -c {shlex.quote(command)}"]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def gets_in(self, port: int = 22, user: str = "ops") -> bool:
        """Whether a key opens the host and sudo root."""
        return self.ssh("true", port, user).returncode == 0

    def run(self, command: str) -> str:
        """The output of a command that has to succeed."""
        done = self.ssh(command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def is_back(self, within: float) -> bool:
        """Whether the host lets the admin in and has nothing armed any more, at the latest in some seconds."""
        until = time.monotonic() + within
        while time.monotonic() < until:
            if self.ssh(f"test ! -e {MARKER}").returncode == 0:
                return True
            time.sleep(0.3)
        return False

    def last(self) -> dict[str, Any]:
        """How the last attempt ended for the host."""
        return dict(json.loads(self.run("cat /var/lib/flaskhost/revert-last.json")))


@pytest.fixture(scope="module")
def admin(address: str) -> Admin:
    return Admin(address)


@pytest.fixture
def ways(admin: Admin) -> Iterator[Ways]:
    """What lets people in; nothing of an attempt may be left after a test."""
    yield lambda: admin.run(WAYS_IN)
    admin.run(f"rm -f {HAND}; rm -rf /var/lib/flaskhost/set-aside; systemctl reload ssh.service; sleep 1")


@pytest.fixture
def base(stack: Stack) -> Base:
    """The part of site.yml that changes the ways in."""
    return lambda *words, **extra: stack.playbook("site", "--tags", "base", *words, **extra)


@pytest.fixture(scope="module")
def key_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A public key whose private part is lost."""
    path = tmp_path_factory.mktemp("key") / "lost"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    path.unlink()
    return Path(f"{path}.pub").read_text().strip()


def until(condition: Callable[[], bool], run: Running, seconds: float = 90) -> None:
    """Wait for a moment in the middle of a run."""
    end = time.monotonic() + seconds
    while not condition():
        assert run.alive(), run.end().output[-3000:]
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_key_that_nobody_has(admin: Admin, base: Base, ways: Ways, key_of_nobody: str) -> None:
    before = ways()
    run = base(flaskhost_admins=[{"name": "ops", "keys": [key_of_nobody]}])
    assert run.code == 2
    assert "could not be proven that an admin still gets into public-host" in run.output
    assert "Permission denied (publickey)" in run.output
    assert "were taken back: /home/ops/.ssh/authorized_keys" in run.output
    assert ways() == before


def test_a_port_that_somebody_else_has(admin: Admin, base: Base, ways: Ways) -> None:
    """Sshd dies of it: it has no port at all then."""
    before = ways()
    admin.run("systemd-run --unit squatter python3 -m http.server 2222; sleep 1")
    try:
        run = base(sshd_port=2222)
    finally:
        assert admin.is_back(TIMEOUT)
        admin.run("systemctl stop squatter")
    assert run.code == 2
    assert "Port | Log in on the port that ssh has now" in run.output
    assert "were taken back: " in run.output
    assert ways() == before


def test_a_port_that_the_provider_blocks(admin: Admin, base: Base, ways: Ways) -> None:
    before = ways()
    # where no firewall of the host looks: it stands for one that is not on the host
    block = "iptables -t raw -{} PREROUTING -p tcp --dport 2222 -j DROP"
    admin.run(block.format("I"))
    try:
        run = base(sshd_port=2222)
    finally:
        assert admin.is_back(TIMEOUT)
        admin.run(block.format("D"))
    assert run.code == 2
    assert "port 2222): " in run.output
    assert "timed out" in run.output
    assert "ssh of public-host were taken back" in run.output
    assert ways() == before


def test_allow_groups_without_the_login(admin: Admin, base: Base, ways: Ways) -> None:
    before = ways()
    # in the inventory: its own group is added
    base(sshd_allow_groups=["adm"]).check()
    assert "AllowGroups adm ops" in admin.run("cat /etc/ssh/sshd_config.d/00-flaskhost.conf")
    base().check()
    assert ways() == before
    # by hand: refused before sshd reads it
    admin.run(f"echo AllowGroups nogroup > {HAND}")
    by_hand = ways()
    run = base(sshd_max_auth_tries=5)
    assert run.code == 2
    assert "ops, the login of this run, would be refused from the next reload on" in run.output
    # nobody had loaded that file before: it is kept, elsewhere
    assert f"{HAND} was never in use" in run.output
    assert by_hand != before
    assert ways() == before
    assert "AllowGroups nogroup" in admin.run("cat /var/lib/flaskhost/set-aside/*")


def test_what_no_check_foresees_in_a_file_made_by_hand(admin: Admin, base: Base, ways: Ways) -> None:
    before = ways()
    admin.run(f"printf 'Match User ops\\n    ForceCommand /bin/false\\n' > {HAND}")
    run = base(sshd_max_auth_tries=5)
    assert run.code == 2
    assert "could not be proven" in run.output
    assert f"{HAND} was never in use" in run.output
    assert admin.is_back(1)
    assert ways() == before


def test_a_syntax_error_in_a_drop_in(admin: Admin, base: Base, ways: Ways) -> None:
    before = ways()
    admin.run(f"echo NoSuchWord yes > {HAND}")
    run = base(sshd_max_auth_tries=5)
    assert run.code == 2
    assert (
        "`/usr/sbin/sshd -t` refuses /etc/ssh/sshd_config.d/00-flaskhost.conf; all are back as they were" in run.output
    )
    assert "NoSuchWord" in run.output
    # nothing had changed, so nothing is armed
    assert admin.is_back(1)
    admin.run(f"rm {HAND}")
    assert ways() == before


def test_a_firewall_without_ssh(admin: Admin, base: Base, ways: Ways) -> None:
    before = ways()
    run = base(firewall_ssh_from=["192.0.2.1"])
    assert run.code == 2
    assert "so the firewall was not touched" in run.output
    assert ways() == before


def test_a_firewall_that_drops_ssh_where_nobody_looks(admin: Admin, base: Base, ways: Ways) -> None:
    rules = "/etc/ufw/before.rules"
    admin.run(
        f"ufw --force disable; cp -p {rules} /var/tmp/; sed -i '/^COMMIT/i -A ufw-before-input -p tcp --dport 22 -j DROP' {rules}"
    )
    off = ways()
    try:
        run = base()
        assert run.code == 2
        assert "could not be proven" in run.output
        assert "ufw is off" in run.output
        assert admin.is_back(TIMEOUT)
        assert ways() == off
    finally:
        admin.run(f"mv /var/tmp/before.rules {rules}")
        base().check()
    assert "Status: active" in ways()


def test_a_control_machine_that_dies_in_the_middle(
    admin: Admin, stack: Stack, base: Base, ways: Ways, key_of_nobody: str
) -> None:
    before = ways()
    lost: dict[str, Any] = {
        "flaskhost_admins": [{"name": "ops", "keys": [key_of_nobody]}, {"name": "kim", "keys": [key_of_nobody]}]
    }
    with stack.start("site", "--tags", "base", flaskhost_confirm_timeout=TIMEOUT, sshd_port=2222, **lost) as run:
        until(lambda: "Permission denied" in admin.ssh("true", 2222).stderr, run)
        run.kill()
    killed = time.monotonic()
    assert not admin.gets_in()
    assert admin.is_back(TIMEOUT + 5), "nobody was let in again"
    assert time.monotonic() - killed < TIMEOUT + 3
    assert "nobody confirmed the changes within 20 s" in admin.last()["why"]
    # kim was made meanwhile: nothing of a person is deleted, but nobody gets in as kim
    assert "kim" in admin.run("getent passwd kim")
    assert admin.run("awk -F: '$1 == \"kim\" {print $2, $8}' /etc/shadow") == "* 1"
    assert admin.ssh("test ! -e /home/kim/.ssh").returncode == 0
    admin.run("userdel -r kim 2>/dev/null; true")
    assert ways() == before
    assert KEPT not in base().check().output
    assert ways() == before


def test_the_next_run_waits_until_the_host_is_back(admin: Admin, stack: Stack, base: Base, ways: Ways) -> None:
    before = ways()
    rules = [{"port": 8080, "comment": "for a moment"}]
    with stack.start(
        "site", "--tags", "base", flaskhost_confirm_timeout=TIMEOUT, flaskhost_firewall_rules=rules
    ) as run:
        until(lambda: admin.ssh(f"test -e {MARKER}").returncode == 0, run)
        run.kill()
    again = base().check()
    assert "public-host: waited until the changes that an earlier run did not confirm were taken back" in again.output
    assert KEPT not in again.output
    assert ways() == before


def test_a_host_that_restarts_in_the_middle(admin: Admin, name: str, stack: Stack, base: Base, ways: Ways) -> None:
    before = ways()
    # ten minutes: it is not the timer that helps here
    with stack.start("site", "--tags", "base", flaskhost_confirm_timeout=600, sshd_port=2222) as run:
        until(lambda: admin.gets_in(2222), run)
        run.kill()
    if admin.ssh(f"test -e {MARKER}", 2222).returncode:
        pytest.skip("the run was faster than the test")
    box("restart", name, "--power-cut")
    assert admin.is_back(TIMEOUT)
    last = admin.last()
    assert (last["state"], last["why"]) == ("reverted", "the host restarted before the changes were confirmed")
    assert not admin.gets_in(2222)
    assert ways() == before


def test_a_password_that_ages_keeps_no_admin_out(admin: Admin, base: Base) -> None:
    key = (BOXES / "id_ed25519.pub").read_text().strip()
    admins = [{"name": name, "keys": [key]} for name in ("ops", "kim")]
    base(flaskhost_admins=admins).check()
    try:
        admin.run("chage -M 400 ops; chage -d 0 kim")
        assert not admin.gets_in(user="kim")
        base(flaskhost_admins=admins).check()
        assert admin.gets_in(user="kim")
        for user in ("ops", "kim"):
            assert "Password expires\t\t\t\t\t: never" in admin.run(f"chage -l {user}")
        # and a former one stays outside, whatever the key
        base(flaskhost_admins=[admins[0], {"name": "kim", "state": "absent"}]).check()
        assert not admin.gets_in(user="kim")
        assert admin.run("ls /home/kim/.ssh") == ""
    finally:
        admin.run("pkill -KILL -u kim; userdel -r kim 2>/dev/null; true")
