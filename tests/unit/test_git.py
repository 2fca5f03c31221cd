# SPDX-License-Identifier: GPL-3.0-or-later
"""The mirror of an app's repository, with real repositories: what a version means now, and its tree."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _git
from ansible_collections.flaskhost.stack.plugins.module_utils._git import bring, export, resolve
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError

from tests.support.host import Host


class Remote:
    """A repository that somebody pushes to."""

    def __init__(self, path: Path, branch: str = "main") -> None:
        self.path = path
        path.mkdir()
        self.git("init", "-q", "-b", branch)

    def git(self, *words: str) -> str:
        name = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(self.path), *name, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, **files: str) -> str:
        """Add files (``__`` in a name stands for a dot, ``_in_`` for a slash); the new commit."""
        for name, text in (files or {"a__txt": os.urandom(4).hex()}).items():
            path = self.path / name.replace("__", ".").replace("_in_", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "x")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    made = Remote(tmp_path / "remote")
    made.commit(a__txt="first")
    return made


@pytest.fixture
def app(host: Host, remote: Remote) -> App:
    return host.app(source={"kind": "git", "git": str(remote.path)})


def test_branch_tag_commit_and_default(app: App, remote: Remote) -> None:
    first = remote.git("rev-parse", "HEAD")
    remote.git("tag", "light")
    remote.git("tag", "-a", "-m", "x", "v1.0")
    remote.git("checkout", "-q", "-b", "feature/x")
    feature = remote.commit()
    remote.git("checkout", "-q", "main")
    second = remote.commit()
    expected = {
        "main": second, "": second, "HEAD": second, "feature/x": feature, "light": first, "v1.0": first,
        first: first, first[:10]: first, "refs/tags/v1.0": first,
    }  # fmt: skip
    assert {name: resolve(app, name, "") for name in expected} == expected


def test_branch_wins_over_a_tag_of_the_same_name(app: App, remote: Remote) -> None:
    remote.git("tag", "stable")
    remote.git("checkout", "-q", "-b", "stable")
    branch = remote.commit()
    assert resolve(app, "stable", "") == branch
    remote.git("checkout", "-q", "main")
    remote.git("branch", "-q", "-D", "stable")
    assert resolve(app, "stable", "") != branch


def test_name_that_looks_like_a_commit(app: App, remote: Remote) -> None:
    first = remote.git("rev-parse", "HEAD")
    second = remote.commit()
    remote.git("tag", first[:8], second)
    assert resolve(app, first[:8], "") == second


def test_default_branch_of_any_name_and_after_a_change(app: App, remote: Remote) -> None:
    main = remote.git("rev-parse", "HEAD")
    assert resolve(app, "", "") == main
    remote.git("checkout", "-q", "-b", "trunk")
    trunk = remote.commit()
    assert resolve(app, "", "") == trunk


def test_moved_branch_and_tag(app: App, remote: Remote) -> None:
    remote.git("tag", "live")
    assert resolve(app, "main", "") == resolve(app, "live", "")
    second = remote.commit()
    remote.git("tag", "-f", "live")
    assert (resolve(app, "main", ""), resolve(app, "live", "")) == (second, second)


def test_forced_push(app: App, remote: Remote) -> None:
    first, second = remote.git("rev-parse", "HEAD"), remote.commit()
    assert resolve(app, "main", "") == second
    remote.git("reset", "-q", "--hard", first)
    third = remote.commit()
    assert resolve(app, "main", "") == third
    assert resolve(app, second, "") == second, "a release made from it can be made again"


def test_commit_that_another_host_decided_on(app: App, remote: Remote) -> None:
    """The branch has moved since."""
    first, second = remote.git("rev-parse", "HEAD"), remote.commit()
    third = remote.commit()
    assert bring(app, second, "") == second
    assert resolve(app, "main", "") == third
    # what is in the mirror is asked nobody for
    remote.path.rename(remote.path.with_name("away"))
    assert bring(app, first, "") == first
    remote.path.with_name("away").rename(remote.path)
    lost = "0" * 40
    with pytest.raises(ReleaseError, match=f"has no commit {lost[:12]}, which all hosts were to get"):
        bring(app, lost, "")
    with pytest.raises(ReleaseError, match="has no commit"):
        bring(app, lost, "", fetch=False)


def test_deleted_branch_is_unknown(app: App, remote: Remote) -> None:
    remote.git("branch", "old")
    assert resolve(app, "old", "")
    remote.git("branch", "-D", "old")
    with pytest.raises(ReleaseError, match=r"has no branch, tag or commit 'old'\. Is it pushed\?"):
        resolve(app, "old", "")


def test_branch_in_the_place_of_a_folder_of_branches(app: App, remote: Remote) -> None:
    remote.git("branch", "fix/one")
    assert resolve(app, "fix/one", "")
    remote.git("branch", "-D", "fix/one")
    remote.git("branch", "fix")
    assert resolve(app, "fix", "")


UNKNOWN = [
    "nowhere",
    "0123456",
    "--help",
    "--upload-pack=touch pwned",
    "-",
    "main:a.txt",
    "a b",
    "$(id)",
    "main\nlight",
    "*",
    "v9^{}",
]


@pytest.mark.parametrize("version", UNKNOWN)
def test_what_names_nothing(app: App, version: str) -> None:
    with pytest.raises(ReleaseError, match=r"fetch: .* has no branch, tag or commit"):
        resolve(app, version, "")


def test_address_is_no_option(host: Host, tmp_path: Path) -> None:
    app = host.app(source={"kind": "git", "git": f"--upload-pack=touch {tmp_path}/pwned"})
    with pytest.raises(ReleaseError, match="fetch: `git fetch"):
        resolve(app, "main", "")
    assert not (tmp_path / "pwned").exists()


def test_no_repository_there(host: Host, tmp_path: Path) -> None:
    app = host.app(source={"kind": "git", "git": str(tmp_path / "nowhere")})
    with pytest.raises(
        ReleaseError, match=r"fetch: `git fetch .*` ended with 128:\n.*nowhere.* does not appear to be a git repository"
    ):
        resolve(app, "main", "")


def test_address_that_changes(app: App, tmp_path: Path) -> None:
    resolve(app, "main", "")
    moved = Remote(tmp_path / "moved", "trunk")
    commit = moved.commit()
    app.app["source"]["git"] = str(moved.path)
    assert resolve(app, "", "") == commit
    with pytest.raises(ReleaseError):
        resolve(app, "main", "")


def test_without_a_fetch_the_remote_is_not_asked(app: App, remote: Remote) -> None:
    first = resolve(app, "main", "")
    second = remote.commit()
    assert resolve(app, "main", "", fetch=False) == first
    assert resolve(app, "main", "") == second


def test_mirror_heals_after_a_killed_fetch(app: App, remote: Remote) -> None:
    resolve(app, "main", "")
    second = remote.commit()
    for name in ("packed-refs.lock", "refs/heads/main.lock", "HEAD.lock", "config.lock"):
        Path(app.paths["repo"], name).touch()
    assert resolve(app, "main", "") == second
    os.unlink(app.paths["repo"] + "/HEAD")
    assert resolve(app, "main", "") == second


# deploy keys


def test_deploy_key_is_there_only_for_the_fetch(app: App, remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    real = _git._must

    def must(one: App, words: list[str], environment: dict[str, str] | None = None) -> str:
        if words[0] == "fetch":
            command = (environment or {})["GIT_SSH_COMMAND"]
            path = Path(command.rsplit(" -i ", 1)[1])
            info = path.stat()
            seen.append(
                {"text": path.read_text(), "mode": info.st_mode & 0o777, "uid": info.st_uid, "command": command}
            )
        return real(one, words, environment)

    monkeypatch.setattr(_git, "_must", must)
    resolve(app, "main", "the key\n\n")
    (found,) = seen
    assert (found["text"], found["mode"], found["uid"]) == ("the key\n", 0o600, os.getuid())
    for option in ("BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=accept-new"):
        assert option in found["command"]
    assert "the key" not in found["command"]
    assert os.listdir(app.paths["cache"]) == []
    app.app["source"]["git"] = "/nowhere"
    with pytest.raises(ReleaseError):
        resolve(app, "main", "the key")
    assert os.listdir(app.paths["cache"]) == [], "nor after a fetch that failed"


def test_nobody_is_asked_for_a_password(app: App) -> None:
    with _git._ssh(app, "") as environment:
        assert environment["GIT_TERMINAL_PROMPT"] == "0"
        assert "BatchMode=yes" in environment["GIT_SSH_COMMAND"]
        assert " -i " not in environment["GIT_SSH_COMMAND"]


# export


def exported(app: App, commit: str, subdir: str = "", name: str = "r1") -> dict[str, str]:
    target = Path(app.release_dir(name))
    target.mkdir(exist_ok=True)
    resolve(app, "", "")
    export(app, commit, subdir, str(target))
    return {str(path.relative_to(target)): path.read_text() for path in sorted(target.rglob("*")) if path.is_file()}


def test_tree_of_a_commit(app: App, remote: Remote) -> None:
    (remote.path / "run").write_text("#!/bin/sh\n")
    (remote.path / "run").chmod(0o755)
    (remote.path / "link").symlink_to("a.txt")
    (remote.path / "größe").write_text("ö")
    first = remote.commit(b_in_c__txt="c", __archive="mine")
    remote.commit(a__txt="later")
    files = {"a.txt": "first", "b/c.txt": "c", "größe": "ö", "link": "first", "run": "#!/bin/sh\n", ".archive": "mine"}
    assert exported(app, first) == files
    target = Path(app.release_dir("r1"))
    assert (target / "link").is_symlink()
    assert (target / "run").stat().st_mode & 0o755 == 0o755
    assert (target / "a.txt").stat().st_mode & 0o755 == 0o644


@pytest.mark.parametrize("subdir", ["web", "web/", "/web", "my app/-x"])
def test_folder_of_a_commit(app: App, remote: Remote, subdir: str) -> None:
    folder = remote.path / subdir.strip("/")
    folder.mkdir(parents=True)
    (folder / "app.py").write_text("app")
    assert exported(app, remote.commit(), subdir) == {"app.py": "app"}


def test_what_cannot_be_exported(app: App, remote: Remote) -> None:
    commit = remote.git("rev-parse", "HEAD")
    for subdir in ("nowhere", "../x", "a.txt"):
        with pytest.raises(ReleaseError, match=rf"fetch: `git archive {commit}:{subdir}` ended with"):
            exported(app, commit, subdir)
    with pytest.raises(ReleaseError, match="fetch: `git archive"):
        exported(app, "0" * 40)
