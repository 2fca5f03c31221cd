# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a box as a browser would."""

from __future__ import annotations

import re
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.cookiejar import CookieJar


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: object) -> None:
        return None


def _context() -> ssl.SSLContext:
    # boxes have self-signed certificates
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


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


def fetch(
    url: str, headers: dict[str, str] | None = None, data: dict[str, str] | None = None, jar: CookieJar | None = None
) -> Page:
    """One request; redirects are not followed, any status is an answer."""
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=_context()),
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPCookieProcessor(jar if jar is not None else CookieJar()),
        _NoRedirect,
    )
    body = urllib.parse.urlencode(data).encode() if data else None
    try:
        with opener.open(urllib.request.Request(url, body, headers or {}), timeout=20) as answer:
            return Page(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read().decode())
    except urllib.error.HTTPError as error:
        return Page(
            error.code, {k.lower(): v for k, v in error.headers.items()}, error.read().decode("utf-8", "replace")
        )


def post_entry(address: str, name: str, message: str) -> None:
    """Sign the guestbook, as its form does."""
    jar = CookieJar()
    form = fetch(f"https://{address}/", jar=jar)
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', form.text)
    assert token, form.text[:500]
    sent = fetch(f"https://{address}/", data={"csrf_token": token.group(1), "name": name, "message": message}, jar=jar)
    assert sent.status == 303, sent.text[:500]
