# SPDX-License-Identifier: GPL-3.0-or-later
"""The switch of an app without nginx: a file that its workers look at, both releases answering on one port meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _drain, _tidy, _traffic
from ansible_collections.flaskhost.stack.plugins.module_utils._probe import Answer, wait_for
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError, write_json
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import Steps
from ansible_collections.flaskhost.stack.plugins.module_utils._traffic import serve
from ansible_collections.flaskhost.stack.plugins.modules.release_begin import canary_of
from ansible_collections.flaskhost.stack.plugins.modules.release_serve import hands_over

from tests.support.host import Host

LIVE, NEW = "20260101T000000Z-abcdef1", "20260102T000000Z-abcdef2"


@pytest.fixture
def app(host: Host) -> App:
    made = host.app(timeout=1, drain=1, port=8000)
    host.release(made, LIVE)
    host.release(made, NEW, "building")
    (Path(made.paths["root"]) / "serving").write_text(f"{LIVE}\n")
    write_json(made.paths["lock"], {"token": "t"})
    return made


class World:
    """Who answers on the port, what was stopped, and which release is ill."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app, self.ill = app, ""
        self.asked: list[tuple[str, str, str]] = []
        self.stopped: list[tuple[list[str], str]] = []
        monkeypatch.setattr(_traffic, "complaint", self.complaint)
        monkeypatch.setattr(_traffic, "stop_groups", lambda groups, _grace: self.stopped.append((groups, app.served())))
        monkeypatch.setattr(_traffic, "run", lambda command: pytest.fail(command))
        monkeypatch.setattr(_drain, "waiting", lambda _path: 0)
        # that nginx runs for other apps is none of its business
        monkeypatch.setattr(_drain, "nginx_workers", lambda *_given: pytest.fail("nginx"))

    def complaint(self, app: App, release: str, *, through_web: bool, beside: str = "") -> str:
        assert through_web
        self.asked.append((app.served(), release, beside))
        return f"{release} is ill" if release == self.ill else ""

    def serve(self) -> dict[str, Any]:
        params = {"release": NEW, "former": LIVE, "share": "", "watch": None, "payload": {"upstream": f"{NEW}\n"}}
        return serve(self.app, params, Steps(self.app, "t"))


@pytest.fixture
def world(app: App, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(app, monkeypatch)


def test_the_file_says_who_is_live(app: App) -> None:
    assert (app.served(), app.live(), app.named(), app.canary()) == (LIVE, LIVE, {LIVE}, None)
    assert app.shares() == [{"release": LIVE, "share": 100.0}]
    Path(app.switch_file).write_text("20270101T000000Z-abcdef1\n")
    assert app.served() == "", "of a release that is not there"


def test_upstream_file_of_nginx_says_nothing_of_it(app: App, host: Host) -> None:
    host.upstream(app, NEW)
    assert app.live() == LIVE


def test_switch(world: World) -> None:
    assert world.serve() == {"canary": False, "seen": "", "former_workers": []}
    assert world.app.served() == NEW
    assert world.asked == [(NEW, NEW, LIVE)]
    assert world.stopped == [], "the former one goes on until it is told to end"
    assert Path(world.app.switch_file).stat().st_mode & 0o777 == 0o644, "the app reads it"


def test_release_that_does_not_serve_closes_the_port_again(world: World) -> None:
    world.ill = NEW
    with pytest.raises(ReleaseError, match=rf"^verify: {NEW} is ill\nThe traffic is back with {LIVE}\.$"):
        world.serve()
    assert world.stopped == [([f"blog@{NEW}"], LIVE)], "it must not come back by a reboot in between"
    assert world.asked[-1] == (LIVE, LIVE, "")


def test_tidying_up_does_not_need_nginx(world: World, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []
    monkeypatch.setattr(_tidy, "serve_what_is_written", lambda: pytest.fail("nginx"))
    monkeypatch.setattr(_tidy, "stop_groups", stopped.extend)
    for release in (LIVE, NEW):
        host.group(f"blog@{release}")
    assert _tidy.tidy(world.app) == [f"blog@{NEW}", NEW]
    assert stopped == [f"blog@{NEW}"]


def test_no_canary_without_nginx(app: App) -> None:
    with pytest.raises(ReleaseError, match="answers on port 8000 by itself, and only nginx can share its visitors out"):
        canary_of(app, "allow", "deploy main")
    assert canary_of(app, "refuse", "deploy main") == {}


def ask(*releases: str) -> tuple[bool, str]:
    answers = iter([Answer(int(text[:3]), text[4:], "") for text in releases])
    return wait_for(lambda: next(answers), status=200, release=NEW, timeout=9, in_a_row=2, beside=LIVE)


def test_answers_of_the_other_one_on_the_port_say_nothing() -> None:
    assert ask(f"200 {LIVE}", f"200 {NEW}", f"200 {LIVE}", f"200 {NEW}")[0]
    # but a bad one of its own does, and so do strangers
    with pytest.raises(StopIteration):
        ask(f"200 {NEW}", f"500 {NEW}", f"200 {NEW}")
    with pytest.raises(StopIteration):
        ask(f"200 {NEW}", "200 stranger", f"200 {NEW}")


def test_a_kernel_that_hands_nobody_over_is_told(tmp_path: Path) -> None:
    setting = tmp_path / "tcp_migrate_req"
    assert not hands_over(str(setting)), "an old kernel does not know it"
    setting.write_text("0\n")
    assert not hands_over(str(setting))
    setting.write_text("1\n")
    assert hands_over(str(setting))
