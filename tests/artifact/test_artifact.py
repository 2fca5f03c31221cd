# SPDX-License-Identifier: GPL-3.0-or-later
"""The built collection works by FQCN with nothing else around it, and holds nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERBS = ("site", "deploy", "plan", "promote", "abort", "restore", "rollback", "status", "unlock", "validate")
FOLDERS = {"roles", "playbooks", "plugins", "meta", "docs", "changelogs", "templates"}
FILES = {"README.md", "LICENSE", "CHANGELOG.md", "MANIFEST.json", "FILES.json"}


def ansible(
    command: str, *arguments: str, cwd: Path, collections: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """One of Ansible's commands, of this interpreter's environment, without any setting of the checkout."""
    empty = cwd / "ansible.cfg"
    empty.touch()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment = {
        **kept,
        "ANSIBLE_CONFIG": str(empty),
        "ANSIBLE_HOME": str(cwd / "home"),
        "NO_COLOR": "1",
        "PAGER": "cat",
    }
    if collections:
        environment["ANSIBLE_COLLECTIONS_PATH"] = str(collections)
    program = Path(sys.executable).parent / command
    return subprocess.run([program, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout without what git ignores at its top, and with a secret where secrets lie."""
    made = tmp_path_factory.mktemp("source")

    def ignored(folder: str, names: list[str]) -> set[str]:
        top = Path(folder) == ROOT
        return {name for name in names if name == "__pycache__" or (top and (name == "build" or name.startswith(".")))}

    shutil.copytree(ROOT, made, ignore=ignored, symlinks=True, dirs_exist_ok=True)
    secret = made / "inventory" / ".flaskhost" / "guestbook.json"
    secret.parent.mkdir(exist_ok=True)
    secret.write_text("{}")
    return made


@pytest.fixture(scope="session")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as an archive."""
    folder = tmp_path_factory.mktemp("built")
    done = ansible("ansible-galaxy", "collection", "build", "--output-path", str(folder), str(source), cwd=folder)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("flaskhost-stack-*.tar.gz"))


@pytest.fixture(scope="session")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collections path with the built collection alone; what it depends on comes with the package `ansible`."""
    folder = tmp_path_factory.mktemp("installed")
    done = ansible(
        "ansible-galaxy", "collection", "install", "--offline", "--no-deps", "-p", str(folder), str(built), cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return folder


def names_in(installed: Path, folder: str) -> list[str]:
    """FQCNs of the plugins of one kind, or of the roles."""
    found = (installed / "ansible_collections" / "flaskhost" / "stack" / folder).iterdir()
    return sorted({f"flaskhost.stack.{path.stem}" for path in found if not path.name.startswith("_")})


def test_it_holds_content_and_documentation_only(built: Path) -> None:
    with tarfile.open(built) as archive:
        names = archive.getnames()
    strange = [name for name in names if name.split("/")[0] not in FOLDERS and name not in FILES]
    secrets = [name for name in names if ".flaskhost" in name.split("/")]
    assert (strange, secrets) == ([], [])
    assert set(names) >= FILES


def test_it_holds_all_content(built: Path, source: Path) -> None:
    """Hidden files too: the name of a template is the path on the host, such as home/.ssh/authorized_keys.j2."""
    with tarfile.open(built) as archive:
        names = set(archive.getnames())
    files = (path for folder in sorted(FOLDERS) for path in (source / folder).rglob("*") if path.is_file())
    assert [str(path) for path in files if str(path.relative_to(source)) not in names] == []


@pytest.mark.parametrize("verb", VERBS)
def test_playbooks_are_found_from_an_empty_folder(installed: Path, tmp_path: Path, verb: str) -> None:
    playbook = f"flaskhost.stack.{verb}"
    done = ansible(
        "ansible-playbook", "--syntax-check", "-i", "localhost,", playbook, cwd=tmp_path, collections=installed
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("kind", "folder"),
    [("module", "plugins/modules"), ("filter", "plugins/filter"), ("lookup", "plugins/lookup"), ("role", "roles")],
)
def test_everything_is_documented(installed: Path, tmp_path: Path, kind: str, folder: str) -> None:
    names = names_in(installed, folder)
    done = ansible("ansible-doc", "--json", "-t", kind, *names, cwd=tmp_path, collections=installed)
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr, done.stderr
    told = json.loads(done.stdout)
    assert sorted(told) == names
    for name, text in told.items():
        if kind == "role":
            assert text["entry_points"], f"role {name} has no argument_specs"
        else:
            assert text["doc"]["short_description"], name
            assert text["examples"], f"{name} has no EXAMPLES"


def test_nothing_needs_a_path_of_the_checkout(installed: Path) -> None:
    stack = installed / "ansible_collections" / "flaskhost" / "stack"
    files = [path for folder in ("roles", "playbooks") for path in (stack / folder).rglob("*.yml")]
    assert [str(path) for path in files if "playbook_dir" in path.read_text(encoding="utf-8")] == []
