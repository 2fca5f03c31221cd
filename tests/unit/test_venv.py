# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual environments: which files say what goes in, a name that changes with all of it, and uv's command lines."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _venv
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError
from ansible_collections.flaskhost.stack.plugins.module_utils._venv import Requirements, build, find, key

from tests.support.host import Host


def tree(base: Path, **files: str) -> str:
    """A source tree; ``__`` in a name stands for a dot, ``_in_`` for a slash."""
    for name, text in files.items():
        path = base / name.replace("__", ".").replace("_in_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    base.mkdir(exist_ok=True)
    return str(base)


# find


@pytest.mark.parametrize(
    ("names", "kind", "files"),
    [
        (["uv__lock", "pyproject__toml", "requirements__txt"], "uv", ("pyproject.toml", "uv.lock")),
        (["uv__lock", "requirements__txt"], "file", ("requirements.txt",)),
        (["pyproject__toml", "requirements__txt"], "file", ("requirements.txt",)),
        (["pyproject__toml"], "project", ("pyproject.toml",)),
    ],
)
def test_what_counts_first(tmp_path: Path, names: list[str], kind: str, files: tuple[str, ...]) -> None:
    found = find(tree(tmp_path, **dict.fromkeys(names, "flask\n")), "auto", ["gunicorn"])
    assert (found.kind, found.files) == (kind, files)


def test_packages_alone(tmp_path: Path) -> None:
    assert find(tree(tmp_path), "auto", ["gunicorn", "Flask==3"]) == Requirements("none", "", ())
    with pytest.raises(ReleaseError, match=r"build: the source tree has no uv\.lock, requirements\.txt or pyproject"):
        find(tree(tmp_path), "auto", ["gunicorn"])


def test_named_file(tmp_path: Path) -> None:
    place = tree(tmp_path, deploy_in_live__txt="-r ../base.txt\n", base__txt="flask\n", uv__lock="", pyproject__toml="")
    assert find(place, "deploy/live.txt", []) == Requirements(
        "file", "deploy/live.txt", ("deploy/live.txt", "base.txt")
    )
    for wrong in ("deploy", "none.txt", ""):
        with pytest.raises(ReleaseError, match=rf"python\.requirements names {wrong}, which is not in the source tree"):
            find(place, wrong, [])


INCLUDES = [
    "-r a.txt",
    "-ra.txt",
    "-r\ta.txt",
    "  --requirement a.txt",
    "--requirement=a.txt",
    "-c a.txt",
    "--constraint  a.txt",
    "-r a.txt  # why",
]


@pytest.mark.parametrize("line", INCLUDES)
def test_includes_are_followed(tmp_path: Path, line: str) -> None:
    place = tree(
        tmp_path,
        requirements__txt=f"flask\n{line}\n",
        a__txt="-c sub/b.txt\n",
        sub_in_b__txt="-r c.txt\n-r ../a.txt\n",
        sub_in_c__txt="",
    )
    assert find(place, "auto", []).files == ("requirements.txt", "a.txt", "sub/b.txt", "sub/c.txt")


@pytest.mark.parametrize(
    "line", ["# -r a.txt", "flask-r a.txt", "-c https://example.com/constraints.txt", "--no-binary a.txt", "flask"]
)
def test_what_is_no_include(tmp_path: Path, line: str) -> None:
    assert find(tree(tmp_path, requirements__txt=f"{line}\n"), "auto", []).files == ("requirements.txt",)


@pytest.mark.parametrize("name", ["none.txt", "../other/requirements.txt", "/etc/hosts"])
def test_includes_stay_in_the_tree(tmp_path: Path, name: str) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/requirements.txt").touch()
    with pytest.raises(
        ReleaseError, match=rf"build: requirements\.txt includes {name}, which is not in the source tree"
    ):
        find(tree(tmp_path / "tree", requirements__txt=f"-r {name}\n"), "auto", [])


# key


def name_of(
    base: Path, packages: list[str] | None = None, python: str = "3.11.2", commit: str = "c1", **files: str
) -> str:
    place = tree(base, **files)
    packages = packages or ["gunicorn", "pymysql"]
    return key(place, find(place, "auto", packages), packages, python, commit)


BASE: dict[str, Any] = {
    "requirements__txt": "flask\n-r base.txt\n-c pins.txt\n",
    "base__txt": "babel\n",
    "pins__txt": "flask==3\n",
}


@pytest.mark.parametrize(
    "changed",
    [
        {"requirements__txt": "flask \n-r base.txt\n-c pins.txt\n"},
        {"base__txt": "babel==2\n"},
        {"pins__txt": "flask==3.1\n"},
        {"packages": ["gunicorn", "psycopg2"]},
        {"packages": ["gunicorn", "pymysql", "x"]},
        {"packages": ["gunicornpymysql"]},
        {"python": "3.13.0"},
        {"uv__lock": "", "pyproject__toml": ""},
    ],
)
def test_name_changes_with_what_goes_in(tmp_path: Path, changed: dict[str, Any]) -> None:
    assert name_of(tmp_path / "a", **BASE) != name_of(tmp_path / "b", **{**BASE, **changed})


@pytest.mark.parametrize(
    "changed",
    [
        {"app__py": "new code"},
        {"other__txt": "x"},
        {"commit": "c2"},
        {"packages": ["pymysql", "gunicorn"]},
        {"uv__lock": "without a project it says nothing"},
    ],
)
def test_name_stays_with_all_else(tmp_path: Path, changed: dict[str, Any]) -> None:
    """Releases of one app lie in directories of different names."""
    name = name_of(tmp_path / "a", **BASE)
    assert name == name_of(tmp_path / "b", **{**BASE, **changed})
    assert len(name) == 16
    assert int(name, 16)


def test_name_of_moved_lines_changes(tmp_path: Path) -> None:
    """What ends one file does not begin the next."""
    one: dict[str, Any] = {"requirements__txt": "-r base.txt\n", "base__txt": "flask\nbabel\n"}
    two: dict[str, Any] = {"requirements__txt": "-r base.txt\nflask\n", "base__txt": "babel\n"}
    assert name_of(tmp_path / "a", **one) != name_of(tmp_path / "b", **two)


EDITABLE = [
    {"requirements__txt": f"flask\n{line}\n"}
    for line in (
        "-e .",
        "-e.",
        "--editable=.",
        "--editable ./lib",
        "-e .[mail]",
        "-e lib",
        "-e file:lib",
        "  -e .  # us",
    )
] + [{"uv__lock": '[[package]]\nname = "lib"\nsource = { editable = "lib" }\n', "pyproject__toml": ""}]
COPIED = [
    {"requirements__txt": f"flask\n{line}\n"}
    for line in (
        ".",
        "./",
        "./lib",
        "../tree/lib",
        ".[mail]",
        ". ; python_version > '3'",
        ". # us",
        "lib/x",
        "x @ file:lib",
        "file:./lib",
        "wheels/x.whl",
    )
] + [
    {"uv__lock": '[[package]]\nname = "lib"\nsource = { directory = "lib" }\n', "pyproject__toml": ""},
    {"pyproject__toml": '[project]\ndynamic = ["version", "dependencies"]\n'},
    {"pyproject__toml": '[project]\ndynamic = [\n  "version",\n  "optional-dependencies",\n]\n'},
]
OTHERS = [
    {"requirements__txt": f"{line}\n"}
    for line in (
        "-e git+https://example.com/x/y.git@v1#egg=y",
        "--editable  git+ssh://git@example.com/x.git",
        "git+https://example.com/x/y.git",
        "https://example.com/x/y.whl",
        "x @ https://example.com/x.whl",
        "--index-url https://example.com/simple/",
        "--extra-index-url=https://example.com/simple/",
        "--find-links ./wheels",
        "zope.interface==1  # see docs/x",
        "# -e .",
        "# ./lib",
        "x==1 \\\n    --hash=sha256:ab/cd",
    )
] + [
    {
        "uv__lock": '[[package]]\nname = "app"\nsource = { editable = "." }\n[[package]]\nsource = { virtual = "." }\n',
        "pyproject__toml": "",
    },
    {
        "uv__lock": '[[package]]\nname = "x"\nsource = { registry = "https://example.com/editable" }\n',
        "pyproject__toml": "",
    },
    {"pyproject__toml": '[project]\ndependencies = ["flask"]\ndynamic = ["version"]\n'},
]


@pytest.mark.parametrize("files", EDITABLE)
def test_editable_code_belongs_to_one_release(tmp_path: Path, files: dict[str, Any]) -> None:
    name = name_of(tmp_path / "r1", commit="c1", **files)
    assert name != name_of(tmp_path / "r1", commit="c2", **files)
    assert name != name_of(tmp_path / "r2", commit="c1", **files), (
        "it would point into a release that is pruned some day"
    )


@pytest.mark.parametrize("files", COPIED)
def test_installed_code_belongs_to_one_commit(tmp_path: Path, files: dict[str, Any]) -> None:
    name = name_of(tmp_path / "r1", commit="c1", **files)
    assert name != name_of(tmp_path / "r1", commit="c2", **files)
    assert name == name_of(tmp_path / "r2", commit="c1", **files)


@pytest.mark.parametrize("files", OTHERS)
def test_what_is_no_code_of_ours(tmp_path: Path, files: dict[str, Any]) -> None:
    assert name_of(tmp_path / "r1", commit="c1", **files) == name_of(tmp_path / "r2", commit="c2", **files)


def test_files_of_any_encoding(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_bytes(b"\xff\xfe# caf\xe9\nflask\n")
    assert len(name_of(tmp_path)) == 16


# build, with a uv that writes down what it is told


UV = """\
#!/bin/sh
for word in "$@"; do printf '%s\\n' "$word"; done | {python} -c '
import json, os, sys
line = [os.getcwd(), sys.stdin.read().splitlines(), dict(os.environ)]
open("{log}", "a").write(json.dumps(line) + "\\n")'
[ "$1" != venv ] || mkdir -p "$5/bin"
[ "$1 $FAIL" != "pip yes" ] || { echo "no such package at https://ann:hunter2hunter2@example.com/"; exit 7; }
"""


class Built:
    """An app with a release tree, and what uv was told."""

    def __init__(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app: App = host.app()
        self.tree = tree(Path(self.app.release_dir("r1")), requirements__txt="flask\n")
        self.log = host.base / "uv.log"
        uv = host.base / "uv"
        uv.write_text(UV.replace("{python}", sys.executable).replace("{log}", str(self.log)))
        uv.chmod(0o755)
        monkeypatch.setattr(_venv, "UV", str(uv))
        self.path = Path(self.app.paths["venvs"], "abc")

    def build(self, kind: str = "file", packages: tuple[str, ...] = ("gunicorn",), **environment: Any) -> bool:
        path = {"file": "requirements.txt", "uv": "uv.lock", "project": "pyproject.toml", "none": ""}[kind]
        return build(
            self.app, self.tree, Requirements(kind, path, ()), "abc",
            python="/usr/bin/python3", packages=list(packages), environment=environment, timeout=20,
        )  # fmt: skip

    def calls(self) -> list[tuple[str, str, dict[str, str]]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return [
            (folder, " ".join(words).replace(str(self.path), "VENV"), variables) for folder, words, variables in lines
        ]

    def commands(self) -> list[str]:
        return [command for _folder, command, _variables in self.calls()]


@pytest.fixture
def built(host: Host, monkeypatch: pytest.MonkeyPatch) -> Built:
    return Built(host, monkeypatch)


VENV = "venv --quiet --python /usr/bin/python3 VENV"
INTO = "pip install --quiet --python VENV/bin/python"
SYNC = "sync --quiet --frozen --no-dev --no-install-project --python VENV/bin/python"


@pytest.mark.parametrize(
    ("kind", "packages", "commands"),
    [
        ("file", ("gunicorn", "x"), [VENV, f"{INTO} -r requirements.txt gunicorn x"]),
        ("file", (), [VENV, f"{INTO} -r requirements.txt"]),
        ("project", ("gunicorn",), [VENV, f"{INTO} -r pyproject.toml gunicorn"]),
        ("none", ("flask",), [VENV, f"{INTO} flask"]),
        ("uv", ("gunicorn",), [VENV, SYNC, f"{INTO} gunicorn"]),
        ("uv", (), [VENV, SYNC]),
    ],
)
def test_commands(built: Built, kind: str, packages: tuple[str, ...], commands: list[str]) -> None:
    assert built.build(kind, packages, UV_INDEX_URL="https://example.com/") is True
    assert built.commands() == commands
    for folder, _command, variables in built.calls():
        assert folder == built.tree
        assert variables["UV_INDEX_URL"] == "https://example.com/"
        assert variables["UV_CACHE_DIR"] == f"{built.app.paths['cache']}/uv"
        assert variables.get("UV_PROJECT_ENVIRONMENT") == (str(built.path) if kind == "uv" else None)


def test_whole_environment_is_not_made_again(built: Built) -> None:
    assert built.build()
    assert built.build() is False
    assert len(built.commands()) == 2


def test_half_environment_is_made_anew(built: Built) -> None:
    """Killed while uv was at work."""
    (built.path / "lib").mkdir(parents=True)
    assert built.build()
    assert sorted(os.listdir(built.path)) == [".flaskhost-complete", "bin"]


def test_failed_build_leaves_nothing_and_says_why(built: Built) -> None:
    index = "https://ann:hunter2hunter2@example.com/"
    with pytest.raises(ReleaseError) as raised:
        built.build(FAIL="yes", UV_INDEX_URL=index)
    message = str(raised.value)
    assert "build: `uv pip install" in message
    assert "-r requirements.txt gunicorn` ended with 7:\nno such package" in message
    assert "hunter2" not in message
    assert not built.path.exists()
    assert built.build(), "the next time it works"


def test_settings_of_the_inventory_win_and_may_be_numbers(built: Built) -> None:
    built.build(UV_HTTP_TIMEOUT=60, UV_PYTHON_DOWNLOADS="automatic")
    variables = built.calls()[0][2]
    assert (variables["UV_HTTP_TIMEOUT"], variables["UV_PYTHON_DOWNLOADS"]) == ("60", "automatic")


def test_no_uv(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_venv, "UV", "/nowhere/uv")
    with pytest.raises(ReleaseError, match=r"ended with 127:\n/nowhere/uv cannot be started"):
        built.build()
