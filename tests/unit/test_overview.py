# SPDX-License-Identifier: GPL-3.0-or-later
"""What status.yml tells: from records, lock and supervisord to the table; nothing on a host may make it fail."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _history, _overview, _release_lock
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App
from ansible_collections.flaskhost.stack.plugins.plugin_utils import _overview_text
from ansible_collections.flaskhost.stack.plugins.plugin_utils._overview_text import render

from tests.support.host import Host

OLD, NEW = "20260101T000000Z-abcdef0", "20260102T000000Z-abcdef1"
NOW = _overview_text.seconds("2026-01-03T12:00:00Z")
MINE = {"token": "mine", "owner": "ann", "controller": "laptop", "pid": 4711, "since": "noon", "purpose": "deploy main"}


def process(group: str, name: str = "", state: str = "RUNNING", **more: Any) -> dict[str, Any]:
    """One of supervisord's processes."""
    started = int(_overview_text.seconds("2026-01-02T12:00:00Z"))
    return {
        "group": group,
        "name": name or group,
        "statename": state,
        "start": started,
        "pid": 7,
        "spawnerr": "",
        **more,
    }


@pytest.fixture
def blog(host: Host) -> App:
    """An app that was deployed twice."""
    app = host.app(url="https://blog.test", keep_releases=3)
    for release, version in ((OLD, "v1"), (NEW, "v2")):
        host.release(app, release)
        app.write_record(
            release, version=version, commit="abcdef", who="ann@laptop", finished=f"{release[:4]}-01-01T00:00:00Z"
        )
        _history.add(app, {"release": release, "result": "finished", "who": "ann@laptop", "when": "2026-01-02T00:00:09Z",
                           "seconds": {"fetch": 0.5, "build": 3, "boot": 1.25, "retire": 0.0}})  # fmt: skip
    app.write_record(NEW, former=OLD)
    host.upstream(app, NEW)
    host.current(app, NEW)
    return app


def told(*apps: App, processes: list[dict[str, Any]] | None = None, lines: int = 10) -> list[dict[str, Any]]:
    """What the module returns; it has to be JSON."""
    found = [_overview.overview(app, processes, lines) for app in apps]
    return list(json.loads(json.dumps(found)))


def table(*apps: dict[str, Any], width: int = 120, problems: list[str] | None = None) -> list[str]:
    text = render(
        {"web1": {"apps": list(apps), "problems": problems or []}},
        width=width,
        now=NOW,
        paint=lambda text, _colour: text,
    )
    return text.splitlines()


def test_table_of_a_healthy_app(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_overview, "disk_use", lambda app: {"total": 3 * 2**20})
    running = [process(f"blog@{NEW}"), process(f"blog@{NEW}+workers", f"blog@{NEW}+mail"), process(f"blog2@{OLD}")]
    (one,) = told(blog, processes=running)
    assert one["problems"] == []
    assert one["shares"] == [{"release": NEW, "share": 100}]
    assert table(one) == [
        "",
        "  SHARE  RELEASE                   VERSION  LIVE SINCE (UTC)  BY          STATE",
        "blog on web1  https://blog.test  3.0 MiB",
        f"  100 %  {NEW}  v2       2026-01-02 00:00  ann@laptop  web up 1 d, mail up 1 d",
        f"      -  {OLD}  v1       2026-01-02 00:00  ann@laptop  a rollback goes here",
        "",
        "  WHEN (UTC)        RESULT    RELEASE                   BY          SECONDS  STEPS",
        "blog on web1",
        f"  2026-01-02 00:00  finished  {NEW}  ann@laptop      4.8  fetch 0.5, build 3.0, boot 1.2",
        f"  2026-01-02 00:00  finished  {OLD}  ann@laptop      4.8  fetch 0.5, build 3.0, boot 1.2",
    ]


def test_table_of_a_canary(host: Host, blog: App) -> None:
    canary = "20260103T000000Z-abcdef2"
    host.release(blog, canary, "candidate")
    blog.write_record(canary, version="v3", who="eve@desk")
    path = host.upstreams / "blog.conf"
    path.write_text(
        f"{path.read_text()}upstream flaskhost_blog.candidate {{\n    server unix:{blog.socket(canary)} max_fails=0;\n}}\n"
        "split_clients $x $y {\n    12.5% flaskhost_blog.candidate;\n    * flaskhost_blog;\n}\n"
    )
    (one,) = told(blog, processes=[process(f"blog@{NEW}"), process(f"blog@{canary}")])
    assert one["problems"] == []
    assert one["shares"] == [{"release": NEW, "share": 87.5}, {"release": canary, "share": 12.5}]
    assert [line for line in table(one) if " % " in line] == [
        f"  87.5 %  {NEW}  v2       2026-01-02 00:00  ann@laptop  web up 1 d",
        f"  12.5 %  {canary}  v3       -                 eve@desk    canary, web up 1 d",
    ]


def test_a_rollback_counts_from_when_it_was_made(blog: App) -> None:
    _history.add(blog, {"release": OLD, "result": "rolled_back", "who": "bob@desk", "when": "2026-01-03T00:00:00Z"})
    _history.add(blog, {"release": OLD, "result": "failed", "who": "eve@desk", "when": "2026-01-03T01:00:00Z"})
    releases = {release["release"]: release for release in told(blog)[0]["releases"]}
    assert (releases[OLD]["since"], releases[OLD]["who"]) == ("2026-01-03T00:00:00Z", "bob@desk")


def test_failures_have_step_and_reason(blog: App) -> None:
    _history.add(blog, {"release": "", "result": "failed", "who": "ann@laptop", "when": "2026-01-03T00:00:00Z",
                        "seconds": {"fetch": 0.4}, **_history.failure("build: `make` ended with 2")})  # fmt: skip
    line = next(line for line in table(*told(blog)) if "failed" in line)
    assert line.split("  ")[-1] == "at build: `make` ended with 2; fetch 0.4"


def test_history_is_as_long_as_asked_for(blog: App) -> None:
    assert len(told(blog, lines=1)[0]["history"]) == 1
    (none,) = told(blog, lines=0)
    assert none["history"] == []
    assert none["releases"][0]["since"] == "2026-01-02T00:00:09Z", "what is live is told all the same"


def test_lock_is_told(blog: App) -> None:
    _release_lock.take(blog.paths["lock"], {**MINE, "step": "build", "at": "2026-01-03T11:59:00Z"})
    moment = NOW - 60
    os.utime(blog.paths["lock"], (moment, moment))
    (one,) = told(blog)
    assert one["lock"]["stale"] == (time.time() - moment > _release_lock.STALE_AFTER)
    one["lock"]["stale"] = False
    assert (
        "  locked by ann on laptop (process 4711) since noon: deploy main, at step build, last sign of life 1 min ago"
        in table(one, width=200)
    )
    one["lock"]["stale"] = True
    assert any("the next deploy takes it over" in line for line in table(one))
    Path(blog.paths["lock"]).write_text("")
    assert any("locked by nobody knows whom" in line for line in table(*told(blog)))


def test_app_that_was_never_deployed(host: Host) -> None:
    (one,) = told(host.app(), processes=[])
    assert (one["live"], one["shares"], one["releases"], one["history"]) == ("", [], [], [])
    assert one["problems"] == ["it was never deployed, or its releases are gone: run deploy.yml"]
    assert "  nothing was deployed yet" in table(one)


def test_app_that_the_host_was_not_prepared_for(host: Host) -> None:
    app = host.app()
    shutil.rmtree(app.paths["root"])
    (one,) = told(app, processes=[])
    assert one["problems"] == ["this host is not prepared for it: run site.yml"]
    assert one["disk"] is None
    assert "  this host is not prepared for it: run site.yml" in table(one)


def test_host_without_apps_and_host_that_was_not_reached() -> None:
    assert table()[2:] == ["web1: no apps"]
    assert "  it was not reached; see above" in table(problems=["it was not reached; see above"])


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"seconds": 3, "who": ["x"], "when": 4}', "\udcff"])
def test_damaged_record(blog: App, text: str) -> None:
    Path(blog.release_dir(NEW), "RELEASE.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    Path(_history.history_file(blog)).write_text("{\n[]\n")
    (one,) = told(blog)
    assert f"the record of {NEW} (RELEASE.json) is missing or damaged" in one["problems"]
    assert any(problem.startswith("2 lines of ") for problem in one["problems"])
    assert any(NEW in line for line in table(one))


@pytest.mark.parametrize(
    "line", [{}, {"seconds": [1], "when": 5, "release": None}, {"seconds": {"x": "y", "build": None}, "result": 3}]
)
def test_edited_history(blog: App, line: dict[str, Any]) -> None:
    _history.add(blog, line)
    assert table(*told(blog))


def test_what_does_not_run_is_a_problem(blog: App) -> None:
    dead = process(f"blog@{NEW}", state="FATAL", spawnerr="can't find command")
    (one,) = told(blog, processes=[dead, process(f"blog@{OLD}", state="EXITED", description="Jan 02 12:00 PM")])
    assert f"web of {NEW} is FATAL: can't find command" in one["problems"]
    assert f"web of {OLD} is EXITED: Jan 02 12:00 PM" in one["problems"]
    assert f"processes of {OLD} run without visitors: the next deploy ends them" in one["problems"]
    assert told(blog, processes=[])[0]["problems"] == [f"no web process of {NEW} runs: run site.yml"]
    assert told(blog, processes=None)[0]["problems"] == [], "supervisord that says nothing is told once for the host"


def test_what_nginx_does_not_serve_is_a_problem(host: Host, blog: App) -> None:
    host.upstream(blog, "none")
    (one,) = told(blog)
    assert (one["live"], one["shares"]) == (NEW, [])
    assert one["problems"][0].startswith("nginx sends the visitors to no release")
    host.upstream(blog, OLD)
    assert told(blog)[0]["problems"] == [
        f"the link current names {NEW}, but nginx serves {OLD}: the next deploy mends that"
    ]


def test_disk_use_counts_what_is_linked_twice_once(blog: App) -> None:
    cache, venv = Path(blog.paths["cache"], "wheel"), Path(blog.paths["venvs"], "one")
    cache.write_bytes(b"x" * 2**20)
    venv.mkdir()
    os.link(cache, venv / "wheel")
    used = _overview.disk_use(blog)
    assert used is not None
    assert used["venvs"] + used["cache"] < 1.5 * 2**20
    assert used["total"] >= 2**20


def test_a_narrow_terminal_wraps(blog: App) -> None:
    (one,) = told(blog)
    for width in (40, 79, 100):
        lines = table(one, width=width)
        assert any("boot 1.2" in line for line in lines)
    assert max(len(line) for line in table(one, width=100)) <= 100


def test_nothing_from_a_host_commands_the_terminal(blog: App) -> None:
    _history.add(blog, {"release": OLD, "result": "failed", "who": "\x1b[2J", "reason": "a\x07\nb", "step": "x"})
    shown = "\n".join(table(*told(blog)))
    assert "\x1b" not in shown
    assert "\x07" not in shown


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0.0 KiB"), (12 * 2**10, "12 KiB"), (95 * 2**20, "95 MiB"), (2.5 * 2**30, "2.5 GiB")]
)
def test_sizes(size: float, text: str) -> None:
    assert _overview_text.in_bytes(size) == text


@pytest.mark.parametrize(("taken", "text"), [(-5, "0 s"), (59, "59 s"), (61, "1 min"), (7300, "2 h"), (90000, "1 d")])
def test_durations(taken: float, text: str) -> None:
    assert _overview_text.how_long(taken) == text
