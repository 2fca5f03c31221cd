# SPDX-License-Identifier: GPL-3.0-or-later
"""What the set-up leaves in .venv."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from tests.support.stack import ROOT


# none of them is imported by the tests, which would compile it themselves
@pytest.mark.parametrize("name", ["ansible.plugins.connection.psrp", "ansible.cli.pull"])
def test_libraries_are_compiled(name: str) -> None:
    """Where nobody may write bytecode, each start of Ansible would compile all of it."""
    if not sys.prefix.startswith(str(ROOT)):
        pytest.skip("not the Python of the set-up")
    spec = importlib.util.find_spec(name)
    assert spec
    assert spec.cached
    assert (ROOT / spec.cached).exists()
