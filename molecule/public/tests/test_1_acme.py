# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates from a real ACME server. What counts is the certificate that comes over the wire, not the file.

The names of the host are in the DNS of the box around it, which the ACME server asks.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import pytest
import testinfra.host
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.internet import Internet
from tests.support.load import SteadyLoad
from tests.support.stack import Run, Stack
from tests.support.web import ask, served

Host = testinfra.host.Host
Apps = dict[str, dict[str, Any]]


def names(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(found.value.get_values_for_type(x509.DNSName))


def issuer(certificate: x509.Certificate) -> str:
    return certificate.issuer.rfc4514_string()


def eventually(holds: Callable[[], bool]) -> bool:
    """A reload of nginx is over a moment after the command."""
    deadline = time.monotonic() + 5
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds()


@pytest.fixture
def site(stack: Stack, own_apps: Apps) -> Callable[..., Run]:
    """Runs the part of site.yml that serves, with other domains for some apps."""

    def run(domains: dict[str, list[str]] | None = None, **extra: Any) -> Run:
        apps = copy.deepcopy(own_apps)
        for app, wanted in (domains or {}).items():
            apps[app]["domains"] = wanted
        return stack.playbook("site", "--tags", "certificates,nginx", other_apps=list(apps.values()), **extra)

    return run


def orders(internet: Internet) -> int:
    """How many orders the authority has seen."""
    return int(internet.shell.check_output("journalctl -u acme --no-pager | grep -c 'POST /order-plz' || true"))


def test_the_first_issue(address: str) -> None:
    for name, all_names in (
        ("www.example.test", {"www.example.test", "example.test"}),
        ("example.test", {"www.example.test", "example.test"}),
        ("shop.example.test", {"shop.example.test"}),
    ):
        certificate = served(address, name)
        assert "Pebble" in issuer(certificate)
        assert names(certificate) == all_names
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == "secp256r1"


def test_one_renewer(host: Host) -> None:
    timers = host.check_output("systemctl list-timers --all --no-legend | grep -ciE 'certbot|acme|letsencrypt|lego'")
    assert timers == "1"
    assert host.check_output("systemctl is-enabled certbot.timer; systemctl is-active certbot.timer").split() == [
        "enabled",
        "active",
    ]
    # Debian's cron line leaves it to the timer where systemd runs; nobody else has one
    lines = host.check_output(
        "grep -rhE '^[^#].*(certbot|acme)' /etc/crontab /etc/cron.* /var/spool/cron || true"
    ).splitlines()
    assert [line for line in lines if "! -d /run/systemd/system" not in line.replace("\\", "")] == []


def test_a_renewal_by_the_timer_is_served(host: Host, address: str, stack: Stack) -> None:
    """What the timer starts renews what is due, and nginx serves it, without losing a request."""
    before = {name: served(address, name).serial_number for name in ("www.example.test", "shop.example.test")}
    renewal = "/etc/letsencrypt/renewal/flaskhost-guestbook.conf"
    host.check_output("sed -i 's/^.*renew_before_expiry.*/renew_before_expiry = 9000 days/' %s", renewal)
    with SteadyLoad(address, "/healthz", host="www.example.test", rate=20, longest=60) as load:
        # not by the hand of Ansible: as it happens at night, but for the random wait
        host.check_output("systemd-run --wait --quiet --property=Environment=REQUESTS_CA_BUNDLE=%s certbot -q renew "
                          "--no-random-sleep-on-renew", "/etc/letsencrypt/flaskhost-directory-ca.pem")  # fmt: skip
        assert eventually(lambda: served(address, "www.example.test").serial_number != before["www.example.test"])
    assert load.report.sent > 0
    assert load.report.failed == []
    assert served(address, "shop.example.test").serial_number == before["shop.example.test"], "it was not due"
    host.check_output("sed -i 's/^renew_before_expiry.*/# renew_before_expiry = 30 days/' %s", renewal)
    # the service that the timer starts has the same environment, and nothing is left to do
    assert "REQUESTS_CA_BUNDLE=/etc/letsencrypt/flaskhost-directory-ca.pem" in host.check_output(
        "systemctl show certbot.service --property Environment"
    )
    assert stack.playbook("site", "--tags", "certificates,nginx").check().changed == 0


def test_an_added_and_a_removed_domain(site: Callable[..., Run], internet: Internet, address: str) -> None:
    internet.name("new.example.test", address)
    other = served(address, "www.example.test").serial_number
    site({"shop": ["shop.example.test", "new.example.test"]}).check()
    assert eventually(lambda: names(served(address, "shop.example.test")) == {"shop.example.test", "new.example.test"})
    assert "Pebble" in issuer(served(address, "new.example.test"))
    site().check()
    assert eventually(lambda: names(served(address, "shop.example.test")) == {"shop.example.test"})
    assert served(address, "www.example.test").serial_number == other
    assert site().check().changed == 0


def test_broken_dns_of_one_app(
    site: Callable[..., Run], internet: Internet, address: str, host: Host, own_apps: Apps, stack: Stack
) -> None:
    internet.name("new.example.test")
    internet.name("added.example.test", address)
    before = served(address, "shop.example.test").serial_number
    wanted = {
        "shop": ["shop.example.test", "broken.example.test"],
        "guestbook": [*own_apps["guestbook"]["domains"], "added.example.test"],
    }
    asked = orders(internet)
    broken = site(wanted)
    assert broken.code != 0
    # what, which name, why, what now
    for words in (
        "shop: no certificate for shop.example.test, broken.example.test: broken.example.test: ", "could not resolve",
        "the former certificate stays in use", "next try after", "certificates_acme_retry=true",
    ):  # fmt: skip
        assert words in broken.output
    # the rest was done: the other app has its new name, and all of them answer
    assert eventually(lambda: "added.example.test" in names(served(address, "www.example.test")))
    assert served(address, "shop.example.test").serial_number == before
    for name in ("www.example.test", "added.example.test", "shop.example.test"):
        assert ask(address, name, "/healthz").status == 200
    assert orders(internet) - asked == 2

    # the authority is left alone for a while, whatever runs meanwhile
    for _attempt in range(2):
        again = site(wanted)
        assert again.code != 0
        assert "not tried now" in again.output
        assert "broken.example.test: " in again.output
    assert orders(internet) - asked == 2
    assert "certificate until" in " ".join(stack.playbook("status").check().output.split())
    # by hand at once; the pause doubles with each failure
    assert site(wanted, certificates_acme_retry=True).code != 0
    assert orders(internet) - asked == 3
    pause = host.check_output(
        "python3 -c %s",
        "import json; f = json.load(open('/var/lib/flaskhost/acme/shop.json')); print(f['next'] - f['at'])",
    )
    assert 1790 < float(pause) < 1810

    # the name is there: no pause keeps a person from it
    internet.name("broken.example.test", address)
    site(wanted, certificates_acme_retry=True).check()
    assert eventually(lambda: "broken.example.test" in names(served(address, "shop.example.test")))
    assert not host.file("/var/lib/flaskhost/acme/shop.json").exists
    # and back; another wish has no pause either
    site().check()
    for name in ("broken.example.test", "added.example.test"):
        internet.name(name)


def test_a_placeholder_until_the_first_issue(
    stack: Stack, internet: Internet, address: str, host: Host, own_apps: Apps
) -> None:
    """An app whose name leads nowhere yet is up all the same; what leaves the inventory is renewed no more."""
    early = {**own_apps["shop"], "name": "early", "domains": ["early.example.test"]}
    words = ("--tags", "certificates,nginx,app")
    broken = stack.playbook("site", *words, other_apps=[*own_apps.values(), early])
    assert broken.code != 0
    assert "early: no certificate for early.example.test" in broken.output
    assert "visitors get a placeholder meanwhile" in broken.output
    assert issuer(served(address, "early.example.test")) == "CN=early.example.test"
    told = stack.playbook("status", other_apps=[*own_apps.values(), early]).check().output
    assert "no certificate was fetched for it yet" in " ".join(told.split())

    internet.name("early.example.test", address)
    retry = {"certificates_acme_retry": True, "other_apps": [*own_apps.values(), early]}
    stack.playbook("site", *words, **retry).check()
    assert eventually(lambda: "Pebble" in issuer(served(address, "early.example.test")))

    gone = [*own_apps.values(), {**early, "state": "absent"}]
    stack.playbook("site", "--tags", "certificates,nginx", other_apps=gone).check()
    assert not host.file("/etc/letsencrypt/renewal/flaskhost-early.conf").exists
    assert host.run("ls /etc/ssl/flaskhost/acme/early.pem").rc != 0
    host.check_output("rm -rf /srv/early && userdel early")
    internet.name("early.example.test")
    assert stack.playbook("site", "--tags", "certificates,nginx").check().changed == 0
