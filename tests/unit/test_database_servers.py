# SPDX-License-Identifier: GPL-3.0-or-later
"""Which database server the apps of a web host use, and what it proves to be ours with."""

from __future__ import annotations

import datetime
import ssl
import stat
from pathlib import Path

import pytest
from ansible_collections.flaskhost.stack.plugins.filter.database_servers import database_servers
from ansible_collections.flaskhost.stack.plugins.module_utils._database_servers import servers
from ansible_collections.flaskhost.stack.plugins.plugin_utils import _authority
from cryptography import x509

TWO = {"db1": ["10.0.0.5"], "db2": ["10.0.0.6", "203.0.113.6"]}


@pytest.mark.parametrize(
    ("hosts", "primary", "web", "address"),
    [
        ({}, "", "web1", ""),
        ({"one": ["10.0.0.5"]}, "one", "one", ""),
        ({"db1": ["10.0.0.5"]}, "db1", "web1", "10.0.0.5"),
        ({"db1": []}, "db1", "web1", "db1"),
        (TWO, "db1", "web1", "10.0.0.5"),
        (TWO, "db2", "web1", "10.0.0.6"),
        # a web host that is a database host too: itself while it is the primary
        (TWO, "db1", "db1", ""),
        (TWO, "db2", "db1", "10.0.0.6"),
        # each a server of its own
        (TWO, "", "db1", ""),
        (TWO, "", "web1", ""),
        (TWO, "db9", "web1", ""),
    ],
)
def test_server_of_apps_that_name_none(hosts: dict[str, list[str]], primary: str, web: str, address: str) -> None:
    assert servers(hosts, primary).default(web) == address
    assert database_servers(hosts, [web], primary)[web]["address"] == address


def test_owners_and_names() -> None:
    known = servers(TWO, "db1")
    assert known.replicated
    assert not servers(TWO).replicated
    assert not servers({"db1": []}, "db1").replicated
    assert known.names == {"db1", "db2", "10.0.0.5", "10.0.0.6", "203.0.113.6"}
    assert [known.owner(name, "db1") for name in ("203.0.113.6", "db1", "127.0.0.1", "elsewhere")] == [
        "db2", "db1", "db1", "",
    ]  # fmt: skip
    assert known.owner("localhost", "web1") == ""


def test_authority_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    directory = str(tmp_path / ".flaskhost")
    first = _authority.authority(directory)
    assert _authority.authority(directory) == first
    files = [path for path in (tmp_path / ".flaskhost/database").iterdir() if path.suffix in (".key", ".pem")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / ".flaskhost/database").stat().st_mode) == 0o700
    assert (tmp_path / ".flaskhost/.gitignore").read_text().endswith("*\n")


def test_certificate_of_a_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["DNS:db1", "IP:10.0.0.5"]
    key, certificate = _authority.certificate_of("db1", names, str(tmp_path))
    assert _authority.certificate_of("db1", names, str(tmp_path)) == (key, certificate)
    assert _authority.certificate_of("db1", names[1:], str(tmp_path)) == (key, certificate), "it knows more names"
    other = _authority.certificate_of("db1", [*names, "IP:10.0.0.9"], str(tmp_path))
    assert other != (key, certificate)
    # fewer days left than it is renewed with
    monkeypatch.setattr(_authority, "RENEW_DAYS", _authority.HOST_DAYS + 1)
    assert _authority.certificate_of("db1", names, str(tmp_path)) != other


def test_certificates_stand_a_strict_look(tmp_path: Path) -> None:
    """As Python 3.13 looks at them by default: a TLS handshake in memory, by address."""
    key, certificate = _authority.certificate_of("db1", ["DNS:db1", "IP:10.0.0.5"], str(tmp_path))
    (tmp_path / "both.pem").write_text(key + certificate)
    offering = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    offering.load_cert_chain(tmp_path / "both.pem")
    for name, ca in (("10.0.0.5", tmp_path), ("10.0.0.6", tmp_path), ("10.0.0.5", tmp_path / "another")):
        asking = ssl.create_default_context(cadata=_authority.authority(str(ca)))
        asking.verify_flags |= ssl.VERIFY_X509_STRICT
        if (name, ca) == ("10.0.0.5", tmp_path):
            shake(asking, offering, name)
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                shake(asking, offering, name)


def shake(asking: ssl.SSLContext, offering: ssl.SSLContext, name: str) -> None:
    """A handshake without a network."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, server = (
        asking.wrap_bio(back, there, server_hostname=name),
        offering.wrap_bio(there, back, server_side=True),
    )
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                raise


def test_days(tmp_path: Path) -> None:
    _, text = _authority.certificate_of("db1", ["DNS:db1"], str(tmp_path))
    left = x509.load_pem_x509_certificate(text.encode()).not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert left.days in (_authority.HOST_DAYS - 1, _authority.HOST_DAYS)


def test_damaged_files_are_told(tmp_path: Path) -> None:
    _authority.certificate_of("db1", ["DNS:db1"], str(tmp_path))
    (tmp_path / "database/db1.pem").write_text("nothing")
    with pytest.raises(_authority.AuthorityError, match=r"db1.key and .*db1.pem cannot be used"):
        _authority.certificate_of("db1", ["DNS:db1"], str(tmp_path))
