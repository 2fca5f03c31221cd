# SPDX-License-Identifier: GPL-3.0-or-later
"""Every measure off, and on again: off gives back what was there, on brings it back, and no app is disturbed by either."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import testinfra.host

from tests.support.internet import Internet
from tests.support.stack import ROOT, Stack

Host = testinfra.host.Host

# what measures write: files of ours, lines in files of others, modes, kernel settings, packages, units
_STATE = r"""
for file in /etc/sysctl.d/zz-flaskhost.conf /etc/modprobe.d/* /etc/security/limits.d/* /etc/systemd/*.conf.d/* /etc/profile.d/* \
    /etc/sudoers.d/* /etc/issue /etc/issue.net /etc/login.defs /etc/pam.d/su /etc/ufw/sysctl.conf /etc/fstab \
    /etc/systemd/system/*.service.d/* /etc/crontab /etc/ssh/sshd_config; do
    [ ! -f "$file" ] || echo "$file $(stat -c %a "$file") $(sha256sum < "$file")"
done
stat -c '%n %a' /etc/cron.d /etc/cron.daily /etc/ssh/sshd_config.d
sysctl -a 2> /dev/null | grep -E '^net\.ipv[46]\.(conf\.|ip_forward|icmp_|tcp_syncookies)'
dpkg-query -W -f 'package:${Package} ${db:Status-Status}\n' debsums libpam-passwdqc 2> /dev/null
grep ' /dev/shm ' /proc/mounts
"""


def switches() -> list[str]:
    """All options that are a measure by their description; docs/measures.md has the same."""
    found = re.findall(r"^\| .*? \| `(\w+)`", (ROOT / "docs/measures.md").read_text(), re.MULTILINE)
    assert len(found) > 30
    return found


def state(host: Host) -> dict[str, str]:
    lines = host.check_output("sh -c %s", _STATE).splitlines()
    return dict(line.partition(" ")[::2] for line in lines)


def processes(host: Host) -> str:
    """The daemons, and when they began."""
    return host.check_output("systemctl show supervisor nginx mariadb ssh -p MainPID,ExecMainStartTimestampMonotonic")


def memory(host: Host) -> dict[str, dict[str, Any]]:
    return json.loads(host.check_output("cat /var/lib/flaskhost/measures.json"))


@pytest.fixture(scope="module")
def before(host: Host) -> tuple[dict[str, str], str, dict[str, dict[str, Any]]]:
    return state(host), processes(host), memory(host)


Before = tuple[dict[str, str], str, dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def off(stack: Stack, before: Before) -> dict[str, bool]:
    """The host without any measure."""
    values = dict.fromkeys(switches(), False)
    assert stack.playbook("site", **values).check().changed > 0
    return values


def test_off_gives_back_what_was_there(host: Host, before: Before, off: dict[str, bool]) -> None:
    now, noted = state(host), before[2]
    assert not [
        path
        for path in now
        if "flaskhost" in path and path.startswith(("/etc/sysctl.d", "/etc/modprobe.d", "/etc/profile.d"))
    ]
    assert not [path for path in now if path in ("/etc/sudoers.d/flaskhost-pty", "/etc/sudoers.d/flaskhost-umask")]
    assert host.file("/etc/issue").content_string == noted["files"]["/etc/issue"]["was"]
    assert "pam_wheel.so use_uid" not in host.file("/etc/pam.d/su").content_string
    assert re.search(r"^UMASK\s+022$", host.file("/etc/login.defs").content_string, re.MULTILINE)
    assert {path: host.file(path).mode for path in noted["modes"]} == {
        path: int(entry["was"], 8) for path, entry in noted["modes"].items()
    }
    kernel = {key: host.check_output("sysctl -n %s", key).split() for key in noted["sysctl"]}
    assert kernel == {key: entry["was"].split() for key, entry in noted["sysctl"].items()}
    # what needs a restart to count is written, and no service was restarted for it
    unit = host.file("/etc/systemd/system/supervisor.service.d/flaskhost.conf").content_string
    assert "LimitNOFILE" in unit
    assert "NoNewPrivileges" not in unit
    assert processes(host) == before[1]
    assert "installed" not in [word for path, word in now.items() if path.startswith("package:")]


def test_off_again_changes_nothing(stack: Stack, off: dict[str, bool]) -> None:
    run = stack.playbook("site", "--check", "--diff", **off).check()
    assert run.changed == 0, run.output[-4000:]


def test_on_brings_it_all_back(
    stack: Stack, host: Host, internet: Internet, before: Before, off: dict[str, bool]
) -> None:
    stack.playbook("site").check()
    assert state(host) == before[0]
    assert processes(host) == before[1]
    asked = internet.shell.check_output("curl -skS -o /dev/null -w '%{http_code}' https://www.example.test/healthz")
    assert asked == "200"
    again = stack.playbook("site", "--check", "--diff").check()
    assert again.changed == 0, again.output[-4000:]


def test_what_somebody_changed_by_hand_is_put_back(
    stack: Stack, host: Host, before: Before, off: dict[str, bool]
) -> None:
    host.check_output("sysctl -q -w net.ipv4.conf.all.send_redirects=1")
    host.check_output("chmod 0644 /etc/crontab")
    host.check_output("rm /etc/sudoers.d/flaskhost-pty")
    assert stack.playbook("site", "--tags", "hardening,always").check().changed == 1
    assert state(host) == before[0]
    # rules of sudo were among it: confirmed as well when only a part of the play was asked for, or the host would go back
    assert not host.file("/var/lib/flaskhost/revert-armed.json").exists
    assert host.run("systemctl list-timers --all | grep flaskhost-revert").rc != 0


def test_a_switch_that_is_neither_on_nor_off_is_refused_by_name(stack: Stack) -> None:
    wrong = stack.playbook("site", "--tags", "hardening,always", hardening_martians="perhaps")
    assert wrong.code != 0
    assert "hardening_martians" in wrong.output
    assert wrong.changed == 0
