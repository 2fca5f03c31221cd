# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of files: all of it or nothing, and never more than the set."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _fileset
from ansible_collections.flaskhost.stack.plugins.module_utils._fileset import FilesetError, apply_fileset, plan

from tests.support.host import GROUP, USER

Snapshot = dict[str, tuple[int, int, int, bytes]]


def entry(path: Path, **changed: Any) -> dict[str, Any]:
    """A file of whoever runs the tests."""
    return {"path": str(path), "content": "new\n", "mode": "0644", "owner": USER, "group": GROUP, **changed}


def folder(path: Path, **changed: Any) -> dict[str, Any]:
    return {"path": str(path), "state": "directory", "mode": "0755", "owner": USER, "group": GROUP, **changed}


def snapshot(root: Path) -> Snapshot:
    """All that is below a directory, with kind, mode, owner, group and content."""
    found = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(root))] = (info.st_mode, info.st_uid, info.st_gid, content)
    return found


def refuse(_command: str) -> tuple[int, str]:
    return 1, "unknown directive"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory in which a bit of everything lies."""
    (tmp_path / "old.conf").write_text("old\n")
    (tmp_path / "old.conf").chmod(0o640)
    (tmp_path / "left.conf").write_text("left\n")
    (tmp_path / "left.conf").chmod(0o600)
    (tmp_path / "empty").mkdir(mode=0o750)
    (tmp_path / "link").symlink_to("somewhere")
    (tmp_path / "private").mkdir(mode=0o700)
    return tmp_path


def everything(place: Path) -> list[dict[str, Any]]:
    """A set that changes each of these."""
    return [
        folder(place / "made/deep"),
        entry(place / "made/deep/new.conf"),
        entry(place / "old.conf"),
        {"path": str(place / "empty"), "state": "absent"},
        {"path": str(place / "link"), "state": "link", "target": "elsewhere"},
        {"path": str(place / "link2"), "state": "link", "target": "elsewhere"},
        folder(place / "private"),
    ]


PURGE = "*.conf"


def purge(place: Path, pattern: str = PURGE) -> list[dict[str, Any]]:
    return [{"path": str(place), "pattern": pattern}]


def test_writes_all_and_then_nothing(place: Path) -> None:
    changes = apply_fileset(everything(place), purge(place))
    names = [str(Path(change.path).relative_to(place)) for change in changes]
    assert names == [
        "made",
        "made/deep",
        "made/deep/new.conf",
        "old.conf",
        "empty",
        "link",
        "link2",
        "private",
        "left.conf",
    ]
    after = snapshot(place)
    assert sorted(after) == ["link", "link2", "made", "made/deep", "made/deep/new.conf", "old.conf", "private"]
    assert after["old.conf"][3] == after["made/deep/new.conf"][3] == b"new\n"
    assert stat.S_IMODE(after["old.conf"][0]) == 0o644
    assert stat.S_IMODE(after["private"][0]) == 0o755
    assert after["link"][3] == b"elsewhere"
    assert apply_fileset(everything(place), purge(place)) == []


def test_missing_parents_can_be_entered_whatever_the_umask(place: Path) -> None:
    former = os.umask(0o077)
    try:
        apply_fileset([folder(place / "a/b/c", mode="0700")], [])
    finally:
        os.umask(former)
    assert [stat.S_IMODE((place / name).stat().st_mode) for name in ("a", "a/b", "a/b/c")] == [0o755, 0o755, 0o700]


def test_refused_set_leaves_all_as_it_was(place: Path) -> None:
    before = snapshot(place)
    seen: list[str] = []

    def check(command: str) -> tuple[int, str]:
        seen.append(f"{command}: {(place / 'old.conf').read_text()}{(place / 'left.conf').exists()}")
        return 1, "unknown directive"

    with pytest.raises(
        FilesetError, match=r"`nginx -t` refuses .*old\.conf.*all are back as they were:\nunknown directive"
    ):
        apply_fileset(everything(place), purge(place), commands=["nginx -t"], run=check)
    assert seen == ["nginx -t: new\nFalse"], "the check must see the new files"
    assert snapshot(place) == before


def test_owners_come_back(place: Path, needs_root: Callable[[], None]) -> None:
    needs_root()
    os.chown(place / "old.conf", 12, 34)
    os.chown(place / "link", 56, 78, follow_symlinks=False)
    os.chown(place / "empty", 90, 12)
    before = snapshot(place)
    with pytest.raises(FilesetError):
        apply_fileset(everything(place), purge(place), commands=["x"], run=refuse)
    assert snapshot(place) == before


def test_command_after_the_check_counts_too(place: Path) -> None:
    before = snapshot(place)
    with pytest.raises(FilesetError, match="`reload` refuses"):
        apply_fileset(
            everything(place), [], commands=["check", "reload"], run=lambda command: (int(command == "reload"), "")
        )
    assert snapshot(place) == before


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file", "nginx"), KeyboardInterrupt(), SystemExit(1)])
def test_command_that_cannot_run_leaves_all_as_it_was(place: Path, error: BaseException) -> None:
    before = snapshot(place)

    def run(_command: str) -> tuple[int, str]:
        raise error

    with pytest.raises(FilesetError if isinstance(error, OSError) else type(error)):
        apply_fileset(everything(place), purge(place), commands=["nginx -t"], run=run)
    assert snapshot(place) == before


def test_commands_run_only_for_a_change(place: Path) -> None:
    ran: list[str] = []

    def run(command: str) -> tuple[int, str]:
        ran.append(command)
        return 0, ""

    for _time in range(2):
        apply_fileset([entry(place / "old.conf")], [], commands=["check", "reload"], run=run)
    assert ran == ["check", "reload"]


def test_half_written_set_leaves_all_as_it_was(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full from the third file on: what is put back needs no space."""
    before = snapshot(place)
    replaced: list[str] = []

    def replace(source: str, target: str) -> None:
        if len(replaced) == 2:
            raise OSError(28, "No space left on device", source)
        replaced.append(target)
        os.rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    files = [
        folder(place / "made"),
        entry(place / "made/a"),
        {"path": str(place / "link3"), "state": "link", "target": "x"},
    ]
    with pytest.raises(FilesetError, match=r"old\.conf: No space left on device; all are back as they were"):
        apply_fileset([*files, entry(place / "old.conf"), entry(place / "z")], purge(place))
    assert len(replaced) == 2
    assert snapshot(place) == before, "no temporary file may stay either"


def test_missing_directory_leaves_all_as_it_was(place: Path) -> None:
    before = snapshot(place)
    with pytest.raises(FilesetError, match=r"its directory .*/nowhere does not exist; all are back"):
        apply_fileset([entry(place / "old.conf"), entry(place / "nowhere/x")], [])
    assert snapshot(place) == before


def test_one_that_cannot_be_put_back_keeps_no_other_from_it(place: Path) -> None:
    def run(_command: str) -> tuple[int, str]:
        (place / "made/deep/of the daemon").touch()
        return 1, ""

    with pytest.raises(FilesetError, match=r"NOT back as before: .*made/deep \(.*not empty.*made \("):
        apply_fileset(everything(place), purge(place), commands=["x"], run=run)
    assert (place / "old.conf").read_text() == "old\n"
    assert (place / "left.conf").exists()


def test_keep(place: Path) -> None:
    assert apply_fileset([entry(place / "old.conf", keep=True, mode="0600")], []) == []
    assert (place / "old.conf").read_text() == "old\n"
    assert len(apply_fileset([entry(place / "none.conf", keep=True)], [])) == 1
    assert apply_fileset([entry(place / "old.conf", keep=True)], purge(place, "old*")) == [], "what is kept is known"


def test_purge_matches_exactly(tmp_path: Path) -> None:
    names = ["blog.conf", "blog2.conf", "blog.conf.bak", "blog.CONF", ".blog.conf", "conf"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "box.conf").mkdir()
    sure = [entry(tmp_path / "blog.conf"), {"path": str(tmp_path / "gone.conf"), "state": "absent"}]
    (tmp_path / "gone.conf").touch()
    changes = apply_fileset(sure, [{"path": f"{tmp_path}//", "pattern": "b*.conf"}])
    assert [Path(change.path).name for change in changes] == ["blog.conf", "gone.conf", "blog2.conf"]
    assert sorted(os.listdir(tmp_path)) == sorted({*names, "box.conf"} - {"blog2.conf"})
    assert apply_fileset([], [{"path": str(tmp_path / "nowhere")}]) == []


def test_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "link").symlink_to("target")
    apply_fileset([entry(tmp_path / "link")], [])
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "precious"
    apply_fileset([{"path": str(tmp_path / "link"), "state": "link", "target": "target"}], [])
    assert (tmp_path / "link").read_text() == "precious"


@pytest.mark.parametrize("state", ["file", "link", "absent"])
def test_directory_is_never_replaced(tmp_path: Path, state: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/precious").touch()
    before = snapshot(tmp_path)
    with pytest.raises(FilesetError, match=r"is a directory|is not empty"):
        apply_fileset([entry(tmp_path / "a"), entry(tmp_path / "data", state=state, target="x")], [])
    assert snapshot(tmp_path) == before


def test_file_is_never_replaced_by_a_directory(place: Path) -> None:
    before = snapshot(place)
    with pytest.raises(FilesetError, match="is a file, but the set has a directory there"):
        apply_fileset([entry(place / "a"), folder(place / "old.conf")], [])
    assert snapshot(place) == before


def test_link_of_root_stands_for_its_directory(tmp_path: Path) -> None:
    """A disk mounted elsewhere, with a link to it where the directory is meant to be."""
    (tmp_path / "disk").mkdir(mode=0o700)
    (tmp_path / "srv").symlink_to("disk")
    assert [change.path for change in apply_fileset([folder(tmp_path / "srv")], [])] == [str(tmp_path / "disk")]
    assert (tmp_path / "srv").is_symlink()
    assert stat.S_IMODE((tmp_path / "disk").stat().st_mode) == 0o755
    assert apply_fileset([folder(tmp_path / "srv")], []) == []


def test_link_of_an_app_gives_it_nothing(tmp_path: Path, needs_root: Callable[[], None]) -> None:
    needs_root()
    (tmp_path / "etc").mkdir(mode=0o700)
    (tmp_path / "uploads").symlink_to("etc")
    os.chown(tmp_path / "uploads", 12345, 12345, follow_symlinks=False)
    with pytest.raises(FilesetError, match="uploads is a link of 12345"):
        apply_fileset([folder(tmp_path / "uploads", owner="nobody")], [])
    assert (tmp_path / "etc").stat().st_uid == 0
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        _fileset.put(str(tmp_path / "uploads"), _fileset.Former("directory", b"", 12345, 12345, 0o777))
    assert (tmp_path / "etc").stat().st_uid == 0


def test_mode_alone_is_a_change(place: Path) -> None:
    (place / "old.conf").chmod(0o644)
    (change,) = apply_fileset([entry(place / "old.conf", content="old\n", mode="0600")], [])
    assert stat.S_IMODE((place / "old.conf").stat().st_mode) == 0o600
    assert change.diff()["before"].split()[:2] == ["file", "0644"]
    assert change.diff()["after"].split()[:2] == ["file", "0600"]


def test_owner_alone_is_a_change(place: Path, needs_root: Callable[[], None]) -> None:
    needs_root()
    file, private = entry(place / "old.conf", content="old\n", mode="0640"), folder(place / "private", mode="0700")
    assert apply_fileset([file, private], []) == []
    assert len(apply_fileset([{**file, "owner": "nobody"}, {**private, "group": "nogroup"}], [])) == 2
    assert (place / "old.conf").owner() == "nobody"
    assert (place / "private").group() == "nogroup"


def test_secrets_are_not_shown(place: Path) -> None:
    files = [entry(place / "old.conf", secret=True), entry(place / "open.conf", content="told")]
    shown = json.dumps([change.diff() for change in apply_fileset(files, purge(place))])
    assert "told" in shown
    assert shown.count("(secret)") == 3, "before and after of one, and a purged file that not everybody could read"
    assert "new" not in shown
    assert "old\\n" not in shown
    assert "left\\n" not in shown


def test_new_file_is_never_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for a moment: its mode is the narrow one until owner and mode are set."""
    modes: list[int] = []
    monkeypatch.setattr(os, "fchown", lambda handle, *_ids: modes.append(os.fstat(handle).st_mode & 0o777))
    apply_fileset([entry(tmp_path / "a", mode="0640"), folder(tmp_path / "b")], [])
    assert modes == [0o600, 0o700]


def test_check_mode_changes_nothing(place: Path) -> None:
    before = snapshot(place)
    ran: list[str] = []

    def run(command: str) -> tuple[int, str]:
        ran.append(command)
        return 0, ""

    changes = apply_fileset(
        [*everything(place), entry(place / "not yet/x", owner="nobody-yet")],
        purge(place),
        check=True,
        commands=["x"],
        run=run,
    )
    assert len(changes) == 10
    assert [change.diff() for change in changes]
    assert (snapshot(place), ran) == (before, [])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mode": None}, "mode is missing"),
        ({"mode": 420}, "must be octal digits in quotes"),
        ({"mode": "rw"}, "must be octal digits in quotes"),
        ({"content": None}, "give a template, or content"),
        ({"content": {"a": 1}}, "give a template, or content"),
        ({"owner": "nobody-knows"}, "owner 'nobody-knows' does not exist"),
        ({"group": "nobody-knows"}, "group 'nobody-knows' does not exist"),
        ({"state": "touch"}, "state 'touch' is none of"),
        ({"state": "link"}, "a link needs a target"),
        ({"path": "etc/x"}, "the path must begin with /"),
    ],
)
def test_mistakes(place: Path, changed: dict[str, Any], message: str) -> None:
    before = snapshot(place)
    with pytest.raises(FilesetError, match=message):
        apply_fileset([entry(place / "a"), {**entry(place / "b"), **changed}], [])
    assert snapshot(place) == before


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FilesetError, match="is neither a file, a directory nor a link"):
        apply_fileset([entry(tmp_path / "fifo")], [])


def test_module_puts_back_what_a_missing_command_was_to_check(place: Path) -> None:
    """AnsibleModule ends the process when a command is not there, unless told otherwise."""
    before = snapshot(place)
    module = "ansible_collections.flaskhost.stack.plugins.modules.fileset"
    payload = json.dumps({"files": [entry(place / "old.conf")], "purge": []})
    code = (
        "import sys; from ansible.module_utils.testing import patch_module_args\n"
        f"from {module} import main\n"
        f"with patch_module_args({{'payload': {payload!r}, 'validate': 'no-such-program -t'}}): main()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    result = json.loads(done.stdout)
    assert result["failed"]
    assert "no-such-program" in result["msg"]
    assert snapshot(place) == before


# what may be left out


def apart(place: Path, *names: str) -> list[dict[str, Any]]:
    """A common file, and one for each name."""
    common = {"path": str(place / "common"), "content": "new", "mode": "0644", "owner": USER, "group": GROUP}
    return [common] + [
        {
            "path": str(place / name),
            "content": f"new {name}",
            "mode": "0644",
            "apart": name,
            "owner": USER,
            "group": GROUP,
        }
        for name in names
    ]


def refuser(place: Path, *names: str) -> Callable[[str], tuple[int, str]]:
    """A command that refuses files with what is new in them."""

    def run(_command: str) -> tuple[int, str]:
        bad = [name for name in names if (place / name).exists() and "new" in (place / name).read_text()]
        return (1, f"no {bad[0]}") if bad else (0, "")

    return run


def test_what_is_refused_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("old b")
    left_out: dict[str, str] = {}
    files = apart(tmp_path, "a", "b", "c", "d")
    changes = apply_fileset(files, [], commands=["t"], run=refuser(tmp_path, "b", "d"), left_out=left_out)
    assert left_out == {"b": "no b", "d": "no d"}
    assert [os.path.basename(change.path) for change in changes] == ["common", "a", "c"]
    assert (tmp_path / "b").read_text() == "old b"
    assert not (tmp_path / "d").exists(), "it was not there before"
    assert (tmp_path / "c").read_text() == "new c"
    # and again: what is in place is no change, what is refused is told anew
    left_out.clear()
    assert apply_fileset(files, [], commands=["t"], run=refuser(tmp_path, "b", "d"), left_out=left_out) == []
    assert sorted(left_out) == ["b", "d"]


def test_nobody_is_left_out_for_the_fault_of_all(tmp_path: Path) -> None:
    (tmp_path / "common").write_text("old")
    left_out: dict[str, str] = {}
    with pytest.raises(FilesetError, match="all are back as they were"):
        apply_fileset(
            apart(tmp_path, "a", "b"), [], commands=["t"], run=refuser(tmp_path, "common", "b"), left_out=left_out
        )
    assert left_out == {}
    assert (tmp_path / "common").read_text() == "old"
    assert not (tmp_path / "a").exists()


def test_all_stand_or_fall_together_where_nobody_asks(tmp_path: Path) -> None:
    with pytest.raises(FilesetError):
        apply_fileset(apart(tmp_path, "a", "b"), [], commands=["t"], run=refuser(tmp_path, "b"))
    assert os.listdir(tmp_path) == []


def test_what_is_kept_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log may be large, and is everybody else's."""
    log = tmp_path / "log"
    log.write_text("lines")
    monkeypatch.setattr(_fileset, "look", lambda path: pytest.fail(f"{path} was read"))
    assert plan([{"path": str(log), "content": "", "mode": "0640", "keep": True}], []) == []
