# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the unit tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _releases, _supervisord

from tests.support.host import Host


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host below a temporary directory, and no supervisord."""
    made = Host(tmp_path)
    monkeypatch.setattr(_supervisord, "CONF_DIR", str(made.conf_d))
    monkeypatch.setattr(_releases, "UPSTREAMS", str(made.upstreams))
    return made


@pytest.fixture
def needs_root() -> Callable[[], None]:
    """Skips what only root can do."""

    def check() -> None:
        if os.geteuid():
            pytest.skip("only root may give a file away")

    return check
