# SPDX-License-Identifier: GPL-3.0-or-later
"""A source tree whose requests take long, and whose static files carry a hash in their name; and who makes such requests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import websockets

from tests.support.stack import ROOT
from tests.support.web import NamedConnection, talk

RELEASE_HEADER = "X-Flaskhost-Release"
MIB = 2**20

# beside the guestbook, in its environment
_CODE = """
import hashlib, json, os, pathlib, time
from flask import Response, request
from flask_sock import Sock
from guestbook import create_app as guestbook

MANIFEST = json.loads(pathlib.Path("guestbook/static/manifest.json").read_text())

def create_app():
    app = guestbook()

    @app.get("/slow/<int:seconds>")
    def slow(seconds):
        time.sleep(seconds)
        return "late"

    @app.get("/large/<int:mib>")
    def large(mib):
        pieces = (bytes([number % 251]) * 2**20 for number in range(mib))
        return Response(pieces, headers={"Content-Length": str(mib * 2**20)})

    @app.post("/up")
    def up():
        return hashlib.sha256(request.get_data()).hexdigest()

    @app.get("/events")
    def events():
        def forever():
            while True:
                yield "data: tick\\n\\n"
                time.sleep(0.2)
        return Response(forever(), mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})

    @Sock(app).route("/socket")
    def converse(socket):
        while True:
            socket.send(os.environ["RELEASE_ID"] + " " + socket.receive())

    @app.get("/page")
    def page():
        return MANIFEST["style.css"]

    return app
"""


class Source:
    """A copy of the guestbook with long requests.

    :ivar hashed: name of the stylesheet of the present version; another one in each.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "guestbook"
        self.hashed = ""
        shutil.copytree(ROOT / "examples" / "guestbook", self.folder)
        (self.folder / "journey.py").write_text(_CODE)
        with (self.folder / "requirements.txt").open("a") as requirements:
            requirements.write("\nflask-sock==0.7.0\n")

    def version(self, text: str) -> str:
        """Make another version; the name of its stylesheet, which replaces that of the version before."""
        static = self.folder / "guestbook" / "static"
        if self.hashed:
            (static / self.hashed).unlink()
        self.hashed = f"style.{hashlib.sha256(text.encode()).hexdigest()[:8]}.css"
        (static / self.hashed).write_text(text)
        (static / "manifest.json").write_text(json.dumps({"style.css": self.hashed}))
        return self.hashed


@dataclass
class Trip:
    """How a request went. Times are of ``time.monotonic``."""

    status: int = 0
    release: str = ""
    size: int = 0
    digest: str = ""
    ended: float = 0.0
    seen: list[float] = field(default_factory=list)


def download(address: str, mib: int, seconds: float) -> Trip:
    """Get a large answer slowly, as a phone would."""
    connection = _connection(address, seconds)
    connection.request("GET", f"/large/{mib}", headers={"Host": address})
    response = connection.getresponse()
    trip = Trip(response.status, response.getheader(RELEASE_HEADER) or "")
    hashed = hashlib.sha256()
    for _piece in _paced(8 * mib, seconds):
        data = response.read(MIB // 8)
        trip.size += len(data)
        hashed.update(data)
    trip.digest, trip.ended = hashed.hexdigest(), time.monotonic()
    connection.close()
    return trip


def large(mib: int) -> str:
    """The digest of what ``/large`` answers."""
    hashed = hashlib.sha256()
    for number in range(mib):
        hashed.update(bytes([number % 251]) * MIB)
    return hashed.hexdigest()


def upload(address: str, mib: int, seconds: float) -> Trip:
    """Send a large body slowly; ``digest`` is what the app made of it, ``seen`` has nothing."""
    connection = _connection(address, seconds)
    connection.putrequest("POST", "/up", skip_host=True)
    connection.putheader("Host", address)
    connection.putheader("Content-Type", "application/octet-stream")
    connection.putheader("Content-Length", str(mib * MIB))
    connection.endheaders()
    for number in _paced(8 * mib, seconds):
        connection.send(bytes([number // 8 % 251]) * (MIB // 8))
    return _answer(connection)


def slow(address: str, seconds: int) -> Trip:
    """Get what takes the app long."""
    connection = _connection(address, seconds)
    connection.request("GET", f"/slow/{seconds}", headers={"Host": address})
    return _answer(connection)


def listen(address: str, at_most: float) -> Trip:
    """Listen to events until the server ends that, or for some seconds."""
    connection = _connection(address, at_most)
    connection.request("GET", "/events", headers={"Host": address})
    response = connection.getresponse()
    trip = Trip(response.status, response.getheader(RELEASE_HEADER) or "")
    started = time.monotonic()
    try:
        while time.monotonic() - started < at_most and response.readline():
            trip.seen.append(time.monotonic())
    except (OSError, ValueError):
        # cut off in the middle, as it is with what never ends
        pass
    trip.ended = time.monotonic()
    connection.close()
    return trip


def converse(address: str, at_most: float) -> Trip:
    """Talk over a websocket until the server ends that, or for some seconds; ``size`` is the number of answers."""
    trip = Trip()
    with talk(address, address, "/socket") as connection:
        trip.status = connection.response.status_code if connection.response else 0
        started = time.monotonic()
        with contextlib.suppress(websockets.ConnectionClosed):
            while time.monotonic() - started < at_most:
                connection.send("hello")
                trip.release, _space, word = str(connection.recv(at_most)).partition(" ")
                assert word == "hello"
                trip.seen.append(time.monotonic())
                time.sleep(0.2)
    trip.size, trip.ended = len(trip.seen), time.monotonic()
    return trip


def _connection(address: str, seconds: float) -> NamedConnection:
    connection = NamedConnection(address, address, timeout=seconds + 60)
    connection.connect()
    # or the system would take most of an answer at once, whatever the reader's pace
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    return connection


def _answer(connection: NamedConnection) -> Trip:
    response = connection.getresponse()
    body = response.read()
    trip = Trip(
        response.status, response.getheader(RELEASE_HEADER) or "", len(body), body.decode(errors="replace")[:80]
    )
    trip.ended = time.monotonic()
    connection.close()
    return trip


def _paced(pieces: int, seconds: float) -> Iterator[int]:
    """Numbers of pieces, spread evenly over the time."""
    started = time.monotonic()
    for number in range(pieces):
        time.sleep(max(0.0, started + seconds * number / pieces - time.monotonic()))
        yield number
