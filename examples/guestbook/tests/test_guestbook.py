# SPDX-License-Identifier: GPL-3.0-or-later
"""What a visitor, a monitor and a deployer rely on."""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Callable
from pathlib import Path

import flask_migrate
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import inspect
from werkzeug.test import TestResponse

from guestbook import create_app, notice
from guestbook.config import ConfigurationError, database_url
from guestbook.extensions import db
from guestbook.models import Entry

ROOT = Path(__file__).resolve().parent.parent
MakeApp = Callable[..., Flask]


def sign(client: FlaskClient, **fields: str) -> TestResponse:
    """Send the form as a browser does: with the token of a page it was shown."""
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get("/").text)
    assert token
    data = {"name": "Ada", "place": "London", "message": "Hello!", "csrf_token": token[1], **fields}
    return client.post("/", data=data)


def count(app: Flask) -> int:
    with app.app_context():
        return int(db.session.query(Entry).count())


# The book


def test_an_entry_is_written_and_shown(client: FlaskClient) -> None:
    response = sign(client, name="Zoë 🦊", message="First line\r\n<b>second</b>")
    assert (response.status_code, response.location) == (303, "/")
    page = client.get("/").text
    assert "Thank you!" in page
    assert "Zoë 🦊" in page
    assert "London" in page
    assert "First line\n&lt;b&gt;second&lt;/b&gt;" in page
    assert "1 entry" in page
    assert "1 minute ago" in page


def test_newest_first_and_in_pages(make_app: MakeApp, app: Flask) -> None:
    client = make_app(ENTRIES_PER_PAGE=2).test_client()
    for name in ("first", "second", "third"):
        sign(client, name=name)
    assert re.findall(r"<h3>(\w+)", client.get("/").text) == ["third", "second"]
    assert re.findall(r"<h3>(\w+)", client.get("/?page=2").text) == ["first"]
    assert client.get("/?page=3").status_code == 404


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"name": "  "}, "This field is required."),
        ({"message": ""}, "This field is required."),
        ({"name": "x" * 81}, "longer than 80"),
        ({"message": "x" * 1001}, "longer than 1000"),
    ],
)
def test_bad_input_is_explained(client: FlaskClient, app: Flask, fields: dict[str, str], complaint: str) -> None:
    response = sign(client, place="Kept for you", **fields)
    assert response.status_code == 400
    assert complaint in response.text
    assert "Kept for you" in response.text
    assert count(app) == 0


def test_line_ends_and_nul_do_not_count(client: FlaskClient, app: Flask) -> None:
    assert sign(client, message="\r\n".join("x" * 500) + "\0").status_code == 303
    with app.app_context():
        assert len(db.session.query(Entry).one().message) == 999


@pytest.mark.parametrize("token", ["", "forged"])
def test_a_form_of_another_site_is_refused(client: FlaskClient, app: Flask, token: str) -> None:
    response = sign(client, csrf_token=token)
    assert response.status_code == 400
    assert "This form was open for too long" in response.text
    assert count(app) == 0


# Language, static files, proxy


@pytest.mark.parametrize(
    ("accepted", "language", "text"),
    [
        ("de-AT,de;q=0.9,en;q=0.5", "de", "Ins Gästebuch eintragen"),
        ("es", "es", "Firmar el libro"),
        ("tlh", "en", "Sign the guestbook"),
    ],
)
def test_the_visitor_chooses_the_language(client: FlaskClient, accepted: str, language: str, text: str) -> None:
    response = client.get("/", headers={"Accept-Language": accepted})
    assert f'<html lang="{language}">' in response.text
    assert text in response.text
    assert "Accept-Language" in response.headers["Vary"]


def test_catalogs_are_complete() -> None:
    for catalog in (ROOT / "guestbook/translations").glob("*/LC_MESSAGES/messages.po"):
        text = catalog.read_text(encoding="utf-8")
        assert not re.findall(r'^msgstr(?:\[\d])? ""\n(?!")', text, re.MULTILINE), catalog
        assert "fuzzy" not in text, catalog


def test_static_files_carry_a_hash(client: FlaskClient) -> None:
    addresses = re.findall(r'(?:href|src)="(/static/[^"]+)"', client.get("/").text)
    assert {address.partition("?")[0] for address in addresses} == {"/static/icon.svg", "/static/style.css"}
    for address in addresses:
        assert re.search(r"\?v=[0-9a-f]{12}$", address)
        assert client.get(address).status_code == 200


def test_nothing_comes_from_elsewhere(client: FlaskClient) -> None:
    page = client.get("/").text
    assert set(re.findall(r"https?://[^/\"]+", page)) == {"http://localhost"}
    assert "default-src 'none'" in client.get("/").headers["Content-Security-Policy"]


def test_https_of_one_proxy_is_believed(client: FlaskClient) -> None:
    behind = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example", "Host": "book.example"}
    response = client.get("/", headers=behind)
    assert '<link rel="canonical" href="https://book.example/">' in response.text
    assert "Secure" in response.headers["Set-Cookie"]
    # What a visitor adds in front is not believed: only the last hop counts.
    spoofed = client.get("/", headers={"X-Forwarded-Proto": "https, http", "Host": "book.example"})
    assert '<link rel="canonical" href="http://book.example/">' in spoofed.text


# Release, health, errors


def test_every_answer_names_its_release(make_app: MakeApp, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    assert app.test_client().get("/").headers["X-Guestbook-Release"] == "dev"
    monkeypatch.setenv("RELEASE_ID", "20260101T000000Z-abc1234")
    client = make_app().test_client()
    for path in ("/", "/healthz", "/static/style.css", "/missing"):
        assert client.get(path).headers["X-Guestbook-Release"] == "20260101T000000Z-abc1234"
    assert "<code>20260101T000000Z-abc1234</code>" in client.get("/").text


def test_healthy(client: FlaskClient) -> None:
    response = client.get("/healthz")
    assert (response.status_code, response.json) == (200, {"status": "ok", "release": "dev"})


def test_not_healthy_before_the_last_migration(make_app: MakeApp) -> None:
    app = make_app()
    client = app.test_client()
    assert client.get("/healthz").status_code == 503
    with app.app_context():
        flask_migrate.upgrade(revision="3b8a1c5d7e02")
    assert client.get("/healthz").status_code == 503
    with app.app_context():
        flask_migrate.upgrade()
    assert client.get("/healthz").status_code == 200


def test_error_pages(make_app: MakeApp, client: FlaskClient) -> None:
    missing = client.get("/missing", headers={"Accept-Language": "de"})
    assert missing.status_code == 404
    assert "Diese Seite gibt es nicht" in missing.text
    wrong = client.put("/")
    assert wrong.status_code == 405
    assert "GET" in wrong.headers["Allow"]
    # A database that is not there: our page, not a traceback.
    broken = make_app(SQLALCHEMY_DATABASE_URI="sqlite:////nowhere/at/all", PROPAGATE_EXCEPTIONS=False)
    response = broken.test_client().get("/")
    assert response.status_code == 500
    assert "That did not work" in response.text


# Migrations


def test_migrations_match_the_models_and_go_back(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["db", "check"])
    assert result.exit_code == 0, result.output
    with app.app_context():
        flask_migrate.downgrade(revision="-1")
        columns = {column["name"] for column in inspect(db.engine).get_columns("entries")}
        assert columns == {"id", "name", "message", "created_at"}
        flask_migrate.downgrade(revision="base")
        assert inspect(db.engine).get_table_names() == ["alembic_version"]


# Configuration


def test_no_start_without_a_secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="SECRET_KEY is not set"):
        create_app()
    monkeypatch.setenv("FLASK_DEBUG", "1")
    first, second = create_app(), create_app()
    assert first.secret_key != second.secret_key  # there is no default secret


def test_dotenv_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SECRET_KEY='from $the %file # ü'\nRELEASE_ID=file\n", encoding="utf-8")
    monkeypatch.setenv("RELEASE_ID", "environment")
    app = create_app()
    assert app.secret_key == "from $the %file # ü"
    assert app.config["RELEASE_ID"] == "environment"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("", "sqlite:///guestbook.sqlite3"),
        ("sqlite:////srv/book.sqlite3", "sqlite:////srv/book.sqlite3"),
        ("postgres://u:p@h/d", "postgresql+psycopg2://u:p@h/d"),
        ("postgresql://u:p@h/d", "postgresql+psycopg2://u:p@h/d"),
        ("postgresql+psycopg://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("mysql://u:p@h/d?charset=utf8mb4", "mysql+pymysql://u:p@h/d?charset=utf8mb4"),
        ("mysql+pymysql://u:postgres://@h/d", "mysql+pymysql://u:postgres://@h/d"),
    ],
)
def test_database_url(given: str, used: str) -> None:
    assert database_url(given) == used


# Mail


class OneMail(socketserver.StreamRequestHandler):
    """As much of a mail server as one message needs."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while (line := self.rfile.readline()) and not line.upper().startswith(b"QUIT"):
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.mails.append(b"".join(lines).decode())  # type: ignore[attr-defined]
            self.wfile.write(b"250 fine\r\n")
        self.wfile.write(b"221 bye\r\n")


def wait_for_notices() -> None:
    for thread in threading.enumerate():
        if thread.name == "notice":
            thread.join(10)


def test_an_entry_is_told_by_mail(make_app: MakeApp, app: Flask) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), OneMail) as server:
        server.mails = mails = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        told = make_app(
            GUESTBOOK_NOTIFY="admin@example.com",
            MAIL_DEFAULT_SENDER="guestbook@example.com",
            MAIL_SERVER="127.0.0.1",
            MAIL_PORT=server.server_address[1],
        )
        assert sign(told.test_client(), name="Ada\nBcc: all@example.com", message="Hello!").status_code == 303
        wait_for_notices()
        server.shutdown()
    assert len(mails) == 1
    assert "Subject: Guestbook: Ada Bcc: all@example.com\r\n" in mails[0]
    assert "From: guestbook@example.com\r\nTo: admin@example.com\r\n" in mails[0]
    assert mails[0].endswith("\r\n\r\nHello!\r\n")


def test_no_mail_unless_somebody_wants_it(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice, "deliver", lambda *_: pytest.fail("a mail"))
    assert sign(client).status_code == 303
    wait_for_notices()


def test_an_entry_does_not_need_the_mail_server(
    make_app: MakeApp, app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    told = make_app(GUESTBOOK_NOTIFY="admin@example.com", MAIL_SERVER="127.0.0.1", MAIL_PORT=9)
    assert sign(told.test_client(), name="Ada").status_code == 303
    wait_for_notices()
    assert "no mail about the entry of Ada" in caplog.text
    assert count(app) == 1
