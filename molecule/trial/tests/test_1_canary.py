# SPDX-License-Identifier: GPL-3.0-or-later
"""A release for some of the visitors first, and one that is watched after its switch: under load, none of them loses a request by it."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import testinfra.host
import yaml

from tests.support.load import RELEASE_HEADER, SteadyLoad
from tests.support.stack import ROOT, Stack, box
from tests.support.web import NamedConnection, fetch

Host = testinfra.host.Host
NUMBER = 150  # clients of each kind
BROKEN = """    @app.before_request
    def broken():
        from flask import abort, request

        if request.path == "/":
            abort(500)

    return app
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the guestbook that tests change."""
    folder = tmp_path_factory.mktemp("source") / "guestbook"
    shutil.copytree(ROOT / "examples" / "guestbook", folder)
    return folder


def change(source: Path, *, broken: bool = False) -> None:
    """New code, which answers its health check and perhaps no visitor."""
    shutil.copy(ROOT / "examples/guestbook/guestbook/__init__.py", source / "guestbook")
    module, style = source / "guestbook/__init__.py", source / "guestbook/static/style.css"
    style.write_text(f"{style.read_text()}\n/* {time.time()} */\n")
    if broken:
        module.write_text(module.read_text().replace("    return app\n", BROKEN))


def arguments(source: Path, **changes: Any) -> dict[str, Any]:
    """What a deploy of that code takes."""
    shipped = yaml.safe_load((ROOT / "inventory/group_vars/all/flask_apps.yml").read_text())["flask_apps"][0]
    # two workers are as good as five here, and sooner there
    app = {**shipped, "source": {"path": str(source)}, "workers": 2, **changes}
    return {"flask_apps": [app], "flask_app": "guestbook"}


def shares(stack: Stack, tmp_path: Path) -> dict[str, float]:
    """Who gets what, as status.yml tells it."""
    stack.playbook("status", flask_status_file=str(tmp_path / "status.json")).check()
    (host,) = json.loads((tmp_path / "status.json").read_text())["hosts"].values()
    return {one["release"]: one["share"] for one in host["apps"][0]["shares"]}


def live(address: str) -> str:
    return fetch(f"https://{address}/healthz", {"Cookie": "flaskhost_side=live"}).headers[RELEASE_HEADER.lower()]


def history(host: Host) -> dict[str, Any]:
    """The last line."""
    line: dict[str, Any] = json.loads(host.check_output("tail -n 1 /srv/guestbook/history.jsonl"))
    return line


@contextmanager
def no_request_lost(address: str, rate: float = 12, visitors: int = 12) -> Iterator[SteadyLoad]:
    with SteadyLoad(address, rate=rate, visitors=visitors) as load:
        time.sleep(1)
        yield load
        time.sleep(1)
    assert load.report.failed == [], load.report
    assert load.report.longest_gap < 3, load.report


class Clients:
    """Browsers that keep their cookie, and programs that are known by their name, all from one address."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.cookies: dict[str, str] = {}
        self.sides: dict[str, str] = {}

    def ask(self) -> dict[str, Counter[str]]:
        """One request of each, twice; how many each release got, by the kind of client."""
        connection, before = NamedConnection(self.address, self.address), self.sides
        for turn in range(2):
            sides = {}
            for number in range(NUMBER):
                for kind, headers in (
                    (
                        "browser",
                        {
                            "Accept": "text/html",
                            "User-Agent": "Mozilla/5.0",
                            "Cookie": self.cookies.get(str(number), ""),
                        },
                    ),
                    ("program", {"Accept": "*/*", "User-Agent": f"program/{number}"}),
                ):
                    connection.request("GET", "/healthz", headers={"Host": self.address, **headers})
                    response = connection.getresponse()
                    response.read()
                    told = response.getheader("Set-Cookie") or ""
                    if told.startswith("flaskhost_side="):
                        assert kind == "browser"
                        self.cookies[str(number)] = told.partition(";")[0]
                    sides[f"{kind} {number}"] = response.getheader(RELEASE_HEADER) or str(response.status)
            assert not turn or sides == self.sides, "each stays on its side"
            self.sides = sides
        connection.close()
        self.before = before
        return {
            kind: Counter(side for client, side in self.sides.items() if client.startswith(kind))
            for kind in ("browser", "program")
        }


def test_canary_grows_and_is_promoted(stack: Stack, address: str, host: Host, source: Path, tmp_path: Path) -> None:
    former, clients = live(address), Clients(address)
    change(source)
    with no_request_lost(address) as load:
        stack.playbook("deploy", **arguments(source), flask_canary=10).check()
        canary = max(host.check_output("ls /srv/guestbook/releases").split())
        assert (live(address), shares(stack, tmp_path)) == (former, {former: 90, canary: 10})
        for kind, counted in clients.ask().items():
            assert set(counted) == {former, canary}, kind
            # six standard deviations, and one chance in five millions that nobody got it
            assert 0 < counted[canary] < 0.25 * NUMBER, (kind, counted)

        again = stack.playbook("deploy", **arguments(source), flask_canary=50).check()
        assert "Build |" not in again.output, "it is there already"
        assert shares(stack, tmp_path) == {former: 50, canary: 50}
        for kind, counted in clients.ask().items():
            assert 0.25 * NUMBER < counted[canary] < 0.75 * NUMBER, (kind, counted)
        left = [client for client, side in clients.before.items() if side == canary and clients.sides[client] != canary]
        assert left == [], "who has the canary keeps it when the share grows"

        stack.playbook("promote", flask_app="guestbook").check()
        assert live(address) == canary
    assert set(load.report.releases) == {former, canary}
    assert load.report.last_release() == canary
    assert shares(stack, tmp_path) == {canary: 100}
    assert (history(host)["result"], history(host)["release"], history(host)["former"]) == ("finished", canary, former)
    assert host.check_output("ls /run/guestbook") == f"{canary}.sock"
    assert host.check_output("readlink /srv/guestbook/current").endswith(canary)
    page = fetch(f"https://{address}/", {"Accept": "text/html"})
    assert "flaskhost_side" not in page.headers.get("set-cookie", ""), "without a canary, nobody is told a side"


def test_blue_green_with_a_preview_survives_a_boot_and_is_aborted(
    stack: Stack, address: str, name: str, host: Host, source: Path
) -> None:
    before = {
        where: host.check_output("ls %s", where)
        for where in ("/run/guestbook", "/srv/guestbook/releases", "/srv/guestbook/venvs")
    }
    blue = live(address)
    change(source)
    run = stack.playbook("deploy", **arguments(source), flask_canary=0).check()
    green = max(host.check_output("ls /srv/guestbook/releases").split())
    preview = host.check_output(
        'grep -o \'"preview": "[0-9a-f]*\' /srv/guestbook/releases/%s/RELEASE.json', green
    ).split('"')[-1]
    assert f"/?flaskhost_side={preview}" in run.output.replace("\n        ", " ")

    def sides() -> list[str]:
        link = fetch(f"https://{address}/?flaskhost_side={preview}")
        kept = {"Cookie": link.headers["set-cookie"].partition(";")[0]}
        assert kept["Cookie"].startswith("flaskhost_side=")
        pages = [
            fetch(f"https://{address}/"),
            fetch(f"https://{address}/?flaskhost_side=0"),
            link,
            fetch(f"https://{address}/", kept),
        ]
        return [page.headers[RELEASE_HEADER.lower()] for page in pages]

    assert sides() == [blue, blue, green, green], "only those with the link"
    stack.playbook("validate").check()
    for words in ({}, {"flask_release": before["/srv/guestbook/releases"].split()[0]}):
        refused = stack.playbook("rollback" if words else "deploy", flask_app="guestbook", **words)
        assert refused.code == 2
        assert f"has a canary, {green}" in refused.output.replace("\n        ", " ")

    box("restart", name)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if sides() == [blue, blue, green, green]:
                break
        except (OSError, KeyError):
            pass
        time.sleep(1)
    assert sides() == [blue, blue, green, green], "both are back"

    with no_request_lost(address) as load:
        stack.playbook("abort", flask_app="guestbook").check()
    assert load.report.releases == [blue]
    assert {where: host.check_output("ls %s", where) for where in before} == before
    assert (history(host)["result"], history(host)["release"]) == ("aborted", green)


def test_a_release_that_fails_its_visitors_is_taken_back_by_itself(
    stack: Stack, address: str, host: Host, source: Path
) -> None:
    before = live(address)
    change(source, broken=True)
    with SteadyLoad(address) as load:
        time.sleep(1)
        run = stack.playbook("deploy", **arguments(source, watch=30))
        time.sleep(2)
    assert run.code == 2
    assert "watch: in " in run.output
    assert f"The traffic is back with {before}" in run.output.replace("\n        ", " ")
    assert live(address) == before
    # 20 requests are needed to say anything; the rest is how long a look, a reload and this machine take
    assert load.report.failed, "the new release was tried on visitors"
    assert all("status 500" in text for text in load.report.failed), load.report
    assert len(load.report.failed) < 200, load.report
    assert load.report.last_release() == before
    assert (history(host)["result"], history(host)["step"]) == ("failed", "watch")
    assert host.check_output("ls /run/guestbook") == f"{before}.sock"


def test_figures_promote_a_good_canary_and_abort_a_bad_one(
    stack: Stack, address: str, host: Host, source: Path
) -> None:
    before = live(address)
    change(source, broken=True)
    with SteadyLoad(address, visitors=20) as load:
        time.sleep(1)
        run = stack.playbook("deploy", **arguments(source), flask_canary=30, flask_canary_watch=60)
        assert run.code == 2
        assert live(address) == before
        sent = load.report.sent
        time.sleep(1)
    assert 0 < len(load.report.failed) < 0.5 * sent, "the canary's share of the visitors met it, and not for long"
    assert host.check_output("ls /run/guestbook") == f"{before}.sock"
    change(source)
    # by visitors the canary is given half of them; of fewer than these, one time in fourteen too few for a verdict
    with no_request_lost(address, rate=25, visitors=20) as load:
        run = stack.playbook("deploy", **arguments(source), flask_canary=50, flask_canary_watch=5).check()
    assert live(address) == load.report.last_release() > before
    assert "requests failed (0.0 %)" in run.output
    assert host.check_output("ls /run/guestbook") == f"{live(address)}.sock"


def test_too_few_requests_say_nothing(stack: Stack, address: str, source: Path) -> None:
    before = live(address)
    change(source)
    run = stack.playbook("deploy", **arguments(source), flask_canary=10, flask_canary_watch=1).check()
    assert "that says nothing, 20 requests are needed" in run.output.replace("\n        ", " ")
    site = stack.playbook("site", "--tags", "release").check()
    assert "is a canary beside" in site.output, "site.yml leaves it alone"
    assert live(address) == before
    stack.playbook("abort", flask_app="guestbook").check()


@pytest.mark.parametrize(("step", "on"), [("switch", False), ("verify", True)])
def test_a_killed_canary_heals(stack: Stack, address: str, host: Host, source: Path, step: str, on: bool) -> None:
    """Killed with its process on the host: before nginx knows the canary it is litter, from then on it is one."""
    before, point = live(address), f"/run/flaskhost/failpoints/guestbook.{step}"
    change(source)
    host.check_output("mkdir -p /run/flaskhost/failpoints && echo hold > %s", point)
    with no_request_lost(address):
        with stack.start("deploy", **arguments(source), flask_canary=10) as run:
            deadline = time.monotonic() + 120
            while not host.file(f"{point}.reached").exists and run.alive() and time.monotonic() < deadline:
                time.sleep(0.2)
            run.kill()
        host.check_output("kill -KILL $(cat %s.reached) && rm -r /run/flaskhost/failpoints", point)
        assert live(address) == before
        again = stack.playbook("deploy", **arguments(source))
        if on:
            assert again.code == 2
            assert "has a canary" in again.output.replace("\n        ", " ")
            stack.playbook("deploy", **arguments(source), flask_canary=20).check()
            stack.playbook("promote", flask_app="guestbook").check()
        else:
            again.check()
    assert live(address) > before
    assert host.check_output("ls /run/guestbook") == f"{live(address)}.sock"
    assert len(host.check_output("ls /etc/supervisor/conf.d").split()) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"flask_canary": "ten"}, "flask_canary=ten: not a share"),
        ({"flask_canary": 101}, "flask_canary=101: not a share"),
        ({"flask_canary_watch": 60}, "without flask_canary there is no canary to watch"),
    ],
)
def test_mistakes_change_nothing(stack: Stack, host: Host, source: Path, words: dict[str, Any], says: str) -> None:
    before = host.check_output("cat /srv/guestbook/history.jsonl")
    run = stack.playbook("deploy", **arguments(source), **words)
    assert run.code == 2
    assert says in run.output.replace("\n        ", " ")
    assert host.check_output("cat /srv/guestbook/history.jsonl") == before
