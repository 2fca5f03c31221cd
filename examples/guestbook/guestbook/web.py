# SPDX-License-Identifier: GPL-3.0-or-later
"""What every request and response has in common: language, cookies, headers, relative times."""

from __future__ import annotations

from datetime import datetime, timedelta

from flask import Flask, Response, current_app, request
from flask.sessions import SecureCookieSessionInterface
from flask_babel import format_timedelta

from .extensions import babel
from .models import utc_now

# Everything comes from this app itself, and no other site may frame it.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class SessionInterface(SecureCookieSessionInterface):
    """Cookies that came over https never travel over plain http."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def init_app(app: Flask) -> None:
    app.session_interface = SessionInterface()
    app.after_request(headers)
    app.add_template_filter(ago)
    app.add_template_global(locale)


def compiled_languages(app: Flask) -> list[str]:
    """English, and every language with a compiled catalog: a new one needs no code."""
    with app.app_context():
        return sorted({"en", *(str(language) for language in babel.list_translations())})


def locale() -> str:
    """The language the visitor likes best of those we have."""
    return request.accept_languages.best_match(current_app.config["LANGUAGES"], default="en") or "en"


def headers(response: Response) -> Response:
    response.headers["X-Guestbook-Release"] = current_app.config["RELEASE_ID"]
    response.headers["X-Content-Type-Options"] = "nosniff"
    if request.endpoint != "static":
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["Cache-Control"] = "no-store"
        response.vary.add("Accept-Language")
    return response


def ago(moment: datetime) -> str:
    """`5 minutes ago` in the visitor's language; no time zone to get wrong."""
    age = max(utc_now() - moment, timedelta(seconds=1))
    return str(format_timedelta(-age, granularity="minute", add_direction=True))
