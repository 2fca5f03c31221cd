# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates and variables of accounts, sshd, firewall, fail2ban and updates, rendered without a host."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLES = Path(__file__).resolve().parents[2] / "roles"
HARDENING = ["accounts", "sshd", "firewall", "fail2ban", "updates"]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP8x995Ka0TA78QlKJrmeGVKOyDMxX38FfdNxV1gabcd me@laptop"


def load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def trusted(value: Any) -> Any:
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return {key: trusted(item) for key, item in value.items()} if isinstance(value, dict) else value


class Role:
    """A role's defaults and vars with some of them changed."""

    def __init__(self, name: str, **changed: Any) -> None:
        self.folder = ROLES / name
        variables = load(self.folder / "defaults/main.yml") | load(self.folder / "vars/main.yml")
        facts = {"flaskhost": {"ssh": {"port": 22, "client": "192.0.2.1", "socket_activated": False}, "packages": []}}
        everything = (
            trusted(
                {"ansible_managed": "by hand, it is lost", "ansible_facts": facts, "ansible_user": "admin"} | variables
            )
            | changed
        )
        self.templar = Templar(loader=DataLoader(), variables=everything)

    def value(self, expression: str) -> Any:
        return self.templar.template(trust_as_template("{{ " + expression + " }}"))

    def file(self, path: str) -> list[str]:
        """Lines of a template without comments and empty lines."""
        text = trust_as_template((self.folder / "templates" / f"{path}.j2").read_text(encoding="utf-8"))
        overrides = {"trim_blocks": True, "lstrip_blocks": True}
        lines = self.templar.template(text, overrides=overrides).splitlines()
        return [line for line in lines if line.strip() and not line.startswith(("#", "//"))]


@pytest.mark.parametrize("role", HARDENING)
def test_defaults_are_the_documented_ones(role: str) -> None:
    options = load(ROLES / role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert {name: option["default"] for name, option in options.items()} == load(ROLES / role / "defaults/main.yml")


DROP_IN = "etc/ssh/sshd_config.d/00-flaskhost.conf"


def test_sshd_lets_keys_in_and_nothing_else() -> None:
    lines = Role("sshd").file(DROP_IN)
    for line in (
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "AuthenticationMethods publickey",
        "PermitRootLogin no",
        "X11Forwarding no",
    ):
        assert line in lines
    assert not [line for line in lines if line.startswith(("Port", "AllowUsers", "AllowGroups", "Match"))]


@pytest.mark.parametrize(
    ("port", "ports"), [(22, []), ([22], []), (2222, ["Port 2222"]), ([2222, 22], ["Port 22", "Port 2222"])]
)
def test_sshd_ports(port: Any, ports: list[str]) -> None:
    role = Role("sshd", sshd_port=port)
    assert [line for line in role.file(DROP_IN) if line.startswith("Port")] == ports
    assert role.value("__sshd_socket_port") is False


def test_sshd_behind_a_socket() -> None:
    role = Role("sshd", sshd_port=2222, sshd_socket_activated=True)
    assert role.value("__sshd_socket_port") is True
    lines = role.file("etc/systemd/system/ssh.socket.d/00-flaskhost.conf")
    # the empty one takes port 22 away
    assert lines == ["[Socket]", "ListenStream=", "ListenStream=2222"]
    assert Role("sshd", sshd_socket_activated=True).value("__sshd_socket_port") is False


def effective(user_lines: str, root_lines: str = "", wrong: str = "(nothing)") -> dict[str, str]:
    """What the proof's command prints, where ``wrong`` is not as it should be."""
    always = "\n".join(Role("sshd").value("__sshd_always"))
    root = root_lines or f"{always}\npermitrootlogin no"
    user = f"{always}\npermitrootlogin no\n{user_lines}\ngroups admin sudo"
    first = "Include /etc/ssh/sshd_config.d/*.conf"
    text = f"== first line\n{first}\n== root\n{root}\ngroups root\n== admin\n{user}\n== pending"
    return {"stdout": text.replace(wrong, "something else")}


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        (effective(""), []),
        (effective("", "passwordauthentication no\npermitrootlogin yes"), None),
        (effective("", wrong="x11forwarding no"), ["x11forwarding no"]),
    ],
)
def test_sshd_proof(lines: dict[str, str], missing: list[str] | None) -> None:
    found = Role("sshd", __sshd_effective=lines).value("__sshd_missing")
    assert found == missing if missing is not None else "permitrootlogin no" in found


@pytest.mark.parametrize(
    ("lines", "let_in"),
    [
        ("", True),
        ("allowusers admin", True),
        ("allowusers a*n@192.0.2.*", True),
        ("allowusers ubuntu\nallowusers admin", True),
        ("allowusers adm", False),
        ("allowusers ubuntu", False),
        ("allowgroups wheel\nallowgroups sudo", True),
        ("allowgroups wheel", False),
        ("denyusers ubuntu", True),
        ("denyusers admin", False),
        ("denyusers a*", False),
        ("denygroups sudo", False),
        ("authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2", True),
        ("authorizedkeysfile /etc/ssh/keys/%u", False),
    ],
)
def test_sshd_admission(lines: str, let_in: bool) -> None:
    role = Role("sshd", __sshd_effective=effective(lines), sshd_connecting_user="admin")
    tasks = yaml.safe_load((ROLES / "sshd/tasks/prove.yml").read_text(encoding="utf-8"))
    proof = next(task for task in tasks if "is let in" in task["name"])["ansible.builtin.assert"]["that"]
    assert all(role.value(f"true if ({condition}) else false") for condition in proof) is let_in


def host_keys(*keys: tuple[str, int]) -> dict[str, Any]:
    """Facts of a host with these keys."""
    found = [{"path": f"/k/{kind.lower()}", "bits": bits, "type": kind} for kind, bits in keys]
    return {
        "flaskhost": {"ssh": {"host_keys": found, "kex": ["curve25519-sha256", "sntrup761x25519-sha512@openssh.com"]}}
    }


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        (host_keys(("RSA", 3072), ("ECDSA", 256), ("ED25519", 256)), ["/k/ed25519", "/k/rsa"]),
        (host_keys(("RSA", 2048), ("DSA", 1024), ("ED25519", 256)), ["/k/ed25519"]),
        # the role makes this one
        (host_keys(("RSA", 1024), ("DSA", 1024)), ["/etc/ssh/ssh_host_ed25519_key"]),
        ({"flaskhost": {}}, ["/etc/ssh/ssh_host_ed25519_key"]),
    ],
)
def test_sshd_shows_good_keys_only(facts: dict[str, Any], shown: list[str]) -> None:
    lines = Role("sshd", ansible_facts=facts).file(DROP_IN)
    assert [line.split()[1] for line in lines if line.startswith("HostKey ")] == shown
    # what an older sshd does not know would make it refuse the whole file
    assert "KexAlgorithms sntrup761x25519-sha512@openssh.com" in lines


@pytest.mark.parametrize(
    ("groups", "allowed", "written"),
    [
        (["admin", "sudo"], ["sudo"], "AllowGroups sudo"),
        (["admin", "sudo"], ["wheel"], "AllowGroups wheel admin"),
        # where all are in one group, it would let all in
        (["users"], ["wheel"], "AllowGroups wheel"),
    ],
)
def test_sshd_never_shuts_its_own_login_out(groups: list[str], allowed: list[str], written: str) -> None:
    facts = {"flaskhost": {"users": {"admin": {"groups": groups}}}}
    role = Role("sshd", ansible_facts=facts, sshd_allow_groups=allowed)
    assert [line for line in role.file(DROP_IN) if line.startswith("AllowGroups")] == [written]


def user(**changed: Any) -> dict[str, Any]:
    """An account as the host tells of it."""
    usual = {"shell": "/bin/bash", "expires": "", "home": "/home/me", "home_exists": True, "uid": 1000, "gid": 1000,
             "groups": ["me"], "locked": False, "password_forced": False, "password_ages": False}  # fmt: skip
    return usual | changed


@pytest.mark.parametrize(
    ("known", "due"),
    [
        (user(), False),
        (user(password_ages=True), True),
        (user(password_forced=True), True),
        (user(expires="1"), True),
        (user(shell="/bin/sh"), True),
    ],
)
def test_admins_that_have_to_be_made(known: dict[str, Any], due: bool) -> None:
    admins = [{"name": "me", "keys": ["ssh-ed25519 A"]}]
    role = Role("accounts", ansible_facts={"flaskhost": {"users": {"me": known}}}, accounts_admins=admins)
    assert bool(role.value("__accounts_due")) is due


@pytest.mark.parametrize(
    ("known", "due"),
    [
        ({"me": user(shell="/usr/sbin/nologin", expires="0", locked=True)}, False),
        ({"me": user(shell="/usr/sbin/nologin", expires="0", locked=True, groups=["me", "sudo"])}, True),
        ({"me": user()}, True),
        ({"other": user()}, False),
        ({}, True),  # nobody asked the host
    ],
)
def test_former_admins_that_have_to_be_shut_out(known: dict[str, Any], due: bool) -> None:
    admins = [{"name": "me", "state": "absent"}]
    role = Role("accounts", ansible_facts={"flaskhost": {"users": known}}, accounts_admins=admins, __accounts_former={})
    assert bool(role.value("__accounts_former_due")) is due
    assert role.value("__accounts_former_homes") == ([{"home": "/home/me"}] if "me" in known else [])


def test_sudoers() -> None:
    admins = [
        {"name": "alice", "keys": [KEY]},
        {"name": "bob", "keys": [KEY], "sudo": "password", "password_hash": "x"},
        {"name": "eve", "state": "absent"},
    ]
    assert Role("accounts", accounts_admins=admins).file("etc/sudoers.d/flaskhost-admins") == [
        "alice ALL=(ALL:ALL) NOPASSWD: ALL",
        "bob ALL=(ALL:ALL) ALL",
    ]


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        f'from="192.0.2.0/24",command="echo a b" {KEY}',
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDabcdefghijklmnop==",
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABB me",
        "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIabcdefghijkl me",
    ],
)
def test_keys_that_are_fine(key: str) -> None:
    assert Role("accounts", accounts_admins=[{"name": "me", "keys": [key]}]).value("__accounts_problems") == []


@pytest.mark.parametrize(
    ("admins", "words"),
    [
        ([], "There is no admin"),
        ([{"name": "me", "state": "absent"}], "There is no admin"),
        ([{"name": "me", "keys": []}], '"me" has no key'),
        ([{"name": "me"}], '"me" has no key'),
        ([{"name": "Me", "keys": [KEY]}], "no login name"),
        ([{"name": "root", "keys": [KEY]}], "belongs to the system"),
        ([{"name": "me", "keys": [KEY]}, {"name": "me", "keys": [KEY]}], "more than once"),
        ([{"name": "me", "keys": [KEY, "ssh-dss AAAAB3NzaC1kc3M"]}], "Key 2 of"),
        ([{"name": "me", "keys": ["ssh-ed25519 AAAAB3NzaC1yc2EAAAADAQABAAAB"]}], "no public key line"),
        ([{"name": "me", "keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]}], "PRIVATE"),
        ([{"name": "me", "keys": [KEY], "sudo": "password"}], "needs a password"),
        ([{"name": "me", "keys": [KEY]}, {"name": "admin", "state": "absent"}], "logged in as that account"),
    ],
)
def test_mistakes_in_admins(admins: list[dict[str, Any]], words: str) -> None:
    assert words in " ".join(Role("accounts", accounts_admins=admins).value("__accounts_problems"))


@pytest.mark.parametrize(
    ("used", "given", "rules"),
    [
        (22, [], ["22"]),
        (2222, [], ["2222"]),
        (22, [2222], ["22,2222"]),
        (22, [22], ["22"]),
        (0, [], []),
        (0, [22], ["22"]),
    ],
)
def test_ssh_stays_open(used: int, given: list[int], rules: list[str]) -> None:
    facts = {"flaskhost": {"ssh": {"port": used}}}
    role = Role("firewall", ansible_facts=facts, firewall_ssh_ports=given)
    assert [str(rule["port"]) for rule in role.value("__firewall_ssh_rules")] == rules


def test_ssh_is_slowed_down_for_all_but_the_admins() -> None:
    assert Role("firewall").value("__firewall_ssh_rules")[0]["action"] == "allow"
    trusted_rule, other = Role("firewall", firewall_ssh_trusted=["192.0.2.0/24"]).value("__firewall_ssh_rules")
    assert (trusted_rule["from"], trusted_rule.get("action", "allow")) == (["192.0.2.0/24"], "allow")
    assert (other["from"], other["action"]) == (["any"], "limit")


def test_the_database_is_open_for_web_hosts_alone() -> None:
    tasks = load(ROLES.parent / "playbooks/base.yml")[0]["tasks"]
    block = next(task["block"] for task in tasks if "block" in task)
    wiring = next(task["vars"] for task in block if task["name"].startswith("Close all ports"))

    def rules(**variables: Any) -> Any:
        everything = (
            trusted(wiring)
            | {"group_names": ["db"], "ansible_host": "192.0.2.1", "flaskhost_firewall_rules": []}
            | variables
        )
        return Templar(loader=DataLoader(), variables=everything).template(trust_as_template("{{ firewall_rules }}"))

    # this host itself, a web host, a name that ufw could not take, and IPv6
    hosts = ["127.0.0.1", "localhost", "192.0.2.1", "192.0.2.7", "web.example.com", "2001:db8::7"]
    assert rules(flaskhost_databases=[{"hosts": hosts}, {"hosts": ["192.0.2.7"]}], mysql_settings={"port": 3307}) == [
        {"port": 3307, "from": ["192.0.2.7", "2001:db8::7"], "comment": "database"}
    ]
    assert rules(flaskhost_databases=[{"hosts": hosts[:3]}]) == []
    assert rules() == []


def test_updates() -> None:
    lines = Role("updates", updates_reboot=True, updates_blacklist=["^linux-"]).file(
        "etc/apt/apt.conf.d/60flaskhost-updates"
    )
    assert 'Unattended-Upgrade::Automatic-Reboot "true";' in lines
    assert '    "^linux-";' in lines
    assert '    "origin=Debian,codename=${distro_codename}-security,label=Debian-Security";' in lines


JAILS = "etc/fail2ban/jail.d/flaskhost.local"


def jails(**changed: Any) -> configparser.ConfigParser:
    """The jails of fail2ban, as it reads them."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string("\n".join(Role("fail2ban", **changed).file(JAILS)))
    return parser


def test_bans_of_ssh() -> None:
    made = jails()
    assert made.sections() == ["sshd", "flaskhost-known"]
    assert made["DEFAULT"]["ignoreip"] == "127.0.0.0/8 ::1"
    assert made["sshd"]["port"] == "22"
    # lines of an app's own are not believed
    assert {made[name]["journalmatch"] for name in made.sections()} == {"_SYSTEMD_UNIT=ssh.service _UID=0"}


def test_bans_follow_ssh_and_spare_the_admin() -> None:
    made = jails(fail2ban_ssh_ports=[2222, 22], fail2ban_ignore=["control", "198.51.100.7/24"])
    assert made["sshd"]["port"] == "22,2222"
    assert made["DEFAULT"]["ignoreip"] == "127.0.0.0/8 ::1 192.0.2.1 198.51.100.0/24"


@pytest.mark.parametrize("nothing", ["0", 0])
def test_bans_without_favour(nothing: Any) -> None:
    made = jails(fail2ban_known_time=nothing)
    assert made.sections() == ["sshd"]
    assert "ignorecommand" not in made["DEFAULT"]


def test_more_jails() -> None:
    made = jails(fail2ban_jails={"nginx-limit-req": {"maxretry": 100}, "postfix": {"enabled": False}})
    assert dict(made["nginx-limit-req"]) == dict(made["DEFAULT"]) | {"enabled": "true", "maxretry": "100"}
    assert made["postfix"]["enabled"] == "false"
