# SPDX-License-Identifier: GPL-3.0-or-later
"""What status.yml tells of a real host, and which locks unlock.yml removes. Runs after the deploys of test_release."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import testinfra.host

from tests.support.stack import Run, Stack
from tests.support.web import fetch

Host = testinfra.host.Host

LOCK = "/srv/guestbook/deploy.lock"
POINT = "/run/flaskhost/failpoints/guestbook.fetch"


def status(stack: Stack, folder: Path, **extra: Any) -> tuple[str, dict[str, Any]]:
    """What status.yml shows, and what it writes of the guestbook."""
    file = folder / "status.json"
    run = stack.playbook("status", flask_status_file=str(file), **extra).check()
    assert run.changed == 0
    host = json.loads(file.read_text())["hosts"]["default"]
    assert (host["reached"], host["problems"], len(host["apps"])) == (True, [], 1)
    return run.output, host["apps"][0]


def test_it_tells_what_is_live(stack: Stack, address: str, host: Host, tmp_path: Path) -> None:
    shown, app = status(stack, tmp_path)
    live = fetch(f"https://{address}/").headers["x-flaskhost-release"]
    assert (app["live"], app["shares"]) == (live, [{"release": live, "share": 100}])
    assert app["problems"] == []
    assert app["lock"] is None
    assert [(one["name"], one["state"]) for one in app["processes"]] == [("web", "RUNNING")]
    assert app["releases"][0]["who"]
    assert f"100 %  {live}" in shown
    assert app["previous"] in host.check_output("ls /srv/guestbook/releases").split()
    counted = int(host.check_output("du -s --block-size=1 /srv/guestbook").split()[0])
    assert app["disk"]["total"] == pytest.approx(counted, rel=0.02)


def test_it_tells_who_deployed_what(stack: Stack, host: Host, tmp_path: Path) -> None:
    host.run_expect([0], "echo '{half a line' >> /srv/guestbook/history.jsonl")
    shown, app = status(stack, tmp_path, flask_history=50)
    results = {line["result"] for line in app["history"]}
    assert {"finished", "rolled_back", "failed"} <= results
    failed = {line["step"]: line["reason"] for line in app["history"] if line["result"] == "failed"}
    assert {"build", "migrate", "probe"} <= failed.keys()
    assert "flask db upgrade no-such-revision" in failed["migrate"]
    assert "failed" in shown
    finished = next(
        line for line in app["history"] if line["result"] == "finished" and line["purpose"].startswith("deploy")
    )
    assert {"fetch", "build", "boot", "switch", "retire"} <= finished["seconds"].keys()
    assert app["problems"] == ["1 line of /srv/guestbook/history.jsonl cannot be read"]
    host.run_expect([0], "sed -i '/half a line/d' /srv/guestbook/history.jsonl")


@pytest.fixture
def held_deploy(stack: Stack, host: Host) -> Iterator[Future[Run]]:
    """A deploy that waits at the step fetch until the test is over."""
    host.check_output(f"mkdir -p $(dirname {POINT}) && echo hold > {POINT}")
    with ThreadPoolExecutor() as pool:
        run = pool.submit(stack.playbook, "deploy", flask_app="guestbook")
        try:
            deadline = time.monotonic() + 60
            while not host.file(f"{POINT}.reached").exists and time.monotonic() < deadline:
                time.sleep(0.2)
            yield run
        finally:
            host.check_output(f"rm -f {POINT} {POINT}.reached")


def test_lock_of_a_living_run_is_told_and_stays(
    stack: Stack, host: Host, held_deploy: Future[Run], tmp_path: Path
) -> None:
    shown, app = status(stack, tmp_path)
    assert (app["lock"]["step"], app["lock"]["stale"]) == ("fetch", False)
    assert "at step fetch" in " ".join(shown.split())
    run = stack.playbook("unlock", flask_app="guestbook")
    assert run.code == 2
    assert "That run still goes on, on this machine" in run.output
    assert host.file(LOCK).exists
    host.check_output(f"rm -f {POINT}")
    held_deploy.result(60).check()
    assert not host.file(LOCK).exists


def test_forced_unlock_ends_the_run_that_lost_the_lock(
    stack: Stack, address: str, host: Host, held_deploy: Future[Run]
) -> None:
    before = fetch(f"https://{address}/").headers["x-flaskhost-release"]
    assert stack.playbook("unlock", flask_app="guestbook", flask_unlock_force=True).check().changed == 1
    assert not host.file(LOCK).exists
    host.check_output(f"rm -f {POINT}")
    run = held_deploy.result(60)
    assert run.code == 2
    assert "the lock of guestbook was taken over by another run" in " ".join(run.output.split())
    assert fetch(f"https://{address}/").headers["x-flaskhost-release"] == before
    stack.playbook("deploy", flask_app="guestbook").check()


def test_lock_that_a_dead_run_left_is_removed_by_one_command(stack: Stack, host: Host, tmp_path: Path) -> None:
    left = {"token": "t", "owner": "ann", "controller": "laptop", "pid": 4711, "since": "noon", "purpose": "deploy v3"}
    left |= {"step": "migrate", "at": "2026-01-01T00:00:00Z"}
    host.check_output("printf %%s %s > %s", json.dumps(left), LOCK)
    refused = stack.playbook("deploy", flask_app="guestbook")
    assert refused.code == 2
    assert "`unlock.yml` with `-e flask_app=guestbook` removes the lock" in " ".join(refused.output.split())
    run = stack.playbook("unlock", flask_app="guestbook").check()
    said = " ".join(run.output.split())
    assert "locked by ann on laptop (process 4711) since noon: deploy v3, at step migrate" in said
    assert run.changed == 1
    assert not host.file(LOCK).exists
    again = stack.playbook("unlock", flask_app="guestbook").check()
    assert again.changed == 0
    assert "guestbook is not locked." in again.output
    _shown, app = status(stack, tmp_path)
    assert (app["history"][0]["result"], app["history"][0]["who"]) == ("died", "ann@laptop")


@pytest.mark.parametrize("verb", ["unlock", "rollback", "restore"])
def test_what_is_done_to_one_app_demands_its_name(stack: Stack, verb: str) -> None:
    run = stack.playbook(verb)
    assert run.code == 2
    assert f"{verb}: which app? Give `-e flask_app=NAME`; default has guestbook." in run.output
