# SPDX-License-Identifier: GPL-3.0-or-later
"""How the whole of release_serve hangs together: what is waited for, and what is told to the release from before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _drain
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import SupervisordError
from ansible_collections.flaskhost.stack.plugins.modules import release_serve

from tests.support.host import Host

FORMER, NEW = "20260101T000001Z-abcdef1", "20260101T000002Z-abcdef2"


class Ended(Exception):
    """What a module ends with."""


class World:
    """An app's releases, and what the module did with them."""

    def __init__(self, host: Host, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host, self.app = host, app
        self.told: list[str] = []
        self.canary, self.nginx_left, self.queued, self.deaf = False, list[int](), 0, False
        self.params: dict[str, Any] = {
            **{"app": app.app, "release": NEW, "token": "t", "former": FORMER, "share": "", "preview": ""},
            **{"steady": 3.0, "phase": "all", "watch": None, "payload": json.dumps({"workers": None})},
        }
        monkeypatch.setattr(release_serve, "AnsibleModule", lambda **_spec: self)
        monkeypatch.setattr(release_serve, "Supervisord", lambda: self)
        monkeypatch.setattr(release_serve, "workers_of_web", lambda _app: [11])
        switched = {"seen": "", "former_workers": [11]}
        monkeypatch.setattr(release_serve, "serve", lambda *_given: {**switched, "canary": self.canary})
        monkeypatch.setattr(
            release_serve, "boot", lambda _app, _release, _load, steady, _steps: self.told.append(f"steady {steady:g}")
        )
        monkeypatch.setattr(_drain, "outlive", lambda pids, seconds: self.nginx_left if pids == [11] else [])
        monkeypatch.setattr(_drain, "waiting", lambda path: self.queued if path == app.socket(FORMER) else 0)

    def tell_to_stop(self, group: str) -> None:
        if self.deaf:
            raise SupervisordError("deaf")
        self.told.append(f"end {group}")

    def exit_json(self, **result: Any) -> None:
        raise Ended(result)

    def run(self) -> list[str]:
        with pytest.raises(Ended):
            release_serve.main()
        return self.told


@pytest.fixture
def world(host: Host, monkeypatch: pytest.MonkeyPatch) -> World:
    app = host.app()
    for group in (f"blog@{FORMER}", f"blog@{FORMER}+workers", f"blog@{NEW}", f"blog2@{FORMER}"):
        host.group(group)
    return World(host, app, monkeypatch)


def test_former_release_that_nobody_uses_is_told_to_end_and_keeps_its_files(world: World) -> None:
    """By the time of `retire` it is gone; a run that dies before has it tidied away by the next, which goes by the files."""
    groups = world.host.groups()
    assert world.run() == ["steady 3", f"end blog@{FORMER}", f"end blog@{FORMER}+workers"]
    assert world.host.groups() == groups


@pytest.mark.parametrize(
    "why", [{"nginx_left": [11]}, {"queued": 1}, {"canary": True}, {"deaf": True}], ids=lambda why: next(iter(why))
)
def test_former_release_that_somebody_may_need_is_left_to_retire(world: World, why: dict[str, Any]) -> None:
    vars(world).update(why)
    assert world.run() == ["steady 3"]


def test_release_that_is_live_already_is_never_told_to_end(world: World) -> None:
    world.params["release"] = FORMER
    assert world.run() == ["steady 3"]


def test_first_release_is_not_waited_for(world: World) -> None:
    """There is nobody who would lose anything by it."""
    world.params["former"] = ""
    assert world.run() == ["steady 0"]


def test_several_hosts_prepare_before_any_switches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The former release is kept up until all of them have switched: it may have to take its visitors back."""
    started = world.params["payload"] = json.dumps({"files": ["f"], "program": "p", "workers": "w"})
    seen: list[Any] = []
    monkeypatch.setattr(
        release_serve,
        "boot",
        lambda _app, _release, payload, _steady, _steps: seen.append((payload["program"], payload["files"])),
    )
    monkeypatch.setattr(release_serve, "start_workers", lambda _app, _release, content, _steps: seen.append(content))

    def switch(_app: App, params: dict[str, Any], _steps: Any, before_all: Any) -> dict[str, Any]:
        before_all()
        seen.append("switched")
        return {"canary": False, "seen": "", "former_workers": [11]}

    monkeypatch.setattr(release_serve, "serve", switch)
    for phase, expected in (
        ("prepare", [("p", ["f"]), "w"]),
        ("switch", [(None, []), "switched"]),
        ("all", [("p", ["f"]), "w", "switched"]),
    ):
        seen.clear()
        world.params |= {"phase": phase, "payload": started}
        with pytest.raises(Ended) as ended:
            release_serve.main()
        assert seen == expected, phase
        assert ended.value.args[0]["switched"] == (phase != "prepare")
        assert bool(world.told) == (phase == "all"), "only then the former release is told to end"


def test_prepared_canary_starts_no_workers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.params |= {
        "phase": "prepare",
        "share": "10",
        "payload": json.dumps({"files": [], "program": "p", "workers": "w"}),
    }
    monkeypatch.setattr(release_serve, "start_workers", lambda *_given: pytest.fail("those of the live release work"))
    assert world.run() == ["steady 3"]
