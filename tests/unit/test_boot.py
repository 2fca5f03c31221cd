# SPDX-License-Identifier: GPL-3.0-or-later
"""A candidate is started, asked and watched over its own socket; one that is not healthy leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _strays
from ansible_collections.flaskhost.stack.plugins.module_utils._fileset import apply_fileset
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError
from ansible_collections.flaskhost.stack.plugins.module_utils._steady import Workers
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import Steps
from ansible_collections.flaskhost.stack.plugins.modules import release_serve

from tests.support.host import GROUP, USER, Host

FORMER, NEW = "20260101T000001Z-abcdef1", "20260101T000002Z-abcdef2"


class World:
    """Everything beside the module: supervisord, the app that is asked, nginx. Remembers in ``told`` what happened."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.told: list[str] = []
        self.unhealthy: dict[tuple[str, bool], str] = {}  # release, through the web server
        self.unsteady = ""

    def start(self, group: str) -> bool:
        self.told.append(f"start {group}")
        return True

    def process_ids(self, group: str) -> list[int]:
        return []

    def complaint(self, app: App, release: str, *, through_web: bool) -> str:
        self.told.append(f"ask {release}{' through nginx' if through_web else ''}")
        return self.unhealthy.get((release, through_web), "")

    @contextlib.contextmanager
    def giving_way(self, pids: object, seconds: float) -> Iterator[None]:
        self.told.append(f"give way for {seconds:.1f}")
        yield
        self.told.append("as any other")

    def stop_groups(self, groups: list[str], grace: float | None = None) -> None:
        self.told.append(f"stop {','.join(groups)} {grace}")


@pytest.fixture
def world(host: Host, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(host)

    def as_us(files: list[dict[str, Any]], purge: list[dict[str, Any]], **more: Any) -> Any:
        return apply_fileset([{**one, "owner": USER, "group": GROUP} for one in files], purge, **more)

    def steady(self: object, seconds: float, timeout: float) -> str:
        world.told.append(f"watch {seconds:g}")
        return world.unsteady

    for name, value in {
        "apply_fileset": as_us,
        "Supervisord": lambda: world,
        "complaint": world.complaint,
        "stop_groups": world.stop_groups,
        "giving_way": world.giving_way,
    }.items():
        monkeypatch.setattr(release_serve, name, value)
    monkeypatch.setattr(Workers, "complaint", steady)
    monkeypatch.setattr(_strays, "end", lambda user, release: world.told.append(f"end strays of {release}"))
    monkeypatch.setattr(Steps, "step", _step)
    return world


def _step(self: Steps, name: str) -> Any:
    return contextlib.nullcontext()


@pytest.fixture
def app(host: Host) -> App:
    app = host.app(healthcheck={"timeout": 5}, workers=2)
    host.release(app, FORMER)
    host.release(app, NEW, "building")
    host.upstream(app, FORMER)
    return app


def boot(app: App, program: str = "the program") -> None:
    release_serve.boot(app, NEW, {"files": [], "program": program}, 3.0, Steps(app, "t"))


def test_candidate_is_started_asked_and_watched(world: World, app: App) -> None:
    boot(app)
    # on a busy host, it would come to nothing if it gave way all the time that it has, 5 s here
    assert world.told == [f"start blog@{NEW}", "give way for 1.7", f"ask {NEW}", "watch 3", "as any other"]
    assert world.host.groups() == [f"blog@{NEW}"]
    assert os.listdir(app.paths["run"]) == [], "no file stays"


@pytest.mark.parametrize("way", ["unhealthy", "unsteady"])
def test_candidate_that_is_not_healthy_is_stopped_at_once(world: World, app: App, way: str) -> None:
    if way == "unhealthy":
        world.unhealthy[NEW, False] = "it is ill"
    else:
        world.unsteady = "it is ill"
    with pytest.raises(ReleaseError, match=r"^probe: it is ill$"):
        boot(app)
    assert world.told[-2:] == [f"stop blog@{NEW} 2.0", f"end strays of {NEW}"]
    assert os.listdir(app.paths["run"]) == []


def test_what_ran_before_is_neither_watched_nor_stopped(world: World, app: App) -> None:
    """A canary that is promoted: it has visitors."""
    world.unhealthy[NEW, False] = "it is ill"
    with pytest.raises(ReleaseError, match=r"^probe: it is ill$"):
        boot(app, "")
    assert world.told == [f"start blog@{NEW}", f"ask {NEW}"]
