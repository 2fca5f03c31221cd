# SPDX-License-Identifier: GPL-3.0-or-later
"""A real security update installs itself, asks nothing although somebody changed its configuration, and reboots when told to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import testinfra.host

# A package with a configuration file, in two versions: the first is installed and its file edited by hand, the second is in an archive that
# looks like Debian's for security. The second wants a reboot, as a kernel does.
MAKE = r"""
set -e
rm -rf /srv/archive && mkdir -p /srv/archive && cd /srv/archive
for version in 1 2; do
    mkdir -p build/DEBIAN build/etc
    printf 'Package: flaskhost-trial\nVersion: %s\nArchitecture: all\nMaintainer: nobody <nobody@example.test>\nDescription: trial\n' $version \
        > build/DEBIAN/control
    echo /etc/flaskhost-trial > build/DEBIAN/conffiles
    echo "shipped by version $version" > build/etc/flaskhost-trial
    [ $version = 1 ] || { printf '#!/bin/sh\ntouch /run/reboot-required\n' > build/DEBIAN/postinst; chmod 755 build/DEBIAN/postinst; }
    dpkg-deb --build --root-owner-group build trial_$version.deb >/dev/null
done
dpkg -i trial_1.deb >/dev/null
echo "edited by hand" > /etc/flaskhost-trial
{ dpkg-deb --field trial_2.deb; echo "Filename: ./trial_2.deb"; echo "Size: $(stat -c %s trial_2.deb)"
  echo "SHA256: $(sha256sum trial_2.deb | cut -d' ' -f1)"; } > Packages
codename=$(. /etc/os-release; echo $VERSION_CODENAME)
printf 'Origin: Debian\nLabel: Debian-Security\nSuite: stable-security\nCodename: %s-security\nDate: %s\nSHA256:\n %s %s Packages\n' \
    $codename "$(date -Ru | sed 's/+0000/UTC/')" $(sha256sum Packages | cut -d' ' -f1) $(stat -c %s Packages) > Release
echo "deb [trusted=yes] file:/srv/archive ./" > /etc/apt/sources.list.d/trial.list
apt-get -qq update -o Dir::Etc::sourcelist=sources.list.d/trial.list -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0
"""


@pytest.fixture(scope="module")
def outdated(host: testinfra.host.Host) -> Iterator[testinfra.host.Host]:
    """The host with an update waiting, and with needrestart, which would like to ask."""
    host.check_output("DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends needrestart")
    host.check_output(MAKE)
    yield host
    host.run(
        "shutdown -c; rm -rf /run/reboot-required /etc/apt/sources.list.d/trial.list /srv/archive /etc/apt/apt.conf.d/99trial"
    )
    host.run("apt-get -qq purge -y flaskhost-trial needrestart; rm -f /etc/flaskhost-trial*; apt-get -qq update")


def test_the_update_is_seen(outdated: testinfra.host.Host) -> None:
    told = outdated.run("unattended-upgrade --dry-run --debug")
    assert told.rc == 0
    assert "flaskhost-trial" in told.stdout + told.stderr
    assert outdated.check_output("dpkg-query -W -f '${Version}' flaskhost-trial") == "1"


def test_it_installs_itself_asks_nothing_and_plans_the_reboot(outdated: testinfra.host.Host) -> None:
    # as updates_reboot and updates_reboot_time write it
    settings = 'Unattended-Upgrade::Automatic-Reboot "true";\\nUnattended-Upgrade::Automatic-Reboot-Time "04:00";\\n'
    outdated.check_output(f"printf '{settings}' > /etc/apt/apt.conf.d/99trial")
    # with a terminal, where a dialogue would wait for ever
    done = outdated.run("timeout 120 script --quiet --return --command unattended-upgrade /dev/null")
    assert done.rc == 0, done.stdout
    assert outdated.check_output("dpkg-query -W -f '${Version}' flaskhost-trial") == "2"
    assert outdated.check_output("cat /etc/flaskhost-trial") == "edited by hand"
    planned = outdated.check_output("cat /run/systemd/shutdown/scheduled")
    assert "MODE=reboot" in planned
    at = int(next(line for line in planned.splitlines() if line.startswith("USEC=")).removeprefix("USEC="))
    assert outdated.check_output("date -d @%s +%%H:%%M", str(at // 1_000_000)) == "04:00"
    outdated.check_output("shutdown -c")


def test_no_reboot_unless_somebody_wants_it(outdated: testinfra.host.Host) -> None:
    assert 'Unattended-Upgrade::Automatic-Reboot "false"' in outdated.check_output(
        "cat /etc/apt/apt.conf.d/60flaskhost-updates"
    )
    assert outdated.run("DEBIAN_FRONTEND=readline needrestart </dev/null").rc == 0
