"""An app that is as small as can be."""

import time

from flask import Flask, request

app = Flask(__name__)


@app.get("/")
@app.get("/healthz")
def healthz() -> str:
    """All is well."""
    return "well"


@app.get("/asked")
def asked() -> dict[str, str]:
    """The headers of the request, as the app gets them."""
    return dict(request.headers)


@app.route("/slow", methods=["GET", "POST"])
def slow() -> str:
    """Well, after two seconds."""
    time.sleep(2)
    return "well"
