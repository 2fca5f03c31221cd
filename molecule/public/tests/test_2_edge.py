# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx as the world meets it: names, TLS, headers, limits, maintenance, one site that is broken, and ten thousand hostile requests."""

from __future__ import annotations

import copy
import functools
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra.host

from tests.support.internet import Internet
from tests.support.load import SteadyLoad
from tests.support.stack import Run, Stack
from tests.support.web import ask

Host = testinfra.host.Host
Apps = dict[str, dict[str, Any]]
SCENARIO = Path(__file__).resolve().parents[1]
WWW, SHOP = "www.example.test", "shop.example.test"


@pytest.fixture
def nginx(stack: Stack) -> Callable[..., Run]:
    """Runs the part of site.yml that makes the sites."""
    return lambda **extra: stack.playbook("site", "--tags", "nginx", **extra)


@pytest.fixture
def maintenance(stack: Stack) -> Iterator[Callable[[str], Run]]:
    """Closes or opens the shop, and opens it in the end."""
    yield lambda state: stack.playbook("maintenance", "-e", "flask_app=shop", "-e", f"state={state}").check()
    stack.playbook("maintenance", "-e", "flask_app=shop", "-e", "state=off").check()


def test_ten_thousand_hostile_requests(internet: Internet, address: str, host: Host) -> None:
    """Whatever one of them sends, all others are served all the same."""
    master = host.check_output("cat /run/nginx.pid")
    lines = int(host.check_output("wc -l < /var/log/nginx/error.log"))
    internet.put("/usr/local/lib/hostile.py", (SCENARIO / "files/hostile.py").read_text())
    visitors = functools.partial(SteadyLoad, address, "/healthz", rate=15, longest=90)
    with visitors(host=WWW) as www, visitors(host=SHOP) as shop:
        told = json.loads(internet.shell.check_output(f"python3 /usr/local/lib/hostile.py {address} {WWW} 10000 75"))
    print(told)
    assert told["sent"] >= 10000
    assert told["seconds"] < 80
    assert told["slow_at_once"] == 2000
    assert told["leaks"] == []
    for load in (www, shop):
        assert load.report.sent > 10 * 10
        assert load.report.failed == []
        assert load.report.longest_gap < 3
    assert host.check_output("cat /run/nginx.pid") == master
    said = host.check_output(f"tail -n +{lines + 1} /var/log/nginx/error.log")
    assert [
        line for line in said.splitlines() if "[alert]" in line or "[emerg]" in line or "worker_connections" in line
    ] == []


def test_unknown_names_get_no_app(internet: Internet, address: str) -> None:
    curl = "curl -sk -o /dev/null -w '%{http_code}' --max-time 5"
    # 52 and 56: no answer, in order or by a reset; 35: no handshake
    assert internet.shell.run(f"{curl} -H 'Host: evil.test' http://{address}/").rc in (52, 56)
    assert internet.shell.run(f"{curl} http://{address}/").rc in (52, 56)
    assert internet.shell.run(f"{curl} https://{address}/").rc == 35
    assert internet.shell.run(f"{curl} --resolve evil.test:443:{address} https://evil.test/").rc == 35
    # a good name in the handshake, another in the request
    assert internet.shell.run(f"{curl} --http1.1 -H 'Host: evil.test' https://{WWW}/").rc in (52, 56)
    assert internet.shell.check_output(f"{curl} https://{WWW}/healthz") == "200"


def test_tls(address: str, internet: Internet) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection((address, 443), 5) as plain, context.wrap_socket(plain, server_hostname=WWW) as tls:
        assert (tls.version(), tls.selected_alpn_protocol()) == ("TLSv1.3", "h2")
    client = f"echo | timeout 5 openssl s_client -connect {address}:443 -servername {WWW}"
    assert "Cipher is ECDHE-" in internet.shell.check_output(f"{client} -tls1_2 2>/dev/null")
    for old in ("-tls1_1", "-tls1", "-tls1_2 -cipher AES128-SHA", "-tls1_2 -cipher AES256-GCM-SHA384"):
        assert "Cipher is (NONE)" in internet.shell.run(f"{client} {old} 2>&1").stdout, old


def test_headers(address: str) -> None:
    for path, status in (("/", 200), ("/static/nothing.css", 404), ("/.flaskhost/maintenance.html", 404)):
        page = ask(address, WWW, path)
        assert page.status == status
        assert page.headers["strict-transport-security"] == "max-age=15552000"
        assert page.headers["x-content-type-options"] == "nosniff"
    assert "Not found" in ask(address, WWW, "/static/nothing.css").text
    # the guestbook says this itself, and nginx does not contradict
    page = ask(address, WWW, "/")
    assert page.headers["referrer-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "x-frame-options" not in page.headers
    plain = ask(address, WWW, "/x?y", tls=False)
    assert (plain.status, plain.headers["location"]) == (301, f"https://{WWW}/x?y")
    assert "strict-transport-security" not in plain.headers


def test_logs_are_not_for_all(host: Host) -> None:
    modes = host.check_output("stat -c '%a %U:%G' /var/log/nginx/*.log")
    assert set(modes.splitlines()) == {"640 www-data:adm"}


def test_limits_and_headers_of_one_app(nginx: Callable[..., Run], own_apps: Apps, address: str) -> None:
    apps = copy.deepcopy(own_apps)
    apps["shop"] |= {
        "limits": {"requests": 1, "burst": 3},
        "headers": {"Permissions-Policy": "camera=()", "X-Content-Type-Options": ""},
    }
    nginx(other_apps=list(apps.values())).check()
    time.sleep(0.5)
    answers = [ask(address, SHOP, "/healthz") for _number in range(10)]
    assert {page.status for page in answers} == {200, 429}
    assert sum(page.status == 200 for page in answers) >= 4
    assert answers[0].headers["permissions-policy"] == "camera=()"
    assert "x-content-type-options" not in answers[0].headers
    assert {ask(address, WWW, "/healthz").status for _number in range(10)} == {200}
    nginx().check()
    time.sleep(0.5)
    assert {ask(address, SHOP, "/healthz").status for _number in range(10)} == {200}


def test_one_broken_site_blocks_no_other(nginx: Callable[..., Run], address: str, tmp_path: Path) -> None:
    template = tmp_path / "nginx/etc/nginx/flaskhost/sites/site.conf.j2"
    template.parent.mkdir(parents=True)
    template.write_text(
        "{% extends 'etc/nginx/flaskhost/sites/site.conf.j2' %}{% block server scoped %}"
        "    {{ 'nonsense on;' if item.name == 'shop' else 'location = /proof { return 200 proven; }' }}\n"
        "{% endblock %}"
    )
    with SteadyLoad(address, "/healthz", host=SHOP, rate=10, longest=60) as load:
        broken = nginx(flaskhost_templates_dir=str(tmp_path))
    assert broken.code != 0
    assert "refuses the files of shop" in broken.output
    assert 'unknown directive "nonsense"' in " ".join(broken.output.split()).replace('\\"', '"')
    # the other has what is new, and the broken one is served as it was
    time.sleep(0.5)
    assert ask(address, WWW, "/proof").text == "proven"
    assert load.report.failed == []
    assert ask(address, SHOP, "/healthz").status == 200
    nginx().check()
    time.sleep(0.5)
    assert ask(address, WWW, "/proof").status == 404


def test_maintenance(maintenance: Callable[[str], Run], stack: Stack, host: Host, address: str) -> None:
    told = maintenance("on").output
    closed = ask(address, SHOP, "/healthz")
    assert (closed.status, closed.headers["retry-after"]) == (503, "300")
    assert "maintenance" in closed.text
    assert ask(address, SHOP, "/", method="POST", body=b"x").status == 503
    assert ask(address, WWW, "/healthz").status == 200
    assert maintenance("on").changed == 0

    # who was given the link looks past it
    path = told.partition(f"https://{SHOP}")[2].split()[0].strip("'\"")
    entry = ask(address, SHOP, path)
    assert entry.status == 303
    cookie = entry.headers["set-cookie"].partition(";")[0]
    assert "Secure" in entry.headers["set-cookie"]
    assert ask(address, SHOP, "/healthz", headers={"Cookie": cookie}).status == 200
    for wrong in ("flaskhost_pass=" + "0" * 32, "flaskhost_pass=../shop", "flaskhost_pass="):
        assert ask(address, SHOP, "/healthz", headers={"Cookie": wrong}).status == 503
    assert ask(address, SHOP, "/healthz", headers={"User-Agent": "flaskhost-probe"}).status == 503
    assert "closed for maintenance since" in " ".join(stack.playbook("status").check().output.split())

    # it outlives a reload, a deploy and a run of site.yml
    host.check_output("systemctl reload nginx")
    stack.playbook("deploy", "-e", "flask_app=shop").check()
    assert stack.playbook("site", "--tags", "nginx,certificates").check().changed == 0
    assert ask(address, SHOP, "/healthz").status == 503
    maintenance("off")
    assert ask(address, SHOP, "/healthz").status == 200
    assert ask(address, SHOP, "/healthz", headers={"Cookie": cookie}).status == 200
    assert maintenance("off").changed == 0


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-e", "flask_app=shop"],
        ["-e", "state=on"],
        ["-e", "flask_app=shap", "-e", "state=on"],
        ["-e", "flask_app=shop", "-e", "state=maybe"],
    ],
)
def test_mistakes_of_maintenance(stack: Stack, words: list[str]) -> None:
    run = stack.playbook("maintenance", *words)
    assert run.code != 0
    assert "public-host has guestbook, shop" in " ".join(run.output.split())
    assert run.changed == 0
