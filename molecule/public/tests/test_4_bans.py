# SPDX-License-Identifier: GPL-3.0-or-later
"""Who guesses at ssh is banned for a while, and the admin never is."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import testinfra.host

from tests.support.internet import Internet
from tests.support.stack import ROOT
from tests.support.wait import eventually

BAN_TIME = 10  # fail2ban_ban_time of the inventory
SSH = "ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes -o LogLevel=ERROR -o ConnectTimeout=3"
# what an attacker without the key can do, each against an account that exists or one that does not
ATTACKS = {
    "names": "-o PubkeyAuthentication=no guest{number}",
    "passwords": "-o PubkeyAuthentication=no root",
    "keys": "-o IdentitiesOnly=yes -i /tmp/wrong-1 ops",
}


@dataclass(frozen=True)
class Attacker:
    """Somebody in the box around the host, with an address of its own."""

    shell: testinfra.host.Host
    address: str
    target: str

    def ssh(self, words: str) -> str:
        """A login that fails, as a command."""
        return f"{SSH} -b {self.address} {words}@{self.target} true"

    def attack(self, kind: str, times: int = 12) -> None:
        """Failed logins, one connection each, four at a time; does not wait for them."""
        # 255, which ssh says of a failure, would end xargs; what hangs when the ban comes is given up
        one = f"timeout 4 {self.ssh(ATTACKS[kind].format(number='{}'))} || true"
        self.shell.check_output(f"(seq {times} | setsid xargs -P 4 -I {{}} sh -c '{one}') >/dev/null 2>&1 </dev/null &")

    def refused(self, port: int = 22) -> bool:
        """Whether no connection comes about; asked without a word of ssh."""
        ask = f"socket.create_connection(('{self.target}', {port}), 2, source_address=('{self.address}', 0))"
        return bool(self.shell.run(f'python3 -c "import socket; {ask}"').rc)


@pytest.fixture(scope="module")
def addresses(internet: Internet, address: str) -> Iterator[Iterator[str]]:
    """Addresses that nobody has seen before; and a handful of keys that open nothing."""
    shell, network = internet.shell, internet.address.rpartition(".")[0]
    shell.check_output(
        "for n in 1 2 3 4 5; do [ -e /tmp/wrong-$n ] || ssh-keygen -q -t ed25519 -N '' -f /tmp/wrong-$n; done"
    )
    # high ones, which scripts/box gives to nobody here
    mine = [f"{network}.{number}" for number in range(240, 250)]
    device = shell.check_output("ip -o route get %s", address).split(" dev ")[1].split()[0]
    for one in mine:
        shell.check_output("ip address replace %s/24 dev %s", one, device)
    yield iter(mine)
    for one in mine:
        shell.run("ip address delete %s/24 dev %s", one, device)


@pytest.fixture
def attacker(internet: Internet, address: str, addresses: Iterator[str]) -> Attacker:
    """Somebody whom the host does not know."""
    return Attacker(internet.shell, next(addresses), address)


def admin_gets_in(address: str) -> bool:
    """A connection of its own, from where the host is administered."""
    key = ROOT / ".ansible" / "box" / "id_ed25519"
    command = f"{SSH} -F none -o ControlPath=none -i {key} ops@{address} sudo -n true"
    return subprocess.run(command.split(), check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("kind", ATTACKS)
def test_brute_force_is_banned_and_the_admin_is_not(attacker: Attacker, address: str, kind: str) -> None:
    assert not attacker.refused()
    attacker.attack(kind)
    eventually(attacker.refused)
    # from ssh alone: behind the same address there may be visitors
    assert not attacker.refused(port=443)
    assert admin_gets_in(address)


def test_a_ban_ends_and_the_next_one_is_longer(attacker: Attacker, host: testinfra.host.Host) -> None:
    attacker.attack("names")
    eventually(attacker.refused)
    # neither who reloads the firewall nor who restarts the service lets anybody off
    host.check_output("ufw reload")
    host.check_output("systemctl restart fail2ban")
    eventually(attacker.refused, seconds=4)
    # tries that were under way meanwhile may count as the next attack, whose ban is twice as long
    eventually(lambda: not attacker.refused(), seconds=3 * BAN_TIME + 6)
    attacker.attack("names")
    eventually(attacker.refused)
    bans = host.check_output("fail2ban-client get sshd banip --with-time").splitlines()
    mine = next(line for line in bans if line.startswith(attacker.address))
    assert int(mine.split(" + ")[1].split()[0]) > BAN_TIME, mine


def test_an_agent_with_many_keys_bans_nobody(attacker: Attacker, host: testinfra.host.Host) -> None:
    private = (ROOT / ".ansible" / "box" / "id_ed25519").read_text()
    attacker.shell.check_output("install -m 600 /dev/null /tmp/right && printf %%s %s > /tmp/right", private)
    keys = "".join(f"-i /tmp/wrong-{number} " for number in range(1, 6)) + "-i /tmp/right"
    login = attacker.ssh(f"-o IdentitiesOnly=yes {keys} ops")
    # the sixth key is the right one, each time
    assert attacker.shell.run(f"for n in $(seq 12); do {login} || exit 1; done; rm /tmp/right").rc == 0
    log = host.check_output("journalctl -u ssh --since -1min -o cat")
    assert log.count(f"Failed publickey for ops from {attacker.address}") >= 60
    # whoever came in by key may then fail as often as it likes
    attacker.attack("names", times=15)
    ignored = f"journalctl -u fail2ban --since -1min -o cat | grep -c 'sshd. Ignore {attacker.address}'"
    eventually(lambda: int(host.run(ignored).stdout) >= 15)
    assert not attacker.refused()
    assert attacker.address not in host.check_output("fail2ban-client status sshd")


def test_tries_before_the_first_login_are_forgiven(
    internet: Internet, address: str, addresses: Iterator[str], host: testinfra.host.Host
) -> None:
    """A first run with the wrong key fails eight times; when the right one has come, so does fail2ban, and reads the journal."""
    mended, other = (Attacker(internet.shell, next(addresses), address) for _ in range(2))
    private = (ROOT / ".ansible" / "box" / "id_ed25519").read_text()
    mended.shell.check_output("install -m 600 /dev/null /tmp/right && printf %%s %s > /tmp/right", private)
    # as on a host that never had it
    host.check_output("systemctl stop fail2ban && rm -f /var/lib/fail2ban/fail2ban.sqlite3")
    try:
        for one in (mended, other):
            one.attack("names", times=20)
        failures = "journalctl -u ssh --since -1min -o cat | grep -c 'Invalid user guest.* from {} '"
        for one in (mended, other):
            eventually(lambda one=one: int(host.run(failures.format(one.address)).stdout) >= 12, seconds=30)
        # while tries are under way, sshd turns some away whoever they are (MaxStartups)
        login = f"{mended.ssh('-o IdentitiesOnly=yes -i /tmp/right ops')} || exit 1"
        eventually(lambda: mended.shell.run(login).rc == 0, seconds=30)
    finally:
        mended.shell.run("rm -f /tmp/right")
        host.check_output("systemctl start fail2ban")
    eventually(other.refused)
    assert not mended.refused()
    assert admin_gets_in(address)


def test_only_the_ssh_server_itself_is_believed(attacker: Attacker, host: testinfra.host.Host) -> None:
    lie = "Invalid user admin from 203.0.113.9 port 4711"
    host.check_output(
        "cp /usr/bin/logger /tmp/sshd; for n in $(seq 15); do"
        f" runuser -u www-data -- /tmp/sshd --tag sshd --id=1 '{lie}'; done; rm /tmp/sshd"
    )
    # not of all: the journal has to ask while the program is still there
    assert host.check_output("journalctl --since -1min -o cat _COMM=sshd").count(lie) > 0
    # a real one comes after those, so that they have been looked at when it is found
    attacker.attack("names", times=1)
    found = f"journalctl -u fail2ban --since -1min -o cat | grep 'sshd. Found {attacker.address}'"
    eventually(lambda: host.run(found).rc == 0)
    assert "203.0.113.9" not in host.check_output("journalctl -u fail2ban --since -1min -o cat")


def test_it_takes_little(host: testinfra.host.Host) -> None:
    shares = host.check_output("cat /proc/$(systemctl show -P MainPID fail2ban)/smaps_rollup")
    # the plan of a host counts 16 MiB for it
    assert int(shares.split("Pss:")[1].split()[0]) < 18 * 1024
