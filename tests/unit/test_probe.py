# SPDX-License-Identifier: GPL-3.0-or-later
"""The health check, asked of real servers: over a unix socket as of the candidate, over TLS as through nginx."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _probe
from ansible_collections.flaskhost.stack.plugins.module_utils._probe import Answer, ask, wait_for

Answering = Callable[[socket.socket, str], None]


def reply(status: str = "200 OK", release: str = "r1", body: str = "fine") -> Answering:
    """Answers every request alike."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n" + (
        f"X-Flaskhost-Release: {release}\r\n" if release else ""
    )

    def answer(connected: socket.socket, _request: str) -> None:
        connected.sendall(f"{head}\r\n{body}".encode())

    return answer


class Server:
    """Serves connections one after the other in a thread, and remembers the requests."""

    def __init__(self, listening: socket.socket, answer: Answering, context: ssl.SSLContext | None = None) -> None:
        self.listening, self.answer, self.context = listening, answer, context
        self.requests: list[str] = []
        self.names: list[str | None] = []
        self.over = threading.Event()
        if context:
            context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while not self.over.is_set():
            try:
                connected = self.listening.accept()[0]
            except OSError:
                return
            with contextlib.suppress(OSError), connected:
                one = self.context.wrap_socket(connected, server_side=True) if self.context else connected
                with one:
                    request = b""
                    while b"\r\n\r\n" not in request:
                        more = one.recv(4096)
                        if not more:
                            raise OSError("the client has gone")
                        request += more
                    self.requests.append(request.decode())
                    self.answer(one, request.decode())

    def close(self) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.thread.join(5)


Serve = Callable[..., tuple[str, Server]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers on unix sockets."""
    running: list[Server] = []

    def start(answer: Answering) -> tuple[str, Server]:
        path = str(tmp_path / f"{len(running)}.sock")
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen()
        running.append(Server(listening, answer))
        return path, running[-1]

    yield start
    for server in running:
        server.close()


def test_asks_as_the_web_server_would(serve: Serve) -> None:
    path, server = serve(reply("418 Teapot", "r1", "short and stout"))
    answer = ask(path, path="/health?full=1", host="example.com", scheme="http")
    assert answer == Answer(418, "r1", "short and stout")
    (request,) = server.requests
    assert request.startswith("GET /health?full=1 HTTP/1.1\r\n")
    for line in ("Host: example.com", "X-Forwarded-Proto: http", "X-Forwarded-Host: example.com"):
        assert f"\r\n{line}\r\n" in request
    assert request.count("Host: example.com") == 2, "one Host, one X-Forwarded-Host"


def test_no_answer_has_a_reason(tmp_path: Path, serve: Serve) -> None:
    assert "FileNotFoundError" in ask(str(tmp_path / "none.sock")).text
    path, server = serve(lambda connected, request: connected.close())
    assert ask(path).status == 0
    assert "RemoteDisconnected" in ask(path).text
    server.close()
    assert "ConnectionRefusedError" in ask(path).text
    path, _server = serve(lambda connected, request: connected.sendall(b"SSH-2.0-OpenSSH\r\n"))
    assert "BadStatusLine" in ask(path).text


def test_no_release_named(serve: Serve) -> None:
    assert ask(serve(reply(release=""))[0]) == Answer(200, "", "fine")


def hang(connected: socket.socket, _request: str) -> None:
    with contextlib.suppress(OSError):
        connected.recv(1)


def drip(head: bytes) -> Answering:
    """Says something and then a letter every now and then: no single wait is ever long."""

    def answer(connected: socket.socket, _request: str) -> None:
        connected.sendall(head)
        for _time in range(200):
            time.sleep(0.02)
            connected.sendall(b"x")

    return answer


def not_accepting(path: str) -> socket.socket:
    """A server that listens, but whose queue is full."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(0)
    filler = socket.socket(socket.AF_UNIX)
    filler.connect(path)
    return listening


HANGING = {
    "silent": hang,
    "drips in the head": drip(b"HTTP/1.1 200 OK\r\nX-Flaskhost-Release: r1\r\nX-More: "),
    "drips in the body": drip(b"HTTP/1.1 200 OK\r\nX-Flaskhost-Release: r1\r\nContent-Length: 1000\r\n\r\n"),
    "never ends": drip(b"HTTP/1.1 200 OK\r\nX-Flaskhost-Release: r1\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n"),
}


@pytest.mark.parametrize("kind", HANGING)
def test_hanging_server_is_given_up(serve: Serve, kind: str) -> None:
    path, _server = serve(HANGING[kind])
    started = time.monotonic()
    answer = ask(path, timeout=0.3)
    assert time.monotonic() - started < 1.5
    assert answer.status == 0
    assert "imeout" in answer.text


def test_server_that_accepts_nothing_is_given_up(tmp_path: Path) -> None:
    path = str(tmp_path / "full.sock")
    with not_accepting(path):
        started = time.monotonic()
        assert ask(path, timeout=0.2).status == 0
        assert time.monotonic() - started < 1


# TLS, as through nginx


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A self-signed certificate of a name that nobody asks for."""
    folder = tmp_path_factory.mktemp("tls")
    paths = str(folder / "cert.pem"), str(folder / "key.pem")
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-subj", "/CN=other.example", "-days", "2", "-out", paths[0], "-keyout", paths[1]]
    subprocess.run(words, check=True, capture_output=True)
    return paths


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_through_the_web_server(monkeypatch: pytest.MonkeyPatch, certificate: tuple[str, str], scheme: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if scheme == "https" else None
    if context:
        context.load_cert_chain(*certificate)
    server = Server(socket.create_server(("127.0.0.1", 0)), reply(), context)
    real, asked = _probe.connect, []

    def connect(address: str, port: int, *more: object) -> socket.socket:
        asked.append((address, port))
        return real(address, server.listening.getsockname()[1], *more)  # type: ignore[arg-type]

    monkeypatch.setattr(_probe, "connect", connect)
    try:
        answer = ask(f"{scheme}://127.0.0.1", path="/x", host="example.com")
    finally:
        server.close()
    assert answer == Answer(200, "r1", "fine")
    assert asked == [("127.0.0.1", 443 if scheme == "https" else 80)]
    assert server.names == (["example.com"] if context else [])
    assert "\r\nHost: example.com\r\n" in server.requests[0]
    assert "X-Forwarded" not in server.requests[0], "that is for the web server to say"


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("http://fd00::1", ("fd00::1", 80)),
        ("http://[fd00::1]", ("fd00::1", 80)),
        ("https://[fd00::1]:8443", ("fd00::1", 8443)),
        ("https://192.0.2.7", ("192.0.2.7", 443)),
        ("http://192.0.2.7:8080", ("192.0.2.7", 8080)),
    ],
)
def test_addresses_of_both_kinds(monkeypatch: pytest.MonkeyPatch, target: str, place: tuple[str, int]) -> None:
    asked: list[tuple[str, int]] = []

    def connect(address: str, port: int, *_more: object) -> socket.socket:
        asked.append((address, port))
        raise ConnectionRefusedError("nobody")

    monkeypatch.setattr(_probe, "connect", connect)
    assert ask(target).text == "ConnectionRefusedError: nobody"
    assert asked == [place]


def test_plain_server_where_tls_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(socket.create_server(("127.0.0.1", 0)), reply())
    port = server.listening.getsockname()[1]
    real = _probe.connect
    monkeypatch.setattr(_probe, "connect", lambda address, _port, *more: real(address, port, *more))
    try:
        assert ask("https://127.0.0.1", timeout=0.3).status == 0
    finally:
        server.close()


# waiting


def waiting(answers: list[Answer], timeout: float = 5, gone: Callable[[], str] = lambda: "") -> tuple[bool, str, int]:
    """The result of waiting for r1 with status 200, and how many questions it took. The last answer is repeated."""
    asked = 0

    def question() -> Answer:
        nonlocal asked
        asked += 1
        return answers[min(asked, len(answers)) - 1]

    healthy, seen = wait_for(question, status=200, release="r1", timeout=timeout, gone=gone)
    return healthy, seen, asked


GOOD, BAD, OLD, NONE = (
    Answer(200, "r1", ""),
    Answer(500, "r1", "Traceback"),
    Answer(200, "r0", ""),
    Answer(0, "", "refused"),
)


def test_three_good_answers_in_a_row() -> None:
    assert waiting([GOOD]) == (True, "200 from r1", 3)
    assert waiting([NONE, GOOD, GOOD, BAD, GOOD])[::2] == (True, 7)
    assert waiting([GOOD, GOOD, OLD, GOOD])[::2] == (True, 6)
    assert not waiting([GOOD, GOOD, NONE], timeout=0.3)[0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (BAD, "after 0.2 s: status 500 where 200 is expected: Traceback"),
        (OLD, "after 0.2 s: status 200, but from release r0 where r1 is expected"),
        (Answer(200, "", ""), "from release (none named) where r1 is expected"),
        (NONE, "after 0.2 s: no answer (refused)"),
    ],
)
def test_what_was_seen_last_is_told(answer: Answer, words: str) -> None:
    started = time.monotonic()
    healthy, seen, _asked = waiting([answer], timeout=0.2)
    assert time.monotonic() - started < 1
    assert not healthy
    assert words in seen


def test_dead_process_ends_the_wait_at_once() -> None:
    started = time.monotonic()
    assert waiting([NONE], timeout=60, gone=lambda: "web FATAL") == (False, "web FATAL", 1)
    assert time.monotonic() - started < 1
    assert waiting([GOOD], gone=lambda: "web FATAL")[:2] == (False, "web FATAL"), "what answered is another process"


def test_hanging_server_ends_the_wait_in_time(serve: Serve) -> None:
    path, _server = serve(HANGING["drips in the head"])
    started = time.monotonic()
    healthy, seen = wait_for(lambda: ask(path, timeout=0.2), status=200, release="r1", timeout=0.3)
    assert time.monotonic() - started < 2
    assert not healthy
    assert "no whole answer within 0.2 s" in seen


def test_server_that_comes_up_late_is_found(tmp_path: Path) -> None:
    path = str(tmp_path / "late.sock")
    started: list[Server] = []

    def come_up() -> None:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(f"{path}.new")
        listening.listen()
        os.rename(f"{path}.new", path)
        started.append(Server(listening, reply()))

    timer = threading.Timer(0.2, come_up)
    timer.start()
    try:
        assert wait_for(lambda: ask(path), status=200, release="r1", timeout=10) == (True, "200 from r1")
        assert len(started[0].requests) == 3
    finally:
        timer.join()
        started[0].close()
