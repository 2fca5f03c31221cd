# SPDX-License-Identifier: GPL-3.0-or-later
"""The nastiest cells of the fault matrix (`make faults` has them all), and two deploys at once."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.faults.cells import Cell, table
from tests.faults.matrix import Site, run
from tests.support.remains import settled
from tests.support.root import FAILPOINTS, Failpoint, Root
from tests.support.stack import ROOT, Stack

APP = "guestbook"
CELLS = [
    Cell("migrate", "kill"),  # a command goes on beside the next deploy
    Cell("switch", "crash"),  # a candidate runs that nobody has chosen
    Cell("verify", "fail"),  # the traffic has to go back
    Cell("retire", "crash"),  # two releases run, of which the new one is not finished
    Cell("verify", "reboot"),  # nginx comes back with a release that nobody has finished
]


@pytest.fixture(scope="module")
def site(stack: Stack, name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    source = Path(shutil.copytree(ROOT / "examples/guestbook", tmp_path_factory.mktemp("source") / "guestbook"))
    shipped = yaml.safe_load((ROOT / "inventory/group_vars/all/flask_apps.yml").read_text())["flask_apps"][0]
    app = {**shipped, "source": {"path": str(source)}, "processes": {"worker": "sleep 1000000"}}
    # what stays up is the candidates' matter, and takes its time
    app |= {"healthcheck": {"path": "/healthz", "steady": 0}, "snapshot": True, "keep_releases": 3, "workers": 2}
    site = Site(stack, Root(name), APP, source, {"flask_apps": [app]})
    site.deploy().check()
    yield site
    site.root.run('rm -rf "$1"', FAILPOINTS)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_deploy_that_goes_wrong_costs_nothing(site: Site, cell: Cell) -> None:
    row = run(site, cell, rate=20)
    print(table([row]))
    assert row.ok, table([row])


def test_site_tidies_up_after_a_dead_run(site: Site) -> None:
    """Although there is nothing to release: the code that was deployed comes with the next deploy alone."""
    before = site.state()
    site.change("never to be seen")
    point = Failpoint(site.root, APP, "switch", "hold")
    try:
        with site.begin() as deploy:
            process = point.wait(unless=lambda: not deploy.alive())
            deploy.kill()
        site.root.must('kill -KILL "$1"', str(process))
    finally:
        point.clear()
    left = site.state().leftovers
    assert [text for text in left if "deploy.lock" in text], left
    assert [text for text in left if text.startswith("group ")], left
    site.stack.playbook("site", "--tags", "web", **site.extra).check()
    after = settled(site.root, APP)
    assert after.leftovers == []
    assert after.live == before.live


def test_of_two_deploys_at_once_one_waits_or_is_told(site: Site) -> None:
    site.change("the first")
    point = Failpoint(site.root, APP, "build", "hold")
    try:
        with site.begin() as first:
            point.wait(unless=lambda: not first.alive())
            refused = site.deploy()
            assert refused.code == 2
            told = " ".join(refused.output.split())
            assert f"lock: guestbook is locked by {getpass.getuser()} on {socket.gethostname()} (process " in told
            assert "since 20" in told
            assert ": deploy the default version, at step build since 20" in told
            assert "`-e flask_lock_wait=SECONDS`" in told
            with site.stack.start("deploy", flask_app=APP, flask_lock_wait=120, **site.extra) as second:
                time.sleep(6)
                assert second.alive(), second.end().output[-3000:]
                point.clear()
                assert first.end().code == 0
                ended = second.end()
        assert ended.code == 0, ended.output[-3000:]
        assert "was live already" in ended.output
    finally:
        point.clear()
    assert settled(site.root, APP).leftovers == []


def test_lock_without_a_sign_of_life_is_anybodys(site: Site) -> None:
    lock = {"token": "t", "owner": "eve", "controller": "elsewhere", "pid": 1, "since": "noon", "purpose": "deploy v3"}
    site.root.must('printf %s "$2" > "$1"', f"/srv/{APP}/deploy.lock", json.dumps(lock))
    refused = site.deploy()
    assert refused.code == 2
    assert "is locked by eve on elsewhere (process 1) since noon: deploy v3" in " ".join(refused.output.split())
    site.root.must('touch -d "-181 minutes" "$1"', f"/srv/{APP}/deploy.lock")
    site.change("after eve")
    site.deploy().check()
    assert settled(site.root, APP).leftovers == []
