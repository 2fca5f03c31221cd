# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations are read from the files of a release, and a rollback asks for them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _tidy
from ansible_collections.flaskhost.stack.plugins.module_utils._migrations import heads, revisions
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError, read_json, write_json
from ansible_collections.flaskhost.stack.plugins.module_utils._rollback import (
    check_heads,
    check_target,
    choose,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._snapshots import database_file
from ansible_collections.flaskhost.stack.plugins.modules import release_begin, release_migrate

from tests.support.host import Host

ROOT = Path(__file__).resolve().parents[2]
R = [f"20260101T0000{number:02d}Z-abcdef{number}" for number in range(4)]
FIRST = 'revision = "a"\ndown_revision = None\n'


def tree(base: Path, *files: str, folder: str = "migrations") -> str:
    """A source tree with these files as migrations."""
    versions = base / folder / "versions"
    versions.mkdir(parents=True)
    (versions.parent / "env.py").touch()
    for number, text in enumerate(files):
        (versions / f"{number}.py").write_text(text, encoding="utf-8")
    return str(base)


@pytest.mark.parametrize(
    ("files", "known", "newest"),
    [
        ([], {}, []),
        ([FIRST], {"a": ()}, ["a"]),
        ([FIRST, 'revision = "b"\ndown_revision = "a"'], {"a": (), "b": ("a",)}, ["b"]),
        (
            [FIRST, 'revision = "b"\ndown_revision = "a"', 'revision = "c"\ndown_revision = "a"'],
            {"a": (), "b": ("a",), "c": ("a",)},
            ["b", "c"],
        ),
        (
            [FIRST, 'revision = "b"\ndown_revision = None', 'revision = "m"\ndown_revision = ("a", "b")'],
            {"a": (), "b": (), "m": ("a", "b")},
            ["m"],
        ),
        ([FIRST, 'revision = "m"\ndown_revision = ["a"]'], {"a": (), "m": ("a",)}, ["m"]),
        (
            [FIRST, 'revision: str = "b"\ndown_revision: Union[str, None] = "a"'],
            {"a": (), "b": ("a",)},
            ["b"],
        ),
        ([FIRST, "revision = ("], {"a": ()}, ["a"]),
        ([FIRST, "revision = '\0'"], {"a": ()}, ["a"]),
        ([FIRST, "# coding: nonsense\nrevision = 'b'"], {"a": ()}, ["a"]),
        ([FIRST, 'revision: str\nrevision = made()\nother, revision = "b", "c"'], {"a": ()}, ["a"]),
        ([FIRST, 'def upgrade():\n    revision = "b"'], {"a": ()}, ["a"]),
        ([FIRST, "(" * 5000], {"a": ()}, ["a"]),
    ],
)
def test_revisions_and_heads(
    tmp_path: Path, files: list[str], known: dict[str, tuple[str, ...]], newest: list[str]
) -> None:
    path = tree(tmp_path, *files)
    assert revisions(path) == known
    assert heads(path) == newest


def test_where_migrations_are_looked_for(tmp_path: Path) -> None:
    for number, folder in enumerate(["alembic", "src/app/db/migrations"]):
        tree(tmp_path, f'revision = "{number}"', folder=folder)
    for folder in [".venv/a", "node_modules/a", "lib/site-packages/a", "a/b/c/d/migrations", "versions/x"]:
        tree(tmp_path, 'revision = "no"', folder=folder)
    tree(tmp_path, 'revision = "no"', folder="plain")
    (tmp_path / "plain/env.py").unlink()
    (tmp_path / "versions/x/env.py").unlink()
    os.mkfifo(tmp_path / "alembic/versions/pipe.py")
    (tmp_path / "alembic/versions/link.py").symlink_to(tmp_path / "plain/versions/0.py")
    (tmp_path / "linked").symlink_to(tmp_path / "a/b/c/d/migrations")
    assert sorted(revisions(str(tmp_path))) == ["0", "1"]


def test_no_tree(tmp_path: Path) -> None:
    assert revisions(str(tmp_path / "none")) == {}


def test_the_example_has_one_head() -> None:
    assert len(heads(str(ROOT / "examples/guestbook"))) == 1


# choosing


@pytest.mark.parametrize(
    ("target", "asked", "says"),
    [
        ("r1", "", ""),
        ("r1", "r1", ""),
        ("", "", "blog has no earlier release to go back to; live is r2, finished are r1, r2."),
        ("r9", "r9", "blog has no release r9 to go back to; live is r2, finished are r1, r2."),
        ("r2", "r2", "blog has no release r2 to go back to; live is r2"),
    ],
)
def test_targets(target: str, asked: str, says: str) -> None:
    if not says:
        check_target("blog", target, asked, "r2", ["r1", "r2"])
        return
    with pytest.raises(ReleaseError, match=f"^rollback: {says}"):
        check_target("blog", target, asked, "r2", ["r1", "r2"])


def test_targets_where_there_is_no_release() -> None:
    with pytest.raises(ReleaseError, match=r"no earlier release to go back to; live is none, finished are none\."):
        check_target("blog", "", "", "", [])


@pytest.mark.parametrize(
    ("at", "known", "unknown"),
    [
        ([], [], ""),
        (["a"], ["a"], ""),
        (["a"], ["a", "b"], ""),
        (["b"], ["a"], "b"),
        (["a", "b", "c"], ["a"], "b, c"),
        (["a"], [], "a"),
    ],
)
def test_heads_of_the_database(at: list[str], known: list[str], unknown: str) -> None:
    if not unknown:
        check_heads("blog", "r1", at, known)
        return
    with pytest.raises(ReleaseError) as error:
        check_heads("blog", "r1", at, known)
    text = str(error.value)
    assert text.startswith(f"rollback: the database of blog is at migration {unknown}, which the code of r1 does not")
    assert "`-e flask_rollback_force=true`" in text


@pytest.fixture
def blog(host: Host, monkeypatch: pytest.MonkeyPatch) -> App:
    """Three releases, the last of them live; only that knows migration b, the first has none at all."""

    class Daemon:
        def processes(self) -> list[dict[str, str]]:
            return []

    monkeypatch.setattr(_tidy, "Supervisord", Daemon)
    app = host.app()
    for release in R[:3]:
        host.release(app, release)
    tree(Path(app.release_dir(R[1])), FIRST)
    tree(Path(app.release_dir(R[2])), FIRST, 'revision = "b"\ndown_revision = "a"')
    host.upstream(app, R[2])
    host.current(app, R[2])
    return app


@pytest.mark.parametrize(
    ("at", "asked", "force", "expected"),
    [
        (None, "", False, R[1]),
        ([], "", False, R[1]),
        ("damaged", "", False, R[1]),
        (["a"], "", False, R[1]),
        (["b"], "", True, R[1]),
        (["b"], "", False, "at migration b"),
        ({"heads": ["a"], "migrating": {"release": R[3], "heads": ["b"]}}, "", False, "at migration b"),
        ({"heads": ["a"], "migrating": "damaged"}, "", False, R[1]),
        (["a"], R[0], False, "at migration a"),
        (["a"], R[0], True, R[0]),
        (["a"], R[2], True, "to go back to"),
        (["a"], R[3], True, "to go back to"),
    ],
)
def test_choose(blog: App, at: Any, asked: str, force: bool, expected: str) -> None:
    if at is not None:
        write_json(database_file(blog), at if isinstance(at, dict) else {"heads": at})
    if expected in R:
        assert choose(blog, asked, force) == (expected, "")
    else:
        with pytest.raises(ReleaseError, match=expected):
            choose(blog, asked, force)


# the modules


class Ended(Exception):
    """A module is done."""


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a module in this process."""

    def run(module: Any, **params: Any) -> dict[str, Any]:
        class Module:
            check_mode = False

            def __init__(self, argument_spec: dict[str, Any], **_options: Any) -> None:
                defaults = {name: option.get("default") for name, option in argument_spec.items()}
                assert params.keys() <= defaults.keys()
                self.params = {**defaults, **params}

            def exit_json(self, **result: Any) -> None:
                raise Ended(result)

            def fail_json(self, **result: Any) -> None:
                raise Ended({"failed": True, **result})

        monkeypatch.setattr(module, "AnsibleModule", Module)
        with pytest.raises(Ended) as ended:
            module.main()
        result: dict[str, Any] = ended.value.args[0]
        return result

    return run


HOLDER = {"token": "mine", "owner": "ann", "controller": "laptop", "pid": 1}


def test_begin_refuses_and_gives_the_lock_back(blog: App, call: Any) -> None:
    write_json(database_file(blog), {"heads": ["b"]})
    begin = {"app": blog.app, "holder": HOLDER, "min_free_mb": 0}
    refused = call(release_begin, **begin, rollback=True)
    assert refused["failed"]
    assert refused["msg"].startswith("rollback: ")
    assert refused["live"] == R[2]
    assert not os.path.exists(blog.paths["lock"])
    forced = call(release_begin, **begin, rollback=True, force=True)
    assert (forced["target"], forced["live"]) == (R[1], R[2])
    assert os.path.exists(blog.paths["lock"])


def test_begin_of_a_deploy_asks_nothing(blog: App, call: Any) -> None:
    write_json(database_file(blog), {"heads": ["b"]})
    begun = call(release_begin, app=blog.app, holder=HOLDER, min_free_mb=0, target=R[0])
    assert (begun.get("failed"), begun["target"]) == (None, "")


def test_heads_are_recorded_once_the_commands_ended_well(blog: App, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    call(release_begin, app=blog.app, holder=HOLDER, min_free_mb=0)
    run = {"app": {**blog.app, "migrate": []}, "token": "mine"}
    call(release_migrate, **run, release=R[2])
    noted = json.loads(Path(database_file(blog)).read_text(encoding="utf-8"))
    assert (noted["heads"], noted["release"], sorted(noted)) == (["b"], R[2], ["heads", "release", "when"])
    assert blog.record(R[2])["migration_heads"] == ["b"]
    call(release_migrate, **run, release=R[0], elsewhere=True)
    assert blog.record(R[0])["migration_heads"] == []
    assert read_json(database_file(blog)) == noted, "a release without migrations says nothing of the database"

    def fails(*_arguments: Any, **_options: Any) -> None:
        raise ReleaseError("migrate: no")

    monkeypatch.setattr(release_migrate, "run_commands", fails)
    assert call(release_migrate, **run, release=R[1])["failed"]
    assert read_json(database_file(blog)) == noted
    assert "migration_heads" not in blog.record(R[1])
