# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault matrix: a deploy that goes wrong at each of its steps, in each way, under load (`make faults`)."""
