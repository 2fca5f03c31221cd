# SPDX-License-Identifier: GPL-3.0-or-later
"""A converged host judged from outside and inside by others' programs: `make audit`. See docs/audit.md."""
