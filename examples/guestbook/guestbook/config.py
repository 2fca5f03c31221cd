# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration: everything comes from the environment, or from `.env` in the app's root."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import load_dotenv
from flask import Flask

ROOT = Path(__file__).resolve().parent.parent

# URL schemes without a driver, as hosting providers hand them out -> the driver used here.
DRIVERS = {
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "postgres": "postgresql+psycopg2",
    "postgresql": "postgresql+psycopg2",
}


class ConfigurationError(RuntimeError):
    """The environment does not allow the app to start; the message says what to do."""


def load(app: Flask, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Read the environment into Flask's configuration keys.

    Raises ConfigurationError when SECRET_KEY is missing and neither
    FLASK_DEBUG nor TESTING is on.
    """
    load_dotenv(ROOT / ".env")
    settings: dict[str, Any] = {
        "SECRET_KEY": os.environ.get("SECRET_KEY", ""),
        "SQLALCHEMY_DATABASE_URI": database_url(os.environ.get("DATABASE_URL", "")),
        "RELEASE_ID": os.environ.get("RELEASE_ID") or "dev",
        "MAIL_SERVER": os.environ.get("MAIL_SERVER") or "localhost",
        "MAIL_PORT": int(os.environ.get("MAIL_PORT") or 25),
        "MAIL_DEFAULT_SENDER": os.environ.get("MAIL_DEFAULT_SENDER", ""),
        "GUESTBOOK_NOTIFY": os.environ.get("GUESTBOOK_NOTIFY", ""),
        "ENTRIES_PER_PAGE": 10,
        "BABEL_TRANSLATION_DIRECTORIES": "translations",  # in the package
        "SESSION_COOKIE_SAMESITE": "Lax",
        # A page opened yesterday may still be signed today: tokens live as long as the session.
        "WTF_CSRF_TIME_LIMIT": None,
        **overrides,
    }
    if not settings["SECRET_KEY"]:
        if not (app.debug or settings.get("TESTING")):
            raise ConfigurationError(
                "SECRET_KEY is not set. Put a long random value into the environment or .env, for example "
                "the output of: python3 -c 'import secrets; print(secrets.token_hex(32))'"
            )
        settings["SECRET_KEY"] = secrets.token_hex(32)
    if not settings["SQLALCHEMY_DATABASE_URI"].startswith("sqlite"):
        # A server closes idle connections; test one before using it instead of failing a visitor.
        settings.setdefault("SQLALCHEMY_ENGINE_OPTIONS", {"pool_pre_ping": True})
    return settings


def database_url(value: str) -> str:
    """Name the driver where `value` names none; the default is a SQLite file in `instance/`."""
    scheme, separator, rest = (value or "sqlite:///guestbook.sqlite3").partition("://")
    return f"{DRIVERS.get(scheme, scheme)}{separator}{rest}"
