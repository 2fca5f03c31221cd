# SPDX-License-Identifier: GPL-3.0-or-later
"""Self-signed certificates, made on the control node: ansible-core itself depends on the library cryptography."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def make(alternative_names: Sequence[str], days: int) -> tuple[str, str]:
    """A fresh private key and its certificate, both as PEM.

    :param alternative_names: at least one, as openssl writes them: ``DNS:example.com``, ``IP:192.0.2.1``.
    :param days: from today; it began a day ago, since a Raspberry Pi without a clock may think it is an earlier day.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    # a common name has at most 64 characters (RFC 5280, ub-common-name)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, alternative_names[0].partition(":")[2][:64])])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )
    for extension, critical in (
        (x509.SubjectAlternativeName([general_name(name) for name in alternative_names]), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_DIGITAL_SIGNATURE, True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    ):
        builder = builder.add_extension(extension, critical)
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


_DIGITAL_SIGNATURE = x509.KeyUsage(
    digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
)  # fmt: skip


def general_name(name: str) -> x509.GeneralName:
    """A name as openssl writes it: ``DNS:example.com``, ``IP:192.0.2.1``."""
    kind, _colon, value = name.partition(":")
    return x509.IPAddress(ipaddress.ip_address(value)) if kind == "IP" else x509.DNSName(value)
