# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the roles that harden and furnish a host, as they show on it."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest
import testinfra.host

from tests.support.stack import ROOT, Stack
from tests.support.web import NamedConnection, Page, ask, fetch, post_entry

Host = testinfra.host.Host
BOTH = pytest.mark.parametrize("letter", ["a", "b"])


def ssh(address: str, user: str, key: Path, command: str) -> subprocess.CompletedProcess[str]:
    words = ["ssh", "-F", "none", "-p", "2222", "-i", str(key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
    words += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", f"{user}@{address}", command]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@BOTH
def test_ssh_has_moved(addresses: dict[str, str], hosts: dict[str, Host], letter: str) -> None:
    assert {port: Page.port_open(addresses[letter], port) for port in (22, 2222)} == {22: False, 2222: True}
    # the firewall's former rule is gone as well, in the first run already
    rules = hosts[letter].check_output("ufw status")
    assert "2222/tcp" in rules
    assert "\n22/tcp" not in rules


def test_where_systemd_listens_it_listens_there(hosts: dict[str, Host]) -> None:
    # b is like Ubuntu, a is not
    assert hosts["b"].run("systemctl is-active ssh.socket").stdout.strip() == "active"
    assert hosts["a"].run("systemctl is-active ssh.socket").stdout.strip() == "inactive"


@BOTH
def test_sshd_has_the_options(hosts: dict[str, Host], letter: str) -> None:
    effective = hosts[letter].check_output("/usr/sbin/sshd -T").splitlines()
    wanted = [
        "port 2222", "allowgroups ops", "allowgroups eve", "maxauthtries 4", "logingracetime 30", "maxstartups 20:50:60",
        "allowtcpforwarding no", "allowagentforwarding yes", "clientaliveinterval 60", "clientalivecountmax 5",
        "loglevel INFO", "passwordauthentication no",
        # b: in spite of cloud-init's file, which says otherwise
        "permitrootlogin " + {"a": "without-password", "b": "no"}[letter],
    ]  # fmt: skip
    assert [line for line in wanted if line not in effective] == []


@BOTH
def test_admins(addresses: dict[str, str], hosts: dict[str, Host], made: Path, letter: str) -> None:
    address, key = addresses[letter], ROOT / ".ansible/box/id_ed25519"
    assert ssh(address, "ops", key, "sudo -n id -un").stdout.strip() == "root"
    # eve has her own key, and sudo asks her for a password
    assert ssh(address, "eve", made / "eve", "id -un").stdout.strip() == "eve"
    assert ssh(address, "eve", key, "true").returncode == 255
    assert "password is required" in ssh(address, "eve", made / "eve", "sudo -n true").stderr
    # bob is out, with his key and his rights; the files of his home are still there
    assert ssh(address, "bob", key, "true").returncode == 255
    assert hosts[letter].run("id -Gn bob").stdout.split() == ["bob"]
    assert not hosts[letter].file("/home/bob/.ssh/authorized_keys").exists
    assert hosts[letter].file("/home/bob").is_directory


def test_firewall_rules(addresses: dict[str, str], hosts: dict[str, Host]) -> None:
    rules = hosts["b"].check_output("ufw status verbose")
    assert "Default: reject (incoming), allow (outgoing)" in rules
    assert "9100,9200:9202/udp         LIMIT IN    192.0.2.0/24" in rules
    # the database is open for the other box, and for nobody else
    assert not Page.port_open(addresses["b"], 3307)
    reach = f"import socket; socket.create_connection(({addresses['b']!r}, 3307), 3)"
    assert hosts["a"].run("python3 -c %s", reach).rc == 0
    assert "(v6)" in rules
    assert "(v6)" not in hosts["a"].check_output("ufw status")


@BOTH
def test_updates(hosts: dict[str, Host], letter: str) -> None:
    settings = hosts[letter].check_output("apt-config dump")
    for line in (
        'Unattended-Upgrade::Package-Blacklist:: "linux-.*";',
        'Unattended-Upgrade::Automatic-Reboot "true";',
        'Unattended-Upgrade::Automatic-Reboot-Time "03:30";',
        'Unattended-Upgrade::Mail "root";',
        'Unattended-Upgrade::MailReport "only-on-error";',
        'DPkg::Lock::Timeout "120";',
    ):
        assert line in settings
    assert settings.count("Unattended-Upgrade::Origins-Pattern:: ") == 1
    assert "$nrconf{restart} = 'l';" in hosts[letter].file("/etc/needrestart/conf.d/60-flaskhost.conf").content_string


def test_mysql_is_mysql_with_its_settings(host: Host) -> None:
    version = host.check_output("mysql -N -e 'select version(), @@version_comment'")
    assert "mariadb" not in version.lower()
    ask_for = "select @@port, @@max_connections, @@innodb_buffer_pool_size, @@bind_address, @@skip_name_resolve"
    assert host.check_output("mysql -N -e %s", ask_for).split() == ["3307", "60", "67108864", "0.0.0.0", "1"]
    assert not [line for line in host.socket.get_listening_sockets() if line.endswith(":33060")]
    # root has no password and needs none, others of the host do not get in as root
    assert host.run("runuser -u nobody -- mysql -u root -e 'select 1'").rc != 0


def test_users_of_mysql_are_compared_by_password_and_rights(stack: Stack, host: Host) -> None:
    """MySQL salts its hashes; with our salt they can be compared, and a second run need not set them anew."""
    words = ("site", "--tags", "mysql", "--limit", "options-b")
    assert "Make the users of mysql" not in stack.playbook(*words).check().output
    host.check_output("mysql -e %s", "ALTER USER blog@127.0.0.1 IDENTIFIED BY 'guessed'")
    host.check_output("mysql -e %s", "REVOKE INSERT ON blog.* FROM blog@localhost")
    mended = stack.playbook(*words).check()
    assert "Make the users of mysql" in mended.output
    assert mended.changed == 1
    assert "Make the users of mysql" not in stack.playbook(*words).check().output


def test_supervisor_has_its_open_files(hosts: dict[str, Host]) -> None:
    for host in hosts.values():
        limits = host.check_output("cat /proc/$(pidof -s -x supervisord)/limits")
        assert next(x for x in limits.splitlines() if "open files" in x).split()[:4] == ["Max", "open", "files", "8192"]


def test_plain_http_app_on_the_other_boxs_database(addresses: dict[str, str], hosts: dict[str, Host]) -> None:
    page = fetch(f"http://{addresses['a']}/")
    assert page.status == 200
    assert "location" not in page.headers
    assert not Page.port_open(addresses["a"], 443)
    release = hosts["a"].check_output("readlink /srv/plain-http/current").rpartition("/")[2]
    assert page.headers["x-flaskhost-release"] == release
    post_entry(addresses["a"], "Ada", "over the wire", scheme="http")
    entries = hosts["b"].check_output("mysql -N -e 'select message from visitors.entries'")
    assert "over the wire" in entries.splitlines()
    # from there over TLS alone, which the app verifies
    users = "select concat(user, ' ', ssl_type) from mysql.user where user in ('plain', 'blog') order by user, host"
    assert hosts["b"].check_output("mysql -N -e %s", users).splitlines() == ["blog ", "blog ", "plain ANY"]
    environment = hosts["a"].check_output("cat /srv/plain-http/environments/%s.json", release)
    assert "ssl_ca=/etc/ssl/flaskhost/database-ca.pem" in environment
    assert not hosts["a"].package("mariadb-server").is_installed
    assert [line for line in hosts["a"].socket.get_listening_sockets() if "[::]:80" in line or ":::80" in line] == []


def test_unknown_names_are_told_nothing(address: str) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        ask(address, "other.test")
    # closed without a word, in whichever way: nginx may reset it
    with pytest.raises(ConnectionResetError):
        ask(address, "other.test", tls=False)
    with pytest.raises(ssl.SSLError):
        fetch_without_name(address)


def fetch_without_name(address: str) -> None:
    """By the bare address, as scanners do."""
    ask(address, address)


def served_certificate(address: str, name: str) -> bytes:
    connection = NamedConnection(address, name)
    connection.connect()
    try:
        return connection.sock.getpeercert(binary_form=True) or b""
    finally:
        connection.close()


def test_each_site_has_its_certificate(address: str, host: Host, made: Path) -> None:
    own = ssl.PEM_cert_to_DER_cert((made / "blog.pem").read_text())
    assert served_certificate(address, "blog.test") == own
    assert served_certificate(address, "www.blog.test") == own
    other = served_certificate(address, "blog2.test")
    assert other not in (own, b"")
    assert host.file("/etc/ssl/flaskhost/blog.key").mode == 0o600
    # 90 days instead of the usual 825
    assert host.run("openssl x509 -noout -checkend %s -in /etc/ssl/flaskhost/blog2.pem", str(91 * 86400)).rc == 1
    assert host.run("openssl x509 -noout -checkend %s -in /etc/ssl/flaskhost/blog2.pem", str(89 * 86400)).rc == 0


def test_host_that_is_too_small_is_refused(stack: Stack) -> None:
    run = stack.playbook("site", flaskhost_memory_mb=256)
    assert run.code, run.output[-3000:]
    assert "too little memory for its apps; nothing was changed" in run.output
    assert "of 256 MiB: " in run.output
    assert "MiB too much" in run.output
    assert run.changed == 0


def test_check_mode_finds_nothing_to_do(stack: Stack) -> None:
    run = stack.playbook("site", "--check", "--diff").check()
    assert run.changed == 0, run.output[-4000:]
