# SPDX-License-Identifier: GPL-3.0-or-later
"""The judges of `make audit`: how the grade of TLS comes about, what counts as open, what Lynis still says."""

from __future__ import annotations

import copy
import datetime
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.audit.checks import DOCS, Lynis, notes, policy_mistakes, ports, read_lynis
from tests.audit.grade import grade

NOW = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)
AES, CHACHA = ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 128), ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", 256)


def suite(name: str, bits: int, key: tuple[str, int] | None = ("ECDH", 253)) -> dict[str, Any]:
    ephemeral = {"type_name": key[0], "size": key[1]} if key else None
    return {
        "cipher_suite": {"name": name, "key_size": bits, "is_anonymous": "anon" in name},
        "ephemeral_key": ephemeral,
    }


def scan(hsts: int | None = None, **suites: list[dict[str, Any]]) -> dict[str, Any]:
    """What sslyze says of a server with the intermediate profile."""
    spoken = {"tls_1_2": [suite(*AES), suite(*CHACHA)], "tls_1_3": [suite("TLS_AES_256_GCM_SHA384", 256)], **suites}
    leaf = {
        "not_valid_before": "2026-11-20T00:00:00Z",
        "not_valid_after": "2027-11-20T00:00:00Z",
        "signature_hash_algorithm": {"name": "sha256"},
        "public_key": {"algorithm": "ECPublicKey", "key_size": 256},
        "subject_alternative_name": {"dns_names": ["www.example.test", "*.wild.test"], "ip_addresses": ["192.0.2.1"]},
    }
    results: dict[str, Any] = {
        f"{key}_cipher_suites": {"accepted_cipher_suites": spoken.get(key, [])}
        for key in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2", "tls_1_3")
    }
    results |= {
        "certificate_info": {"certificate_deployments": [{"received_certificate_chain": [leaf]}]},
        "heartbleed": {"is_vulnerable_to_heartbleed": False},
        "openssl_ccs_injection": {"is_vulnerable_to_ccs_injection": False},
        "robot": {"robot_result": "NOT_VULNERABLE_RSA_NOT_SUPPORTED"},
        "tls_compression": {"supports_compression": False},
        "session_renegotiation": {
            "supports_secure_renegotiation": True,
            "is_vulnerable_to_client_renegotiation_dos": False,
        },
        "http_headers": {"strict_transport_security_header": {"max_age": hsts} if hsts is not None else None},
    }
    return {key: {"result": value} for key, value in results.items()}


@pytest.mark.parametrize(
    ("found", "letter"),
    [
        (scan(), "A"),
        (scan(hsts=31536000), "A+"),
        (scan(hsts=300), "A"),
        (scan(tls_1_3=[]), "A-"),
        (scan(hsts=31536000, tls_1_3=[]), "A-"),
        (scan(tls_1_0=[suite(*AES)]), "B"),
        (scan(ssl_2_0=[suite(*AES)]), "F"),
        (scan(tls_1_2=[suite("TLS_RSA_WITH_AES_128_GCM_SHA256", 128, None)]), "B"),
        (scan(tls_1_2=[suite("TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", 112)]), "C"),
        (scan(tls_1_2=[suite("TLS_ECDHE_RSA_WITH_RC4_128_SHA", 128)]), "B"),
        (scan(tls_1_2=[suite("TLS_ECDH_anon_WITH_AES_128_CBC_SHA", 128)]), "F"),
        (scan(tls_1_2=[], tls_1_3=[]), "F"),
    ],
)
def test_grade_of_what_is_spoken(found: dict[str, Any], letter: str) -> None:
    assert grade(found, "www.example.test", NOW).letter == letter


@pytest.mark.parametrize(
    ("key", "value", "letter"),
    [
        ("not_valid_after", "2026-11-20T12:00:00Z", "T"),
        ("signature_hash_algorithm", {"name": "sha1"}, "T"),
        ("public_key", {"algorithm": "RSAPublicKey", "key_size": 1024}, "B"),
        ("subject_alternative_name", {"dns_names": ["example.test"], "ip_addresses": []}, "M"),
    ],
)
def test_grade_of_the_certificate(key: str, value: Any, letter: str) -> None:
    found = copy.deepcopy(scan())
    found["certificate_info"]["result"]["certificate_deployments"][0]["received_certificate_chain"][0][key] = value
    judged = grade(found, "www.example.test", NOW)
    assert (judged.letter, judged.good) == (letter, False)
    assert judged.reasons


@pytest.mark.parametrize(
    ("name", "named"), [("a.wild.test", True), ("a.b.wild.test", False), ("192.0.2.1", True), ("192.0.2.2", False)]
)
def test_names_of_the_certificate(name: str, named: bool) -> None:
    assert grade(scan(), name, NOW).good == named


def test_a_check_that_did_not_run_is_no_good_one() -> None:
    found = scan()
    found["heartbleed"]["result"] = None
    assert grade(found, "www.example.test", NOW).letter == "F"


def test_open_ports_are_those_that_take_a_connection() -> None:
    with socket.socket() as listening, socket.socket() as bound:
        for one in (listening, bound):
            one.bind(("127.0.0.1", 0))
        listening.listen()
        numbers = [one.getsockname()[1] for one in (listening, bound)]
        assert ports("127.0.0.1", 0.5, numbers) == [numbers[0]]


def test_what_ssh_audit_says_is_counted() -> None:
    entry = {"algorithm": "x", "notes": {"warn": ["old"], "fail": ["broken"], "info": ["new"]}}
    told = {
        "kex": [entry],
        "key": [{"algorithm": "y"}],
        "enc": [],
        "mac": [],
        "cves": [{"name": "CVE-1", "description": "z"}],
    }
    assert notes(told, "fail") == ["x: broken", "CVE-1: z"]
    assert notes(told, "warn") == ["x: old"]


def test_what_differs_from_the_policy_is_told() -> None:
    told = {"passed": False, "errors": [{"mismatched_field": "MACs", "actual": ["a", "b"]}]}
    assert policy_mistakes(told) == ["MACs: a, b"]
    assert policy_mistakes({"passed": True, "errors": []}) == []
    assert policy_mistakes({}) != []


REPORT = """\
suggestion[]=AUTH-9286|Configure maximum password age in /etc/login.defs|-|-|
suggestion[]=LYNIS|This release is more than 4 months old.|-|-|
warning[]=XXXX-0001|Something new|where|-|
hardening_index=81
"""


def test_lynis_is_read_and_each_finding_needs_a_reason() -> None:
    found = read_lynis(REPORT)
    assert found == Lynis(
        81, ["AUTH-9286: Configure maximum password age in /etc/login.defs", "XXXX-0001: Something new (where)"]
    )
    assert found.unreasoned == ["XXXX-0001: Something new (where)"]


def test_each_reason_is_one() -> None:
    rows = re.findall(r"^\| ([A-Z]+-\d+) \|([^|]*)\|([^|]*)\|$", Path(DOCS).read_text(), re.MULTILINE)
    assert rows
    assert [test for test, what, why in rows if not what.strip() or len(why.strip()) < 20] == []
    assert len({test for test, _what, _why in rows}) == len(rows)
