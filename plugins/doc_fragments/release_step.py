# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules of a release's steps have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that does a step of a release while the lock of the app is held."""

    DOCUMENTATION = r"""
options:
  app:
    description: The resolved app.
    type: dict
    required: true
  token:
    description: The lock, as M(flaskhost.stack.release_begin) returned it; a run that has lost it does nothing.
    type: str
    required: true
"""
