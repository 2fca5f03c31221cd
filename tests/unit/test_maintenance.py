# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that close an app for maintenance; each app has its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _overview
from ansible_collections.flaskhost.stack.plugins.modules import maintenance

from tests.support.host import Host


@pytest.fixture
def flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "maintenance"
    monkeypatch.setattr(maintenance, "FLAGS", str(folder))
    return folder


def test_on_and_off(flags: Path) -> None:
    assert not maintenance.reopen("blog"), "nothing is there yet"
    assert maintenance.close("blog")
    (key,) = maintenance.passes("blog")
    assert sorted(os.listdir(flags)) == ["blog", f"blog.{key}"]
    assert not maintenance.close("blog")
    assert maintenance.passes("blog") == [key], "links that were handed out go on working"
    assert maintenance.reopen("blog")
    assert os.listdir(flags) == []


def test_what_a_killed_run_left_is_completed(flags: Path) -> None:
    maintenance.close("blog")
    (flags / "blog").unlink()
    assert maintenance.close("blog")
    assert len(maintenance.passes("blog")) == 1
    (flags / f"blog.{maintenance.passes('blog')[0]}").unlink()
    assert maintenance.close("blog")
    assert len(maintenance.passes("blog")) == 1


def test_names_match_exactly(flags: Path) -> None:
    for name in ("blog", "blog2", "blo"):
        maintenance.close(name)
    before = maintenance.passes("blog2")
    maintenance.reopen("blog")
    assert maintenance.passes("blog2") == before
    assert sorted(file.partition(".")[0] for file in os.listdir(flags)) == ["blo", "blo", "blog2", "blog2"]


def test_status_tells_of_it(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_overview, "_MAINTENANCE", str(tmp_path / "flags"))
    app = host.app(url="https://blog.test", keep_releases=3)
    assert "closed for maintenance" not in " ".join(_overview.overview(app, [], 1)["problems"])
    (tmp_path / "flags").mkdir()
    (tmp_path / "flags" / app.name).touch()
    os.utime(tmp_path / "flags" / app.name, (0, 0))
    problems = " ".join(_overview.overview(app, [], 1)["problems"])
    assert f"closed for maintenance since 1970-01-01T00:00:00Z: maintenance.yml -e flask_app={app.name}" in problems
