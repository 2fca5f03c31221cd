# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a box as a browser would."""

from __future__ import annotations

import functools
import http.client
import re
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

import websockets.sync.client
from cryptography import x509


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: object) -> None:
        return None


@functools.cache
def _context() -> ssl.SSLContext:
    # boxes have self-signed certificates
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def served(address: str, name: str) -> x509.Certificate:
    """The certificate that is served for a name, as it comes over the wire."""
    with (
        socket.create_connection((address, 443), 10) as plain,
        _context().wrap_socket(plain, server_hostname=name) as tls,
    ):
        return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"")


@dataclass(frozen=True)
class Page:
    """One answer. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    text: str

    @staticmethod
    def port_open(address: str, port: int) -> bool:
        """Whether a TCP connection is accepted within two seconds."""
        try:
            with socket.create_connection((address, port), 2):
                return True
        except OSError:
            return False


class NamedConnection(http.client.HTTPSConnection):
    """TLS to an address, asking for a site by its name: no name server knows the sites of tests."""

    def __init__(self, address: str, name: str, *, timeout: float = 30) -> None:
        super().__init__(address, 443, timeout=timeout)
        self._name = name

    def connect(self) -> None:
        """Connect, and tell the name in the handshake."""
        http.client.HTTPConnection.connect(self)
        self.sock = _context().wrap_socket(self.sock, server_hostname=self._name)


def ask(
    address: str, name: str, path: str = "/", *, tls: bool = True, method: str = "GET",
    headers: dict[str, str] | None = None, body: bytes | None = None,
) -> Page:  # fmt: skip
    """One request to a site by name; what keeps an answer from coming is raised."""
    connection = NamedConnection(address, name) if tls else http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request(method, path, body, {"Host": name, **(headers or {})})
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
        return Page(response.status, {key.lower(): value for key, value in response.getheaders()}, text)
    finally:
        connection.close()


def talk(address: str, name: str, path: str) -> websockets.sync.client.ClientConnection:
    """A websocket to a site by name, over TLS."""
    return websockets.sync.client.connect(
        f"wss://{name}{path}",
        sock=socket.create_connection((address, 443), 10),
        ssl=_context(),
        proxy=None,
    )


def fetch(url: str, headers: dict[str, str] | None = None) -> Page:
    """One request; redirects are not followed, any status is an answer."""
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=_context()),
        urllib.request.ProxyHandler({}),
        _NoRedirect,
    )
    try:
        with opener.open(urllib.request.Request(url, headers=headers or {}), timeout=20) as answer:
            return Page(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read().decode())
    except urllib.error.HTTPError as error:
        return Page(
            error.code, {k.lower(): v for k, v in error.headers.items()}, error.read().decode("utf-8", "replace")
        )


def post_entry(address: str, name: str, message: str, *, scheme: str = "https", site: str = "") -> None:
    """Sign the guestbook, as its form does.

    :param site: the name that is asked for, where the address is not enough.
    """
    site, tls = site or address, scheme == "https"
    form = ask(address, site, tls=tls)
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', form.text)
    assert token, form.text[:500]
    body = urllib.parse.urlencode({"csrf_token": token.group(1), "name": name, "message": message}).encode()
    headers = {"Cookie": form.headers["set-cookie"].split(";")[0], "Referer": f"{scheme}://{site}/"}
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    sent = ask(address, site, tls=tls, method="POST", headers=headers, body=body)
    assert sent.status == 303, sent.text[:500]
