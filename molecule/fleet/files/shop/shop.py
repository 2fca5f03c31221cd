"""An app that is as small as can be."""

import time
from collections.abc import Iterator

from flask import Flask, Response, request

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


@app.get("/stream")
def stream() -> Response:
    """A word now and one later, which nobody on the way may hold back."""

    def words() -> Iterator[str]:
        yield "now"
        time.sleep(1.5)
        yield "later"

    return Response(words(), headers={"X-Accel-Buffering": "no"})
