# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask an app for its health, over its own socket or through the web server."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

RELEASE_HEADER = "X-Flaskhost-Release"
# by its value, nginx sends a visitor to the live release or to a canary
SIDE_COOKIE = "flaskhost_side"


@dataclass(frozen=True)
class Answer:
    """One answer: ``status`` 0 when there was none, with the reason in ``text``."""

    status: int
    release: str
    text: str


class _Socket(http.client.HTTPConnection):
    """HTTP over something that is connected already."""

    def __init__(self, connected: socket.socket, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.sock = connected


def _unix(path: str, timeout: float) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connected.settimeout(timeout)
    connected.connect(path)
    return connected


def connect(address: str, port: int, name: str, tls: bool, timeout: float) -> socket.socket:
    """A TCP connection, with TLS when asked for. ``name`` is sent as SNI."""
    connected = socket.create_connection((address, port), timeout)
    if not tls:
        return connected
    # the certificate is not what is asked for here, and it may be self-signed; reading the host's authorities takes 0.1 s
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connected, server_hostname=name)


@contextlib.contextmanager
def _deadline(connected: socket.socket, seconds: float) -> Iterator[None]:
    """End the connection after some seconds. Its own timeout begins anew with every byte that drips in."""
    late = threading.Event()

    def cut() -> None:
        late.set()
        with contextlib.suppress(OSError):
            # of the plain socket: TLS would first say goodbye to one who does not listen
            socket.socket.shutdown(connected, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        # a cut answer can look like a whole one
        if late.is_set():
            raise TimeoutError(f"no whole answer within {seconds:g} s")


def _place(text: str) -> tuple[str, int]:
    """Address and port (0: none is named) of ``ADDRESS``, ``ADDRESS:PORT``, ``[IPV6]`` or ``[IPV6]:PORT``; of a bare IPv6 address too."""
    if text.startswith("["):
        address, _bracket, rest = text[1:].partition("]")
    elif text.count(":") > 1:
        address, rest = text, ""
    else:
        address, colon, rest = text.partition(":")
        rest = colon + rest
    return address, int(rest.lstrip(":") or 0)


def ask(
    target: str,
    *,
    path: str = "/",
    host: str = "localhost",
    scheme: str = "",
    side: str = "",
    timeout: float = 5.0,
) -> Answer:
    """One GET.

    :param target: path of a unix socket, or ``https://ADDRESS`` / ``http://ADDRESS`` with the port of the scheme or another.
    :param path: what to get.
    :param host: value of the Host header and of SNI.
    :param scheme: what X-Forwarded-Proto says where it is not said otherwise: on a unix socket (https by default), and to a web
        server that speaks another one with balancers.
    :param side: which release to ask while there is a canary (see ``App.side``).
    :param timeout: seconds to connect, and then for the whole answer.
    """
    try:
        headers = {"Host": host, "User-Agent": "flaskhost-probe", "Accept": "*/*", "Connection": "close"}
        if side:
            headers["Cookie"] = f"{SIDE_COOKIE}={side}"
        if target.startswith("/"):
            connected = _unix(target, timeout)
            headers |= {"X-Forwarded-Proto": scheme or "https", "X-Forwarded-Host": host}
            headers["X-Forwarded-For"] = "127.0.0.1"
        else:
            kind, _sep, address = target.partition("://")
            tls = kind == "https"
            if scheme not in ("", kind):
                headers["X-Forwarded-Proto"] = scheme
            address, port = _place(address)
            connected = connect(address, port or (443 if tls else 80), host, tls, timeout)
        with _deadline(connected, timeout):
            connection = _Socket(connected, timeout)
            try:
                connection.request("GET", path, headers=headers)
                response = connection.getresponse()
                text = response.read(2000).decode("utf-8", "replace")
                return Answer(response.status, response.getheader(RELEASE_HEADER) or "", text)
            finally:
                connection.close()
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, "", f"{type(error).__name__}: {error}")


def wait_for(
    question: Callable[[], Answer],
    *,
    status: int,
    release: str,
    timeout: float,
    in_a_row: int = 3,
    gone: Callable[[], str] = lambda: "",
    beside: str = "",
) -> tuple[bool, str]:
    """Ask until ``in_a_row`` answers have the right status and release, or it is hopeless.

    :param beside: another release that answers there too for now; its answers say nothing either way.
    :param gone: says why asking on is hopeless (the process died), empty while there is hope.
    :returns: whether it is healthy, and in words what was last seen.
    """
    deadline = time.monotonic() + timeout
    good = 0
    while True:
        answer = question()
        if answer.status == status and answer.release == release:
            good += 1
            if good >= in_a_row:
                return True, f"{status} from {release}"
        elif not beside or answer.release != beside:
            good = 0
        seen = _in_words(answer, status, release)
        why = gone()
        if why:
            return False, why
        if time.monotonic() > deadline:
            return False, f"after {timeout:g} s: {seen}"
        # quick at first, then patient
        time.sleep(0.02 if good else 0.05)


def _in_words(answer: Answer, status: int, release: str) -> str:
    if answer.status == 0:
        return f"no answer ({answer.text})"
    if answer.status != status:
        return f"status {answer.status} where {status} is expected: {answer.text[:300]}"
    return f"status {status}, but from release {answer.release or '(none named)'} where {release} is expected"
