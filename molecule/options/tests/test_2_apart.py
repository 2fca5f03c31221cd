# SPDX-License-Identifier: GPL-3.0-or-later
"""Two apps side by side, one name the beginning of the other: neither sees anything of the other."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import testinfra.host

from tests.support.web import ask, post_entry

Host = testinfra.host.Host
Live = Callable[[str], str]
PAIRS = pytest.mark.parametrize(("app", "other"), [("blog", "blog2"), ("blog2", "blog")])


def test_each_keeps_its_own_entries(address: str, host: Host) -> None:
    post_entry(address, "Ada", "into-mysql", site="blog.test")
    post_entry(address, "Ada", "into-sqlite", site="blog2.test")
    assert "into-mysql" in ask(address, "www.blog.test").text
    assert "into-sqlite" not in ask(address, "blog.test").text
    assert "into-mysql" not in ask(address, "blog2.test").text
    assert "into-mysql" in host.check_output("mysql -N -e 'select message from blog.entries'")
    query = "import sqlite3; print(sqlite3.connect('/srv/blog2/shared/blog2.sqlite3').execute('select message from entries').fetchall())"
    assert "into-sqlite" in host.check_output("python3 -c %s", query)


def test_the_database_user_reaches_its_own_database_only(host: Host, own_apps: dict[str, object]) -> None:
    environment = json.loads(host.check_output("cat %s", f"/srv/blog/environments/{_live(host, 'blog')}.json"))
    # the user's password has every sign that could break an address
    assert "not%2Fa%40secret%3Aof%25anybody%3F@127.0.0.1:3307/blog" in environment["DATABASE_URL"]
    as_blog = "MYSQL_PWD='not/a@secret:of%%anybody?' mysql --protocol=tcp -h 127.0.0.1 -P 3307 -u blog -N -e %s"
    assert host.check_output(as_blog, "show databases").split() == ["blog", "information_schema", "performance_schema"]
    for query in ("select * from visitors.entries", "select user from mysql.user", "create database mine"):
        refused = host.run(as_blog, query)
        assert refused.rc == 1
        assert "denied" in refused.stderr


@PAIRS
def test_neither_reads_the_other(host: Host, app: str, other: str) -> None:
    release = _live(host, other)
    master = host.check_output("supervisorctl pid %s", f"{other}@{release}")
    for path in (
        f"/srv/{other}/environments/{release}.json",
        f"/srv/{other}/current/.env",
        f"/srv/{other}/releases/{release}/guestbook/__init__.py",
        f"/srv/{other}/shared",
        f"/srv/{other}/repo.git",
        f"/var/log/{other}/web.log",
        f"/etc/supervisor/conf.d/{other}@{release}.conf",
        f"/proc/{master}/environ",
    ):
        assert host.file(path).exists, path
        assert host.run("runuser -u %s -- cat %s", app, path).rc != 0, path
        assert host.run("runuser -u %s -- test -w %s", app, path).rc != 0, path
    connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    socket = f"/run/{other}/{release}.sock"
    assert "PermissionError" in host.run("runuser -u %s -- python3 -c %s %s", app, connect, socket).stderr
    assert host.run("runuser -u %s -- python3 -c %s %s", other, connect, socket).rc == 0
    assert host.run("runuser -u %s -- kill %s", app, master).rc != 0


def test_they_have_the_options_of_their_entries(address: str, host: Host) -> None:
    release = _live(host, "blog")
    master = host.check_output("supervisorctl pid %s", f"blog@{release}")
    arguments = host.check_output("tr '\\0' ' ' < /proc/%s/cmdline", master)
    assert "--workers=2 --threads=2 --timeout=25" in arguments
    environment = host.check_output("cat /proc/%s/environ", master).split("\0")
    for text in ("GREETING=100% 'blog' $HOME #1", "FLAG=true", "MAIL_PASSWORD=not '%' a \"secret\" $x"):
        assert text in environment
    assert host.check_output("cat /srv/blog/current/built.txt") == f"built by blog for {release}"
    # only the folder `backend` of the repository is the app
    assert not host.file("/srv/blog/current/README").exists
    assert host.run("/srv/blog/current/.venv/bin/python -c 'import slugify, unidecode, pymysql'").rc == 0
    # the other app has neither these packages nor this server, but uWSGI
    assert host.run("/srv/blog2/current/.venv/bin/python -c 'import slugify'").rc == 1
    other = host.check_output("supervisorctl pid %s", f"blog2@{_live(host, 'blog2')}")
    assert "uwsgi --master" in host.check_output("tr '\\0' ' ' < /proc/%s/cmdline", other)


def test_shared_paths(host: Host) -> None:
    release = f"/srv/blog/releases/{_live(host, 'blog')}"
    for place in ("worker", "instance/uploads", "settings.ini"):
        assert host.check_output("readlink %s", f"{release}/{place}") == f"/srv/blog/shared/{place}"
    # what the source tree brings is where it begins
    assert host.check_output("cat /srv/blog/shared/settings.ini") == "from = source"
    assert host.run("runuser -u blog -- touch %s", f"{release}/instance/uploads/picture").rc == 0
    assert host.run("runuser -u blog -- touch /srv/blog/shared/instance/other").rc == 0


def test_sites_have_the_options_of_their_entries(address: str) -> None:
    style = ask(address, "blog.test", "/static/style.css")
    assert style.headers["cache-control"] == "max-age=3600"
    note = ask(address, "blog.test", "/notes/note.txt")
    assert (note.text, note.headers["expires"]) == ("a note\n", "Thu, 01 Jan 1970 00:00:01 GMT")
    assert ask(address, "blog2.test", "/notes/note.txt").status == 404
    assert ask(address, "blog2.test", "/static/style.css").headers["cache-control"] == "max-age=315360000"
    body = b"x" * 100_000
    assert ask(address, "blog.test", method="POST", body=body).status == 413
    assert ask(address, "blog2.test", method="POST", body=body).status == 400
    # the site's own template extends the role's
    assert ask(address, "blog2.test").headers["x-site"] == "blog2"


def _live(host: Host, app: str) -> str:
    return str(host.check_output("readlink /srv/%s/current", app)).rpartition("/")[2]
