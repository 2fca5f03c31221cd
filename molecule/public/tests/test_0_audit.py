# SPDX-License-Identifier: GPL-3.0-or-later
"""What others' programs think of the host, from outside and inside; `make audit` asks the same (docs/audit.md)."""

from __future__ import annotations

import pytest
import testinfra.host

from tests.audit.__main__ import LEAST, PORTS, inside
from tests.audit.checks import lynis, ports, ssh, tls, tools


@pytest.fixture(scope="module", autouse=True)
def judges() -> None:
    tools()


def test_ssh_audit_has_nothing_to_say(address: str) -> None:
    found = ssh(address)
    assert (found.fail, found.warn, found.policy) == ([], [], [])


@pytest.mark.parametrize("domain", ["www.example.test", "shop.example.test"])
def test_tls_gets_an_a(address: str, domain: str) -> None:
    found = tls(address, domain)
    assert found.good, (found.letter, found.reasons)


def test_three_ports_of_all_are_open(address: str) -> None:
    assert ports(address) == PORTS


def test_lynis_is_content_and_each_finding_has_a_reason(name: str) -> None:
    found = lynis(inside(name))
    assert found.index >= LEAST, found.findings
    assert found.unreasoned == []


def test_what_changed_below_etc_is_told_once(host: testinfra.host.Host) -> None:
    look = "/etc/cron.weekly/flaskhost-integrity && journalctl -t flaskhost-integrity -o cat --no-pager"
    host.check_output(look)
    host.check_output("echo x > /etc/new-by-hand")
    try:
        assert host.check_output(look).count("/etc/new-by-hand") == 1
        assert host.check_output(look).count("/etc/new-by-hand") == 1
    finally:
        host.check_output("rm /etc/new-by-hand; /etc/cron.weekly/flaskhost-integrity")
