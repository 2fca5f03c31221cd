# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets at the database, and how: the web hosts over TLS, nobody else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.root import Root
from tests.support.stack import box
from tests.support.web import Page, fetch, post_entry

DATABASES = ("replica-db1", "replica-db2")
# in the app's own environment, with its driver: what its DATABASE_URL becomes
CONNECT = """
import json, sys, pymysql
words = json.loads(sys.argv[1])
try:
    connection = pymysql.connect(connect_timeout=5, **words)
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_version'")
        print(json.dumps(cursor.fetchone()[1]))
except Exception as error:
    print(json.dumps(f"{type(error).__name__}: {error}"))
"""
# a bare TCP connection, and what the server says first
REACH = """
import json, socket, sys
try:
    with socket.create_connection((sys.argv[1], 3306), 3) as link:
        print(json.dumps(link.recv(200).decode("latin-1")))
except OSError as error:
    print(json.dumps(type(error).__name__))
"""


@pytest.fixture(scope="module")
def web() -> Root:
    return Root("replica-web")


@pytest.fixture(scope="module")
def login(web: Root) -> dict[str, Any]:
    """What the app's driver gets, from the live release's own environment."""
    script = """
import json, sys
from urllib.parse import urlsplit, parse_qs, unquote
url = urlsplit(json.load(open(sys.argv[1]))["DATABASE_URL"])
print(json.dumps({"host": url.hostname, "port": url.port, "user": url.username, "password": unquote(url.password),
    "database": url.path[1:], "ssl": {"ca": parse_qs(url.query)["ssl_ca"][0]}}))
"""
    live = web.must("basename $(readlink /srv/guestbook/current)").strip()
    found: dict[str, Any] = web.python(script, f"/srv/guestbook/environments/{live}.json")
    return found


def connect(web: Root, login: dict[str, Any], **changed: Any) -> str:
    words = {**login, **changed}
    python = web.must("readlink -f /srv/guestbook/current/.venv || true").strip() or "/srv/guestbook/venvs/*"
    command = f'for venv in {python}; do :; done; "$venv/bin/python" -c "$1" "$2"'
    return str(json.loads(web.must(command, CONNECT, json.dumps(words))))


def test_the_app_uses_the_primary_over_tls(web: Root, login: dict[str, Any]) -> None:
    assert login["host"] == box("address", "replica-db1")
    assert connect(web, login) == "TLSv1.3"
    address = box("address", "replica-web")
    post_entry(address, "Ada", "over TLS")
    assert "over TLS" in fetch(f"https://{address}/").text


def test_the_server_has_to_prove_itself(web: Root, login: dict[str, Any]) -> None:
    """Neither an unknown authority nor the certificate of another address will do."""
    assert "CERTIFICATE_VERIFY_FAILED" in connect(web, login, ssl={"ca": "/etc/ssl/certs/ca-certificates.crt"})
    link = 'echo "$1 elsewhere.test" >> /etc/hosts'
    web.must(link, login["host"])
    try:
        told = connect(web, login, host="elsewhere.test")
    finally:
        web.must("sed -i /elsewhere.test/d /etc/hosts")
    assert "elsewhere.test" in told
    assert "CERTIFICATE_VERIFY_FAILED" in told


def test_users_come_over_tls_or_not_at_all(web: Root, login: dict[str, Any]) -> None:
    told = connect(web, {key: value for key, value in login.items() if key != "ssl"}, ssl_disabled=True)
    assert told.startswith("OperationalError: (1045,"), told


@pytest.mark.parametrize("name", DATABASES)
def test_a_host_outside_is_refused(name: str) -> None:
    """By the firewall; and where that is open for a moment, by the server, which has no user from there."""
    outside, database = Root("replica-out", user="root"), Root(name)
    assert outside.python(REACH, database.address) == "TimeoutError"
    assert not Page.port_open(database.address, 3306), "nor from where the tests run"
    database.must("ufw insert 1 allow from $1 to any port 3306 proto tcp", outside.address)
    try:
        told = outside.python(REACH, database.address)
    finally:
        database.must("ufw delete allow from $1 to any port 3306 proto tcp", outside.address)
    assert f"Host '{outside.address}' is not allowed to connect" in told
    assert outside.python(REACH, database.address) == "TimeoutError"


@pytest.mark.parametrize("name", DATABASES)
def test_it_listens_on_two_addresses(name: str) -> None:
    database = Root(name)
    lines = database.must("ss -Hltn 'sport = 3306'").splitlines()
    assert sorted(line.split()[3] for line in lines) == sorted(["127.0.0.1:3306", f"{database.address}:3306"])
    key = "/etc/mysql/flaskhost/server.key"
    assert database.must("stat -c %U:%G:%a $1", key).strip() == "root:mysql:640"
