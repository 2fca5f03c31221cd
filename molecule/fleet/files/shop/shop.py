"""An app that is as small as can be."""

import time
from collections.abc import Iterator

from flask import Flask, Response, request
from flask_sock import Sock
from simple_websocket import Server

app = Flask(__name__)
sock = Sock(app)


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


@sock.route("/socket")
def converse(socket: Server) -> None:
    """What is said comes back, until the other side has enough."""
    while True:
        socket.send(socket.receive())
