# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for what happens a little later."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(true: Callable[[], object], seconds: float = 10, pause: float = 0.2) -> None:
    """Wait until that is true; an AssertionError if it is not in time."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not true within {seconds} s"
        time.sleep(pause)
