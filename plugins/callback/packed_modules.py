# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible packs for the hosts, kept from run to run; see DOCUMENTATION."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import sys
import tempfile
import zipfile
import zlib
from base64 import b64decode
from contextlib import suppress
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__

DOCUMENTATION = """
name: packed_modules
type: aggregate
short_description: keeps modules as Ansible packs them from run to run
description:
  - For each module that a run uses, Ansible reads the module and the forty files that it imports, looks for what these import, and packs
    all of it for the hosts. That takes 0.13 s of the control node's processor for each module, in each run anew.
  - With this callback, what was packed is there for the next run. Before it is used, every file in it is compared with its source, so
    a module that has changed, or anything that it imports, is packed anew.
  - What is kept belongs to one version of Ansible and of Python. With a version of Ansible that packs in another way, nothing is kept.
requirements:
  - named in C(callbacks_enabled) of ansible.cfg
options:
  directory:
    description:
      - Where packed modules are kept, about 0.2 MB each. What is in it is run on the hosts, with root's rights where C(become) says so,
        so it is made for its owner alone; one that others may write to is not used, with a warning.
    type: path
    default: '{{ ANSIBLE_HOME ~ "/flaskhost/modules" }}'
    env:
      - name: FLASKHOST_PACKED_MODULES
    ini:
      - section: callback_packed_modules
        key: directory
author:
  - The flaskhost founders
"""

# beside the packed modules: for each the files in it, and the checksums of these
INDEX = "index.json"
# what Ansible writes itself into each
MADE = ("ansible/__init__.py", "ansible/module_utils/__init__.py")
Index = dict[str, dict[str, int]]


class CallbackModule(CallbackBase):
    """Gives a run what former runs have packed, and keeps what it packs itself."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "flaskhost.stack.packed_modules"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: object) -> None:
        """Give the run what is kept and true."""
        self._kept = self._own_directory()
        self._index = _read(self._kept / INDEX) if self._kept else {}
        self._given: set[str] = set()
        if not self._index or not self._kept:
            return
        place = _places_of_this_run()
        place.mkdir(mode=0o700, exist_ok=True)
        for name, sources in self._index.items():
            if sources and all(_checksum(member) == known for member, known in sources.items()):
                # it may be gone, where another run has put another in its place
                with suppress(OSError):
                    _link(self._kept / _file_name(name, sources), place / name)
                    self._given.add(name)

    def v2_playbook_on_stats(self, stats: object) -> None:
        """Keep what this run has packed."""
        place = _places_of_this_run()
        if not self._kept or not place.is_dir():
            return
        made = {
            packed.name: sources
            for packed in place.iterdir()
            if packed.name.endswith("-none") and packed.name not in self._given and (sources := _sources(packed))
        }
        if not made:
            return
        try:
            for name, sources in made.items():
                _put(self._kept / _file_name(name, sources), (place / name).read_bytes())
            # another run may have kept others meanwhile
            index = _read(self._kept / INDEX) | made
            _put(self._kept / INDEX, json.dumps(index).encode())
            named = {INDEX, *(_file_name(name, sources) for name, sources in index.items())}
            for file in self._kept.iterdir():
                if file.name not in named and not file.name.startswith("."):
                    file.unlink(missing_ok=True)
        except OSError as error:
            self._display.warning(
                f"packed_modules: {self._kept} cannot be written: {error.strerror}. The next run packs them again."
            )

    def _own_directory(self) -> Path | None:
        """That of this Ansible, which nobody else may write to; none where it cannot be had."""
        top = Path(self.get_option("directory"))
        version = hashlib.sha256(f"{__version__} {sys.version} {files('ansible')}".encode()).hexdigest()[:12]
        try:
            (top / version).mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (top, top / version):
                state = folder.stat()
                if state.st_uid != os.geteuid() or state.st_mode & 0o022:
                    self._display.warning(
                        f"packed_modules: {folder} is not used, because others than its owner may write to it: "
                        f"chmod go-w {folder}, or name another directory."
                    )
                    return None
        except OSError as error:
            self._display.warning(f"packed_modules: {top} cannot be used: {error.strerror}. Name another directory.")
            return None
        return top / version


def _places_of_this_run() -> Path:
    """Where Ansible looks for what it has packed in this run already."""
    return Path(C.DEFAULT_LOCAL_TMP) / "ansiballz_cache"


def _read(path: Path) -> Index:
    """An index; of one that is damaged, nothing."""
    try:
        index = json.loads(path.read_bytes())
        return {name: dict(sources) for name, sources in index.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _file_name(name: str, sources: dict[str, int]) -> str:
    """Where a packed module is kept: no other content ever has this name."""
    return f"{name}.{hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()[:16]}"


def _put(path: Path, content: bytes) -> None:
    """Write a file that is there as a whole, or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(content)
    os.replace(file.name, path)


def _link(kept: Path, place: Path) -> None:
    """A second name, which stays where the first is removed meanwhile; on another file system, a copy."""
    try:
        os.link(kept, place)
    except OSError:
        shutil.copyfile(kept, place)


def _sources(packed: Path) -> dict[str, int]:
    """The files in a packed module with their checksums; nothing unless all of them are as they are installed."""
    try:
        with packed.open("rb") as file:
            content: Any = pickle.load(file)
        with zipfile.ZipFile(BytesIO(b64decode(content.zip_data))) as archive:
            members = {one.filename: one.CRC for one in archive.infolist() if one.filename not in MADE}
    except Exception:
        # a version of Ansible that packs in another way
        return {}
    return members if all(_checksum(member) == known for member, known in members.items()) else {}


@cache
def _checksum(member: str) -> int | None:
    """Of the installed file that has this place in a packed module; none where there is no such file."""
    parts = member.split("/")
    package, rest = (".".join(parts[:3]), parts[3:]) if parts[0] == "ansible_collections" else (parts[0], parts[1:])
    try:
        return zlib.crc32(files(package).joinpath(*rest).read_bytes())
    except (ImportError, OSError, TypeError):
        # a package's __init__.py that Ansible made up, for a folder without one
        return 0 if parts[-1] == "__init__.py" else None
