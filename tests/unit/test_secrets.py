# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated secrets: made once, the same for everybody, readable by nobody else, never lost silently."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils._secrets import SecretsError, secrets_of


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_made_once_and_kept(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / ".flaskhost"
    first = secrets_of("blog", str(directory))
    assert set(first) == {"secret_key", "database_password"}
    assert len(first["secret_key"]) == 64
    assert len(first["database_password"]) == 43
    assert secrets_of("blog", str(directory)) == first
    other = secrets_of("shop", str(directory))
    assert not set(other.values()) & set(first.values())
    assert sorted(path.name for path in directory.iterdir()) == [".gitignore", "blog.json", "shop.json"]


def test_url_safe_and_never_like_an_option(tmp_path: Path) -> None:
    for number in range(100):
        for value in secrets_of(f"app{number}", str(tmp_path)).values():
            assert value[0].isalnum()
            assert value.replace("-", "").replace("_", "").isalnum()


def test_for_the_owner_only_even_after_a_careless_copy(tmp_path: Path) -> None:
    directory = tmp_path / "s"
    old = os.umask(0)
    try:
        first = secrets_of("blog", str(directory))
    finally:
        os.umask(old)
    assert mode(directory) == 0o700
    assert mode(directory / "blog.json") == 0o600
    directory.chmod(0o755)
    (directory / "blog.json").chmod(0o644)
    assert secrets_of("blog", str(directory)) == first
    assert mode(directory) == 0o700
    assert mode(directory / "blog.json") == 0o600


def test_git_does_not_see_them(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    secrets_of("blog", str(tmp_path / "inventory" / ".flaskhost"))
    seen = subprocess.run(
        ["git", "-C", str(tmp_path), "status", "--porcelain", "-uall"], check=True, capture_output=True, text=True
    )
    assert seen.stdout == ""


DAMAGED = [
    "",
    "{",
    "[]",
    '{"secret_key": "x"}',
    '{"secret_key": "x", "database_password": ""}',
    '{"secret_key": 1, "database_password": "x"}',
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_is_an_error_and_stays(tmp_path: Path, content: str) -> None:
    path = tmp_path / "blog.json"
    path.write_text(content)
    with pytest.raises(SecretsError, match=r"blog.json is damaged.*Restore it from a backup"):
        secrets_of("blog", str(tmp_path))
    assert path.read_text() == content


def test_binary_rubbish_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "blog.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SecretsError, match="damaged"):
        secrets_of("blog", str(tmp_path))


def test_a_dangling_link_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "blog.json").symlink_to("elsewhere.json")
    with pytest.raises(SecretsError, match=r"app blog cannot be kept in .*blog.json"):
        secrets_of("blog", str(tmp_path))
    assert (tmp_path / "blog.json").is_symlink()


def test_a_file_in_place_of_the_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("")
    with pytest.raises(SecretsError, match="app blog cannot be kept"):
        secrets_of("blog", str(tmp_path / "s"))


@pytest.mark.parametrize("name", ["../x", "", "Blog", ".gitignore", "a/b"])
def test_names_cannot_leave_the_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(SecretsError, match="no name of an app"):
        secrets_of(name, str(tmp_path / "s"))
    assert not (tmp_path / "s").exists()


def test_runs_at_the_same_time_get_the_same_secret(tmp_path: Path) -> None:
    for turn in range(20):
        start = threading.Barrier(4)

        def run(_: int, directory: str = str(tmp_path / f"s{turn}"), start: threading.Barrier = start) -> str:
            start.wait(timeout=10)
            return secrets_of("blog", directory)["secret_key"]

        with ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(run, range(4)))) == 1


def test_a_run_that_comes_second_takes_the_first_ones_secret(tmp_path: Path) -> None:
    """The other run stores its file after this one saw none."""
    theirs = {"secret_key": "theirs", "database_password": "theirs"}

    def make(size: int) -> str:
        (tmp_path / "blog.json").write_text(json.dumps(theirs))
        return "ours"

    assert secrets_of("blog", str(tmp_path), make) == theirs
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gitignore", "blog.json"]


def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    first = secrets_of("blog", str(tmp_path))
    assert secrets_of("blog", str(tmp_path)) == first
    assert mode(tmp_path / "blog.json") == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gitignore", "blog.json"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    secrets_of("shop", str(tmp_path))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SecretsError, match="No space left"):
        secrets_of("blog", str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gitignore", "shop.json"]
