# SPDX-License-Identifier: GPL-3.0-or-later
"""Python keeps what it compiles of an archive, and uses it for that source only: real runs of Python, of an archive made for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from zlib import crc32

import pytest

from tests.support.stack import ROOT

# what a module's archive does, and then an import from it
PROGRAM = """
import runpy, sys
archive, folder, before = sys.argv[1:]
sys.path.insert(0, archive)
if folder:
    import flaskhost_kept_bytecode
    exec(before)
    flaskhost_kept_bytecode.begin(archive, folder)
import tools
runpy.run_module("tools.say", run_name="__main__", alter_sys=True)
"""
SAY = """
import os, sys
from tools.words import WORD
from tools import words
assert words.__file__ == os.path.join(sys.argv[1], "tools/words.py"), words.__file__
print(WORD)
"""
WORDS = """
import sys
WORD = "{}"
if __import__("tools").FAIL:
    raise ValueError("as asked")
"""


class Archive:
    """An archive with a package of two modules, and a folder for their bytecode."""

    def __init__(self, place: Path) -> None:
        self.folder = place / "bytecode"
        self._place, self._number = place, 0

    def run(
        self,
        word: str = "one",
        fail: bool = False,
        kept: bool = True,
        before: str = "",
        settings: dict[str, str] | None = None,
    ) -> str:
        """What the module says, or its error, from an archive that is written anew, at another place."""
        self._number += 1
        path = self._place / f"{self._number}" / "payload.zip"
        path.parent.mkdir()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            program = (ROOT / "plugins/module_utils/_kept_bytecode.py").read_text()
            archive.writestr("flaskhost_kept_bytecode.py", program)
            archive.writestr("tools/__init__.py", f"FAIL = {fail}\n")
            archive.writestr("tools/say.py", SAY)
            archive.writestr("tools/words.py", WORDS.format(word))
        words = [sys.executable, "-c", PROGRAM, str(path), str(self.folder) if kept else "", before]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment |= settings or {}
        # a umask by which others could write what is made
        done = subprocess.run(
            words, cwd=self._place, env=environment, capture_output=True, text=True, umask=0, check=False
        )
        assert (done.returncode != 0) == fail, done.stderr
        return done.stderr.replace(str(path), "ARCHIVE") if fail else done.stdout.strip()

    def files(self) -> dict[str, tuple[int, bytes]]:
        """What is kept, by the first part of its name, with what tells whether it was written again."""
        return {
            path.name.rpartition(".cpython")[0]: (path.stat().st_ino, path.read_bytes())
            for path in self.folder.iterdir()
        }

    def lengths(self) -> dict[str, int]:
        """How long it is; in the content there is the place of the archive that it was made of."""
        return {name: len(content) for name, (_, content) in self.files().items()}


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """After its first run."""
    archive = Archive(tmp_path)
    assert archive.run() == "one"
    return archive


def test_each_file_is_compiled_once(archive: Archive) -> None:
    first = archive.files()
    assert set(first) == {"tools.__init__", "tools.say", "tools.words"}
    assert archive.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in archive.folder.iterdir()} == {0o600}
    assert archive.run() == "one"
    assert archive.files() == first
    # that it is used: the bytecode of another source, said to be of this one
    words = next(archive.folder.glob("tools.words.*"))
    former = words.read_bytes()
    assert archive.run("two") == "two"
    other = words.read_bytes()
    # behind the checksum, Python's own header of 16 bytes
    changed = former[4:20] + other[20:]
    words.write_bytes(crc32(changed).to_bytes(4, "big") + changed)
    assert archive.run("one") == "two"


def test_another_source_of_the_same_length_is_compiled(archive: Archive) -> None:
    first = archive.files()
    assert archive.run("six") == "six"
    second = archive.files()
    assert {name for name in second if second[name] != first[name]} == {"tools.words"}


@pytest.mark.parametrize("damage", [b"", b"\0" * 200, b"half"])
def test_what_is_damaged_is_compiled_anew(archive: Archive, damage: bytes) -> None:
    first = archive.lengths()
    for path in archive.folder.iterdir():
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if damage == b"half" else damage)
    assert archive.run() == "one"
    assert archive.lengths() == first


def test_an_error_names_the_line_in_this_archive(archive: Archive) -> None:
    assert archive.run(fail=True) == archive.run(fail=True, kept=False)


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_where_others_may_write_nothing_is_used(archive: Archive, mode: int) -> None:
    for path in archive.folder.iterdir():
        path.unlink()
    archive.folder.chmod(mode)
    assert archive.run() == "one"
    assert archive.files() == {}
    archive.folder.chmod(0o755)
    archive.run()
    assert len(archive.files()) == 3


def test_a_link_in_its_place_is_not_followed(archive: Archive) -> None:
    first, elsewhere = archive.files(), archive.folder.with_name("elsewhere")
    archive.folder.rename(elsewhere)
    archive.folder.symlink_to(elsewhere)
    assert archive.run("two") == "two"
    assert archive.files() == first


def test_a_python_that_does_it_in_another_way_compiles(archive: Archive) -> None:
    for path in archive.folder.iterdir():
        path.unlink()
    assert (
        archive.run(
            before="del flaskhost_kept_bytecode.SourceLoader.path_mtime, flaskhost_kept_bytecode.SourceLoader.get_code"
        )
        == "one"
    )
    assert archive.files() == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
def test_where_it_is_somebody_elses_nothing_is_used(archive: Archive) -> None:
    os.chown(archive.folder, 1234, 1234)
    first = archive.files()
    assert archive.run("two") == "two"
    assert archive.files() == first


@pytest.mark.parametrize("settings", [{"PYTHONDONTWRITEBYTECODE": "1"}, {"PYTHONPYCACHEPREFIX": "elsewhere"}])
def test_where_python_is_told_otherwise_nothing_is_made(archive: Archive, settings: dict[str, str]) -> None:
    shutil.rmtree(archive.folder)
    assert archive.run(settings=settings) == "one"
    assert not archive.folder.exists()


def test_what_cannot_be_written_costs_nothing(archive: Archive) -> None:
    for path in archive.folder.iterdir():
        path.unlink()
        path.mkdir()
    assert [archive.run(word) for word in ("ten", "one")] == ["ten", "one"]
