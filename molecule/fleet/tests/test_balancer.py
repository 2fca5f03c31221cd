# SPDX-License-Identifier: GPL-3.0-or-later
"""The balancer before three web hosts: who the app thinks asks, and what visitors notice when a host goes away."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.load import Report, SteadyLoad
from tests.support.root import Root
from tests.support.stack import Run, Stack
from tests.support.wait import eventually
from tests.support.web import NamedConnection, Page, ask, talk

HOSTS = ("fleet-a", "fleet-b", "fleet-c")
SITE, OWN_PORT = "shop.test", 80
BALANCER = "fleet-lb"


class Front:
    """The balancer, and the hosts behind it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.root = Root(BALANCER)
        self.address = self.root.address
        self.webs = {host: Root(host) for host in HOSTS}

    def load(self, rate: float = 40, visitors: int = 12) -> SteadyLoad:
        return SteadyLoad(self.address, host=SITE, rate=rate, visitors=visitors, patience=60)

    def mark(self) -> int:
        """Where the log of the balancer ends by now."""
        return int(self.root.must("wc -c < /var/log/nginx/shop.access.log"))

    def asked(self, since: int) -> list[str]:
        """The hosts that were asked since then, in order."""
        log = self.root.must("tail -c +$(($1 + 1)) /var/log/nginx/shop.access.log", str(since))
        names = {f"{root.address}:80": host for host, root in self.webs.items()}
        return [
            names[one]
            for line in re.findall(r'"([^"]*)" [\d.]+$', log, re.M)
            for one in line.split(", ")
            if one in names
        ]

    def status(self, **extra: Any) -> Run:
        """status.yml, without the hosts that go away in these tests."""
        return self.stack.playbook("status", "--limit", f"{BALANCER},fleet-a", flask_app="shop", **extra)

    def view(self, tmp_path: Path) -> dict[str, dict[str, Any]]:
        """What status.yml tells of the hosts."""
        file = tmp_path / "status.json"
        self.status(flask_status_file=str(file)).check()
        (app,) = json.loads(file.read_text())["balancers"][BALANCER]["apps"]
        return {host["host"]: host for host in app["hosts"]}


@pytest.fixture(scope="module")
def front(stack: Stack) -> Front:
    return Front(stack)


@contextlib.contextmanager
def silent(root: Root, seconds: int) -> Iterator[None]:
    """A host that takes nothing from the network and says nothing, for so long."""
    script = f"sleep 0.5; iptables -I INPUT -j DROP; iptables -I OUTPUT -j DROP; sleep {seconds}; iptables -D INPUT -j DROP; iptables -D OUTPUT -j DROP"
    root.must('systemd-run -q sh -c "$1"', script)
    yield
    eventually(lambda: root.run("true")[0] == 0, seconds + 60, 1)


def get(front: Front, path: str = "/", agent: str = "me", **more: Any) -> Page:
    return ask(front.address, SITE, path, headers={"User-Agent": agent, **more.pop("headers", {})}, **more)


def test_the_app_knows_its_visitor(front: Front) -> None:
    """Address and https arrive, and nobody else's claims do, be it through the balancer or past it."""
    with socket.create_connection((front.address, OWN_PORT)) as one:
        mine = one.getsockname()[0]
    claims = {
        "X-Forwarded-For": "192.0.2.66",
        "X-Real-IP": "192.0.2.66",
        "X-Forwarded-Proto": "http",
        "Forwarded": "for=192.0.2.66",
    }
    told = json.loads(get(front, "/asked", headers=claims).text)
    assert (told["X-Forwarded-For"], told["X-Real-Ip"]) == (mine, mine)
    assert (told["X-Forwarded-Proto"], told["X-Forwarded-Port"], told["Host"]) == ("https", "443", SITE)
    assert "192.0.2.66" not in str(told)
    past = json.loads(
        ask(
            front.webs["fleet-a"].address, SITE, "/asked", tls=False, headers={**claims, "X-Forwarded-Proto": "https"}
        ).text
    )
    assert (past["X-Forwarded-For"], past["X-Forwarded-Proto"]) == (mine, "http")
    line = front.webs["fleet-a"].must("grep -h asked /var/log/nginx/shop.access.log | tail -n 1")
    assert line.startswith(f"{mine} "), "in the log too"


def test_who_gets_in_where(front: Front) -> None:
    plain = ask(front.address, SITE, "/x?y", tls=False)
    assert (plain.status, plain.headers["location"]) == (301, f"https://{SITE}/x?y")
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized"):
        ask(front.address, "nobody.test")
    other = front.webs["fleet-b"].address
    reach = 'timeout 3 bash -c "</dev/tcp/$1/$2"'
    assert front.root.run(reach, other, "80")[0] == 0
    assert front.webs["fleet-a"].run(reach, other, "80")[0] != 0, "visitors come by the balancer"
    assert front.root.run(reach, other, "443")[0] != 0
    side = ask(front.address, "side.test")
    assert side.status == 200, "an app that one host has"


def test_visitors_stay_with_a_host(front: Front) -> None:
    since = front.mark()
    for agent in ("one", "two", "three", "four", "five", "six", "seven", "eight"):
        for _time in range(3):
            assert get(front, agent=agent).status == 200
    asked = front.asked(since)
    assert [asked[n : n + 3] for n in range(0, 24, 3)] == [[asked[n]] * 3 for n in range(0, 24, 3)]
    assert len(set(asked)) > 1


def test_streams_are_not_held_back(front: Front) -> None:
    connection = NamedConnection(front.address, SITE)
    connection.request("GET", "/stream", headers={"Host": SITE})
    response = connection.getresponse()
    assert response.read1() == b"now"
    began = time.monotonic()
    assert response.read() == b"later"
    assert time.monotonic() - began > 0.5
    assert response.getheader("x-accel-buffering") is None
    connection.close()


def test_websockets_pass(front: Front) -> None:
    """And one that is open outlives a reload of the balancer."""
    with talk(front.address, SITE, "/socket") as socket_to_app:
        socket_to_app.send("before")
        assert socket_to_app.recv(timeout=10) == "before"
        front.root.must("nginx -s reload")
        # the worker that has it has been told
        eventually(lambda: front.root.run("pgrep -f 'nginx: worker process is shutting down'")[0] == 0, 10, 0.1)
        socket_to_app.send("after")
        assert socket_to_app.recv(timeout=10) == "after"


def test_reload_loses_nothing(front: Front) -> None:
    with front.load() as load:
        front.root.must("for i in $(seq 10); do nginx -s reload; sleep 0.3; done")
    assert load.report.failed == [], load.report
    assert load.report.sent > 100
    assert load.report.longest_gap < 0.5


def lost(report: Report, allowed: int) -> None:
    """At most those that were under way."""
    assert len(report.failed) <= allowed, report
    print(f"\n{report}")


def test_host_that_is_killed(front: Front, tmp_path: Path) -> None:
    """At most the requests in flight there are lost; the app's visitors are with the others meanwhile."""
    with front.load() as load:
        time.sleep(1)
        front.webs["fleet-c"].power_cut()
        time.sleep(3)
    lost(load.report, allowed=12)
    assert load.report.longest_gap < 3
    eventually(lambda: front.view(tmp_path)["fleet-c"]["healthy"], 60, 2)


def test_host_that_is_silent(front: Front, tmp_path: Path) -> None:
    """It takes the time of a connection that is not accepted until it is left out; then nobody waits but one, now and then."""
    with front.load() as load, silent(front.webs["fleet-c"], 14):
        time.sleep(1.5)
        view = front.status()
        time.sleep(2)
    assert "is tried again and again; no answer" in " ".join(view.output.split()), view.output[-3000:]
    lost(load.report, allowed=12)
    times = sorted(when for when, _release in load.report.answered)
    assert len(times) > 200, "the others serve on"
    since = front.mark()

    def again() -> bool:
        for number in range(12):
            get(front, agent=f"again-{number}")
        return "fleet-c" in front.asked(since)

    eventually(again, 30, 1)


def test_host_without_its_release(front: Front, tmp_path: Path) -> None:
    """nginx runs there, the app does not: that host does not answer the balancer, and another one is asked."""
    web = front.webs["fleet-b"]
    (group,) = re.findall(r"^(shop@[^+:\s]+)[:\s]", web.must("supervisorctl status"), re.M)[:1]
    with front.load() as load:
        time.sleep(0.5)
        web.must("supervisorctl stop $1:*", group)
        try:
            time.sleep(3)
            seen = front.view(tmp_path)
        finally:
            web.must("supervisorctl start $1:*", group)
        time.sleep(1)
    lost(load.report, allowed=12)
    assert not seen["fleet-b"]["healthy"]
    assert seen["fleet-a"]["healthy"]
    assert seen["fleet-b"]["failed"] > 0, "some were tried there"
    assert seen["fleet-b"]["failed"] < 12, "one in five seconds"


def test_limits_count_at_the_balancer(front: Front) -> None:
    """With each request to another host, as `even` has it, all of them together are too many; static files are free."""
    shop = {
        "name": "shop", "wsgi": "shop:app", "domains": [SITE], "source": {"path": "../files/shop"},
        "limits": {"requests": 1, "burst": 8}, "static": [{"url": "/static", "path": "static"}],
        "headers": {"X-Mine": "yes"},
    }  # fmt: skip
    front.stack.playbook("site", "--tags", "balancer", other_shop=shop, nginx_balance="even").check()
    since = front.mark()
    pages = [get(front) for _time in range(14)]
    assert {page.status for page in pages} == {200, 429}
    assert {page.headers["x-mine"] for page in pages} == {"yes"}
    assert len(set(front.asked(since))) > 1
    assert {get(front, "/static/none").status for _time in range(14)} == {404}


def test_drained_host_gets_nobody(front: Front, tmp_path: Path) -> None:
    # it writes the sites as the inventory has them, too: the test before this one has left others
    front.stack.playbook("drain", flask_host="fleet-a", state="off").check()
    refused = front.stack.playbook("drain", flask_host="fleet-x", state="on")
    assert refused.code == 2
    assert "behind fleet-lb are fleet-a, fleet-b, fleet-c" in " ".join(refused.output.split())
    with front.load() as load:
        run = front.stack.playbook("drain", flask_host="fleet-a", state="on").check()
        since = front.mark()
        # it is known there, and stays
        assert front.stack.playbook("site", "--tags", "balancer").check().changed == 0
        asked = front.asked(since)
        seen = front.view(tmp_path)
        front.stack.playbook("drain", flask_host="fleet-a", state="off").check()
        since = front.mark()
        time.sleep(2)
    assert load.report.failed == [], load.report
    assert "nobody to fleet-a" in " ".join(run.output.split())
    assert set(asked) == {"fleet-b", "fleet-c"}
    assert seen["fleet-a"]["drained"]
    assert seen["fleet-a"]["healthy"]
    assert "fleet-a" in front.asked(since)


def test_maintenance_is_told_by_the_balancer(front: Front) -> None:
    front.stack.playbook("maintenance", flask_app="shop", state="on").check()
    try:
        assert get(front).status == 503
        assert ask(front.webs["fleet-a"].address, SITE, tls=False).status == 200
    finally:
        front.stack.playbook("maintenance", flask_app="shop", state="off").check()
    assert get(front).status == 200


def test_canary_by_hosts_through_the_balancer(front: Front) -> None:
    """Each visitor has one side, and all of it goes by without a lost request."""
    visitors = [f"visitor {number}" for number in range(16)]

    def side(visitor: str) -> str:
        (release,) = {get(front, agent=visitor).headers["x-flaskhost-release"] for _time in range(3)}
        return release

    before = side(visitors[0])
    extra = {"flask_app": "shop", "try": str(time.time())}
    with front.load(rate=30) as load:
        front.stack.playbook("deploy", flask_canary_hosts=1, **extra).check()
        sides = [side(visitor) for visitor in visitors]
        (canary,) = set(sides) - {before}
        records = [
            json.loads(web.must("cat /srv/shop/releases/$1/RELEASE.json", canary)) for web in front.webs.values()
        ]
        front.stack.playbook("promote", **extra).check()
        after = {side(visitor) for visitor in visitors}
    assert load.report.failed == [], load.report
    assert before in sides
    assert after == {canary}
    assert len({record["preview"] for record in records}) == 1, "one link, whichever host it leads to"
