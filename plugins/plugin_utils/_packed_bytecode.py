# SPDX-License-Identifier: GPL-3.0-or-later
"""A packed module that has Python on the host keep what it compiles: the host's side is ``module_utils/_kept_bytecode.py``."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
import zipfile
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path

from ansible_collections.flaskhost.stack.plugins.module_utils import _kept_bytecode

_PROGRAM = Path(_kept_bytecode.__file__).read_bytes()
# by this name in the archive, beside `ansible`
_NAME = "flaskhost_kept_bytecode"
# imported before all else in the archive; Ansible writes it itself
_FIRST = "ansible/__init__.py"
# where it cannot be, things are as Ansible made them
_BEGIN = f"""
try:
    import {_NAME}
    {_NAME}.begin(__spec__.loader.archive)
except Exception:
    pass
"""


# tells one version of what this makes of a module from another
VERSION = _PROGRAM + Path(__file__).read_bytes()


def keeping_bytecode(content: bytes) -> bytes:
    """A module as Ansible packs it, with the host's side of this in it, which it begins with; as it was where that is not possible."""
    with contextlib.suppress(KeyError, TypeError):
        return _with_addition(content)
    return content


def _with_addition(content: bytes) -> bytes:
    module = pickle.loads(content)
    made = BytesIO()
    with zipfile.ZipFile(BytesIO(b64decode(module.zip_data))) as packed, zipfile.ZipFile(made, "w") as archive:
        first = packed.getinfo(_FIRST)
        for member in packed.infolist():
            text = packed.read(member)
            archive.writestr(member, text + _BEGIN.encode() if member is first else text)
        own = zipfile.ZipInfo(f"{_NAME}.py", first.date_time)
        archive.writestr(own, _PROGRAM, first.compress_type)
    return pickle.dumps(dataclasses.replace(module, zip_data=b64encode(made.getvalue())))
