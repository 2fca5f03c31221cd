# SPDX-License-Identifier: GPL-3.0-or-later
"""What certbot is asked, what its complaints mean, when it may ask again; which certificates of certbot are due."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _acme, _certificates
from ansible_collections.flaskhost.stack.plugins.module_utils._acme_check import acme_mistakes
from ansible_collections.flaskhost.stack.plugins.module_utils._certificates import Certificate, ends_in_words
from ansible_collections.flaskhost.stack.plugins.modules.certificate_status import reason
from ansible_collections.flaskhost.stack.plugins.plugin_utils import _self_signed

from tests.support.render import evaluate

DIRECTORY = "https://acme.test/dir"
ONE: dict[str, Any] = {"name": "blog", "names": ["b.test", "a.test"], "mode": "acme"}
NOW = 1_800_000_000.0
DAY = 86400


def test_what_certbot_is_asked() -> None:
    words = _acme.command(ONE, directory=DIRECTORY, email="me@b.test", anew=False)
    text = " ".join(words)
    assert "--cert-name flaskhost-blog" in text
    assert text.endswith("--domain b.test --domain a.test"), "exactly these names"
    for needed in (
        "--non-interactive", "--webroot", "--key-type ecdsa", "--renew-with-new-domains", "--keep-until-expiring",
        f"--server {DIRECTORY}", "--email me@b.test",
    ):  # fmt: skip
        assert needed in text
    assert words[words.index("--deploy-hook") + 1].startswith("nginx -t"), "validated before the reload"
    assert "--force-renewal" not in words
    anonymous = _acme.command(ONE, directory=DIRECTORY, email="", anew=True)
    assert "--register-unsafely-without-email" in anonymous
    assert "--email" not in anonymous
    assert "--force-renewal" in anonymous
    assert "--keep-until-expiring" not in anonymous


CHALLENGES = """Saving debug log to /var/log/letsencrypt/letsencrypt.log
Requesting a certificate for a.test and b.test

Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority reported these problems:
  Domain: a.test
  Type:   dns
  Detail: DNS problem: NXDOMAIN looking up A for a.test

  Domain: b.test
  Type:   unauthorized
  Detail: 192.0.2.1: Invalid response from http://b.test/.well-known/acme-challenge/x: 404

Hint: The Certificate Authority failed to download the temporary challenge files created by Certbot.

Some challenges have failed.
Ask for help or search for solutions at the forum. See the logfile for more details.
"""
LIMIT = """Saving debug log to /var/log/letsencrypt/letsencrypt.log
An unexpected error occurred:
Error creating new order :: too many certificates (5) already issued in the last 168h0m0s: a.test, retry after 2027-01-16 10:20:30 UTC: see
Ask for help or search for solutions at the forum.
"""


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (CHALLENGES, "a.test: DNS problem: NXDOMAIN looking up A for a.test (dns); b.test: 192.0.2.1: Invalid response from "
         "http://b.test/.well-known/acme-challenge/x: 404 (unauthorized)"),
        ("Saving debug log to /x\n\n", "certbot said nothing"),
        ("An unexpected error occurred:\nrequests.exceptions.ConnectionError: refused\n", "requests.exceptions.ConnectionError: refused"),
    ],
)  # fmt: skip
def test_reasons(output: str, told: str) -> None:
    assert _acme.reasons(output) == told


def test_limits_of_an_authority() -> None:
    assert "too many certificates" in _acme.reasons(LIMIT)
    assert time.strftime("%F %T", time.gmtime(_acme.retry_after(LIMIT))) == "2027-01-16 10:20:30"
    assert _acme.retry_after(CHALLENGES) == 0
    assert _acme.busy("Another instance of Certbot is already running.")
    assert not _acme.busy(LIMIT)


def failures(count: int, wish: str = "w", until: float = 0) -> dict[str, Any]:
    """What is remembered after some failures in a row."""
    told: dict[str, Any] = {}
    for _number in range(count):
        told = _acme.failed(told, wish, "why", now=NOW, pause=900, until=until)
    return told


def test_pauses_grow_to_a_day() -> None:
    waits = [failures(count)["next"] - NOW for count in range(1, 12)]
    assert waits[:4] == [900, 1800, 3600, 7200]
    assert waits[-1] == DAY == max(waits)
    assert failures(60)["next"] - NOW == DAY, "no number is too large"
    assert failures(1, until=NOW + 5 * DAY)["next"] == NOW + 5 * DAY, "an authority may want more"
    other = _acme.failed(failures(5), "another wish", "why", now=NOW, pause=900, until=0)
    assert (other["count"], other["next"] - NOW) == (1, 900)


def test_when_it_waits() -> None:
    told = failures(1)
    assert _acme.waits(told, "w", NOW + 1)
    assert not _acme.waits(told, "w", NOW + 900)
    assert not _acme.waits(told, "other", NOW + 1), "a person changed something"
    assert not _acme.waits(told, "w", NOW - 3600), "a clock that went back must not make it wait for years"
    assert not _acme.waits({}, "w", NOW)
    assert _acme.wish_of(ONE, DIRECTORY) == f"{DIRECTORY} a.test b.test"


def test_failures_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_acme, "FAILURES", str(tmp_path / "there" / "acme"))
    assert _acme.remembered("blog") == {}
    _acme.remember("blog", {})
    _acme.remember("blog", failures(1))
    assert _acme.remembered("blog")["reason"] == "why"
    (tmp_path / "there/acme/blog.json").write_text("[damaged")
    assert _acme.remembered("blog") == {}
    _acme.remember("blog", {})
    assert os.listdir(tmp_path / "there/acme") == []


def test_links_are_never_half_there(tmp_path: Path) -> None:
    path = tmp_path / "blog.pem"
    path.write_text("placeholder")
    (tmp_path / "blog.pem.new").symlink_to("left by a run that was killed")
    _acme.link("/etc/x", str(path))
    assert os.readlink(path) == "/etc/x"
    assert os.listdir(tmp_path) == ["blog.pem"]


def test_what_people_are_told() -> None:
    problem = {"name": "blog", "names": ["a.test"], "reason": "a.test: NXDOMAIN (dns)", "at": NOW, "next": NOW + 900}
    fresh = _acme.told([{**problem, "former": True, "tried": True}], NOW)
    assert fresh == (
        "blog: no certificate for a.test: a.test: NXDOMAIN (dns); the former certificate stays in use, "
        "next try after 2027-01-15 08:15 UTC"
    )
    later = _acme.told([{**problem, "former": False, "tried": False}], NOW + 60)
    assert "not tried now; at 2027-01-15 08:00 UTC: a.test: NXDOMAIN" in later
    assert "visitors get a placeholder meanwhile" in later


# which are due


@pytest.fixture
def keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place where certbot keeps the certificate of blog, linked to from where nginx reads it."""
    etc = tmp_path / "letsencrypt"
    monkeypatch.setattr(_certificates, "LETSENCRYPT", str(etc))
    for folder in ("live/flaskhost-blog", "renewal"):
        (etc / folder).mkdir(parents=True)
    key, text = _self_signed.make(["DNS:a.test", "DNS:b.test"], 90)
    (etc / "live/flaskhost-blog/fullchain.pem").write_text(text)
    (etc / "live/flaskhost-blog/privkey.pem").write_text(key)
    (etc / "renewal/flaskhost-blog.conf").write_text(f"[renewalparams]\nserver = {DIRECTORY}\n")
    (etc / "renewal/somebody-elses.conf").write_text("server = x\n")
    (tmp_path / "blog.pem").symlink_to(etc / "live/flaskhost-blog/fullchain.pem")
    return tmp_path


def due(folder: Path, names: set[str] | None = None, directory: str = DIRECTORY) -> str:
    found = _certificates.look(str(folder / "blog.pem"))
    assert found
    wanted = {"DNS:a.test", "DNS:b.test"} if names is None else names
    return reason({**ONE, "certificate": str(folder / "blog.pem")}, found, wanted, 30, directory)


def test_a_fetched_certificate_is_due(keeps: Path) -> None:
    assert due(keeps) == ""
    assert due(keeps, {"DNS:a.test"}) == "does not carry exactly its names", "one was taken away"
    assert due(keeps, {"DNS:a.test", "DNS:b.test", "DNS:c.test"}) == "does not carry exactly its names"
    assert due(keeps, directory="https://other.test/dir") == "is of another directory"
    assert _certificates.lineages() == ["blog"], "others are none of our business"
    text = (keeps / "blog.pem").read_text()
    (keeps / "blog.pem").unlink()
    (keeps / "blog.pem").write_text(text)
    assert due(keeps) == "is a placeholder"


def test_a_key_belongs_to_its_certificate(keeps: Path) -> None:
    live = keeps / "letsencrypt/live/flaskhost-blog"
    found = _certificates.look(str(live / "fullchain.pem"))
    assert found
    assert found.self_signed
    assert _certificates.fits(found, str(live / "privkey.pem"))
    (live / "privkey.pem").write_text(_self_signed.make(["DNS:a.test"], 1)[0])
    assert not _certificates.fits(found, str(live / "privkey.pem"))
    (live / "privkey.pem").unlink()
    assert not _certificates.fits(found, str(live / "privkey.pem"))


def certificate(days: float, left: float, self_signed: bool = False) -> Certificate:
    ends = NOW + left * DAY
    return Certificate("", ends - days * DAY, ends, frozenset(), self_signed, "")


@pytest.mark.parametrize(
    ("days", "left", "forgotten"),
    [(90, 31, False), (90, 16, False), (90, 14, True), (6, 2, False), (6, 0.5, True), (1825, 21, False), (1825, 19, True), (90, -1, True)],
)  # fmt: skip
def test_what_the_timer_should_have_renewed(days: float, left: float, forgotten: bool) -> None:
    assert certificate(days, left).forgotten(NOW) is forgotten


@pytest.mark.parametrize(
    ("found", "mode", "words", "problem"),
    [
        (certificate(90, 60), "acme", "certificate until 2027-03-16", ""),
        (certificate(90, 60, True), "self_signed", "self-signed until 2027-03-16", ""),
        (certificate(90, 60, True), "acme", "self-signed until 2027-03-16", "placeholder"),
        (certificate(90, -2), "provided", "certificate until 2027-01-13", "ended on 2027-01-13"),
        (certificate(90, 9.5), "acme", "certificate until 2027-01-24", "ends on 2027-01-24, in 9 days"),
        (None, "acme", "no certificate", "run site.yml"),
    ],
)
def test_ends_in_words(found: Certificate | None, mode: str, words: str, problem: str) -> None:
    told, wrong = ends_in_words(found, mode, NOW)
    assert told == words
    assert problem in wrong
    assert bool(wrong) == bool(problem)


@pytest.mark.parametrize(
    "url", ["", "https://acme-v02.api.letsencrypt.org/directory", "https://10.0.0.1:14000/dir", "https://[::1]:1/"]
)
def test_good_directories(url: str) -> None:
    assert acme_mistakes({"web1": url}, {}) == []


@pytest.mark.parametrize(
    "url", ["letsencrypt", "http://ca.test/dir", "https://ca.test", "https://ca.test/a b", 7, ["https://ca.test/dir"]]
)
def test_bad_directories(url: Any) -> None:
    (line,) = acme_mistakes({"web1": url, "web2": url}, {})
    assert line.startswith("web1, web2: certificates_acme_directory: ")
    assert "https://ca.example.com/acme/directory" in line


def test_authorities() -> None:
    assert acme_mistakes({}, {"web1": "", "web2": "/there"}, exists=lambda path: path == "/there") == []
    (line,) = acme_mistakes({}, {"web1": "ca.pem"}, "/inventory", exists=lambda path: False)
    assert "'ca.pem' does not exist" in line
    assert "/inventory/ca.pem" in line
    assert len(acme_mistakes({}, {"web1": ["x"]})) == 1


def test_the_authority_arrives_as_it_is(tmp_path: Path) -> None:
    """A byte more or less, and certbot's library refuses the whole file."""
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n")
    site = {"tls": {"mode": "acme"}}
    known: dict[str, Any] = {
        "inventory_dir": str(tmp_path),
        "certificates_acme_ca": "ca.pem",
        "certificates_sites": [site],
    }
    assert evaluate("certificates", "__certificates_acme_ca_text", **known) == (tmp_path / "ca.pem").read_text()
    unit = evaluate("certificates", "__certificates_acme_unit_text", **known)
    assert unit == "[Service]\nEnvironment=REQUESTS_CA_BUNDLE=/etc/letsencrypt/flaskhost-directory-ca.pem\n"
    digests = evaluate("certificates", "__certificates_acme_digests", **known)
    assert (
        digests["/etc/letsencrypt/flaskhost-directory-ca.pem"]
        == hashlib.sha256((tmp_path / "ca.pem").read_bytes()).hexdigest()
    )
    without: list[dict[str, Any]] = [{"certificates_acme_ca": ""}, {"certificates_sites": []}]
    for none in without:
        assert set(evaluate("certificates", "__certificates_acme_digests", **{**known, **none}).values()) == {""}
