# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates are due, asked of real ones that openssl made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils._certificates import alternative, carried, end_of
from ansible_collections.flaskhost.stack.plugins.plugin_utils import _self_signed

NAMES = ["example.com", "www.example.com", "192.0.2.1", "2001:db8::1"]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("example.com", "DNS:example.com"),
        ("*.example.com", "DNS:*.example.com"),
        ("192.0.2.1", "IP:192.0.2.1"),
        ("2001:db8::1", "IP:2001:db8::1"),
        ("2001:0DB8:0:0:0:0:0:1", "IP:2001:db8::1"),
        ("1.2.3", "DNS:1.2.3"),
    ],
)
def test_alternative_names(name: str, written: str) -> None:
    assert alternative(name) == written


SHOWN = """X509v3 Subject Alternative Name: critical
    DNS:example.com, DNS:*.example.com, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1
"""


def test_names_that_openssl_shows() -> None:
    assert carried(SHOWN) == {"DNS:example.com", "DNS:*.example.com", "IP:192.0.2.1", "IP:2001:db8::1"}
    assert carried("") == carried("No extensions matched\n") == set()
    among_others = f"notAfter=Dec 11 06:25:29 2026 GMT\n{SHOWN}-----BEGIN PUBLIC KEY-----\nMFkwEwYH,KoZI\n-----END PUBLIC KEY-----\n"
    assert carried(among_others) == carried(SHOWN)
    assert end_of(among_others) == "Dec 11 06:25:29 2026 GMT"
    assert end_of("") == ""


def make(folder: Path, name: str, names: list[str], days: int = 90, key: str = "") -> dict[str, Any]:
    """A certificate as the certificates role makes it."""
    paths = {"certificate": str(folder / f"{name}.pem"), "key": str(folder / f"{name}.key")}
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=x",
    ]
    words += ["-days", str(days), "-out", paths["certificate"], "-keyout", key or paths["key"]]
    if names:
        words += ["-addext", f"subjectAltName={','.join(map(alternative, names))}"]
    subprocess.run(words, check=True, capture_output=True)
    return {"name": name, "mode": "self_signed", "names": names, **paths}


def status(*certificates: dict[str, Any], renew_days: int = 30) -> dict[str, Any]:
    """The answer of the module, run as on a host."""
    code = (
        "import sys, json; from ansible.module_utils.testing import patch_module_args\n"
        "from ansible_collections.flaskhost.stack.plugins.modules.certificate_status import main\n"
        "with patch_module_args(json.load(sys.stdin)): main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps({"certificates": certificates, "renew_days": renew_days}),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_which_are_due(tmp_path: Path) -> None:
    good = make(tmp_path, "good", NAMES)
    more = {**make(tmp_path, "more", NAMES), "names": NAMES[:1]}
    soon = make(tmp_path, "soon", NAMES, days=20)
    few = {**make(tmp_path, "few", NAMES[:3]), "names": NAMES}
    none = {**make(tmp_path, "none", []), "names": NAMES[:1]}
    other = make(tmp_path, "other", NAMES)
    make(tmp_path, "another", NAMES, key=other["key"])
    keyless = make(tmp_path, "keyless", NAMES)
    os.unlink(keyless["key"])
    damaged = make(tmp_path, "damaged", NAMES)
    Path(damaged["certificate"]).write_text("no certificate")
    torn = make(tmp_path, "torn", NAMES)
    Path(torn["key"]).write_text("no key")
    missing = {"name": "missing", "mode": "acme", "names": NAMES, "certificate": "/nowhere", "key": "/nowhere"}
    found = status(good, more, soon, few, none, other, keyless, damaged, torn, missing)
    assert {one["name"]: one["reason"] for one in found["due"]} == {
        "soon": "expires soon",
        "few": "does not carry all names",
        "none": "does not carry all names",
        "other": "does not fit its key",
        "keyless": "missing",
        "damaged": "damaged",
        "torn": "does not fit its key",
        "missing": "missing",
    }
    assert found["due"][-1]["mode"] == "acme", "each is handed on as it was given"
    assert found["changed"] is False
    assert found["due"][-1]["alternative_names"] == [
        "DNS:example.com",
        "DNS:www.example.com",
        "IP:192.0.2.1",
        "IP:2001:db8::1",
    ]
    assert found["not_after"]["good"].endswith(" GMT")
    assert "missing" not in found["not_after"]


def test_renewal_begins_when_it_is_told(tmp_path: Path) -> None:
    one = make(tmp_path, "one", NAMES, days=60)
    assert status(one, renew_days=50)["due"] == []
    assert [due["reason"] for due in status(one, renew_days=70)["due"]] == ["expires soon"]


def test_a_self_signed_one_is_what_was_asked_for(tmp_path: Path) -> None:
    names = [f"DNS:{'a' * 60}.example.com", "DNS:*.example.com", "IP:192.0.2.1", "IP:2001:db8::1"]
    key, certificate = _self_signed.make(names, 90)
    one: dict[str, Any] = {"name": "one", "mode": "self_signed", "names": [name.partition(":")[2] for name in names]}
    for kind, text in (("key", key), ("certificate", certificate)):
        one[kind] = str(tmp_path / kind)
        (tmp_path / kind).write_text(text)
    assert status(one, renew_days=89)["due"] == []
    assert [due["reason"] for due in status(one, renew_days=91)["due"]] == ["expires soon"]
    shown = subprocess.run(
        ["openssl", "x509", "-in", one["certificate"], "-noout", "-text"], capture_output=True, text=True, check=True
    ).stdout
    assert f"CN={'a' * 60}.exa\n" in shown.replace(" = ", "=")
    for line in ("CA:FALSE", "Digital Signature", "TLS Web Server Authentication", "NIST CURVE: P-256"):
        assert line in shown
    # a clock that is a few hours behind takes it
    assert subprocess.run(
        ["openssl", "verify", "-attime", str(int(time.time()) - 20 * 3600), "-CAfile", one["certificate"], one["certificate"]],
        capture_output=True, check=False,
    ).returncode == 0  # fmt: skip
    assert _self_signed.make(names, 90)[0] != key
