# SPDX-License-Identifier: GPL-3.0-or-later
"""Packing a source tree: what is in it, what never is, and a name that changes exactly with what is in it."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.flaskhost.stack.plugins.plugin_utils._tree import TreeError, files_of, pack


def fill(base: Path, *names: str) -> Path:
    for name in names:
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}\n")
    base.mkdir(exist_ok=True)
    return base


def git(base: Path, *words: str) -> str:
    name = [
        "-c",
        "user.name=Ann",
        "-c",
        "user.email=ann@example.com",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "protocol.file.allow=always",
    ]
    return subprocess.run(
        ["git", "-C", str(base), *name, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def repository(base: Path, *names: str) -> Path:
    """A git repository in which files are committed."""
    fill(base, *names)
    git(base, "init", "-q", "-b", "main")
    git(base, "add", "-A")
    git(base, "commit", "-q", "--allow-empty", "-m", "x")
    return base


def members(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {member.name: member for member in opened if not member.isdir()}


def unpacked(archive: bytes, base: Path) -> dict[str, str]:
    """What the host makes of it."""
    base.mkdir()
    subprocess.run(["tar", "-xzf", "-", "-C", str(base)], input=archive, check=True)
    return {str(path.relative_to(base)): path.read_text() for path in sorted(base.rglob("*")) if path.is_file()}


NEVER = [
    ".env",
    ".env.local",
    ".git/config",
    ".venv/bin/x",
    "venv/x",
    "instance/app.db",
    "a/.env",
    "a/__pycache__/x.pyc",
    "b.pyc",
    "x.sqlite3",
    "node_modules/x.js",
    "a/instance/y",
]


def test_plain_folder(tmp_path: Path) -> None:
    base = fill(tmp_path / "src", "app.py", "a/b/c.txt", "größe ä.txt", *NEVER)
    files = {name: f"content of {name}\n" for name in ("app.py", "a/b/c.txt", "größe ä.txt")}
    assert files_of(str(base)) == sorted(files)
    assert unpacked(pack(str(base)).archive, tmp_path / "out") == files


def test_work_tree_of_git(tmp_path: Path) -> None:
    """What is tracked or new is packed, what is ignored is not; secrets are not packed even when they are tracked."""
    base = repository(tmp_path / "src", "app.py", "gone.txt", *(name for name in NEVER if not name.startswith(".git/")))
    fill(base, "new.py", "ignored.log", "build/x", "tracked.log")
    (base / ".gitignore").write_text("*.log\nbuild/\n")
    git(base, "add", "-f", "tracked.log")
    (base / "gone.txt").unlink()
    (base / "app.py").write_text("changed\n")
    assert files_of(str(base)) == [".gitignore", "app.py", "new.py", "tracked.log"]
    assert unpacked(pack(str(base)).archive, tmp_path / "out")["app.py"] == "changed\n"


def test_folder_within_a_repository(tmp_path: Path) -> None:
    base = repository(tmp_path / "src", "web/app.py", "other/x")
    (base / ".gitignore").write_text("*.log\nscratch\n")
    fill(base, "web/a.log", "scratch/app.py", "scratch/.env")
    assert files_of(str(base / "web")) == ["app.py"]
    assert files_of(str(base / "scratch")) == ["app.py"], "it is what was asked for"


def test_repository_within_a_repository(tmp_path: Path) -> None:
    library = repository(tmp_path / "library", "lib.py")
    base = repository(tmp_path / "src", "app.py")
    git(base, "submodule", "add", "-q", str(library), "vendor/lib")
    fill(base, "vendor/lib/new.py", "vendor/lib/.env")
    repository(base / "clone", "cloned.py")
    (base / "empty").mkdir()
    assert files_of(str(base)) == [".gitmodules", "app.py", "clone/cloned.py", "vendor/lib/lib.py", "vendor/lib/new.py"]
    git(base, "submodule", "deinit", "-q", "-f", "vendor/lib")
    assert files_of(str(base)) == [".gitmodules", "app.py", "clone/cloned.py"]


def test_git_that_refuses_to_list_is_an_error(tmp_path: Path, needs_root: Callable[[], None]) -> None:
    """Packed without git's list, the folder would bring along all that git ignores."""
    needs_root()
    base = repository(tmp_path / "src", "app.py")
    for path in [base, *base.rglob("*")]:
        os.chown(path, 12345, 12345)
    with pytest.raises(TreeError, match=r"git cannot list the files of .*dubious ownership"):
        pack(str(base))


def test_called_from_a_hook_of_another_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, other = repository(tmp_path / "src", "app.py"), repository(tmp_path / "other", "other.py")
    fill(base, "tracked.log")
    git(base, "add", "tracked.log")
    (base / ".gitignore").write_text("secret\n*.log\n")
    fill(base, "secret")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    assert files_of(str(base)) == [".gitignore", "app.py", "tracked.log"]


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = fill(tmp_path / "src", "app.py", ".env")
    monkeypatch.setenv("PATH", "/nowhere")
    assert files_of(str(base)) == ["app.py"]


def test_links(tmp_path: Path) -> None:
    base = fill(tmp_path / "src", "app.py", "folder/x")
    (base / "file link").symlink_to("app.py")
    (base / "folder link").symlink_to("folder")
    (base / "dangling").symlink_to("/nowhere")
    packed = pack(str(base))
    found = members(packed.archive)
    links = {name: info.linkname for name, info in found.items() if info.issym()}
    assert links == {"file link": "app.py", "folder link": "folder", "dangling": "/nowhere"}
    assert set(found) == {"app.py", "folder/x", *links}
    (base / "file link").unlink()
    (base / "file link").symlink_to("folder/x")
    assert pack(str(base)).commit != packed.commit
    git(base, "init", "-q")
    assert set(members(pack(str(base)).archive)) == set(found), "git or not is the same"


def test_hard_links_and_files_of_no_content(tmp_path: Path) -> None:
    base = fill(tmp_path / "src", "a.py")
    (base / "b.py").hardlink_to(base / "a.py")
    (base / "empty.py").touch()
    os.mkfifo(base / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(base / "sock"))
    both = "content of a.py\n"
    assert unpacked(pack(str(base)).archive, tmp_path / "out") == {"a.py": both, "b.py": both, "empty.py": ""}


def test_names_that_are_no_text(tmp_path: Path) -> None:
    base = repository(tmp_path / "src", "app.py")
    for number, name in enumerate((b"caf\xe9.txt", b"two\nlines", b"-rf", b" ", b"'\"$(id)")):
        Path(os.fsdecode(os.fsencode(base) + b"/" + name)).write_text(str(number))
    assert len(unpacked(pack(str(base)).archive, tmp_path / "out")) == 6


def test_members_belong_to_nobody_in_particular(tmp_path: Path) -> None:
    base = fill(tmp_path / "src", "app.py", "run", "secret")
    (base / "run").chmod(0o700)
    (base / "secret").chmod(0o600)
    found = members(pack(str(base)).archive)
    assert {name: oct(info.mode) for name, info in found.items()} == {
        "app.py": "0o644",
        "run": "0o755",
        "secret": "0o644",
    }
    assert {(info.uid, info.gid, info.uname, info.gname) for info in found.values()} == {(0, 0, "", "")}


def swap(base: Path) -> None:
    (base / "a").rename(base / "t")
    (base / "b").rename(base / "a")
    (base / "t").rename(base / "b")


def move_a_byte(base: Path) -> None:
    (base / "a").write_text("content of a")
    (base / "b").write_text("\ncontent of b\n")


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda base: (base / "a").write_text("other"),
    "content of the same length": lambda base: (base / "a").write_text("Content of a\n"),
    "executable": lambda base: (base / "a").chmod(0o755),
    "name": lambda base: (base / "a").rename(base / "a2"),
    "swapped": swap,
    "moved a byte": move_a_byte,
    "new file": lambda base: (base / "new").touch(),
    "removed": lambda base: (base / "a").unlink(),
    "in a folder": lambda base: (base / "a").rename(fill(base / "c") / "a"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_commit_changes_with_what_is_packed(tmp_path: Path, change: str) -> None:
    base = fill(tmp_path / "src", "a", "b")
    before = pack(str(base)).commit
    CHANGES[change](base)
    assert pack(str(base)).commit != before


def test_commit_stays_with_all_else(tmp_path: Path) -> None:
    before = pack(str(fill(tmp_path / "src", "a", "b"))).commit
    base = fill(tmp_path / "elsewhere", "b", "a", *(name for name in NEVER if not name.startswith("a/")))
    os.utime(base / "a", (1, 1))
    (base / "a").chmod(0o600)
    (base / "nothing in it").mkdir()
    assert pack(str(base)).commit == before
    assert len(before) == 40


# versions


def test_version_packs_that_commit(tmp_path: Path) -> None:
    base = repository(tmp_path / "src", "app.py", "web/site.py")
    first = git(base, "rev-parse", "HEAD")
    git(base, "tag", "-a", "-m", "x", "v1")
    (base / "app.py").write_text("later\n")
    fill(base, "new.py")
    git(base, "add", "-A")
    git(base, "commit", "-q", "-m", "x")
    for number, version in enumerate(("v1", first, first[:9], "main~1")):
        packed = pack(str(base), version)
        assert packed.commit == first
        assert unpacked(packed.archive, tmp_path / f"out{number}") == {
            "app.py": "content of app.py\n",
            "web/site.py": "content of web/site.py\n",
        }
    within = pack(str(base / "web"), "v1")
    assert within.commit == first
    assert unpacked(within.archive, tmp_path / "within") == {"site.py": "content of web/site.py\n"}


@pytest.mark.parametrize("version", ["nowhere", "--help", "-n1", "HEAD:app.py", "", " "])
def test_version_that_is_none(tmp_path: Path, version: str) -> None:
    base = repository(tmp_path / "src", "app.py")
    if not version:
        assert pack(str(base)).commit != git(base, "rev-parse", "HEAD")
        return
    with pytest.raises(TreeError, match="knows no version"):
        pack(str(base), version)


def test_version_of_what_is_no_repository(tmp_path: Path) -> None:
    with pytest.raises(TreeError, match="knows no version 'main': it must be a branch, tag or commit"):
        pack(str(fill(tmp_path / "src", "app.py")), "main")


def test_folder_that_the_version_does_not_have(tmp_path: Path) -> None:
    base = repository(tmp_path / "src", "app.py")
    fill(base, "web/site.py")
    with pytest.raises(TreeError, match=r"git archive of main in .*/web fails: .+"):
        pack(str(base / "web"), "main")


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_path_that_is_no_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TreeError, match=rf"source\.path .*/{name} is not a directory on this control node"):
        pack(str(tmp_path / name))


def test_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = fill(tmp_path / "src", "app.py")

    def refuse(path: str, *_more: object) -> object:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(TreeError, match=r"cannot be read: .*Permission denied.*app\.py"):
        pack(str(base))
