# SPDX-License-Identifier: GPL-3.0-or-later
"""An upgrade is left out only where nothing that it goes by is another than for the live release, with a real database."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils._migrations import fingerprint
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import Steps
from ansible_collections.flaskhost.stack.plugins.module_utils._upgrades import due, passed_by

from tests.support.host import Host

LIVE, NEW = "20260101T000001Z-abcdef1", "20260101T000002Z-abcdef2"
UPGRADE, SEED = "flask db upgrade", "flask seed"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "blog.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.execute("INSERT INTO alembic_version VALUES ('a')")
    return path


@pytest.fixture
def app(host: Host, database: Path) -> App:
    """A new release with the migrations and the configuration of the live one."""
    app = host.app(migrate=[UPGRADE, SEED])
    for release in (LIVE, NEW):
        host.release(app, release)
        app.write_record(release, config="same", migration_heads=["a"])
        Path(app.environment_files(release)[0]).write_text(json.dumps({"DATABASE_URL": f"sqlite:///{database}"}))
        versions = Path(app.release_dir(release), "migrations/versions")
        versions.mkdir(parents=True)
        (versions.parent / "env.py").write_text("# the same")
        (versions / "1.py").write_text('revision = "a"\ndown_revision = None\n')
    # what Python makes of them says nothing
    (versions / "__pycache__").mkdir()
    (versions / "__pycache__/1.pyc").touch()
    host.upstream(app, LIVE)
    return app


def test_nothing_to_do(app: App) -> None:
    assert due(app, NEW) == [SEED]


@pytest.mark.parametrize("spelt", ["alembic upgrade head", " flask  db upgrade heads", "alembic upgrade heads"])
def test_other_ways_to_say_it(app: App, spelt: str) -> None:
    app.app["migrate"] = [spelt]
    assert due(app, NEW) == []


@pytest.mark.parametrize("spelt", ["flask db upgrade +1", "flask db upgrade && flask seed", "python -m upgrade"])
def test_what_is_not_known_is_run(app: App, spelt: str) -> None:
    app.app["migrate"] = [spelt]
    assert due(app, NEW) == [spelt]


def _at(database: Path, revision: str) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])


def _new(app: App, name: str) -> Path:
    return Path(app.release_dir(NEW), "migrations", name)


@pytest.mark.parametrize(
    "change",
    [
        lambda app, database: _new(app, "versions/2.py").write_text('revision = "b"\ndown_revision = "a"\n'),
        lambda app, database: _new(app, "versions/1.py").write_text('revision = "a"\ndown_revision = None\n# mended'),
        lambda app, database: _new(app, "env.py").write_text("# another"),
        lambda app, database: _new(app, "helper").symlink_to("env.py"),
        lambda app, database: Path(app.release_dir(NEW), "alembic.ini").touch(),
        lambda app, database: app.write_record(NEW, config="another"),
        lambda app, database: app.write_record(LIVE, migration_heads=[]),
        lambda app, database: _at(database, "put back by hand"),
        lambda app, database: database.unlink(),
        lambda app, database: Path(app.environment_files(NEW)[0]).write_text('{"DATABASE_URL": "oracle://x/y"}'),
        lambda app, database: os.unlink(Path(app.paths["root"], "../../upstreams/blog.conf")),
    ],
    ids=["revision", "mended", "env", "link", "ini", "config", "unfinished", "restored", "gone", "engine", "first"],
)
def test_something_is_another(app: App, database: Path, change: Callable[[App, Path], object]) -> None:
    change(app, database)
    assert due(app, NEW) == [UPGRADE, SEED]


@pytest.fixture
def steps(app: App) -> Steps:
    Path(app.paths["lock"]).write_text(json.dumps({"token": "mine"}))
    return Steps(app, "mine")


def test_what_has_nothing_to_do_is_done_with_the_build(app: App, steps: Steps) -> None:
    app.app["migrate"] = [UPGRADE]
    app.write_record(NEW, migration_heads=[])
    assert passed_by(app, NEW, steps)
    assert app.record(NEW)["migration_heads"] == ["a"]
    assert list(steps.seconds) == ["migrate"]


@pytest.mark.parametrize(
    "changed",
    [{"migrate": []}, {"migrate": [UPGRADE, SEED]}, {"migrate": [SEED]}, {"migrate": [UPGRADE], "snapshot": True}],
    ids=["no step", "another command", "not known", "snapshot"],
)
def test_what_may_have_is_left_to_its_step(app: App, steps: Steps, changed: dict[str, object]) -> None:
    app.app.update(changed)
    app.write_record(NEW, migration_heads=[])
    assert not passed_by(app, NEW, steps)
    assert app.record(NEW)["migration_heads"] == []
    assert steps.seconds == {}


def test_an_upgrade_with_something_to_do_is_left_to_its_step(app: App, database: Path, steps: Steps) -> None:
    app.app["migrate"] = [UPGRADE]
    app.write_record(NEW, migration_heads=[])
    _at(database, "older")
    assert not passed_by(app, NEW, steps)
    assert app.record(NEW)["migration_heads"] == []
    assert steps.seconds == {}


def test_fingerprint_of_a_tree_without_migrations_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "alembic.ini").touch()
    assert fingerprint(str(tmp_path)) == ""
