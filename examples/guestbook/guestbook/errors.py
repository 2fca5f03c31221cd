# SPDX-License-Identifier: GPL-3.0-or-later
"""Error pages that look like the rest of the site. They never need the database."""

from __future__ import annotations

from flask import Flask, render_template
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException


def init_app(app: Flask) -> None:
    app.register_error_handler(HTTPException, show)


def show(error: HTTPException) -> ResponseReturnValue:
    if error.code is None or error.code < 400:
        return error  # a redirect is not an error
    # The original response keeps headers such as Allow; only the body is ours.
    response = error.get_response()
    response.set_data(render_template("error.html", code=error.code))
    return response
