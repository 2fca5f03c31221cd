# SPDX-License-Identifier: GPL-3.0-or-later
"""The grade of what sslyze found, by the rules of SSL Labs' rating guide (2009q and the changes since).

Three scores, of protocols (30 %), key exchange (30 %) and ciphers (40 %), make a letter; then what is wrong caps it. Who signed the
certificate does not count here, since a test authority is nobody's; its dates, names, key and signature do.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass, field
from typing import Any

_LETTERS = ["A+", "A", "A-", "B", "C", "D", "E", "F", "T", "M"]
_PROTOCOLS = {"ssl_2_0": 0, "ssl_3_0": 80, "tls_1_0": 90, "tls_1_1": 95, "tls_1_2": 100, "tls_1_3": 100}
# half a year, from which on SSL Labs gives the plus
_HSTS_SECONDS = 15552000


@dataclass
class Grade:
    """A letter, and what kept it from being better."""

    letter: str
    reasons: list[str] = field(default_factory=list)

    def cap(self, letter: str, reason: str, applies: bool = True) -> None:
        """At best this letter, for this reason."""
        if applies:
            self.reasons.append(f"{letter}: {reason}")
            self.letter = max(self.letter, letter, key=_LETTERS.index)

    @property
    def good(self) -> bool:
        """Whether it is A or better."""
        return self.letter in ("A+", "A")


def grade(scan: dict[str, Any], name: str, now: datetime.datetime | None = None) -> Grade:
    """The grade of one server.

    :param scan: ``server_scan_results[0].scan_result`` of sslyze's JSON.
    :param name: the name, or address, under which visitors come.
    """
    suites = {key: scan[f"{key}_cipher_suites"]["result"]["accepted_cipher_suites"] for key in _PROTOCOLS}
    spoken = [key for key, accepted in suites.items() if accepted]
    if not spoken:
        return Grade("F", ["F: no protocol is spoken"])
    every = [suite for key in spoken for suite in suites[key]]
    leaf = scan["certificate_info"]["result"]["certificate_deployments"][0]["received_certificate_chain"][0]
    found = Grade(_letter(_score(spoken, every, leaf)))
    _cap_protocols(found, scan, spoken, every)
    _cap_holes(found, scan)
    _cap_certificate(found, leaf, name, now or datetime.datetime.now(datetime.UTC))
    headers = scan["http_headers"]["result"] or {}
    hsts = headers.get("strict_transport_security_header") or {}
    if found.letter == "A" and (hsts.get("max_age") or 0) >= _HSTS_SECONDS:
        found.letter = "A+"
    return found


def _score(spoken: list[str], suites: list[dict[str, Any]], leaf: dict[str, Any]) -> float:
    protocols = [_PROTOCOLS[key] for key in spoken]
    bits = [suite["cipher_suite"]["key_size"] for suite in suites]
    ciphers = [0 if not size else 20 if size < 128 else 80 if size < 256 else 100 for size in (min(bits), max(bits))]
    exchange = min(
        [_rsa_bits(leaf["public_key"]["algorithm"], leaf["public_key"]["key_size"]), *map(_exchange_bits, suites)]
    )
    key = 20 if exchange < 512 else 40 if exchange < 1024 else 80 if exchange < 2048 else 90 if exchange < 4096 else 100
    parts = ((min(protocols) + max(protocols)) / 2, key, sum(ciphers) / 2)
    return 0.0 if 0 in parts else 0.3 * parts[0] + 0.3 * parts[1] + 0.4 * parts[2]


def _letter(score: float) -> str:
    return next(
        (letter for low, letter in ((80, "A"), (65, "B"), (50, "C"), (35, "D"), (20, "E")) if score >= low), "F"
    )


def _exchange_bits(suite: dict[str, Any]) -> int:
    key = suite["ephemeral_key"]
    # without an ephemeral key it is the certificate's that counts
    return _rsa_bits(key["type_name"], key["size"]) if key else 16384


def _rsa_bits(algorithm: str, size: int) -> int:
    """How long an RSA key of the same strength is; X25519 says that it has 253 bits."""
    if not algorithm.upper().startswith(("EC", "X", "ED")):
        return size
    return 7680 if size >= 384 else 3072 if size >= 250 else 2048 if size >= 224 else 1024


def _cap_protocols(found: Grade, scan: dict[str, Any], spoken: list[str], suites: list[dict[str, Any]]) -> None:
    names = [suite["cipher_suite"]["name"] for suite in suites]
    found.cap("F", "SSL 2 is spoken", "ssl_2_0" in spoken)
    found.cap("B", "SSL 3, TLS 1.0 or TLS 1.1 is spoken", bool({"ssl_3_0", "tls_1_0", "tls_1_1"} & set(spoken)))
    found.cap("C", "no TLS 1.2 or newer", not {"tls_1_2", "tls_1_3"} & set(spoken))
    found.cap("A-", "no TLS 1.3", "tls_1_3" not in spoken)
    found.cap("F", "anonymous ciphers", any(suite["cipher_suite"]["is_anonymous"] for suite in suites))
    found.cap("B", "RC4", any("RC4" in name for name in names))
    found.cap("C", "3DES", any("3DES" in name for name in names))
    found.cap("B", "ciphers without forward secrecy", any(not suite["ephemeral_key"] for suite in suites))
    aead = ("GCM", "CCM", "POLY1305")
    found.cap("B", "no authenticated encryption", not any(part in name for name in names for part in aead))


def _cap_holes(found: Grade, scan: dict[str, Any]) -> None:
    def result(key: str) -> dict[str, Any]:
        return dict(scan[key]["result"] or {})

    found.cap("F", "Heartbleed", bool(result("heartbleed").get("is_vulnerable_to_heartbleed", True)))
    found.cap("F", "CCS injection", bool(result("openssl_ccs_injection").get("is_vulnerable_to_ccs_injection", True)))
    found.cap("F", "ROBOT", not str(result("robot").get("robot_result", "")).startswith("NOT_VULNERABLE"))
    found.cap("C", "TLS compression", bool(result("tls_compression").get("supports_compression", True)))
    renegotiation = result("session_renegotiation")
    found.cap("F", "insecure renegotiation", not renegotiation.get("supports_secure_renegotiation", False))
    found.cap(
        "B", "renegotiation by clients", bool(renegotiation.get("is_vulnerable_to_client_renegotiation_dos", True))
    )


def _cap_certificate(found: Grade, leaf: dict[str, Any], name: str, now: datetime.datetime) -> None:
    begin, end = (datetime.datetime.fromisoformat(leaf[key]) for key in ("not_valid_before", "not_valid_after"))
    found.cap("T", f"the certificate is valid from {begin} to {end}", not begin <= now <= end)
    hashed = (leaf["signature_hash_algorithm"] or {}).get("name", "none")
    found.cap("T", f"the certificate is signed with {hashed}", hashed in ("md5", "sha1"))
    weak = _rsa_bits(leaf["public_key"]["algorithm"], leaf["public_key"]["key_size"]) < 2048
    found.cap("B", "the key of the certificate is short", weak)
    names = leaf["subject_alternative_name"]
    found.cap("M", f"the certificate does not name {name}", not _named(name, names["dns_names"], names["ip_addresses"]))


def _named(name: str, domains: list[str], addresses: list[str]) -> bool:
    try:
        return ipaddress.ip_address(name) in map(ipaddress.ip_address, addresses)
    except ValueError:
        return any(name == one or (one.startswith("*.") and name.partition(".")[2] == one[2:]) for one in domains)
