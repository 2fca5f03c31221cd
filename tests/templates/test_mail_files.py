# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates of the role mail, rendered without a host."""

from __future__ import annotations

from typing import Any

from tests.templates.test_hardening import Role

MINE = {"inventory_hostname": "web1", "ansible_host": "192.0.2.7", "mail_domains": ["example.com"]}


def main_cf(**changed: Any) -> dict[str, str]:
    """Settings of postfix by name; each is there once."""
    pairs = [
        line.split(" = ", 1) if " = " in line else line.split(" =", 1)
        for line in role(**changed).file("etc/postfix/main.cf")
    ]
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names))
    return dict(pairs)


def role(**changed: Any) -> Role:
    """The role of a host called web1."""
    return Role("mail", **(MINE | changed))


def test_names_follow_from_the_inventory() -> None:
    assert role().value("mail_hostname") == "web1.example.com"
    assert role().value("mail_selector") == "web1-example-com"
    assert role(inventory_hostname="a.example.org").value("mail_hostname") == "a.example.org"
    assert role().value("mail_addresses") == ["192.0.2.7"]
    assert role(ansible_host="2001:db8::7").value("mail_addresses") == ["2001:db8::7"]
    assert role(ansible_host="web1.example.com").value("mail_addresses") == []


def test_nothing_comes_in_and_nothing_stays() -> None:
    made = main_cf()
    assert made["inet_interfaces"] == "loopback-only"
    assert made["mydestination"] == ""
    assert made["local_transport"].startswith("error:")
    assert "discard" in made["transport_maps"]
    assert "virtual_alias_maps" not in made
    assert made["smtp_tls_security_level"] == "may"
    assert "relayhost" not in made


def test_mail_of_the_host_goes_to_somebody() -> None:
    made = main_cf(mail_root="me@example.net")
    assert made["virtual_alias_maps"] == "inline:{ { @web1.example.com = me@example.net } }"
    assert "transport_maps" not in made


def test_a_relay_gets_the_password_encrypted_only() -> None:
    made = main_cf(mail_relay_host="smtp.example.net", mail_relay_user="me", mail_relay_password="secret")
    assert made["relayhost"] == "[smtp.example.net]:587"
    assert made["smtp_tls_security_level"] == "secure"
    assert "smtp_tls_wrappermode" not in made
    assert "secret" not in " ".join(made.values())
    assert main_cf(mail_relay_host="smtp.example.net", mail_relay_port=465)["smtp_tls_wrappermode"] == "yes"


def test_limits_count_for_the_host_itself() -> None:
    made = main_cf(mail_size_mb=5)
    assert made["smtpd_client_event_limit_exceptions"] == ""
    assert (made["message_size_limit"], made["queue_minfree"]) == ("5242880", "10485760")


def test_the_signer_has_the_hosts_own_key() -> None:
    lines = role(mail_domains=["example.com", "example.org"]).file("etc/opendkim/flaskhost.conf")
    assert "Domain example.com,example.org" in lines
    assert "KeyFile /etc/dkimkeys/web1-example-com.private" in lines
