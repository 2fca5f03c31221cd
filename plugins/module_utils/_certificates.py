# SPDX-License-Identifier: GPL-3.0-or-later
"""What certificates say of themselves, asked of openssl. Standard library only: it runs on hosts."""

from __future__ import annotations

import ipaddress
import os
import ssl
import subprocess
import time
from dataclasses import dataclass

# what certbot calls the certificate of an app, so that ours and those of others stay apart
LINEAGE = "flaskhost-{}"
LETSENCRYPT = "/etc/letsencrypt"
# where the files lie that web servers read; those that certbot renews and loads lie apart
DIRECTORY = "/etc/ssl/flaskhost"
ACME_DIRECTORY = f"{DIRECTORY}/acme"
_DAY = 86400
# certbot's timer renews long before; what is left with less of its time has been forgotten by it
_FORGOTTEN_SHARE, _FORGOTTEN_DAYS = 6, 20


@dataclass(frozen=True)
class Certificate:
    """One certificate; times are seconds since 1970, names as openssl writes them."""

    end: str
    begins: float
    ends: float
    names: frozenset[str]
    self_signed: bool
    public_key: str

    def forgotten(self, now: float) -> bool:
        """Whether certbot's timer should have renewed it by now."""
        return self.ends - now < min((self.ends - self.begins) / _FORGOTTEN_SHARE, _FORGOTTEN_DAYS * _DAY)


def alternative(name: str) -> str:
    """A name as openssl writes it in subjectAltName."""
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def carried(text: str) -> set[str]:
    """The names in what ``openssl x509 -ext subjectAltName`` prints, among other things or alone."""
    lines = text.splitlines()
    start = next((number for number, line in enumerate(lines) if "Subject Alternative Name" in line), len(lines))
    parts = (
        part.strip().replace("IP Address:", "IP:") for line in lines[start + 1 : start + 2] for part in line.split(",")
    )
    return {alternative(part.split(":", 1)[1]) if part.startswith("IP:") else part for part in parts if part}


def end_of(text: str) -> str:
    """The end of a certificate in what ``openssl x509 -enddate`` prints; empty when there is none."""
    return _value(text, "notAfter")


def _value(text: str, key: str) -> str:
    return next((line.partition("=")[2].strip() for line in text.splitlines() if line.startswith(f"{key}=")), "")


def seconds(stamp: str) -> float:
    """A time as openssl prints it, in seconds since 1970; 0 for what is none."""
    try:
        return float(ssl.cert_time_to_seconds(stamp))
    except ValueError:
        return 0.0


def parse(text: str) -> Certificate | None:
    """What the words of :data:`ASK` made openssl print; None for what is no certificate."""
    end = end_of(text)
    if not end:
        return None
    _before, begin, rest = text.partition("-----BEGIN PUBLIC KEY-----")
    return Certificate(
        end=end,
        begins=seconds(_value(text, "notBefore")),
        ends=seconds(end),
        names=frozenset(carried(text)),
        self_signed=_value(text, "issuer") == _value(text, "subject"),
        public_key=(begin + rest.partition("-----END PUBLIC KEY-----")[0]).strip(),
    )


ASK = ("-noout", "-startdate", "-enddate", "-issuer", "-subject", "-ext", "subjectAltName", "-pubkey")


def _openssl(*words: str) -> str:
    done = subprocess.run(["openssl", *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    return done.stdout


def look(path: str) -> Certificate | None:
    """The first certificate of a file; None when it is not there, or is none."""
    if not os.path.exists(path):
        return None
    try:
        return parse(_openssl("x509", "-in", path, *ASK))
    except OSError:
        return None


def fits(certificate: Certificate, key: str) -> bool:
    """Whether a key file belongs to a certificate."""
    public = _openssl("pkey", "-in", key, "-pubout")
    return bool(public) and public.strip().startswith(certificate.public_key)


def ends_in_words(certificate: Certificate | None, mode: str, now: float | None = None) -> tuple[str, str]:
    """When a certificate ends, in words, and what is wrong with it or nothing."""
    if certificate is None:
        return "no certificate", "there is no certificate, or it cannot be read: run site.yml"
    days = int((certificate.ends - (time.time() if now is None else now)) // _DAY)
    kind = "self-signed" if certificate.self_signed else "certificate"
    day = time.strftime("%Y-%m-%d", time.gmtime(certificate.ends))
    told = f"{kind} until {day}"
    if days < 0:
        return told, f"its certificate ended on {day}"
    if mode == "acme" and certificate.self_signed:
        return told, "no certificate was fetched for it yet, visitors get a placeholder: run site.yml, it tells why"
    if certificate.forgotten(time.time() if now is None else now):
        return told, f"its certificate ends on {day}, in {days} days"
    return told, ""


def lineage(app: str, file: str) -> str:
    """Where certbot keeps the file of an app's certificate that is in force: fullchain or privkey."""
    return os.path.join(LETSENCRYPT, "live", LINEAGE.format(app), f"{file}.pem")


def server_of(app: str) -> str:
    """The ACME directory that an app's certificate comes from; empty when there is none."""
    try:
        with open(os.path.join(LETSENCRYPT, "renewal", f"{LINEAGE.format(app)}.conf"), encoding="utf-8") as stream:
            pairs = [line.partition("=") for line in stream]
    except OSError:
        return ""
    return next((value.strip() for key, _equals, value in pairs if key.strip() == "server"), "")


def lineages() -> list[str]:
    """The apps that certbot has a certificate for, sorted."""
    start = LINEAGE.format("")
    try:
        names = os.listdir(os.path.join(LETSENCRYPT, "renewal"))
    except OSError:
        return []
    ends = ".conf"
    return sorted(name[len(start) : -len(ends)] for name in names if name.startswith(start) and name.endswith(ends))
