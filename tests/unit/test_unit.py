# SPDX-License-Identifier: GPL-3.0-or-later
"""What tells that a unit runs with the configuration that lies there."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _unit
from ansible_collections.flaskhost.stack.plugins.module_utils._unit import fingerprint, started_at


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A configuration, as nginx has it."""
    for name in ("nginx.conf", "sites/a.conf", "sites/b.conf", "upstreams/a.conf", "outside/linked.conf"):
        (tmp_path / "etc" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "etc" / name).write_text(name)
    (tmp_path / "etc/outside").rename(tmp_path / "outside")
    (tmp_path / "etc/enabled").mkdir()
    (tmp_path / "etc/enabled/link.conf").symlink_to(tmp_path / "outside/linked.conf")
    return tmp_path / "etc"


def mark(etc: Path) -> str:
    return fingerprint([str(etc)], [str(etc / "upstreams")])[0]


def swap(etc: Path) -> None:
    (etc / "sites/a.conf").write_text("sites/b.conf")
    (etc / "sites/b.conf").write_text("sites/a.conf")


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda etc: (etc / "sites/a.conf").write_text("x"),
    "new file": lambda etc: (etc / "sites/c.conf").touch(),
    "removed": lambda etc: (etc / "sites/a.conf").unlink(),
    "renamed": lambda etc: (etc / "sites/a.conf").rename(etc / "sites/a2.conf"),
    "swapped": swap,
    "behind a link": lambda etc: (etc.parent / "outside/linked.conf").write_text("x"),
    "link that leads nowhere": lambda etc: (etc.parent / "outside/linked.conf").unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_seen(etc: Path, change: str) -> None:
    before = mark(etc)
    CHANGES[change](etc)
    assert mark(etc) != before


def test_what_is_no_change(etc: Path) -> None:
    before = mark(etc)
    os.utime(etc / "nginx.conf", (1, 1))
    (etc / "upstreams/a.conf").write_text("another release")
    (etc / "upstreams/b.conf").touch()
    os.mkfifo(etc / "sites/pipe")
    (etc / "sites/dangling").symlink_to("/nowhere")
    assert mark(etc) == before


def test_single_files_and_missing_paths(etc: Path) -> None:
    both = [str(etc / "nginx.conf"), str(etc / "nowhere")]
    before = fingerprint(both, [])
    assert before == fingerprint(both[:1], [])
    (etc / "nowhere").touch()
    assert fingerprint(both, [])[0] != before[0]
    assert fingerprint([], []) == fingerprint(["/nowhere"], [])
    assert fingerprint([], [])[1] == 0.0


TOUCHES: dict[str, Callable[[Path], object]] = {
    "written": lambda etc: (etc / "nginx.conf").write_text("nginx.conf"),
    "an old file moved in": lambda etc: (etc.parent / "old.conf").rename(etc / "sites/old.conf"),
    "removed": lambda etc: (etc / "sites/a.conf").unlink(),
    "behind a link": lambda etc: (etc.parent / "outside/linked.conf").write_text("x"),
    "written and made to look old": lambda etc: os.utime(etc / "nginx.conf", (1, 1)),
}


@pytest.mark.parametrize("touch", TOUCHES)
def test_newest_change(etc: Path, touch: str) -> None:
    """Without a note, a change after the start of the unit has to be seen by the times."""
    (etc.parent / "old.conf").touch()
    os.utime(etc.parent / "old.conf", (1, 1))
    started = fingerprint([str(etc)], [])[1]
    assert started <= time.time()
    time.sleep(0.02)
    assert fingerprint([str(etc)], [])[1] == started
    TOUCHES[touch](etc)
    assert fingerprint([str(etc)], [])[1] > started


def test_start_of_a_unit() -> None:
    now = time.monotonic() * 1e6
    assert started_at({"ActiveEnterTimestampMonotonic": str(int(now))}) == pytest.approx(time.time(), abs=2)
    assert started_at({"ActiveEnterTimestampMonotonic": str(int(now - 60e6))}) == pytest.approx(time.time() - 60, abs=2)
    for never in ({}, {"ActiveEnterTimestampMonotonic": ""}, {"ActiveEnterTimestampMonotonic": "0"}):
        assert started_at(never) == 0.0, "older than any file, so that the configuration counts as not loaded"


def test_start_of_a_process_lies_between_files_before_and_after(tmp_path: Path) -> None:
    """The kernel's clock of files and ours are the same."""
    (tmp_path / "before").touch()
    time.sleep(0.02)
    start = started_at({"ActiveEnterTimestampMonotonic": str(int(time.monotonic() * 1e6))})
    time.sleep(0.02)
    subprocess.run(["touch", str(tmp_path / "after")], check=True)
    assert fingerprint([str(tmp_path / "before")], [])[1] < start < fingerprint([str(tmp_path / "after")], [])[1]


class Host:
    """Stands for systemctl; notes what it is told."""

    def __init__(self, **properties: str) -> None:
        running = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
        self.properties = {**running, **properties}
        self.told: list[str] = []
        self.refuses = ""

    def __call__(self, words: str | list[str]) -> tuple[int, str, str]:
        line = words if isinstance(words, str) else " ".join(words)
        if line.startswith("systemctl show"):
            return 0, "".join(f"{key}={value}\n" for key, value in self.properties.items()), ""
        self.told.append(line)
        return (1, "", "no") if line == self.refuses else (0, "", "")


def unit(host: Host, etc: Path | None = None, check: bool = False, **more: object) -> list[str]:
    wanted = {"name": "x", "config": [str(etc)] if etc else [], "exclude": [], "on_change": "reload", "validate": None}
    return _unit.Unit({**wanted, **more}, host).converge(check)


@pytest.fixture
def stamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_unit, "STAMPS", str(tmp_path / "stamps"))
    return tmp_path / "stamps"


STATES: dict[str, tuple[dict[str, str], list[str]]] = {
    "as it should be": ({}, []),
    "not at boot": ({"UnitFileState": "disabled"}, ["enable"]),
    "stopped": ({"ActiveState": "failed"}, ["start"]),
    "masked": ({"LoadState": "masked", "UnitFileState": "masked", "ActiveState": "inactive"}, ["unmask", "enable", "start"]),
}  # fmt: skip


@pytest.mark.parametrize("state", STATES)
def test_what_a_unit_needs(state: str) -> None:
    properties, verbs = STATES[state]
    assert unit(Host(**properties), check=True) == verbs
    host = Host(**properties)
    assert unit(host) == verbs
    assert host.told == [f"systemctl {verb} x" for verb in verbs]


def test_changed_configuration_is_loaded_once(etc: Path, stamps: Path) -> None:
    host = Host(NeedDaemonReload="yes")
    assert unit(host, etc, check=True) == ["reload"]
    assert not stamps.exists()
    assert unit(host, etc) == ["reload"]
    assert host.told == ["systemctl daemon-reload", "systemctl reload x"]
    assert unit(host, etc) == []
    (etc / "sites/a.conf").write_text("x")
    assert unit(host, etc, on_change="restart") == ["restart"]


def test_configuration_that_is_refused_is_not_loaded(etc: Path, stamps: Path) -> None:
    host = Host()
    host.refuses = "x -t"
    with pytest.raises(_unit.UnitError, match="`x -t` ended with 1; x is left as it is:\nno"):
        unit(host, etc, validate="x -t")
    assert host.told == ["x -t"]
    assert not stamps.exists()


def test_a_unit_that_is_not_there() -> None:
    with pytest.raises(_unit.UnitError, match="there is no unit x"):
        unit(Host(LoadState="not-found"))
    assert unit(Host(LoadState="not-found"), check=True) == ["start"], "its package would have been installed"


def test_an_error_has_the_end_of_the_journal() -> None:
    host = Host(ActiveState="failed")
    host.refuses = "systemctl start x"
    with pytest.raises(_unit.UnitError, match="systemctl start x ended with 1: no"):
        unit(host)
    assert host.told[-1].startswith("journalctl -u x")
