# SPDX-License-Identifier: GPL-3.0-or-later
"""Boxes: throw-away hosts (containers with systemd, reached by ssh only) for rehearsal and tests."""
