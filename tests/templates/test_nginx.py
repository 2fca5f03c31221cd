# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of nginx: who answers for which name, over what, from which release. Checked by nginx itself where there is one."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.filter.nginx_name import nginx_name
from ansible_collections.flaskhost.stack.plugins.module_utils._app_resolve import resolve
from ansible_collections.flaskhost.stack.plugins.plugin_utils import _balancer

from tests.support.render import evaluate, render

SITE = "etc/nginx/flaskhost/sites/site.conf.j2"
HEADERS = "etc/nginx/flaskhost/headers/app.conf.j2"
SHARED = "etc/nginx/conf.d/flaskhost.conf.j2"
UPSTREAM = "etc/nginx/flaskhost/upstreams/app.conf.j2"
NONE = "etc/nginx/flaskhost/upstreams/none.conf.j2"


class Block(list[tuple[list[str], "Block | None"]]):
    """Directives: words, and what is in braces after them."""

    def values(self, name: str) -> list[list[str]]:
        """The words after each directive of that name."""
        return [words[1:] for words, _inner in self if words[0] == name]

    def value(self, name: str) -> str:
        """The words of the only directive of that name."""
        (words,) = self.values(name)
        return " ".join(words)

    def blocks(self, *start: str) -> list[Block]:
        """What is in braces after directives that begin with these words."""
        return [inner for words, inner in self if words[: len(start)] == list(start) and inner is not None]

    def block(self, *start: str) -> Block:
        (found,) = self.blocks(*start)
        return found


def parse(text: str) -> Block:
    """Read a configuration as nginx does: words, quotes, semicolons, braces, comments."""
    tokens = re.findall(r"""\s+|\#[^\n]*|"[^"]*"|'[^']*'|[{};]|(?:[^\s;{}"'\\]|\\.)(?:[^\s;{\\]|\\.)*""", text)
    assert "".join(tokens) == text
    stack, words = [Block()], list[str]()
    for token in tokens:
        if not token.strip() or token.startswith("#"):
            continue
        if token == ";":
            assert words, "an empty directive"
            stack[-1].append((words, None))
            words = []
        elif token == "{":
            inner = Block()
            stack[-1].append((words, inner))
            stack.append(inner)
            words = []
        elif token == "}":
            assert not words, f"no semicolon after {words}"
            stack.pop()
        else:
            words.append(token)
    assert len(stack) == 1
    assert not words
    return stack[0]


def app(name: str = "blog", **changed: Any) -> dict[str, Any]:
    """A resolved app."""
    given = {
        "name": name,
        "source": {"path": "/src"},
        "wsgi": f"{name}:app",
        "domains": ["example.com", "www.example.com"],
    }
    return resolve([{**given, **changed}], {"memory_mb": 1000, "cpus": 1}, "192.0.2.1")[0]


PLAIN = {"mode": "none"}
STATIC = [{"url": "/static", "path": "blog/static", "expires": "7d"}, {"url": "/a.b", "path": "x"}]


def site(ipv6: bool = True, old: bool = False, **changed: Any) -> Block:
    return parse(render("nginx", SITE, item=app(**changed), nginx_ipv6=ipv6, nginx_http2_by_listen=old))


def headers(**changed: Any) -> dict[str, str]:
    """What is said with each answer of an app."""
    return {words[0]: words[1] for words in parse(render("nginx", HEADERS, item=app(**changed))).values("add_header")}


def listens(server: Block) -> list[str]:
    return [" ".join(words) for words in server.values("listen")]


def test_site_with_names_and_tls() -> None:
    plain, tls = site().blocks("server")
    assert plain.value("server_name") == tls.value("server_name") == "example.com www.example.com"
    assert listens(plain) == ["80", "[::]:80"]
    assert listens(tls) == ["443 ssl", "[::]:443 ssl"]
    assert tls.value("http2") == "on"
    assert tls.value("ssl_certificate") == "/etc/ssl/flaskhost/blog.pem"
    assert tls.value("ssl_certificate_key") == "/etc/ssl/flaskhost/blog.key"
    assert plain.block("location", "/").value("return") == "301 https://$host$request_uri"
    assert plain.block("location", "^~", "/.well-known/acme-challenge/").value("root") == "/var/www/acme"
    assert tls.value("client_max_body_size") == "16m"
    proxy = tls.block("location", "/")
    assert proxy.value("proxy_pass") == "http://$flaskhost_pool_blog"
    assert proxy.value("proxy_read_timeout") == "35s", "nginx is more patient than the app server"


def test_http2_of_old_nginx() -> None:
    _plain, tls = site(old=True).blocks("server")
    assert listens(tls) == ["443 ssl http2", "[::]:443 ssl http2"]
    assert tls.values("http2") == []


def test_site_without_names_answers_for_all() -> None:
    plain, tls = site(domains=[]).blocks("server")
    assert plain.value("server_name") == tls.value("server_name") == "_"
    assert listens(plain) == ["80 default_server", "[::]:80 default_server"]
    assert listens(tls) == ["443 ssl default_server", "[::]:443 ssl default_server"]


def test_site_without_tls() -> None:
    (server,) = site(tls=PLAIN).blocks("server")
    assert listens(server) == ["80", "[::]:80"]
    assert not [words for words, _inner in server if words[0].startswith("ssl") or words[0] == "http2"]
    assert "return" not in [words[0] for words, _inner in server.block("location", "/")]
    (server,) = site(tls=PLAIN, domains=[]).blocks("server")
    assert listens(server) == ["80 default_server", "[::]:80 default_server"]


@pytest.mark.parametrize("tls", [{}, PLAIN])
@pytest.mark.parametrize("domains", [[], ["example.com"]])
def test_no_ipv6(tls: dict[str, str], domains: list[str]) -> None:
    for server in site(ipv6=False, tls=tls, domains=domains).blocks("server"):
        assert not [line for line in listens(server) if "[::]" in line]


def test_static_files() -> None:
    _plain, tls = site(static=STATIC).blocks("server")
    one = tls.block("location", "~", r"^/static/(?<asset>.+)$")
    assert one.value("root") == "/srv/blog/releases"
    places = [f"/$flaskhost_{which}_blog/blog/static/$asset" for which in ("release", "live", "previous", "candidate")]
    assert one.value("try_files") == f"{' '.join(places)} =404", "the visitor's own release first"
    assert one.value("expires") == "7d"
    assert one.value("disable_symlinks") == "if_not_owner from=/srv/blog/releases", "no app shows another's files"
    assert tls.block("location", "~", r"^/a\.b/(?<asset>.+)$"), "a dot is a dot"
    assert tls.blocks("location")[-1] is not one
    assert len(site().blocks("server")[1].blocks("location", "~")) == 1, "that of the maintenance page"


def test_values_of_the_app_arrive() -> None:
    _plain, tls = site(timeout=120, max_body="1g").blocks("server")
    assert tls.value("client_max_body_size") == "1g"
    assert tls.block("location", "/").value("proxy_send_timeout") == "125s"


def test_no_drain_is_cut_short_by_nginx() -> None:
    path = "etc/nginx/modules-enabled/90-flaskhost.conf.j2"
    for drains, seconds in (([], "60s"), ([30], "60s"), ([30, 90], "90s")):
        sites = [app(drain=drain) for drain in drains]
        text = render("nginx", path, nginx_sites=sites, nginx_shutdown_timeout=60)
        assert parse(text).value("worker_shutdown_timeout") == seconds


def test_page_while_the_app_is_away() -> None:
    _plain, tls = site().blocks("server")
    # a path, not a named location: that would answer a POST with 405
    pages = {words[-1].split("/")[-1]: words[:-1] for words in tls.values("error_page")}
    assert pages == {"not-found.html": ["404"], "unavailable.html": ["502", "504"], "maintenance.html": ["503"]}
    for name in pages:
        page = tls.block("location", "=", f"/.flaskhost/{name}")
        assert page.value("alias") == f"/usr/share/flaskhost/{name}"
        assert page.values("internal") == [[]], "nobody may ask for it"
        assert ["Cache-Control", "no-store", "always"] in page.values("add_header"), "nobody keeps it"
        assert page.value("include") == "/etc/nginx/flaskhost/headers/blog.conf", (
            "add_header of its own hides the others"
        )
        html = render("nginx", f"usr/share/flaskhost/{name}")
        assert html.startswith("<!doctype html>")
        assert not re.search("https?:", html), "it loads nothing"


def test_maintenance() -> None:
    """A file closes the app; whoever has a key, and the probe of a deploy on the host itself, look past it."""
    _plain, tls = site().blocks("server")
    assert tls.block("location", "/").block("if", "($flaskhost_closed)").value("return") == "503"
    flags = "/var/lib/flaskhost/maintenance/blog"
    assert [words[1:] for words, _inner in tls if words[0] == "if"] == [
        ["(-f", f"{flags})"], ["(-f", f"{flags}.$flaskhost_pass)"], ["($flaskhost_probe)"],
    ]  # fmt: skip
    page = tls.block("location", "=", "/.flaskhost/maintenance.html")
    assert ["Retry-After", "300", "always"] in page.values("add_header")
    assert page.values("access_log") == [["/var/log/nginx/blog.access.log", "combined"]], "no release is judged by it"
    shared = parse(render("nginx", SHARED, nginx_sites=[], nginx_ipv6=False))
    key = shared.block("map", "$cookie_flaskhost_pass")
    assert lookup(key, "0" * 32) == "$cookie_flaskhost_pass"
    for cookie in ("", "x", "0" * 31, "0" * 33, "../blog", f"{'0' * 32}\n"):
        assert lookup(key, cookie.rstrip()) == ("none" if cookie.strip() != "0" * 32 else "$cookie_flaskhost_pass")
    probe = shared.block("map", '"$flaskhost_here $http_user_agent"')
    assert [words for words, _inner in probe] == [['"here flaskhost-probe"', "yes"], ["default", '""']]


def test_headers() -> None:
    assert headers(tls={}) == {
        "X-Content-Type-Options": "$flaskhost_nosniff",
        "X-Frame-Options": "$flaskhost_frames",
        "Referrer-Policy": "$flaskhost_referrer",
        "Set-Cookie": "$flaskhost_cookie_blog",
    }
    mine = {"x-frame-options": "", "Permissions-Policy": "camera=()"}
    found = headers(headers=mine, tls={"mode": "acme"})
    assert "X-Frame-Options" not in found
    assert "x-frame-options" not in found
    assert found["Permissions-Policy"] == '"camera=()"'
    assert found["Strict-Transport-Security"] == '"max-age=15552000"'
    hidden = (
        site(headers=mine, tls={"mode": "acme"}).blocks("server")[1].block("location", "/").values("proxy_hide_header")
    )
    assert hidden == [["x-frame-options"], ["Permissions-Policy"], ["Strict-Transport-Security"]], "said once"
    # over http a browser must not heed it
    assert "Strict-Transport-Security" not in headers(tls=PLAIN)


@pytest.mark.parametrize(
    ("frames", "policy", "sent"),
    [
        ("", "", "SAMEORIGIN"),
        ("DENY", "", '""'),
        ("", "default-src 'self'", "SAMEORIGIN"),
        ("", "default-src 'self'; frame-ancestors https://a.test", '""'),
    ],
)
def test_an_app_has_the_last_word_on_frames(frames: str, policy: str, sent: str) -> None:
    shared = parse(render("nginx", SHARED, nginx_sites=[], nginx_ipv6=False))
    found = shared.block("map", '"$upstream_http_x_frame_options $upstream_http_content_security_policy"')
    assert lookup(found, f"{frames} {policy}") == sent


@pytest.mark.parametrize(
    ("host", "said", "passed"),
    [
        ("a.test", "a.test", "$http_host"),
        ("a.test", "A.test:8443", "$http_host"),
        ("[::1]", "[::1]:80", "$http_host"),
        ("a.test", "evil.test", "$host"),
        ("a.test", "a.test.evil.test", "$host"),
        ("a.test", "a.test:1@evil.test", "$host"),
    ],
)
def test_the_name_that_an_app_is_told(host: str, said: str, passed: str) -> None:
    shared = parse(render("nginx", SHARED, nginx_sites=[], nginx_ipv6=False))
    (pattern,) = (words for words, _inner in shared.block("map", '"$host $http_host"') if words[0] != "default")
    assert pattern[0].startswith('"~*^')
    matches = re.search(pattern[0][3:-1], f"{host} {said}", re.IGNORECASE)
    assert (pattern[1] if matches else "$host") == passed


def test_limits() -> None:
    plain = site()
    assert not plain.values("limit_req_zone")
    _http, tls = plain.blocks("server")
    assert not tls.block("location", "/").values("limit_req")
    limited = site(limits={"requests": 5, "connections": 9}, static=STATIC)
    assert limited.value("limit_req_zone") == "$binary_remote_addr zone=flaskhost_requests_blog:2m rate=5r/s"
    _http, tls = limited.blocks("server")
    assert tls.block("location", "/").value("limit_req") == "zone=flaskhost_requests_blog burst=50 nodelay"
    assert tls.block("location", "/").value("limit_conn") == "flaskhost_connections_blog 9"
    assert not [words for words, _inner in tls if words[0].startswith("limit")], "static files are free"


def test_slow_clients_lose_their_connection() -> None:
    shared = parse(render("nginx", SHARED, nginx_sites=[], nginx_ipv6=False))
    assert shared.value("client_header_timeout") == "10s"
    assert shared.value("client_body_timeout") == "20s"
    assert shared.value("reset_timedout_connection") == "on"
    main = parse(render("nginx", "etc/nginx/nginx.conf.j2", nginx_connections=4096))
    assert main.block("events").value("worker_connections") == "4096"
    assert int(main.value("worker_rlimit_nofile")) >= 2 * 4096


def test_visitors_claims_are_replaced() -> None:
    headers = {
        words[0]: words[1]
        for words in parse(render("nginx", "etc/nginx/flaskhost/proxy.conf.j2")).values("proxy_set_header")
    }
    assert headers["X-Forwarded-For"] == "$remote_addr", "not added to"
    assert headers["X-Forwarded-Proto"] == "$flaskhost_scheme"
    shared = parse(render("nginx", SHARED, nginx_sites=[app()], nginx_ipv6=False))
    assert shared.block("geo", "$realip_remote_addr") == [(["default", '""'], None)], "nobody says it"
    assert not shared.values("set_real_ip_from")
    assert headers["X-Forwarded-Host"] == headers["Host"] == "$flaskhost_host"
    assert headers["X-Forwarded-Prefix"] == headers["Forwarded"] == headers["Proxy"] == '""'


# a balancer, and web hosts behind it


LB = {"lb1": "10.0.0.5"}


def behind(**changed: Any) -> dict[str, Any]:
    """A resolved app of a web host behind a balancer."""
    return _balancer.behind([app(**changed)], LB)[0]


def balanced(**changed: Any) -> dict[str, Any]:
    """A resolved app of a balancer, with two web hosts."""
    hosts = [{"name": "web1", "address": "10.0.0.11"}, {"name": "web2", "address": "2001:db8::12"}]
    return {**app(**changed), "hosts": hosts}


def written(one: dict[str, Any], **variables: Any) -> Block:
    """The site of an app."""
    return parse(
        render("nginx", SITE, item=one, nginx_ipv6=True, nginx_http2_by_listen=False, nginx_drained=[], **variables)
    )


def test_web_host_behind_a_balancer() -> None:
    one = behind(tls={"mode": "acme"}, limits={"requests": 5})
    whole = written(one)
    (server,) = whole.blocks("server")
    assert listens(server) == ["80", "[::]:80"], "no TLS, and no redirect to it"
    assert not whole.values("limit_req_zone"), "the balancer counts"
    assert server.block("location", "/").value("proxy_pass_header") == "X-Accel-Buffering"
    page = server.block("location", "=", "/.flaskhost/unavailable.html")
    assert page.block("if", "($upstream_connect_time").value("return") == "444"
    assert "$flaskhost_status" in " ".join(whole.values("log_format")[0]), "no answer counts as an error"
    assert "Secure" in " ".join(server.block("location", "~").value("add_header").split()), "visitors come by https"
    shared = parse(render("nginx", SHARED, nginx_sites=[one], nginx_ipv6=False))
    assert shared.values("set_real_ip_from") == [["10.0.0.5"]], "nobody else says who a visitor is"
    assert shared.value("real_ip_header") == "X-Real-IP"
    assert shared.block("geo", "$realip_remote_addr").values("10.0.0.5") == [["edge"]]
    scheme = shared.block("map", '"$flaskhost_edge $http_x_forwarded_proto"')
    assert scheme.value('"edge https"') == "https"
    assert scheme.value("default") == "$scheme"
    assert shared.block("map", "$http_upgrade").value('""') == '""'


def test_site_of_a_balancer() -> None:
    whole = written(balanced(headers={"A": "b"}, timeout=40))
    plain, tls = whole.blocks("server")
    assert plain.block("location", "/").value("return") == "301 https://$host$request_uri"
    assert tls.value("ssl_certificate") == "/etc/ssl/flaskhost/blog.pem"
    upstream = whole.block("upstream", "flaskhost_blog")
    assert upstream.values("server") == [
        ["10.0.0.11:80", "max_fails=1", "fail_timeout=5s"], ["[2001:db8::12]:80", "max_fails=1", "fail_timeout=5s"],
    ]  # fmt: skip
    assert upstream.value("hash") == '"$remote_addr $http_user_agent" consistent'
    forward = tls.block("location", "/")
    assert forward.value("proxy_pass") == "http://flaskhost_blog"
    assert forward.value("proxy_next_upstream") == "error timeout", (
        "an answer is an answer, and a POST is not sent twice"
    )
    assert forward.value("proxy_read_timeout") == "50s", "the web host gives up first"
    assert forward.values("proxy_hide_header") == [["A"]]
    assert not tls.blocks("location", "~", "^/static/")
    shared = parse(render("nginx", SHARED, nginx_sites=[balanced()], nginx_ipv6=False))
    assert shared.value("gzip") == "off", "once, on the web host"
    assert shared.block("map", "$http_upgrade").value('""') == "close", "no request meets a connection that just ends"
    assert shared.block("map", '""', "$flaskhost_cookie_blog").value("default") == '""'
    assert not shared.blocks("map", '""', "$flaskhost_pool_blog")


def test_balancer_counts_and_leaves_static_files_free() -> None:
    whole = written(balanced(limits={"requests": 5}, static=STATIC))
    _plain, tls = whole.blocks("server")
    assert whole.values("limit_req_zone")
    assert tls.block("location", "/").values("limit_req")
    static = tls.block("location", "~", "^/static/")
    assert static.value("proxy_pass") == "http://flaskhost_blog"
    assert not static.values("limit_req")


def test_drained_host_gets_nobody() -> None:
    text = render("nginx", SITE, item=balanced(), nginx_ipv6=True, nginx_http2_by_listen=False, nginx_drained=["web2"])
    first, second = parse(text).block("upstream").values("server")
    assert "down" not in first
    assert second[-1] == "down"


def test_drained_host_serves_where_it_is_the_last() -> None:
    one = balanced()
    one["hosts"] = one["hosts"][1:]
    text = render("nginx", SITE, item=one, nginx_ipv6=True, nginx_http2_by_listen=False, nginx_drained=["web2"])
    (only,) = parse(text).block("upstream").values("server")
    assert "down" not in only


def test_balancer_by_load() -> None:
    upstream = written(balanced(), nginx_balance="even").block("upstream")
    assert not upstream.values("hash")
    assert upstream.value("random") == "two least_conn"


@pytest.mark.parametrize(
    ("site_of", "state", "host", "now", "following", "alone"),
    [
        ("both", True, "web1", [], ["web1"], []),
        ("both", "on", "web2", ["web1"], ["web1", "web2"], ["blog"]),
        ("both", False, "web1", ["web1", "gone"], [], []),
        ("one", "ON", "web1", [], ["web1"], ["blog"]),
    ],
)
def test_who_is_drained_next(
    site_of: str, state: Any, host: str, now: list[str], following: list[str], alone: list[str]
) -> None:
    one = balanced()
    one["hosts"] = one["hosts"][: 1 if site_of == "one" else 2]
    known = {"nginx_sites": [one], "nginx_drain_host": host, "nginx_drain_state": state,
             "ansible_facts": {"flaskhost": {"drained": now}}}  # fmt: skip
    assert evaluate("nginx", "__nginx_drain_next", **known) == following
    assert [site["name"] for site in evaluate("nginx", "__nginx_drain_alone", **known)] == alone


# names that no site has


def unknown(*sites: dict[str, Any]) -> dict[str, Block]:
    """The servers for unknown names, by how they listen."""
    shared = parse(render("nginx", SHARED, nginx_sites=list(sites), nginx_ipv6=False))
    return {listens(server)[0]: server for server in shared.blocks("server")}


PORT80, PORT443 = "80 default_server", "443 ssl default_server"


@pytest.mark.parametrize(
    ("sites", "expected"),
    [
        ([], {PORT80, PORT443}),
        ([app()], {PORT80, PORT443}),
        ([app(tls=PLAIN)], {PORT80, PORT443}),
        ([app(domains=[])], set()),
        ([app(domains=[]), app("other")], set()),
        ([app(domains=[], tls=PLAIN)], set()),
        ([app(domains=[], tls=PLAIN), app("plain", tls=PLAIN)], set()),
        ([app(domains=[], tls=PLAIN), app("other")], {PORT443}),
    ],
)
def test_unknown_names_reach_no_app(sites: list[dict[str, Any]], expected: set[str]) -> None:
    """On a port where no site answers for every name, the first site would, with its certificate."""
    found = unknown(*sites)
    assert set(found) == expected
    if PORT80 in found:
        assert found[PORT80].value("return") == "444"
    if PORT443 in found:
        assert found[PORT443].value("ssl_reject_handshake") == "on"
        assert found[PORT443].value("return") == "444", "the handshake may have had another name"
        # the server that is asked first decides which versions of TLS there are
        assert found[PORT443].value("include") == "/etc/nginx/flaskhost/tls.conf"


@pytest.mark.parametrize("ipv6", [True, False])
def test_one_default_per_port(ipv6: bool) -> None:
    """nginx refuses a second one."""
    kinds = [app("a", domains=[]), app("b", domains=[], tls=PLAIN), app("c"), app("d", tls=PLAIN)]
    for count in range(3):
        for sites in itertools.combinations(kinds, count):
            if len([one for one in sites if not one["domains"]]) > 1:
                continue
            whole = parse(render("nginx", SHARED, nginx_sites=list(sites), nginx_ipv6=ipv6)).blocks("server")
            for one in sites:
                text = render("nginx", SITE, item=one, nginx_ipv6=ipv6, nginx_http2_by_listen=False)
                whole += parse(text).blocks("server")
            everything = [line for server in whole for line in listens(server)]
            defaults = [line.split()[0] for line in everything if "default_server" in line]
            assert sorted(defaults) == sorted({line.split()[0] for line in everything} | set(defaults))
            assert len(defaults) == len(set(defaults))


# upstreams


def test_upstream_names_exactly_one_socket() -> None:
    found = parse(render("release", UPSTREAM, app=app("my-app_1"), upstream_live="r2", upstream_previous="r1"))
    assert found.block("upstream", "flaskhost_my-app_1").values("server") == [
        ["unix:/run/my-app_1/r2.sock", "max_fails=0"]
    ]
    assert found.block("map", '""', "$flaskhost_live_my_dapp_u1").value("default") == "r2"
    assert found.block("map", '""', "$flaskhost_previous_my_dapp_u1").value("default") == "r1"
    first = parse(render("release", UPSTREAM, app=app(), upstream_live="r1", upstream_previous=""))
    assert first.block("map", '""', "$flaskhost_previous_blog").value("default") == "none"


def test_upstream_before_the_first_release() -> None:
    """It has all names that the site asks for, and the same ones as later."""
    before = parse(render("nginx", NONE, item=app("my-app_1")))
    later = parse(render("release", UPSTREAM, app=app("my-app_1"), upstream_live="r", upstream_previous="r"))
    assert [words for words, _inner in before] == [words for words, _inner in later]
    assert before.block("upstream").values("server") == [["unix:/run/my-app_1/none.sock", "max_fails=0"]]


# a canary


CANARY = {"upstream_candidate": "r2", "upstream_share": "10", "upstream_preview": "0123456789abcdef"}


def canary(name: str = "blog", tls: dict[str, str] | None = None, **changed: str) -> Block:
    variables = {"upstream_live": "r1", "upstream_previous": "r0", **CANARY, **changed}
    return parse(render("release", UPSTREAM, app=app(name, tls=tls or {}), **variables))


def lookup(block: Block, value: str) -> str:
    """What a map with regular expressions makes of a value, as nginx does: the first that matches, else the default."""
    for words, _inner in block:
        if words[0].startswith('"~') and re.search(words[0][2:-1].replace("(?<", "(?P<"), value):
            return words[1]
    return block.value("default")


def test_canary_stands_beside_the_live_release() -> None:
    found = canary("my-app_1")
    assert found.block("upstream", "flaskhost_my-app_1").values("server")[0][0] == "unix:/run/my-app_1/r1.sock"
    assert (
        found.block("upstream", "flaskhost_my-app_1.candidate").values("server")[0][0] == "unix:/run/my-app_1/r2.sock"
    )
    assert found.block("map", '""', "$flaskhost_candidate_my_dapp_u1").value("default") == "r2"
    pools = found.block("map", "$flaskhost_pool_my_dapp_u1")
    assert lookup(pools, "flaskhost_my-app_1.candidate") == "r2"
    assert lookup(pools, "flaskhost_my-app_1") == "r1"


def test_upstream_of_a_canary_is_not_that_of_another_app() -> None:
    names = {words[1] for name in ("blog", "blog_candidate", "blog-candidate") for words, _inner in canary(name)
             if words[0] == "upstream"}  # fmt: skip
    assert len(names) == 6


@pytest.mark.parametrize("share", ["0", "0.01", "0.5", "10", "50", "99.99", "100"])
def test_share_of_a_canary(share: str) -> None:
    split = canary(upstream_share=share).block("split_clients")
    assert [words for words, _inner in split] == (
        [["*", "flaskhost_blog"]]
        if share == "0"
        else [[f"{share}%", "flaskhost_blog.candidate"], ["*", "flaskhost_blog"]]
    ), "the candidate first: split_clients then keeps those that are in when the share grows"


def test_each_canary_has_other_clients() -> None:
    first, second = (
        next(words for words, _inner in canary(upstream_candidate=release) if words[0] == "split_clients")
        for release in ("r2", "r3")
    )
    assert first[1] == '"$flaskhost_client_blog r2"' != second[1]


@pytest.mark.parametrize(
    ("cookie", "accept", "client"),
    [
        ("00ff", "text/html", "$flaskhost_kept"),
        ("00ff", "*/*", "$flaskhost_kept"),
        ("", "text/html,application/xml", "$flaskhost_number_blog"),
        ("", "*/*", '"$remote_addr $http_user_agent"'),
        ("", "", '"$remote_addr $http_user_agent"'),
        ("00fg", "", '"$remote_addr $http_user_agent"'),
        ("00fff", "", '"$remote_addr $http_user_agent"'),
        ("x00ff", "text/html", "$flaskhost_number_blog"),
    ],
)
def test_who_a_client_is(cookie: str, accept: str, client: str) -> None:
    """A browser by its number; another program by its address and name, so that it stays on its side without a cookie."""
    clients = canary().block("map", '"$cookie_flaskhost_side $http_accept"')
    assert lookup(clients, f"{cookie} {accept}") == client


TOKEN = CANARY["upstream_preview"]


@pytest.mark.parametrize(
    ("argument", "cookie", "side"),
    [
        ("", "", "lot"),
        ("", "00ff", "lot"),
        ("", TOKEN, "candidate"),
        (TOKEN, "", "candidate"),
        (TOKEN, "live", "candidate"),
        ("", "live", "live"),
        ("live", TOKEN, "live"),
        ("", TOKEN[:-1], "lot"),
        ("", TOKEN + "0", "lot"),
        ("", "x" + TOKEN, "lot"),
        (TOKEN + "0", "", "lot"),
        ("x", "alive", "lot"),
    ],
)
def test_who_chooses_a_side(argument: str, cookie: str, side: str) -> None:
    pools = {"lot": "$flaskhost_lot_blog", "live": "flaskhost_blog", "candidate": "flaskhost_blog.candidate"}
    chosen = canary().block("map", '"$arg_flaskhost_side $cookie_flaskhost_side"')
    assert lookup(chosen, f"{argument} {cookie}") == pools[side]


@pytest.mark.parametrize(
    ("argument", "cookie", "accept", "told"),
    [
        ("", "", "text/html", "$flaskhost_number_blog"),
        ("", "other", "text/html", "$flaskhost_number_blog"),
        ("", "", "*/*", ""),
        ("", "00ff", "text/html", ""),
        ("", TOKEN, "text/html", ""),
        ("", "live", "text/html", ""),
        (TOKEN, "", "text/html", "$arg_flaskhost_side"),
        (TOKEN, "live", "*/*", "$arg_flaskhost_side"),
        ("live", TOKEN, "text/html", "$arg_flaskhost_side"),
        ("evil", "00ff", "text/html", ""),
    ],
)
def test_what_a_browser_is_told_to_keep(argument: str, cookie: str, accept: str, told: str) -> None:
    cookies = canary().block("map", '"$arg_flaskhost_side $cookie_flaskhost_side $http_accept"')
    expected = f"flaskhost_side={told}; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax; Secure" if told else ""
    assert lookup(cookies, f"{argument} {cookie} {accept}") == f'"{expected}"'


def test_cookie_of_a_site_without_tls() -> None:
    cookies = canary(tls=PLAIN).block("map", '"$arg_flaskhost_side $cookie_flaskhost_side $http_accept"')
    assert lookup(cookies, "  text/html").endswith('SameSite=Lax"'), "over http, a browser drops a Secure cookie"


def test_site_knows_all_names_without_a_canary() -> None:
    """The shared file has those that only a canary's upstream file has, and comes before it: the later map counts."""
    one = app("my-app_1", static=STATIC)
    shared = render("nginx", SHARED, nginx_sites=[one], nginx_ipv6=True)
    assert shared.index("$flaskhost_pool_my_dapp_u1") < shared.index("include /etc/nginx/flaskhost/upstreams/")
    maps = {words[2]: inner for words, inner in parse(shared) if words[0] == "map" and inner is not None}
    assert maps["$flaskhost_pool_my_dapp_u1"].value("default") == "flaskhost_my-app_1"
    assert maps["$flaskhost_release_my_dapp_u1"].value("default") == "$flaskhost_live_my_dapp_u1"
    assert maps["$flaskhost_cookie_my_dapp_u1"].value("default") == '""'
    text = render("nginx", SITE, item=one, nginx_ipv6=True, nginx_http2_by_listen=False)
    upstream = render("release", UPSTREAM, app=one, upstream_live="r1", upstream_previous="")
    defined = set(
        re.findall(
            r"(?:map \"[^\"]+\"|map \S+|geo(?: \$realip_remote_addr)?|set) (\$flaskhost_\w+)", shared + upstream + text
        )
    )
    defined |= {f"${name}" for name in re.findall(r"\?<(flaskhost_\w+)>", text)}
    text += render("nginx", HEADERS, item=one) + render("nginx", "etc/nginx/flaskhost/proxy.conf.j2")
    assert set(re.findall(r"\$flaskhost_\w+", text)) <= defined


def test_log_tells_the_release_after_what_visitors_say() -> None:
    """Quotes end what a visitor can write: nginx writes those in it as \\x22."""
    found = site()
    ((name, *parts),) = found.values("log_format")
    line = "".join(part.strip("'") for part in parts)
    assert line == (
        '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" '
        "$flaskhost_release_blog $msec"
    )
    assert found.blocks("server")[1].values("access_log") == [["/var/log/nginx/blog.access.log", name]]


def test_names_of_variables_stay_apart() -> None:
    names = ["".join(parts) for parts in itertools.product("a-_du", repeat=4)]
    assert len({nginx_name(name) for name in names}) == len(names)
    assert all(re.fullmatch("[a-z_]+", nginx_name(name)) for name in names)


def test_variables_of_the_longest_name_fit() -> None:
    """nginx does not start with a name that is longer than a bucket of its hash has room for."""
    longest = "a" + 23 * "-"
    upstream = render("release", UPSTREAM, app=app(longest), upstream_live="r1", upstream_previous="", **CANARY)
    names = re.findall(r"\$(flaskhost_\w+)", upstream)
    shared = parse(render("nginx", SHARED, nginx_sites=[], nginx_ipv6=False))
    # ngx_hash.h: a pointer, and length and name rounded up to pointers; a bucket ends with another pointer
    needed = max(8 + (len(name) + 2 + 7) // 8 * 8 for name in names) + 8
    assert needed <= int(shared.value("variables_hash_bucket_size"))


# overrides of a site


def test_blocks_of_a_site(tmp_path: Path) -> None:
    folder = tmp_path / "nginx/etc/nginx/flaskhost/sites"
    folder.mkdir(parents=True)
    mine = "{% extends 'etc/nginx/flaskhost/sites/site.conf.j2' %}{% block server %}    add_header X-Mine {{ item.name }};\n{% endblock %}"
    (folder / "site.conf.j2").write_text(mine)
    text = render(
        "nginx", SITE, item=app(), nginx_ipv6=True, nginx_http2_by_listen=True, flaskhost_templates_dir=str(tmp_path)
    )
    _plain, tls = parse(text).blocks("server")
    assert ["X-Mine", "blog"] in tls.values("add_header")
    assert tls.value("ssl_certificate") == "/etc/ssl/flaskhost/blog.pem"


# nginx's own opinion


@pytest.fixture
def nginx_t(tmp_path: Path) -> Callable[..., str]:
    """Writes all files as the roles do and has nginx check them; the complaint."""
    if not shutil.which("nginx") or os.geteuid():
        pytest.skip("no nginx here, or not root")
    etc, ssl = tmp_path / "etc/nginx", tmp_path / "etc/ssl/flaskhost"
    for folder in (
        etc / "conf.d",
        etc / "flaskhost/sites",
        etc / "flaskhost/upstreams",
        etc / "flaskhost/headers",
        ssl,
        tmp_path / "var/log/nginx",
    ):
        folder.mkdir(parents=True)
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        "/CN=x",
    ]
    subprocess.run([*words, "-out", str(ssl / "x.pem"), "-keyout", str(ssl / "x.key")], check=True, capture_output=True)
    version = subprocess.run(["nginx", "-v"], check=True, capture_output=True, text=True).stderr
    numbers = [int(part) for part in version.partition("/")[2].split()[0].split(".")]
    settings = {"nginx_ipv6": os.path.exists("/proc/net/if_inet6"), "nginx_http2_by_listen": numbers < [1, 25, 1]}

    def check(*sites: dict[str, Any], live: str = "", **canary: str) -> str:
        def put(path: Path, text: str) -> None:
            for folder in ("/etc/nginx", "/etc/ssl", "/var/log"):
                text = text.replace(f" {folder}/", f" {tmp_path}{folder}/")
            path.write_text(text)

        put(etc / "conf.d/flaskhost.conf", render("nginx", SHARED, nginx_sites=list(sites), **settings))
        for name in ("tls.conf", "proxy.conf"):
            put(etc / "flaskhost" / name, render("nginx", f"etc/nginx/flaskhost/{name}.j2", **settings))
        for one in sites:
            put(etc / f"flaskhost/sites/{one['name']}.conf", render("nginx", SITE, item=one, **settings))
            put(etc / f"flaskhost/headers/{one['name']}.conf", render("nginx", HEADERS, item=one, **settings))
            upstream = (
                render("release", UPSTREAM, app=one, upstream_live=live, upstream_previous="", **canary)
                if live
                else render("nginx", NONE, item=one)
            )
            put(etc / f"flaskhost/upstreams/{one['name']}.conf", upstream)
            for end in ("pem", "key"):
                shutil.copy(ssl / f"x.{end}", ssl / f"{one['name']}.{end}")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "".join(f"    {kind}_temp_path {tmp_path}/{kind};\n" for kind in kinds)
        (etc / "nginx.conf").write_text(
            f"error_log {tmp_path}/error.log;\npid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{paths}"
            f"    access_log {tmp_path}/access.log;\n    server_tokens off;\n    include {etc}/conf.d/*.conf;\n}}\n"
        )
        done = subprocess.run(
            ["nginx", "-t", "-c", str(etc / "nginx.conf")], capture_output=True, text=True, check=False
        )
        return done.stderr if done.returncode or "[warn]" in done.stderr else ""

    return check


@pytest.mark.parametrize(
    "sites",
    [
        [],
        [app(static=STATIC)],
        [
            app(limits={"requests": 5, "connections": 9}, headers={"X-A": "b; 'c'", "X-Frame-Options": ""}),
            app("two", domains=["2.example.com"]),
        ],
        [app(domains=[])],
        [app(domains=[], tls=PLAIN), app("other", static=STATIC, domains=["o.example.com"])],
        [
            app("a-b", domains=["a.example.com"]),
            app("a_b", domains=["b.example.com"]),
            app("c", domains=["c.example.com"], tls=PLAIN),
        ],
    ],
)
def test_nginx_accepts(nginx_t: Callable[..., str], sites: list[dict[str, Any]]) -> None:
    assert nginx_t(*sites) == ""
    assert nginx_t(*sites, live="20260101T000000Z-abcdef0") == ""
    for share in ("0", "0.01", "10", "100"):
        assert nginx_t(*sites, live="20260101T000000Z-abcdef0", **{**CANARY, "upstream_share": share}) == ""
