# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of the release modules: unpacking, what gives way to shared places, and when a release has to be made anew."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.filter.release_config import release_config
from ansible_collections.flaskhost.stack.plugins.module_utils._app_resolve import resolve
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError
from ansible_collections.flaskhost.stack.plugins.modules import release_source
from ansible_collections.flaskhost.stack.plugins.modules.release_source import make_way, unpack
from ansible_collections.flaskhost.stack.plugins.modules.release_status import status

from tests.support.host import Host

RELEASE = "20260101T000000Z-abcdef0"


@pytest.fixture
def app(host: Host) -> App:
    made = host.app(shared={"dirs": ["uploads", "data/big"], "files": ["config.ini", "etc/app.cfg"]})
    os.mkdir(made.release_dir(RELEASE))
    return made


# unpack


def archive(**names: str) -> bytes:
    """An archive; a text that begins with -> is a link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as opened:
        for name, text in names.items():
            info = tarfile.TarInfo(name)
            if text.startswith("->"):
                info.type, info.linkname = tarfile.SYMTYPE, text[2:]
            info.size = 0 if info.issym() else len(text)
            opened.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def test_archive_is_unpacked(app: App) -> None:
    target = Path(app.release_dir(RELEASE))
    unpack(app, archive(**{"a.py": "a", "b/c..d": "c", "-rf": "x", "link": "->a.py"}), str(target))
    assert sorted(os.listdir(target)) == ["-rf", "a.py", "b", "link"]
    assert (target / "link").read_text() == "a"


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil-of-a-test", "a/../../evil", ".."])
def test_archive_does_not_leave_the_release(app: App, name: str) -> None:
    target = Path(app.release_dir(RELEASE))
    with pytest.raises(ReleaseError, match="leads out of the release"):
        unpack(app, archive(**{"first": "x", name: "x"}), str(target))
    assert os.listdir(target) == [], "nothing of it is unpacked"
    assert not (target.parent / "evil").exists()


# places that outlive releases


def put(base: Path, *names: str) -> None:
    for name in names:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(f"{base.name}/{name}")


def test_tree_gives_way_to_what_is_shared(app: App) -> None:
    """A folder with a .gitkeep is what a repository usually has there."""
    target, shared = Path(app.release_dir(RELEASE)), Path(app.paths["shared"])
    put(target, "app.py", "uploads/.gitkeep", "data/small", "data/big/x", "config.ini", "etc/app.cfg")
    put(shared, "config.ini", "uploads/photo")
    for _time in range(2):
        make_way(app, str(target))
        links = {str(path.relative_to(target)): os.readlink(path) for path in target.rglob("*") if path.is_symlink()}
        assert links == {name: f"{shared}/{name}" for name in ("uploads", "data/big", "config.ini", "etc/app.cfg")}
    assert (target / "uploads/photo").read_text() == "shared/uploads/photo"
    assert (target / "config.ini").read_text() == "shared/config.ini", "what is shared already counts"
    assert (target / "etc/app.cfg").read_text() == f"{RELEASE}/etc/app.cfg", "the first release brings it"
    assert (target / "data/small").exists()


def test_places_that_the_tree_does_not_have(app: App) -> None:
    target = Path(app.release_dir(RELEASE))
    make_way(app, str(target))
    assert os.readlink(target / "data/big") == f"{app.paths['shared']}/data/big"
    assert not (target / "config.ini").exists(), "a link to what is not there yet"


def test_link_in_the_tree_is_replaced(app: App, tmp_path: Path) -> None:
    target = Path(app.release_dir(RELEASE))
    put(tmp_path / "outside", "precious", "config")
    (target / "uploads").symlink_to(tmp_path / "outside")
    (target / "config.ini").symlink_to(tmp_path / "outside/config")
    make_way(app, str(target))
    assert os.readlink(target / "uploads") == f"{app.paths['shared']}/uploads"
    assert sorted(os.listdir(tmp_path / "outside")) == ["config", "precious"]
    assert not Path(app.paths["shared"], "config.ini").exists(), "what a link names is not made shared"


def test_nothing_shared(host: Host) -> None:
    app = host.app("plain", shared={"dirs": [], "files": []})
    os.mkdir(app.release_dir(RELEASE))
    make_way(app, app.release_dir(RELEASE))
    assert os.listdir(app.release_dir(RELEASE)) == []


# status


@pytest.mark.parametrize(
    ("served", "file", "state", "running"),
    [
        (True, True, "RUNNING", True),
        (True, True, "STARTING", True),
        (True, True, "FATAL", False),
        (True, True, "", False),
        (True, False, "RUNNING", False),
        (False, True, "RUNNING", False),
    ],
)
def test_what_counts_as_running(host: Host, served: bool, file: bool, state: str, running: bool) -> None:
    app = host.app()
    host.release(app, RELEASE)
    host.current(app, RELEASE)
    if served:
        host.upstream(app, RELEASE)
    if file:
        host.group(f"blog@{RELEASE}")
    found = status(app, {f"blog@{RELEASE}": state} if state else {})
    assert (found["live"], found["running"], found["finished"]) == (RELEASE, running, True)


def test_status_of_an_app_without_releases(host: Host) -> None:
    found = status(host.app(), {"blog@": "RUNNING"})
    assert (found["live"], found["running"], found["finished"], found["record"]) == ("", False, False, {})


# what a running release depends on


def config(environment: dict[str, str] | None = None, **changed: Any) -> str:
    given = {"name": "blog", "source": {"path": "/src"}, "wsgi": "blog:app", "domains": ["example.com"], **changed}
    return release_config(resolve([given])[0], environment or {"A": "1"})


@pytest.mark.parametrize(
    "changed",
    [
        {"wsgi": "blog:other"},
        {"workers": 7},
        {"threads": 3},
        {"timeout": 31},
        {"server": "uwsgi"},
        {"database": {"engine": "sqlite"}},
        {"processes": {"worker": "rq worker"}},
        {"build": ["x"]},
        {"migrate": ["x"]},
        {"shared": {"dirs": ["uploads"]}},
        {"python": {"packages": ["x"]}},
        {"environment": {"A": "2"}},
        {"environment": {"A": "1", "B": ""}},
    ],
)
def test_release_is_made_anew_for(changed: dict[str, Any]) -> None:
    assert config(**changed) != config()


@pytest.mark.parametrize(
    "changed",
    [
        {"domains": ["example.com", "www.example.com"]},
        {"tls": {"mode": "none"}},
        {"healthcheck": {"path": "/health"}},
        {"keep_releases": 9},
        {"max_body": "1g"},
        {"static": [{"url": "/static", "path": "static"}]},
        {"source": {"path": "/src2"}},
    ],
)
def test_release_stays_for(changed: dict[str, Any]) -> None:
    assert config(**changed) == config()
    assert len(config()) == 16


def test_order_of_keys_is_no_change() -> None:
    assert config({"A": "1", "B": "2"}) == config({"B": "2", "A": "1"})


# whether there is anything to release


def test_what_is_live_is_made_anew_unless_all_of_it_is_as_it_should_be(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, commit = host.app(), "a" * 40
    monkeypatch.setattr(release_source, "runs", lambda group: group == f"blog@{RELEASE}")
    host.release(app, RELEASE)
    app.write_record(RELEASE, commit=commit, config="c")
    host.upstream(app, RELEASE)
    assert release_source.is_live(app, RELEASE, commit, "c")
    assert not release_source.is_live(app, RELEASE, "b" * 40, "c")
    assert not release_source.is_live(app, RELEASE, commit, "d")
    assert not release_source.is_live(app, "", commit, "c")
    # its deploy died after the switch: nobody knows how far it came
    app.write_record(RELEASE, state="building")
    assert not release_source.is_live(app, RELEASE, commit, "c")
    app.write_record(RELEASE, state="finished")
    with monkeypatch.context() as change:
        change.setattr(release_source, "runs", lambda group: False)
        assert not release_source.is_live(app, RELEASE, commit, "c")
    (host.upstreams / "blog.conf").unlink()
    assert not release_source.is_live(app, RELEASE, commit, "c"), "nginx does not know it"


def test_release_gets_the_id_that_the_other_hosts_have(host: Host) -> None:
    """A host that was left out comes level; one that has had that release before makes another of the same commit."""
    app, commit, own = host.app(), "b" * 40, "20260202T000000Z-bbbbbbb"
    params = {"commit": commit, "release": "20260101T000000Z-bbbbbbb", "stamp": "20260202T000000Z"}
    assert release_source.name_of(app, commit, params) == params["release"]
    assert release_source.name_of(app, commit, {**params, "release": ""}) == own
    # its own commit again, as with another configuration
    assert release_source.name_of(app, "c" * 40, params) == "20260202T000000Z-ccccccc"
    assert release_source.name_of(app, "", params) == ""
    host.release(app, params["release"])
    assert release_source.name_of(app, commit, params) == own
