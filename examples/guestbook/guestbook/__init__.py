# SPDX-License-Identifier: GPL-3.0-or-later
"""A guestbook: a small but complete Flask application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from . import cli, config, errors, logs, pages, static_files, web
from .extensions import babel, db, migrate


def create_app(overrides: Mapping[str, Any] | None = None) -> Flask:
    """Build the application from the environment; `overrides` are for tests.

    Nothing here talks to the database, so the app starts (and can be built,
    translated and migrated) before the database is ready.
    """
    logs.to_stdout()
    app = Flask(__name__)
    app.config.from_mapping(config.load(app, overrides or {}))

    db.init_app(app)
    migrate.init_app(app, db)
    babel.init_app(app, locale_selector=web.locale)
    app.config["LANGUAGES"] = web.compiled_languages(app)

    web.init_app(app)
    static_files.init_app(app)
    errors.init_app(app)
    cli.init_app(app)
    app.register_blueprint(pages.blueprint)

    # One proxy in front: believe the last hop about the visitor's address and
    # the scheme (https links!), and nothing else. The proxy passes Host itself.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=0)  # type: ignore[method-assign]
    return app
