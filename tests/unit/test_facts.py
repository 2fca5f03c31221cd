# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts that come along with the login."""

from __future__ import annotations

import os
import subprocess

from ansible_collections.flaskhost.stack.plugins.plugin_utils._facts import FACTS, parse, small, waited

TOLD = """\
== os
PRETTY_NAME="Ubuntu 24.04.1 LTS"
VERSION_ID="24.04"
VERSION_CODENAME=noble
ID=ubuntu
ID_LIKE=debian
# a comment
== arch
aarch64
== memory
MemTotal:         499932 kB
== swap
SwapTotal:        102396 kB
== model
Raspberry Pi Zero 2 W Rev 1.0
== cpus
4
== python
Python 3.12.3
== init
systemd
== ipv6
yes
== uv
/opt/flaskhost/uv/lib/python3.12/site-packages/uv-0.13.8.dist-info
== cloud_init
done
== ssh
198.51.100.7 51000 203.0.113.10 2222
== ssh_socket
active
== ssh_kex
sntrup761x25519-sha512@openssh.com
curve25519-sha256
== ssh_host_keys
/etc/ssh/ssh_host_ed25519_key.pub 256 SHA256:abc root@host (ED25519)
/etc/ssh/ssh_host_rsa_key.pub 2048 SHA256:def no comment (RSA)
/etc/ssh/ssh_host_dsa_key.pub is not a public key file.
== drained
web2
== users
root:0:0:root:/root:yes:/bin/bash
blog:998:997:Flask app blog:/srv/blog/home:no:/usr/sbin/nologin
ops:1000:1000::/home/ops:yes:/bin/bash
ldap:2000:100:From elsewhere:/home/ldap:yes:/bin/sh
+::::::
== groups
root:x:0:
blog:x:997:
ops:x:1000:
sudo:x:27:ubuntu,ops
users:x:100:
== shadow
root:$::0:99999
blog:!:::
ops:*:20000:19000:365
== packages
installed nginx
config-files apache2
installed python3
installed nginx
"""


def test_what_a_host_tells() -> None:
    facts = parse(TOLD)
    assert facts["os"] == {
        "id": "ubuntu", "like": ["debian"], "codename": "noble", "version": "24.04", "name": "Ubuntu 24.04.1 LTS",
    }  # fmt: skip
    assert (facts["arch"], facts["memory_mb"], facts["cpus"], facts["python"]) == ("aarch64", 488, 4, "3.12.3")
    assert (facts["init"], facts["ipv6"], facts["uv"], facts["cloud_init"]) == ("systemd", True, "0.13.8", "done")
    assert facts["ssh"] == {
        "port": 2222, "client": "198.51.100.7", "socket_activated": True,
        "kex": ["sntrup761x25519-sha512@openssh.com", "curve25519-sha256"],
        "host_keys": [
            {"path": "/etc/ssh/ssh_host_ed25519_key", "bits": 256, "type": "ED25519"},
            {"path": "/etc/ssh/ssh_host_rsa_key", "bits": 2048, "type": "RSA"},
        ],
    }  # fmt: skip
    # a package that is removed, but not purged, is not there
    assert facts["drained"] == ["web2"]
    assert facts["packages"] == ["nginx", "python3"]
    assert list(facts["users"]) == ["root", "blog", "ops", "ldap"]
    assert facts["users"]["blog"] == {
        "uid": 998, "gid": 997, "comment": "Flask app blog", "home": "/srv/blog/home", "home_exists": False,
        "shell": "/usr/sbin/nologin", "locked": True, "expires": "", "groups": ["blog"], "password_forced": False,
        "password_ages": False,
    }  # fmt: skip
    assert (facts["users"]["ops"]["locked"], facts["users"]["ops"]["expires"]) == (False, "20000")
    assert facts["users"]["ops"]["groups"] == ["ops", "sudo"]
    assert [(user["password_forced"], user["password_ages"]) for user in facts["users"].values()] == [
        (True, False), (False, False), (False, True), (False, False),
    ]  # fmt: skip
    # nobody knows, so nothing is taken for granted
    assert (facts["users"]["ldap"]["locked"], facts["users"]["ldap"]["expires"]) == (False, "unknown")


def test_what_a_host_does_not_tell_is_empty() -> None:
    facts = parse("== os\n== ssh\n\n== packages\n")
    assert facts["os"]["id"] == facts["uv"] == ""
    assert facts["ssh"] == {"port": 0, "client": "", "socket_activated": False, "kex": [], "host_keys": []}
    assert (facts["memory_mb"], facts["cpus"], facts["ipv6"], facts["packages"]) == (0, 0, False, [])
    assert facts["users"] == {}
    assert facts["drained"] == []


def test_the_script_runs_in_a_plain_shell() -> None:
    shown = subprocess.run(
        ["/bin/sh", "-c", FACTS.format(wait=0, settle=0, since=0)], capture_output=True, text=True, check=True
    ).stdout
    facts = parse(shown)
    assert facts["cpus"] >= 1
    assert facts["memory_mb"] > 0
    assert facts["arch"]
    assert facts["users"]["root"]["uid"] == 0
    assert facts["users"]["root"]["home_exists"]
    if os.getuid() == 0:
        assert all(user["expires"] != "unknown" for user in facts["users"].values())
        assert "$6$" not in shown
        assert "$y$" not in shown


def test_a_host_that_took_changes_back_meanwhile_is_asked_again() -> None:
    assert waited("ops\nroot\n== waited\n7\n== os\n")
    assert not waited("ops\nroot\n== waited\n0\n== os\n")
    assert not waited("ops\nno-root\n")


def test_small_hosts() -> None:
    board = parse(TOLD)
    assert (board["swap_mb"], board["model"]) == (99, "Raspberry Pi Zero 2 W Rev 1.0")
    assert small(board, ["web"]) == "it is a Raspberry Pi Zero 2 W Rev 1.0"
    assert small(parse(""), ["web"]) == ""
    assert small(parse(""), ["raspberry_pi", "web"]) == "it is in the group raspberry_pi"
    assert small(board, ["raspberry_pi"], wish=False) == ""
    assert small(parse(""), [], wish=True) == "flaskhost_small says so"
