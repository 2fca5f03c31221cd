# SPDX-License-Identifier: GPL-3.0-or-later
"""The history: bounded, never half a line, with the step and the reason of what failed, and without a secret."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _history, _release_lock
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App
from ansible_collections.flaskhost.stack.plugins.modules import release_begin, release_end

from tests.support.host import Host

R = "20260101T000000Z-abcdef0"


@pytest.fixture
def blog(host: Host) -> App:
    return host.app()


def history(app: App) -> list[dict[str, Any]]:
    return _history.read(app, 10**6)[0]


def test_one_line_each_the_newest_first(blog: App) -> None:
    _history.add(blog, {"release": "one", "who": "a\nb"})
    _history.add(blog, {"release": "two"})
    assert len(Path(_history.history_file(blog)).read_text().splitlines()) == 2
    assert [line["release"] for line in history(blog)] == ["two", "one"]
    assert [line["release"] for line in _history.read(blog, 1)[0]] == ["two"]
    assert _history.read(blog, 0) == ([], 0)
    assert os.stat(_history.history_file(blog)).st_mode & 0o777 == 0o600


def test_no_history(blog: App) -> None:
    assert _history.read(blog, 10) == ([], 0)


def test_it_does_not_grow_without_bound(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_history, "LINES", 5)
    for number in range(12):
        _history.add(blog, {"number": number})
    assert [line["number"] for line in history(blog)] == [11, 10, 9, 8, 7]
    assert [name for name in os.listdir(blog.paths["root"]) if name.startswith(".new-")] == []


def test_what_cannot_be_read_is_counted_and_kept(blog: App) -> None:
    Path(_history.history_file(blog)).write_bytes(
        b'{"release": "one"}\n\n{"release": "tw\n[]\n\xff\xfe\n{"release": "three"}'
    )
    assert [line["release"] for line in history(blog)] == ["three", "one"]
    assert _history.read(blog, 1)[1] == 3
    _history.add(blog, {"release": "four"})
    assert [line["release"] for line in history(blog)] == ["four", "three", "one"], "no line was glued to another"


def test_a_write_that_fails_leaves_the_former_history(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    _history.add(blog, {"release": "one"})

    def broken(*given: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="no space"):
        _history.add(blog, {"release": "two"})
    assert [line["release"] for line in history(blog)] == ["one"]


@pytest.mark.parametrize(
    ("message", "step", "reason"),
    [
        ("build: `make` ended with 2:\nline one\nline two", "build", "`make` ended with 2"),
        ("pre-flight: only 3 MiB are free", "pre-flight", "only 3 MiB are free"),
        ("Unexpected: failure", "switch", "Unexpected: failure"),
        ("\n\n  late  \nmore", "switch", "late"),
        ("", "switch", ""),
        ("fetch: git fetch https://ann:hunter22@example.com/x failed", "fetch", "git fetch https://ann:********@example.com/x failed"),
        ("verify: " + "x" * 300, "verify", "x" * 197 + "..."),
    ],
)  # fmt: skip
def test_step_and_reason_of_a_failure(message: str, step: str, reason: str) -> None:
    assert _history.failure(message, "switch") == {"step": step, "reason": reason}


class Ended(Exception):
    pass


class Module:
    """What a module's main sees of Ansible."""

    check_mode = False

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params

    def fail_json(self, **result: Any) -> None:
        raise Ended(result["msg"])

    def exit_json(self, **result: Any) -> None:
        raise Ended("")

    def warn(self, text: str) -> None:
        raise AssertionError(text)


def end(monkeypatch: pytest.MonkeyPatch, app: App, **given: Any) -> None:
    params: dict[str, Any] = {
        "app": app.app,
        "release": "",
        "token": "mine",
        "former": "",
        "former_workers": [],
        "seconds": {},
    }
    params |= {"who": "ann@laptop", "failure": "", "keep_candidate": False, "payload": "", **given}
    monkeypatch.setattr(release_end, "AnsibleModule", lambda **spec: Module(params))
    with pytest.raises(Ended):
        release_end.main()


MINE = {"token": "mine", "owner": "ann", "controller": "laptop", "purpose": "deploy v2"}


def test_a_failed_run_is_told_with_step_and_reason(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    app = host.app(keep_releases=3)
    _release_lock.take(app.paths["lock"], {**MINE, "step": "migrate"})
    end(monkeypatch, app, result="failed", failure="build: `make` ended with 2:\nmore", seconds={"fetch": 0.5})
    _release_lock.take(app.paths["lock"], {**MINE, "step": "migrate"})
    end(monkeypatch, app, result="failed", failure="The connection was lost")
    later, first = history(app)
    assert (first["step"], first["reason"], first["seconds"]) == ("build", "`make` ended with 2", {"fetch": 0.5})
    assert (first["result"], first["purpose"], first["who"]) == ("failed", "deploy v2", "ann@laptop")
    assert (later["step"], later["reason"]) == ("migrate", "The connection was lost"), "the step that the lock names"
    assert not os.path.exists(app.paths["lock"])


def test_a_run_that_did_nothing_is_not_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    app = host.app(keep_releases=3)
    _release_lock.take(app.paths["lock"], MINE)
    end(monkeypatch, app, result="unchanged")
    assert history(app) == []


def begin(monkeypatch: pytest.MonkeyPatch, app: App, **given: Any) -> str:
    holder = {"token": "other", "owner": "bob", "controller": "desk"}
    params = {
        "app": app.app,
        "holder": holder,
        "purpose": "rollback",
        "wait": 0,
        "min_free_mb": 0,
        "rollback": False,
        "restore": False,
    }
    params |= {"break_token": "", "target": "", "force": False, "canary": "refuse", **given}
    monkeypatch.setattr(release_begin, "AnsibleModule", lambda **spec: Module(params))
    monkeypatch.setattr(release_begin, "tidy", lambda *given: [])
    with pytest.raises(Ended) as ended:
        release_begin.main()
    return str(ended.value)


def test_a_run_that_died_is_told_by_the_one_that_finds_its_lock(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    _release_lock.take(blog.paths["lock"], {**MINE, "step": "build", "at": "2026-01-01T00:00:07Z"})
    assert "unlock.yml" in begin(monkeypatch, blog)
    assert history(blog) == []
    assert begin(monkeypatch, blog, break_token="mine") == ""
    (line,) = history(blog)
    assert (line["result"], line["who"], line["step"], line["when"]) == (
        "died",
        "ann@laptop",
        "build",
        "2026-01-01T00:00:07Z",
    )
    assert line["reason"] == "it ended without a word; its lock was found by bob@desk"


def test_a_refused_rollback_is_none(blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    assert begin(monkeypatch, blog, rollback=True).startswith("rollback: ")
    assert history(blog) == []
