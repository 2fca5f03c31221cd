# SPDX-License-Identifier: GPL-3.0-or-later
"""Derived values of apps: shapes, defaults, environments, databases."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _app_resolve as resolve

APP: dict[str, Any] = {"name": "blog", "source": {"git": "https://example.com/blog.git"}, "wsgi": "blog:create_app()"}
SECRETS = {"secret_key": "generated-key", "database_password": "generated-password"}


def one(host: Any = None, address: str = "10.0.0.1", base: str = "/inventory", **changes: Any) -> dict[str, Any]:
    (app,) = resolve.resolve([{**APP, **changes}], host, address, base)
    return app


def test_defaults() -> None:
    assert one(host={"memory_mb": 2000, "cpus": 1}) == {
        "name": "blog",
        "user": "blog",
        "group": "blog",
        "paths": {
            "root": "/srv/blog",
            "repo": "/srv/blog/repo.git",
            "releases": "/srv/blog/releases",
            "venvs": "/srv/blog/venvs",
            "shared": "/srv/blog/shared",
            "current": "/srv/blog/current",
            "cache": "/srv/blog/cache",
            "environments": "/srv/blog/environments",
            "lock": "/srv/blog/deploy.lock",
            "run": "/run/blog",
            "log": "/var/log/blog",
        },
        "source": {"kind": "git", "git": "https://example.com/blog.git", "version": "HEAD", "subdir": ""},
        "wsgi": "blog:create_app()",
        "server": "gunicorn",
        "port": 0,
        "workers": 3,
        "threads": 1,
        "timeout": 30,
        "drain": 30,
        "domains": [],
        "hosts": [],
        "balancers": [],
        "url": "https://10.0.0.1",
        "tls": {
            "hsts": 0,
            "mode": "self_signed",
            "certificate": "/etc/ssl/flaskhost/blog.pem",
            "key": "/etc/ssl/flaskhost/blog.key",
            "source_certificate": "",
            "source_key": "",
        },
        "database": {"engine": "none", "name": "", "user": "", "host": "", "port": 0, "path": "", "ca": ""},
        "python": {"requirements": "auto", "packages": ["gunicorn"]},
        "build": [],
        "migrate": [],
        "snapshot": False,
        "snapshot_client": "",
        "processes": {},
        "static": [],
        "shared": {"dirs": [], "files": []},
        "healthcheck": {"path": "/", "status": 200, "timeout": 30, "steady": 3},
        "watch": 0,
        "watch_limit": 5,
        "watch_requests": 20,
        "keep_releases": 5,
        "max_body": "16m",
        "limits": {"requests": 0, "burst": 0, "connections": 0},
        "headers": {},
    }


def test_defaults_are_fresh_each_time() -> None:
    one()["build"].append("x")
    one()["shared"]["dirs"].append("x")
    assert one()["build"] == []
    assert one()["shared"]["dirs"] == []


def test_workers_given_win_and_absent_apps_take_no_memory() -> None:
    assert one(workers=7)["workers"] == 7
    host = {"memory_mb": 1024, "cpus": 2}
    apps = [APP, {**APP, "name": "old", "state": "absent"}, {"name": "older", "state": "absent"}]
    assert [(app["name"], app["workers"]) for app in resolve.resolve(apps, host)] == [("blog", 4)]
    assert [app["workers"] for app in resolve.resolve([APP, {**APP, "name": "b"}], host)] == [2, 2]
    assert resolve.resolve([APP], host, database="mysql")[0]["workers"] == 2, "the server takes memory, too"


@pytest.mark.parametrize(
    ("changes", "address", "url"),
    [
        ({"domains": ["a.example.com", "b.example.com"]}, "10.0.0.1", "https://a.example.com"),
        ({}, "10.0.0.1", "https://10.0.0.1"),
        ({}, "fd00::1", "https://[fd00::1]"),
        ({"tls": {"mode": "none"}}, "10.0.0.1", "http://10.0.0.1"),
        ({}, "", "https://localhost"),
    ],
)
def test_url(changes: dict[str, Any], address: str, url: str) -> None:
    assert one(address=address, **changes)["url"] == url


def test_source_of_the_control_node() -> None:
    assert one(source={"path": "../blog/", "subdir": "web/"})["source"] == {
        "kind": "path",
        "path": "/blog",
        "version": "",
        "subdir": "web",
    }
    assert one(source={"path": "/abs"})["source"]["path"] == "/abs"
    assert not one(source={"path": "~/blog"})["source"]["path"].startswith(("~", "/inventory"))


def test_tls() -> None:
    provided = one(tls={"mode": "provided", "certificate": "c/blog.pem", "key": "/etc/blog.key"})["tls"]
    assert provided["source_certificate"] == "/inventory/c/blog.pem"
    assert provided["source_key"] == "/etc/blog.key"
    assert one(tls={"mode": "none"})["tls"] == {
        "hsts": 0,
        "mode": "none",
        "certificate": "",
        "key": "",
        "source_certificate": "",
        "source_key": "",
    }


def test_certificates_that_certbot_renews_lie_apart() -> None:
    tls = one(tls={"mode": "acme"}, domains=["example.com"])["tls"]
    assert tls["certificate"] == "/etc/ssl/flaskhost/acme/blog.pem"
    assert tls["key"] == "/etc/ssl/flaskhost/acme/blog.key"


@pytest.mark.parametrize(
    ("tls", "seconds"),
    [
        ({}, 0),
        ({"mode": "acme"}, 15552000),
        ({"mode": "acme", "hsts": 0}, 0),
        ({"mode": "provided", "certificate": "c", "key": "k"}, 15552000),
        ({"hsts": 60}, 60),
    ],
)
def test_hsts(tls: dict[str, Any], seconds: int) -> None:
    assert one(tls=tls)["tls"]["hsts"] == seconds


def test_limits_and_headers() -> None:
    assert one(limits={"requests": 20})["limits"] == {"requests": 20, "burst": 200, "connections": 0}
    assert one(limits={"requests": 20, "burst": 1})["limits"]["burst"] == 1
    assert one(headers={"X-A": "b", "X-B": "", "X-C": None})["headers"] == {"X-A": "b", "X-B": ""}


def test_databases_of_each_engine() -> None:
    mysql = {
        "engine": "mysql", "name": "my_blog", "user": "my_blog", "host": "127.0.0.1", "port": 3306, "path": "", "ca": "",
    }  # fmt: skip
    assert one(name="my-blog", database={"engine": "mysql"})["database"] == mysql
    assert one(name="my-blog", database={"engine": "mysql", "host": "localhost"})["database"] == mysql
    assert one(database={"engine": "postgresql", "host": "db", "name": "x", "user": "y"})["database"] == {
        "engine": "postgresql",
        "name": "x",
        "user": "y",
        "host": "db",
        "port": 5432,
        "path": "",
        "ca": "",
    }
    assert one(database={"engine": "sqlite"})["database"]["path"] == "/srv/blog/shared/blog.sqlite3"


@pytest.mark.parametrize(
    ("given", "engine", "server", "packages"),
    [
        ([], "mysql", "gunicorn", ["pymysql", "cryptography", "gunicorn"]),
        (
            ["PyMySQL==1.1", "gunicorn[gevent]>=23"],
            "mysql",
            "gunicorn",
            ["PyMySQL==1.1", "gunicorn[gevent]>=23", "cryptography"],
        ),
        ([], "sqlite", "uwsgi", ["pyuwsgi"]),
        (["psycopg2"], "postgresql", "gunicorn", ["psycopg2", "gunicorn"]),
        ([], "postgresql", "gunicorn", ["psycopg2-binary", "gunicorn"]),
    ],
)
def test_packages(given: list[str], engine: str, server: str, packages: list[str]) -> None:
    database = {"engine": engine, "host": "db"} if engine != "sqlite" else {"engine": engine}
    assert one(python={"packages": given}, database=database, server=server)["python"]["packages"] == packages


def test_static_and_shared_paths_lose_their_last_slash() -> None:
    assert one(static=[{"url": "/static/", "path": "blog/static/"}])["static"] == [
        {"url": "/static", "path": "blog/static", "expires": "30d"}
    ]
    assert one(shared={"dirs": ["uploads/"]})["shared"] == {"dirs": ["uploads"], "files": []}


def test_no_secret_gets_into_a_resolved_app() -> None:
    vault = {"blog": {"env": {"A": "hunter2"}, "database": {"password": "hunter2"}}}
    apps = resolve.merged([{**APP, "env": {"B": "hunter2"}, "database": {"engine": "mysql"}}], vault)
    assert "hunter2" not in repr(resolve.resolve(apps))


def test_merge_is_deep_and_leaves_its_input_alone() -> None:
    apps = [{**APP, "env": {"A": "1", "B": "2"}, "database": {"engine": "mysql"}}]
    (app,) = resolve.merged(apps, {"blog": {"env": {"B": "3", "C": "4"}, "database": {"password": "x"}}, "other": {}})
    assert app["env"] == {"A": "1", "B": "3", "C": "4"}
    assert app["database"] == {"engine": "mysql", "password": "x"}
    assert apps[0]["env"] == {"A": "1", "B": "2"}
    assert resolve.merged(apps, {"blog": {"env": None}})[0]["env"] == {"A": "1", "B": "2"}
    assert resolve.merged(apps, {"blog": None}) == apps


def environment(**changes: Any) -> dict[str, str]:
    return resolve.environment({**APP, **changes}, SECRETS)


def test_environment_defaults() -> None:
    assert environment() == {
        "FLASK_APP": "blog:create_app()",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "SECRET_KEY": "generated-key",
    }


def test_environment_of_a_person_wins() -> None:
    given = {
        "FLASK_APP": "x",
        "LANG": "de_DE.UTF-8",
        "SECRET_KEY": "mine",
        "DATABASE_URL": "sqlite://",
        "PYTHONUNBUFFERED": "",
    }
    assert environment(env=given, database={"engine": "mysql"}) == given
    assert resolve.environment({**APP, "env": given, "database": {"engine": "mysql"}}) == given, (
        "no generated secret is needed then"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (-1, "-1"),
        (1.5, "1.5"),
        (10**20, "1" + "0" * 20),
        ("", ""),
        ("yes", "yes"),
        (" $x ", " $x "),
    ],
)
def test_environment_values_are_texts(value: Any, text: str) -> None:
    assert environment(env={"A": value})["A"] == text


def test_database_urls() -> None:
    assert environment(database={"engine": "sqlite"})["DATABASE_URL"] == "sqlite:////srv/blog/shared/blog.sqlite3"
    assert (
        environment(database={"engine": "mysql"})["DATABASE_URL"]
        == "mysql+pymysql://blog:generated-password@127.0.0.1:3306/blog?charset=utf8mb4"
    )
    assert environment(database={"engine": "postgresql", "host": "fd00::5"})["DATABASE_URL"] == (
        "postgresql+psycopg2://blog:generated-password@[fd00::5]:5432/blog"
    )
    assert "DATABASE_URL" not in environment()


@pytest.mark.parametrize("password", ["p@ss:w/rd", "100%", "a b+c", "#?&=", "ünïcode", "'\"\\", "%41", "[::1]"])
def test_passwords_survive_the_url(password: str) -> None:
    url = urlsplit(environment(database={"engine": "mysql", "password": password})["DATABASE_URL"])
    assert unquote(url.password or "") == password
    assert (url.hostname, url.port, url.path) == ("127.0.0.1", 3306, "/blog")


def test_missing_secrets_are_told_with_the_fix() -> None:
    with pytest.raises(resolve.ResolveError, match=r"app blog: no secret_key.*env.SECRET_KEY in vault_flask_apps.blog"):
        resolve.environment(APP)
    with pytest.raises(resolve.ResolveError, match=r"no database_password.*database.password in vault_flask_apps.blog"):
        resolve.environment({**APP, "database": {"engine": "mysql"}}, {"secret_key": "x"})


def with_database(name: str = "blog", **database: Any) -> dict[str, Any]:
    return {**APP, "name": name, "database": {"engine": "mysql", **database}}


def test_databases_of_a_single_host() -> None:
    hosts = {
        "one": [
            with_database(),
            {**APP, "name": "lite", "database": {"engine": "sqlite"}},
            {**with_database("old"), "state": "absent"},
        ]
    }
    assert resolve.databases(hosts, "one", secrets={"blog": SECRETS}) == [
        {
            "engine": "mysql",
            "name": "blog",
            "user": "blog",
            "password": "generated-password",
            "hosts": ["127.0.0.1", "localhost"],
        }
    ]
    assert resolve.databases(hosts, "other") == [], "a local database is nobody else's business"


def test_databases_of_many_web_hosts() -> None:
    far = with_database(host="10.0.0.5")
    hosts = {"web1": [far], "web2": [far, with_database("shop", host="elsewhere")], "db1": [with_database("local")]}
    found = resolve.databases(
        hosts,
        "db1",
        names=["10.0.0.5"],
        addresses={"web1": "10.0.0.11", "web2": ["10.0.0.12", "fd00::12"]},
        secrets={"blog": SECRETS, "local": SECRETS},
    )
    assert [(entry["name"], entry["hosts"]) for entry in found] == [
        ("blog", ["10.0.0.11", "10.0.0.12", "fd00::12"]),
        ("local", ["127.0.0.1", "localhost"]),
    ]


def test_an_app_on_the_database_host_that_uses_its_address() -> None:
    app = with_database(host="10.0.0.5")
    (entry,) = resolve.databases({"db1": [app]}, "db1", ["10.0.0.5"], {"db1": "10.0.0.5"}, {"blog": SECRETS})
    assert entry["hosts"] == ["127.0.0.1", "localhost", "10.0.0.5"]


def test_apps_find_the_database_host_by_themselves() -> None:
    apps = [with_database(), with_database("far", host="db.example.com"), {**APP, "name": "lite"}]
    server = {"address": "10.0.0.5", "names": ["db1", "10.0.0.5"]}
    found = [resolve.database_of(app) for app in resolve.at_server(apps, server)]
    assert [(one["host"], one["ca"]) for one in found] == [
        ("10.0.0.5", "/etc/ssl/flaskhost/database-ca.pem"),
        ("db.example.com", ""),
        ("", ""),
    ]
    (app,) = resolve.at_server([with_database()], server)
    assert resolve.database_url(app, SECRETS) == (
        "mysql+pymysql://blog:generated-password@10.0.0.5:3306/blog?charset=utf8mb4&ssl_ca=/etc/ssl/flaskhost/database-ca.pem"
    )
    assert "ca" not in with_database()["database"], "nobody's entry is changed"


def test_each_host_of_a_replicated_group_knows_all_users() -> None:
    hosts = {"web1": [with_database()], "db1": [with_database("own", host="127.0.0.1")]}
    server = {"address": "10.0.0.5", "names": ["db1", "db2", "10.0.0.5", "10.0.0.6"]}
    placed = {web: resolve.at_server(apps, server) for web, apps in hosts.items()}
    for here, own in (("db1", ["127.0.0.1", "localhost"]), ("db2", ["10.0.0.5"])):
        found = resolve.databases(
            placed, here, server["names"], {"web1": "10.0.0.11", "db1": "10.0.0.5"},
            {"blog": SECRETS, "own": SECRETS}, ["db1", "db2"],
        )  # fmt: skip
        assert [(entry["name"], entry["hosts"]) for entry in found] == [("blog", ["10.0.0.11"]), ("own", own)]


def test_database_users_are_limited_to_addresses() -> None:
    with pytest.raises(resolve.ResolveError, match=r"web1 is known by the name web1.example.com.*internal_address"):
        resolve.databases(
            {"web1": [with_database(host="db1")]}, "db1", [], {"web1": "web1.example.com"}, {"blog": SECRETS}
        )


def test_databases_take_the_password_of_the_vault() -> None:
    (entry,) = resolve.databases({"one": [with_database(password="mine")]}, "one", secrets={"blog": SECRETS})
    assert entry["password"] == "mine"


def test_databases_refuse_what_cannot_work() -> None:
    far = {"host": "10.0.0.5"}
    with pytest.raises(resolve.ResolveError, match="no address of web host web1"):
        resolve.databases({"web1": [with_database(**far)]}, "db1", ["10.0.0.5"], {}, {"blog": SECRETS})
    with pytest.raises(resolve.ResolveError, match="two passwords; app blog on web2") as caught:
        resolve.databases(
            {"web1": [with_database(**far, password="hunter2")], "web2": [with_database(**far)]},
            "db1",
            ["10.0.0.5"],
            {"web1": "10.0.0.11", "web2": "10.0.0.12"},
            {"blog": SECRETS},
        )
    assert "hunter2" not in str(caught.value)
