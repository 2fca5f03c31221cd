# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of mail that cannot work are named; the records to publish are those that receivers look for."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils._mail import mistakes, records, zone_lines

GOOD: dict[str, Any] = {
    "mail_domains": ["example.com", "example.org"],
    "mail_hostname": "web1.example.com",
    "mail_selector": "web1-example-com",
    "mail_root": "admin@example.com",
    "mail_addresses": ["192.0.2.7", "2001:db8::7"],
    "mail_relay_host": "",
    "mail_relay_user": "",
    "mail_relay_password": "",
    "mail_dmarc_reports": "",
}
PEM = f"-----BEGIN PUBLIC KEY-----\n{'A' * 64}\n{'B' * 64}\n{'C' * 64}\n{'D' * 64}\n{'E' * 64}\n{'F' * 72}\n-----END PUBLIC KEY-----\n"


def test_good_settings() -> None:
    assert mistakes(GOOD) == []
    relay = {"mail_relay_host": "smtp.example.net", "mail_relay_user": "me", "mail_relay_password": "pass:word"}
    assert mistakes(GOOD | relay) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"mail_domains": []}, "mail_domains is []"),
        ({"mail_domains": "example.com"}, "such as [example.com]"),
        ({"mail_domains": ["example.com", "localhost"]}, "mail_domains[1] is 'localhost'"),
        ({"mail_domains": ["example.com} }"]}, "mail_domains[0]"),
        ({"mail_hostname": "web1"}, "such as web1.example.com"),
        ({"mail_hostname": "Example.com", "mail_root": ""}, "such as web1.Example.com"),
        ({"mail_selector": "web_1"}, "mail_selector is 'web_1'"),
        ({"mail_root": "root"}, "mail_root is 'root'"),
        ({"mail_root": "root@web1.example.com"}, "delivers nothing"),
        ({"mail_dmarc_reports": "me @example.com"}, "mail_dmarc_reports"),
        ({"mail_addresses": ["192.0.2"]}, "mail_addresses[0] is '192.0.2'"),
        ({"mail_relay_host": "smtp.example.net:587"}, "write its name alone"),
        ({"mail_relay_user": "me", "mail_relay_password": "x"}, "no mail_relay_host"),
        ({"mail_relay_host": "smtp.example.net", "mail_relay_user": "me"}, "belong together"),
        ({"mail_relay_host": "a.b", "mail_relay_user": "me", "mail_relay_password": "a\nb"}, "no spaces"),
    ],
)
def test_each_mistake_is_named(changed: dict[str, Any], told: str) -> None:
    found = mistakes(GOOD | changed)
    assert len(found) == 1, found
    assert told in found[0]


def test_a_password_is_never_told() -> None:
    changed = {"mail_relay_host": "smtp.example.net", "mail_relay_password": "very secret"}
    assert "secret" not in " ".join(mistakes(GOOD | changed))


def made(**changed: Any) -> dict[tuple[str, str], str]:
    arguments = {
        "key": PEM,
        "selector": "web1",
        "hostname": "web1.example.com",
        "addresses": ["192.0.2.7", "2001:db8::7"],
    }
    found = records(["example.com", "example.org"], **(arguments | changed))
    return {(one["name"], one["type"]): one["value"] for one in found}


def test_records() -> None:
    found = made()
    assert found["web1.example.com.", "A"] == "192.0.2.7"
    assert found["web1.example.com.", "AAAA"] == "2001:db8::7"
    assert found["7.2.0.192.in-addr.arpa.", "PTR"] == "web1.example.com."
    assert found["web1.example.com.", "TXT"] == "v=spf1 a -all"
    for domain in ("example.com.", "example.org."):
        assert found[domain, "TXT"] == "v=spf1 ip4:192.0.2.7 ip6:2001:db8::7 ~all"
        key = found[f"web1._domainkey.{domain}", "TXT"]
        assert key.startswith("v=DKIM1; k=rsa; p=AAAA")
        assert key.endswith("F")
        assert len(key) == 18 + 64 * 5 + 72
        assert found[f"_dmarc.{domain}", "TXT"] == "v=DMARC1; p=none"


def test_records_of_a_relay_and_with_reports() -> None:
    found = made(relay="smtp.example.net", policy="reject", reports="dmarc@example.com")
    assert found["example.com.", "TXT"] == "v=spf1 include:smtp.example.net ~all"
    assert found["_dmarc.example.com.", "TXT"] == "v=DMARC1; p=reject; rua=mailto:dmarc@example.com"


def test_zone_lines_are_short_enough() -> None:
    lines = zone_lines([{"name": "a.", "type": "TXT", "value": "x" * 300, "why": "because"}])
    assert lines == ["; because", f'a. IN TXT "{"x" * 255}" "{"x" * 45}"']
