# SPDX-License-Identifier: GPL-3.0-or-later
"""An authority of our own for the database servers: made once, kept beside the generated secrets on the control node.

Whoever has its key can pretend to be the database, so it never leaves the control node. A host gets its own key, its own
certificate and that of the authority.
"""

from __future__ import annotations

import datetime
import fcntl
import os
from collections.abc import Sequence

from ansible_collections.flaskhost.stack.plugins.plugin_utils._self_signed import general_name
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# days; nobody looks after a renewal of either, and apps that cannot reach their database are worse than an old certificate
AUTHORITY_DAYS = 30 * 365
HOST_DAYS = 5 * 365
# with fewer days left a host gets another one, at the next site.yml
RENEW_DAYS = 365


class AuthorityError(ValueError):
    """Files of the authority that cannot be used; the text names them and says what to do."""


def authority(directory: str) -> str:
    """The certificate of the authority, as PEM.

    :param directory: on the control node; made for its owner only.
    """
    return _pem(_authority(_folder(directory))[1])


def certificate_of(host: str, names: Sequence[str], directory: str) -> tuple[str, str]:
    """Key and certificate of a host, as PEM; the same at each call, until names are added or fewer than RENEW_DAYS are left.

    :param host: its name in the inventory.
    :param names: what clients call it, as openssl writes them: ``DNS:db1``, ``IP:192.0.2.1``.
    """
    folder = _folder(directory)
    with open(os.path.join(folder, ".lock"), "w", encoding="utf-8") as lock:
        # forks for several hosts run at the same time
        fcntl.flock(lock, fcntl.LOCK_EX)
        base = os.path.join(folder, host.replace("/", "_"))
        ca_key, ca = _authority(folder)
        found = _read(base)
        if found and _fits(found[1], ca, [general_name(name) for name in names]):
            return _key_pem(found[0]), _pem(found[1])
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _sign(key, names[0].partition(":")[2], HOST_DAYS, ca, ca_key, names)
        _write(base, key, certificate)
        return _key_pem(key), _pem(certificate)


def _folder(directory: str) -> str:
    folder = os.path.join(directory, "database")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    ignore = os.path.join(directory, ".gitignore")
    if not os.path.lexists(ignore):
        with open(ignore, "w", encoding="utf-8") as stream:
            stream.write("# Generated secrets: back them up, but never commit them.\n*\n")
    return folder


def _authority(folder: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    base = os.path.join(folder, "authority")
    with open(os.path.join(folder, ".lock-authority"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = _read(base)
        if not found:
            key = ec.generate_private_key(ec.SECP256R1())
            found = key, _sign(key, "flaskhost databases", AUTHORITY_DAYS)
            _write(base, *found)
        return found


def _sign(
    key: ec.EllipticCurvePrivateKey,
    name: str,
    days: int,
    issuer: x509.Certificate | None = None,
    issuer_key: ec.EllipticCurvePrivateKey | None = None,
    names: Sequence[str] = (),
) -> x509.Certificate:
    """A certificate of a host, or of the authority itself where there is no issuer."""
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    signer = (issuer_key or key).public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # a day ago: a Raspberry Pi without a clock may think it is an earlier one
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=not issuer, path_length=None if issuer else 0), critical=True)
        .add_extension(_usage(authority=not issuer), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )
    if issuer:
        builder = builder.add_extension(x509.SubjectAlternativeName([general_name(one) for one in names]), False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(issuer_key or key, hashes.SHA256())


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=authority, crl_sign=authority, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _fits(certificate: x509.Certificate, ca: x509.Certificate, names: list[x509.GeneralName]) -> bool:
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.timezone.utc)
    known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    try:
        certificate.verify_directly_issued_by(ca)
    except Exception:  # of several libraries; either way it is not of this authority
        return False
    return left.days >= RENEW_DAYS and all(name in known for name in names)


def _read(base: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None:
    """Key and certificate of two files; None when there are none."""
    if not os.path.lexists(f"{base}.key"):
        return None
    try:
        with open(f"{base}.key", "rb") as stream:
            key = serialization.load_pem_private_key(stream.read(), None)
        with open(f"{base}.pem", "rb") as stream:
            certificate = x509.load_pem_x509_certificate(stream.read())
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ValueError("they are not of each other")
    except (OSError, ValueError) as error:
        raise AuthorityError(
            f"{base}.key and {base}.pem cannot be used ({error}). Restore both from a backup; or delete them: then hosts "
            "and apps get new ones at the next site.yml, and until it has ended apps cannot connect to the database."
        ) from error
    return key, certificate


def _write(base: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    """The certificate first: a run that dies in between leaves no key, and the next one begins anew."""
    for path, text in ((f"{base}.pem", _pem(certificate)), (f"{base}.key", _key_pem(key))):
        aside = f"{path}.{os.getpid()}"
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            stream.write(text)
        if path.endswith(".pem") and os.path.lexists(f"{base}.key"):
            os.unlink(f"{base}.key")
        os.replace(aside, path)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
