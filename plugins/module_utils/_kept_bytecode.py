# SPDX-License-Identifier: GPL-3.0-or-later
"""Python on a host keeps what it compiles of the modules that Ansible sends.

They come in a zip archive, each time at another place, and Python keeps no bytecode of such: each task compiled some sixty files, most of
them Ansible's own, and zipimport does that twice, once to tell the name of a file and once to run it. 0.18 s of 0.34 s on a fast machine.

``plugin_utils/_packed_bytecode.py`` packs this file with each module, which imports it before anything else.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys

# importlib.abc has the same class, and takes 0.03 s to import
from importlib._bootstrap_external import SourceLoader
from typing import Any
from zipimport import zipimporter
from zlib import crc32

# a file for each name and version of Python, some 2 MB; it may be removed at any time. In a directory of root's, with none between that
# somebody else could write to
FOLDER = "/var/cache/flaskhost-bytecode"
# bytes of a checksum, which Python does without: half a file would end the module, or worse
_CHECKSUM = 4


class Importer(zipimporter, SourceLoader):
    """Imports from one directory of an archive, by Python's own rules for what it has compiled before."""

    folder = FOLDER

    def get_filename(self, fullname: str) -> str:
        """Where in the archive the source of a module is."""
        name = fullname.rpartition(".")[2] + ("/__init__.py" if self.is_package(fullname) else ".py")
        return f"{self.archive}/{self.prefix}{name}"

    def get_code(self, fullname: str) -> Any:
        """What is kept if it was made of this source, and otherwise what is compiled now, which is kept."""
        try:
            return SourceLoader.get_code(self, fullname)
        except Exception:
            # a Python that does it in another way; where it is the source's fault, this says so as well
            return zipimporter.get_code(self, fullname)

    def path_stats(self, path: str) -> dict[str, int]:
        """What tells one source from another: a checksum of it in the place of a time, of which the archive has none."""
        source = self.get_data(path)
        return {"mtime": crc32(source), "size": len(source)}

    def get_data(self, path: str) -> bytes:
        """A source from the archive, or bytecode from where it is kept.

        :raises OSError: there is none, or it is damaged; then Python compiles it.
        """
        if not path.endswith(".pyc"):
            return zipimporter.get_data(self, path)
        with open(self._kept(path), "rb") as file:
            checksum, data = file.read(_CHECKSUM), file.read()
        if checksum != _checksum(data):
            raise OSError(f"{file.name} is damaged")
        return data

    def set_data(self, path: str, data: bytes) -> None:
        """Keep bytecode: as a whole, or not at all."""
        kept = self._kept(path)
        # by one name, so that nothing gathers where processes are killed. Of two at a time, each writes the same, or the checksum tells
        with contextlib.suppress(OSError):
            with open(f"{kept}.new", "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                file.write(_checksum(data) + data)
            os.replace(f"{kept}.new", kept)

    def _kept(self, path: str) -> str:
        """The file for bytecode that Python would have beside its source."""
        name = path[len(self.archive) + 1 :].replace("__pycache__/", "").replace("/", ".")
        return f"{self.folder}/{name}"


def begin(archive: str, folder: str = FOLDER) -> None:
    """Import from an archive in this way from here on; not where Python is told to write no bytecode, or where to write it.

    :param archive: path of the zip archive.
    :param folder: where to keep bytecode. It is made where it is missing, and used only by its owner, and if nobody else may write to it:
        nobody but root for the one in ``/var/cache``.
    :raises OSError: it cannot be made.
    """
    if sys.dont_write_bytecode or sys.pycache_prefix:
        return
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    state = os.lstat(folder)
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & 0o022:
        return

    def within(path: str) -> bool:
        return path == archive or path.startswith(f"{archive}/")

    def importer(path: str) -> Importer:
        if not within(path):
            raise ImportError(path)
        found = Importer(path)
        found.folder = folder
        return found

    sys.path_hooks.insert(0, importer)
    for path in list(filter(within, sys.path_importer_cache)):
        del sys.path_importer_cache[path]


def _checksum(data: bytes) -> bytes:
    return crc32(data).to_bytes(_CHECKSUM, "big")
