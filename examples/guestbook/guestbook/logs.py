# SPDX-License-Identifier: GPL-3.0-or-later
"""Logging: one line per event to stdout; whoever runs the app decides where it goes."""

from __future__ import annotations

import logging
import sys


def to_stdout() -> None:
    """Send log records of the whole process to stdout, unless something else is set up already."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
