# SPDX-License-Identifier: GPL-3.0-or-later
"""One app on three hosts: they get one version together, or none of them does. A second app on one of them notices nothing."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.load import SteadyLoad
from tests.support.remains import State, settled
from tests.support.root import Failpoint, Root
from tests.support.stack import Run, Stack, box
from tests.support.web import ask

HOSTS = ("fleet-a", "fleet-b", "fleet-c")
SITE = "shop.test"


class Fleet:
    """The three hosts, and a copy of the app that is changed for each deploy."""

    def __init__(self, stack: Stack, source: Path) -> None:
        self.stack, self.source = stack, source
        self.roots = {host: Root(host) for host in HOSTS}
        shop = {
            "name": "shop", "wsgi": "shop:app", "workers": 1, "domains": [SITE], "keep_releases": 3,
            "source": {"path": str(source)}, "processes": {"worker": "sleep 1000000"},
            "migrate": ["echo $RELEASE_ID >> migrated"], "shared": {"files": ["migrated"]},
            "healthcheck": {"path": "/healthz", "steady": 0},
        }  # fmt: skip
        self.extra: dict[str, Any] = {"other_shop": shop}

    def change(self) -> None:
        (self.source / "note.txt").write_text(f"{time.time()}\n")

    def play(self, name: str, *words: str, **more: Any) -> Run:
        return self.stack.playbook(name, *words, flask_app="shop", **{**self.extra, **more})

    def states(self) -> dict[str, State]:
        return {host: settled(root, "shop") for host, root in self.roots.items()}

    def lives(self) -> list[str]:
        """What each host's visitors get."""
        answers = [ask(root.address, SITE, tls=False) for root in self.roots.values()]
        return [answer.headers["x-flaskhost-release"] for answer in answers]

    def together(self) -> str:
        """The one release that is live everywhere, with nothing left beside it."""
        states = self.states()
        found = {state.live for state in states.values()}
        assert len(found) == 1, found
        (live,) = found
        assert self.lives() == [live] * 3
        assert {host: state.leftovers for host, state in states.items()} == {host: [] for host in HOSTS}
        for state in states.values():
            assert state.record["state"] in ("finished", "rolled_back")
            assert sorted(state.groups) == [f"shop@{live}", f"shop@{live}+workers"]
        assert len({state.record["commit"] for state in states.values()}) == 1
        return live

    @contextlib.contextmanager
    def under_load(self) -> Iterator[list[SteadyLoad]]:
        loads = [SteadyLoad(root.address, host=SITE, rate=20, visitors=4, tls=False) for root in self.roots.values()]
        with contextlib.ExitStack() as opened:
            for load in loads:
                opened.enter_context(load)
            time.sleep(0.5)
            yield loads
            time.sleep(0.5)
        for load in loads:
            assert load.report.failed == [], load.report
            assert load.report.sent > 20


def words(run: Run) -> str:
    return " ".join(run.output.split())


@pytest.fixture(scope="module")
def fleet(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    source = Path(__file__).parents[1] / "files/shop"
    made = Fleet(stack, Path(shutil.copytree(source, tmp_path_factory.mktemp("source") / "shop")))
    made.change()
    made.play("deploy").check()
    return made


def test_first_releases_are_one(fleet: Fleet) -> None:
    """Those that site.yml made, too."""
    firsts = {host: min(state.releases) for host, state in fleet.states().items()}
    assert len(set(firsts.values())) == 1, firsts


def test_deploy_to_all_hosts_loses_no_request(fleet: Fleet) -> None:
    before, side = (
        fleet.together(),
        ask(fleet.roots["fleet-b"].address, "side.test", tls=False).headers["x-flaskhost-release"],
    )
    fleet.change()
    with fleet.under_load() as loads:
        run = fleet.play("deploy").check()
    live = fleet.together()
    assert live != before
    assert [load.report.releases for load in loads] == [[before, live]] * 3
    # host by host: from when on each had it
    began = [min(when for when, release in load.report.answered if release == live) for load in loads]
    assert began == sorted(began)
    migrated = {
        host: root.run("grep -c $1 /srv/shop/shared/migrated", live)[1].strip() for host, root in fleet.roots.items()
    }
    assert migrated["fleet-a"] == "1"
    assert "1" not in (migrated["fleet-b"], migrated["fleet-c"])
    assert ask(fleet.roots["fleet-b"].address, "side.test", tls=False).headers["x-flaskhost-release"] == side
    assert f"shop: {live} is live" in words(run)
    again = fleet.play("deploy").check()
    assert f"{live} was live already" in words(again)


@pytest.mark.parametrize(
    ("host", "step"),
    [
        ("fleet-a", "fetch"),
        ("fleet-b", "build"),
        ("fleet-c", "probe"),
        ("fleet-c", "verify"),
    ],
)
def test_host_that_fails_leaves_all_with_what_they_had(fleet: Fleet, host: str, step: str) -> None:
    before = fleet.together()
    fleet.change()
    point = Failpoint(fleet.roots[host], "shop", step, "fail")
    try:
        with fleet.under_load() as loads:
            run = fleet.play("deploy")
    finally:
        point.clear()
    assert run.code == 2
    told = words(run)
    assert f"{step}: the failpoint" in told
    assert f"on another host: {host}: {step}: the failpoint" in told
    assert fleet.together() == before
    switched = ["fleet-a", "fleet-b"] if step == "verify" else []
    for one, load in zip(HOSTS, loads, strict=True):
        met = len(load.report.releases)
        # what fails to verify has the traffic for that moment
        assert met == 1 + (one in switched) or (one, step) == (host, "verify"), load.report
        assert load.report.last_release() == before
    for one in switched:
        assert f"{one} had switched and is back on {before}" in told
    for state in fleet.states().values():
        assert state.history[-1]["result"] == "failed"


def test_rollback_goes_to_one_release_or_nowhere(fleet: Fleet) -> None:
    before = fleet.together()
    fleet.change()
    fleet.play("deploy").check()
    live = fleet.together()
    point = Failpoint(fleet.roots["fleet-c"], "shop", "switch", "fail")
    try:
        run = fleet.play("rollback")
    finally:
        point.clear()
    assert run.code == 2
    assert f"fleet-b had switched and is back on {live}" in words(run)
    assert fleet.together() == live
    with fleet.under_load() as loads:
        fleet.play("rollback").check()
    assert fleet.together() == before
    assert [load.report.releases for load in loads] == [[live, before]] * 3


def test_host_that_was_left_behind_comes_level(fleet: Fleet) -> None:
    before = fleet.together()
    fleet.change()
    fleet.play("deploy", "--limit", "fleet-b").check()
    live = fleet.lives()[1]
    assert fleet.lives() == [before, live, before]
    refused = fleet.play("rollback")
    assert refused.code == 2
    assert "the hosts differ: " in words(refused)
    assert f"fleet-b would go to {before}" in words(refused)
    assert fleet.lives() == [before, live, before]
    process = fleet.roots["fleet-b"].must("supervisorctl pid $1", f"shop@{live}")
    fleet.play("deploy").check()
    assert fleet.together() == live, "the same id, too"
    assert fleet.roots["fleet-b"].must("supervisorctl pid $1", f"shop@{live}") == process


def test_canary_on_one_host(fleet: Fleet) -> None:
    before = fleet.together()
    fleet.change()
    with fleet.under_load() as loads:
        fleet.play("deploy", flask_canary_hosts=1).check()
        canary = fleet.lives()[0]
        assert fleet.lives() == [canary, before, before]
        assert canary != before
        point = Failpoint(fleet.roots["fleet-c"], "shop", "switch", "fail")
        try:
            failed = fleet.play("promote")
        finally:
            point.clear()
        assert failed.code == 2
        assert "the canary has its share as before" in words(failed)
        assert fleet.lives() == [canary, before, before]
        groups = fleet.states()["fleet-b"].groups
        assert sorted(groups) == sorted([f"shop@{before}", f"shop@{before}+workers", f"shop@{canary}"])
        fleet.play("promote").check()
        assert fleet.together() == canary
        fleet.change()
        fleet.play("deploy", flask_canary_hosts=2).check()
        assert fleet.lives()[2] == canary
        assert fleet.lives()[0] == fleet.lives()[1] != canary
        fleet.play("abort").check()
    assert fleet.together() == canary
    assert len(loads[0].report.releases) == 3
    assert loads[2].report.releases == [before, canary]


def test_branch_that_moves_between_two_hosts(fleet: Fleet) -> None:
    """The mirror of one host sees a later tip than the one that was decided on."""
    script = """
        export GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z' GIT_AUTHOR_NAME=a
        export GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        set -e; rm -rf /opt/shop; git init -q -b main /opt/shop; cd /opt/shop; cp /srv/shop/current/*.py /srv/shop/current/*.txt .
        rm -f note.txt; git add -A; git commit -q -m one; git rev-parse HEAD; [ "$1" = stays ] || git commit -q --allow-empty -m two
        printf '[safe]\\n    directory = /opt/shop/.git\\n' > /etc/gitconfig; chmod -R a+rX /opt/shop
    """
    commits = {root.must(script, "moves" if host == "fleet-b" else "stays") for host, root in fleet.roots.items()}
    assert len(commits) == 1
    shop = {**fleet.extra["other_shop"], "source": {"git": "file:///opt/shop/.git", "version": "main"}}
    fleet.play("deploy", other_shop=shop).check()
    assert fleet.together().endswith(commits.pop()[:7])


def test_host_that_does_not_answer(fleet: Fleet) -> None:
    before = fleet.together()
    fleet.change()
    # what ends here is the connection that asks for it
    fleet.roots["fleet-c"].run("systemctl stop ssh.socket ssh.service; pkill -KILL sshd")
    try:
        refused = fleet.play("deploy")
        assert refused.code != 0
        assert "fleet-c cannot be reached (see above)" in words(refused)
        assert fleet.lives() == [before] * 3
        run = fleet.play("deploy", flask_skip_unreachable=True)
        live = fleet.lives()[0]
        assert fleet.lives() == [live, live, before]
        assert live != before
        assert "fleet-c could not be reached and was left out" in words(run)
    finally:
        box("restart", "fleet-c")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and fleet.roots["fleet-c"].run("true")[0]:
        time.sleep(1)
    fleet.play("deploy").check()
    assert fleet.together() == live
