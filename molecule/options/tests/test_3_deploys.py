# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploys from git and of a uWSGI app, with a worker beside; the app next door notices nothing of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import testinfra.host

from tests.support.load import SteadyLoad
from tests.support.stack import ROOT, Run
from tests.support.web import ask

Host = testinfra.host.Host
Live = Callable[[str], str]
OnB = Callable[..., Run]


def style(address: str, site: str) -> str:
    return ask(address, site, "/static/style.css").text


def under_load(address: str, site: str, action: Callable[[], Run]) -> SteadyLoad:
    """What visitors of an app saw while something was done to it; nobody was lost, nor was one of the app next door."""
    next_door = {"blog.test": "blog2.test", "blog2.test": "blog.test"}[site]
    with SteadyLoad(address, host=site, rate=20) as load, SteadyLoad(address, host=next_door, rate=20) as beside:
        time.sleep(1)
        action().check()
        time.sleep(1)
    both = f"{site}: {load.report}\n{next_door}: {beside.report}"
    assert load.report.failed == beside.report.failed == [], both
    assert len(beside.report.releases) == 1, both
    # where the machine itself stood still, the app next door did so at the same time
    assert load.report.gap_of_its_own(beside.report) < 1, both
    assert max(load.report.longest_gap, beside.report.longest_gap) < 3, both
    return load


def worker(host: Host) -> tuple[str, list[str]]:
    """Which release's worker is at work, and what workers said so far."""
    now = host.check_output("cat /srv/blog/shared/worker/now")
    return now, host.check_output("cat /srv/blog/shared/worker/log").splitlines()


def test_deploy_of_a_branch(address: str, host: Host, on_b: OnB, live: Live, master: Live) -> None:
    before, neighbour = live("blog"), master("blog2")
    assert worker(host)[0] == before
    load = under_load(address, "blog.test", lambda: on_b("deploy", flask_app="blog", flask_version="feature/next"))
    assert load.report.releases == [before, live("blog")]
    assert "as on the branch" in style(address, "blog.test")
    assert master("blog2") == neighbour
    # the workers changed with the release: the former one was told to end, and did
    now, said = worker(host)
    assert now == live("blog")
    assert f"{before} ended" in said
    assert said[-2:].count(f"{now} started") == 1
    assert len(host.check_output("pgrep -u blog -f worker.sh").split()) == 1
    groups = {line.split(":")[0].split()[0] for line in host.run("supervisorctl status").stdout.splitlines()}
    assert groups == {f"blog@{now}", f"blog@{now}+workers", f"blog2@{live('blog2')}"}


@pytest.mark.parametrize("kind", ["commit", "tag"])
def test_deploy_of_a_commit_and_a_tag(
    address: str, host: Host, on_b: OnB, live: Live, master: Live, made: Path, kind: str
) -> None:
    neighbour = master("blog2")
    version = {"commit": (made / "commit").read_text().strip()[:12], "tag": "v1"}[kind]
    on_b("deploy", flask_app="blog", flask_version=version).check()
    assert ask(address, "blog.test", "/healthz").headers["x-flaskhost-release"] == live("blog")
    text = style(address, "blog.test")
    assert ("as in the commit" in text, "as on the branch" in text) == (kind == "commit", False)
    assert master("blog2") == neighbour


def test_an_unknown_version_changes_nothing(address: str, on_b: OnB, live: Live, master: Live) -> None:
    before, processes = live("blog"), (master("blog"), master("blog2"))
    run = on_b("deploy", flask_app="blog", flask_version="feature/nxt")
    assert run.code == 2
    assert "file:///opt/blog.git has no branch, tag or commit 'feature/nxt'. Is it pushed?" in run.output
    assert f"Still live is {before}" in run.output
    assert (live("blog"), (master("blog"), master("blog2"))) == (before, processes)


def test_rollback_of_one_app(address: str, host: Host, on_b: OnB, live: Live, master: Live) -> None:
    before, neighbour = live("blog"), master("blog2")
    on_b("rollback", flask_app="blog").check()
    assert live("blog") != before
    assert "as in the commit" in style(address, "blog.test")
    assert worker(host)[0] == live("blog")
    assert master("blog2") == neighbour
    # keep_releases: 3, of which the live one is one
    assert len(host.check_output("ls /srv/blog/releases").split()) <= 4


def test_workers_of_a_canary_begin_with_its_promotion(
    address: str, host: Host, on_b: OnB, live: Live, master: Live
) -> None:
    before, neighbour = live("blog"), master("blog2")
    on_b("deploy", flask_app="blog", flask_version="feature/next", flask_canary=100).check()
    canary = ask(address, "blog.test", "/healthz").headers["x-flaskhost-release"]
    assert live("blog") == before != canary
    assert "as on the branch" in style(address, "blog.test"), "a visitor's static files are those of his release"
    kept = {"Cookie": "flaskhost_side=live"}
    assert ask(address, "blog.test", "/healthz", headers=kept).headers["x-flaskhost-release"] == before
    assert "as in the commit" in ask(address, "blog.test", "/static/style.css", headers=kept).text
    assert ask(address, "blog2.test").headers["x-flaskhost-release"] == live("blog2")
    groups = {line.split(":")[0].split()[0] for line in host.run("supervisorctl status").stdout.splitlines()}
    assert groups == {f"blog@{before}", f"blog@{before}+workers", f"blog@{canary}", f"blog2@{live('blog2')}"}
    assert worker(host)[0] == before
    load = under_load(address, "blog.test", lambda: on_b("promote", flask_app="blog"))
    assert load.report.releases == [canary]
    assert live("blog") == worker(host)[0] == canary
    assert master("blog2") == neighbour
    on_b("rollback", flask_app="blog").check()
    assert live("blog") == before


def test_uwsgi_deploys_without_losing_a_request(
    address: str, host: Host, on_b: OnB, live: Live, master: Live, own_apps: dict[str, Any], tmp_path: Path
) -> None:
    before, neighbour = live("blog2"), master("blog")
    shutil.copytree(ROOT / "examples/guestbook", tmp_path / "source")
    with (tmp_path / "source/guestbook/static/style.css").open("a") as stream:
        stream.write("/* the second */\n")
    apps = {**own_apps, "blog2": {**own_apps["blog2"], "source": {"path": str(tmp_path / "source")}}}
    deploy = {"other_apps": list(apps.values()), "flask_app": "blog2"}
    load = under_load(address, "blog2.test", lambda: on_b("deploy", **deploy))
    assert load.report.releases == [before, live("blog2")]
    assert "the second" in style(address, "blog2.test")
    assert master("blog") == neighbour
    assert host.check_output("ls /run/blog2") == f"{live('blog2')}.sock"
    on_b("rollback", flask_app="blog2").check()
    assert ask(address, "blog2.test").headers["x-flaskhost-release"] == live("blog2") == before
    assert master("blog") == neighbour
