# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a web server as nobody should: `hostile.py ADDRESS NAME COUNT SECONDS`; prints what came of it as JSON.

Only for boxes that the tests made. Bounded in number and time; python3 of the box is all it needs.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import resource
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator

ADDRESS, NAME, COUNT, SECONDS = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
DEADLINE = time.monotonic() + SECONDS
# more than the web server of the distribution has room for, as it comes
SLOW = 2000
resource.setrlimit(resource.RLIMIT_NOFILE, (SLOW + 200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CONTEXT.check_hostname = False
CONTEXT.verify_mode = ssl.CERT_NONE
HEAD = f"Host: {NAME}\r\nUser-Agent: hostile\r\n"
PATHS = [
    "/../../../../etc/passwd", "/static/../../../../etc/passwd", "/static/..%2f..%2f..%2fetc/passwd",
    "/static/%2e%2e/%2e%2e/.env", "/static/....//....//etc/passwd", "/static/%00", "/%00.py", "//static//../.env",
    "/.env", "/.git/config", "/static/.env", "/.flaskhost/unavailable.html", "/.flaskhost/maintenance.html",
    "/%c0%ae%c0%ae/etc/passwd", "/static\\..\\..\\.env", "/;/admin", "/?" + "a[]=1&" * 200, "/%", "/%zz", "/" + "a/" * 500,
]  # fmt: skip
METHODS = [
    "TRACE",
    "TRACK",
    "DEBUG",
    "PROPFIND",
    "get",
    "G\tET",
    "",
    "CONNECT",
    "A" * 4000,
    "DELETE",
    "PATCH",
    "\x00GET",
]
HOSTS = [
    "evil.test", "", "127.0.0.1", f"{NAME}.evil.test", f"{NAME}\r\nHost: evil.test", "../etc", "a" * 5000,
    f"evil.test\r\nX-Forwarded-Host: {NAME}", "[::1]",
]  # fmt: skip
BODIES = [
    f"POST / HTTP/1.1\r\n{HEAD}Content-Length: 2000000000\r\n\r\n" + "x" * 4096,
    f"POST / HTTP/1.1\r\n{HEAD}Content-Length: -5\r\n\r\n",
    f"POST / HTTP/1.1\r\n{HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    f"POST / HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    f"POST / HTTP/1.1\r\n{HEAD}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    f"POST / HTTP/1.1\r\n{HEAD}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
]
HEADERS = [
    f"GET / HTTP/1.1\r\n{HEAD}X-Large: {'x' * 70000}\r\n\r\n",
    f"GET / HTTP/1.1\r\n{HEAD}" + "".join(f"X-{number}: {number}\r\n" for number in range(3000)) + "\r\n",
    f"GET / HTTP/1.1\r\n{HEAD}Cookie: {'a=b; ' * 8000}\r\n\r\n",
    f"GET /{'a' * 70000} HTTP/1.1\r\n{HEAD}\r\n",
    f"GET / HTTP/9.9\r\n{HEAD}\r\n",
    f"GET / HTTP/1.1\r\n{HEAD}Range: bytes={','.join(f'{n}-' for n in range(1000))}\r\n\r\n",
]


def requests() -> Iterator[tuple[str, str]]:
    """Each hostile request with its kind, round and round."""
    kinds = [
        ("path", [f"GET {path} HTTP/1.1\r\n{HEAD}\r\n" for path in PATHS]),
        ("method", [f"{method} / HTTP/1.1\r\n{HEAD}\r\n" for method in METHODS]),
        ("host", [f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n" for host in HOSTS]),
        ("host", [f"GET https://evil.test/ HTTP/1.1\r\n{HEAD}\r\n", "GET / HTTP/1.0\r\n\r\n"]),
        ("body", BODIES),
        ("header", HEADERS),
    ]
    for number in itertools.count():
        for kind, texts in kinds:
            yield kind, texts[number % len(texts)]
        yield "tls", str(number % 5)


def encrypted(name: str = NAME) -> socket.socket:
    return CONTEXT.wrap_socket(socket.create_connection((ADDRESS, 443), 10), server_hostname=name)


def answer(connection: socket.socket) -> tuple[int, bytes, bool]:
    """Status and text of an answer (0 when the connection is just closed), and whether another request may follow."""
    data = b""
    with contextlib.suppress(OSError):
        while b"\r\n\r\n" not in data and (piece := connection.recv(65536)):
            data += piece
        head, _end, body = data.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        while lengths and len(body) < int(lengths[0].split(b":")[1]) and (piece := connection.recv(65536)):
            body += piece
        if head.startswith(b"HTTP/"):
            return int(head.split(b" ")[1]), body, bool(lengths) and b"connection: close" not in head.lower()
    return 0, data, False


def broken_handshake(which: int) -> tuple[int, bytes]:
    """What is no handshake, or one for nobody."""
    if which == 0:
        with contextlib.suppress(ssl.SSLError, OSError), encrypted("nobody.evil.test"):
            return 200, b"a handshake for a name that no site has"
        return 0, b""
    with socket.create_connection((ADDRESS, 443), 10) as plain:
        # not for as long as the server waits: that is what the slow ones are for
        plain.settimeout(0.3)
        # rubbish, http, a record of TLS that lies about its length and says no more, an ancient version
        hello = [
            b"",
            os.urandom(300),
            f"GET / HTTP/1.1\r\n{HEAD}\r\n".encode(),
            b"\x16\x03\x01\x40\x00\x01",
            b"\x16\x03\x00\x00\x04\x01\x00\x00\x00",
        ]
        plain.sendall(hello[which])
        if which == 3:
            plain.shutdown(socket.SHUT_WR)
        return answer(plain)[:2]


class Attack:
    """The requests, by several threads, and what came of them."""

    def __init__(self) -> None:
        self.source = itertools.islice(requests(), COUNT)
        self.lock = threading.Lock()
        self.seen: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self.leaks: list[str] = []
        self.over = threading.Event()

    def note(self, kind: str, status: int, text: bytes, asked: str = "") -> None:
        with self.lock:
            self.seen[kind][str(status)] += 1
            told = b"root:x:" in text or b"SECRET_KEY" in text
            # what is not ours to be asked for is answered by no app: not well, and not by its breaking down
            if told or status in (500, 502, 503, 504) or (kind in ("host", "tls") and status in (200, 302, 303)):
                self.leaks.append(f"{kind} {asked[:80]!r}: {status} {text[:80]!r}")

    def work(self) -> None:
        connection: socket.socket | None = None
        while time.monotonic() < DEADLINE:
            with self.lock:
                kind, text = next(self.source, ("", ""))
            if not kind:
                break
            try:
                if kind == "tls":
                    self.note(kind, *broken_handshake(int(text)), asked=text)
                    continue
                connection = connection or encrypted()
                with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
                    # it may be told off before it has said all
                    connection.sendall(text.encode("latin-1"))
                status, body, alive = answer(connection)
                self.note(kind, status, body, text)
                if not alive or kind not in ("path", "method"):
                    connection.close()
                    connection = None
            except OSError as error:
                connection = None
                self.note(kind, 0, str(error).encode(), text)

    def dawdle(self) -> None:
        """Clients that send a header byte by byte, as many as possible at once; who is thrown out comes again."""
        there: list[socket.socket] = []
        while not self.over.is_set() and time.monotonic() < DEADLINE:
            for client in list(there):
                try:
                    client.send(b"X")
                    client.setblocking(False)
                    if client.recv(1) == b"":
                        raise ConnectionResetError
                except BlockingIOError:
                    pass
                except OSError:
                    there.remove(client)
                    client.close()
                    self.note("slow", 0, b"")
            while len(there) < SLOW and not self.over.is_set():
                with contextlib.suppress(OSError):
                    client = socket.create_connection((ADDRESS, 80), 10)
                    client.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
                    there.append(client)
            self.most = max(getattr(self, "most", 0), len(there))
            self.over.wait(1)
        for client in there:
            self.note("slow", 0, b"")
            client.close()


def several(work: Callable[[], None], count: int) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, daemon=True) for _number in range(count)]
    for thread in threads:
        thread.start()
    return threads


began = time.monotonic()
attack = Attack()
slow = several(attack.dawdle, 1)
for worker in several(attack.work, 24):
    worker.join()
while time.monotonic() - began < 13 and time.monotonic() < DEADLINE:
    time.sleep(0.2)  # until the first of the slow ones were thrown out
attack.over.set()
slow[0].join(20)
print(json.dumps({
    "sent": sum(sum(counts.values()) for counts in attack.seen.values()),
    "seconds": round(time.monotonic() - began, 1), "slow_at_once": getattr(attack, "most", 0),
    "seen": attack.seen, "leaks": attack.leaks[:20],
}))  # fmt: skip
