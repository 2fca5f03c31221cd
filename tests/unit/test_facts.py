# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts that come along with the login."""

from __future__ import annotations

import subprocess

from ansible_collections.flaskhost.stack.plugins.plugin_utils._facts import FACTS, parse

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
    assert facts["ssh"] == {"port": 2222, "client": "198.51.100.7", "socket_activated": True}
    # a package that is removed, but not purged, is not there
    assert facts["packages"] == ["nginx", "python3"]


def test_what_a_host_does_not_tell_is_empty() -> None:
    facts = parse("== os\n== ssh\n\n== packages\n")
    assert facts["os"]["id"] == facts["uv"] == ""
    assert facts["ssh"] == {"port": 0, "client": "", "socket_activated": False}
    assert (facts["memory_mb"], facts["cpus"], facts["ipv6"], facts["packages"]) == (0, 0, False, [])


def test_the_script_runs_in_a_plain_shell() -> None:
    shown = subprocess.run(["/bin/sh", "-c", FACTS.format(wait=0)], capture_output=True, text=True, check=True).stdout
    facts = parse(shown)
    assert facts["cpus"] >= 1
    assert facts["memory_mb"] > 0
    assert facts["arch"]
