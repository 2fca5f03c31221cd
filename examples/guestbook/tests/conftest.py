# SPDX-License-Identifier: GPL-3.0-or-later
"""A guestbook on a fresh SQLite file, migrated and translated by the same commands a deploy runs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from guestbook import config, create_app  # noqa: E402 - the path above is what makes it importable

MakeApp = Callable[..., Flask]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the developer's shell or .env reaches a test; what a test loads is undone."""
    for name in ("SECRET_KEY", "DATABASE_URL", "RELEASE_ID", "FLASK_DEBUG", "GUESTBOOK_NOTIFY", "MAIL_SERVER", "MAIL_PORT"):
        monkeypatch.setenv(name, "")  # registers the variable, so that the original comes back
        monkeypatch.delenv(name)
    monkeypatch.setattr(config, "ROOT", tmp_path)


@pytest.fixture(scope="session")
def translations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalogs, compiled outside of the source tree."""
    directory = tmp_path_factory.mktemp("guestbook") / "translations"
    shutil.copytree(ROOT / "guestbook" / "translations", directory, ignore=shutil.ignore_patterns("*.mo"))
    app = create_app({"TESTING": True, "BABEL_TRANSLATION_DIRECTORIES": str(directory)})
    result = app.test_cli_runner().invoke(args=["translate", "compile"])
    assert result.exit_code == 0, result.output
    return directory


@pytest.fixture
def make_app(tmp_path: Path, translations: Path) -> MakeApp:
    def make(**overrides: object) -> Flask:
        return create_app(
            {
                "TESTING": True,
                "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/test.sqlite3",
                "BABEL_TRANSLATION_DIRECTORIES": str(translations),
                **overrides,
            }
        )

    return make


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    app = make_app()
    result = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert result.exit_code == 0, result.output
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
