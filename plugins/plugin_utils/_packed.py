# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules as Ansible packs them for the hosts, kept in a directory, and given to a run as long as it would pack the same."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pickle
import shutil
import tempfile
import time
import zipfile
import zlib
from base64 import b64decode
from collections.abc import Callable, Set
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import ansible
from ansible.plugins.loader import module_utils_loader
from ansible.utils.collection_loader import AnsibleCollectionConfig

# for each packed module the name of its file, and what it was made of with checksums
INDEX = "index.json"
# the end of the name that Ansible gives to a packed module with nothing in it for a debugger
PLAIN = "-none"
# seconds after which what broke off is removed, and what no run has used
_BROKE_OFF, _UNUSED = 3600, 30 * 86400

Index = dict[str, dict[str, Any]]


class Store:
    """A directory of packed modules, of one version of Ansible."""

    def __init__(self, folder: Path, made: Callable[[bytes], bytes] = lambda content: content) -> None:
        """:param made: what to make of a module as Ansible packs it before it is kept; by default it is kept as it is."""
        self._folder, self._made = folder, made

    def give(self, place: Path) -> set[str]:
        """Put what a run would pack as it is kept where Ansible looks for it.

        :param place: directory in which Ansible has what a run has packed already.
        :returns: the names of what it got.
        """
        index = self._read()
        given: set[str] = set()
        if not index or _others_come_in():
            return given
        os.utime(self._folder)
        place.mkdir(mode=0o700, exist_ok=True)
        for name, entry in index.items():
            # where it cannot be had as it was, Ansible packs it
            with contextlib.suppress(OSError, ValueError):
                if all(_checksum(part) == known for part, known in entry["made_of"].items()):
                    content = (self._folder / entry["file"]).read_bytes()
                    if entry["file"] == _file_name(name, content):
                        _put(place / name, content)
                        given.add(name)
        return given

    def keep(self, place: Path, known: Set[str]) -> set[str]:
        """Keep what a run has packed beside what it was given, and have the run go on with what is kept.

        :param known: names that need no look.
        :returns: the names that it has looked at, also those of what cannot be kept.
        :raises OSError: the directory cannot be written.
        """
        names = {name for name in os.listdir(place) if name.endswith(PLAIN)} - known if place.is_dir() else set()
        made: dict[str, tuple[bytes, dict[str, int]]] = {}
        for name in names if names and not _others_come_in() else ():
            content = (place / name).read_bytes()
            if parts := _made_of(content):
                made[name] = self._made(content), parts
        if not made:
            return names
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # one run at a time, until the handle is closed
            fcntl.flock(handle, fcntl.LOCK_EX)
            index = self._read()
            for name, (content, parts) in made.items():
                index[name] = {"file": _file_name(name, content), "made_of": parts}
                _put(self._folder / index[name]["file"], content)
                _put(place / name, content)
            _put(self._folder / INDEX, json.dumps(index).encode())
            self._tidy({INDEX, *(entry["file"] for entry in index.values())})
        finally:
            os.close(handle)
        return names

    def _read(self) -> Index:
        """The index; of one that is damaged, nothing."""
        try:
            index = json.loads((self._folder / INDEX).read_bytes())
            return {
                name: {"file": str(entry["file"]), "made_of": dict(entry["made_of"])} for name, entry in index.items()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}

    def _tidy(self, named: set[str]) -> None:
        """Remove what has been replaced, what broke off, and the directories of versions of Ansible that nobody has used for long."""
        now = time.time()
        for file in self._folder.iterdir():
            if file.name not in named and (not file.name.startswith(".") or file.stat().st_mtime < now - _BROKE_OFF):
                file.unlink(missing_ok=True)
        for other in self._folder.parent.iterdir():
            if (other / INDEX).is_file() and other.stat().st_mtime < now - _UNUSED:
                shutil.rmtree(other, ignore_errors=True)


def _file_name(name: str, content: bytes) -> str:
    """Where a packed module is kept: no other content has this name."""
    return f"{name}.{hashlib.sha256(content).hexdigest()[:32]}"


def _put(path: Path, content: bytes) -> None:
    """Write a file that is there as a whole, or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with open(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _others_come_in() -> bool:
    """Whether somebody has module_utils of their own, which would be packed in the place of Ansible's."""
    own = os.path.realpath(os.path.join(os.path.dirname(ansible.__file__), "module_utils"))
    # as Ansible itself asks when it packs
    paths = module_utils_loader._get_paths(subdirs=False)
    return any(os.path.isdir(path) and os.path.realpath(path) != own for path in paths)


def _made_of(content: bytes) -> dict[str, int]:
    """What a packed module was made of, with checksums; nothing unless all of that is as it is installed now."""
    try:
        with zipfile.ZipFile(BytesIO(b64decode(pickle.loads(content).zip_data))) as archive:
            members = {one.filename: one.CRC for one in archive.infolist()}
    except Exception:
        # a version of Ansible that packs in another way
        return {}
    parts = {member: known for member, known in members.items() if not _ansibles_own(member)}
    if any(_checksum(member) != known for member, known in parts.items()):
        return {}
    # with a file more beside those, or another redirection, something else may be found by the same name
    folders = {member.rpartition("/")[0] + "/" for member in parts if "/module_utils/" in member}
    runtimes = {
        "/".join([*member.split("/")[:3], "meta/runtime.yml"]) for member in parts if member.startswith("ansible_c")
    }
    return parts | {part: _checksum(part) or 0 for part in folders | runtimes}


def _ansibles_own(member: str) -> bool:
    """Whether Ansible writes that itself: packages above those that have anything in them."""
    return member == "ansible/module_utils/__init__.py" or (
        member.endswith("/__init__.py") and "/module_utils/" not in member
    )


@cache
def _checksum(part: str) -> int | None:
    """Of an installed file by its place in a packed module, of the names in a directory (``x/``); 0 where a file is empty or not there.

    None where the collection is not there.
    """
    package, _slash, rest = part.partition("/")
    base = Path(ansible.__file__).parent
    if package == "ansible_collections":
        namespace, name, rest = rest.split("/", 2)
        roots = (Path(root, package, namespace, name) for root in AnsibleCollectionConfig.collection_paths)
        found = next(filter(Path.is_dir, roots), None)
        if found is None:
            return None
        base = found
    try:
        if rest.endswith("/"):
            names = sorted(name for name in os.listdir(base / rest) if name.endswith(".py") or "." not in name)
            return zlib.crc32("\n".join(name for name in names if name != "__pycache__").encode())
        return zlib.crc32((base / rest).read_bytes())
    except FileNotFoundError:
        return 0
