# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations that tests add to a copy of the guestbook."""

from __future__ import annotations

from pathlib import Path

# revision that the guestbook as it is shipped ends with
SHIPPED = "9f4e2d6b1a37"


def add_migration(source: Path, revision: str, *statements: str, after: str = SHIPPED) -> Path:
    """Add a migration to a tree.

    :param revision: its id, also the name of its file.
    :param statements: lines of Python for its ``upgrade``.
    :param after: the revision before it.
    """
    path = source / "migrations" / "versions" / f"{revision}.py"
    lines = "".join(f"    {line}\n" for line in statements)
    path.write_text(
        f'"""A migration of a test"""\n\nimport sqlalchemy as sa\nfrom alembic import op\n\nrevision = "{revision}"\n'
        f'down_revision = "{after}"\nbranch_labels = None\ndepends_on = None\n\n\ndef upgrade():\n{lines}',
        encoding="utf-8",
    )
    return path


# each is its own end of a transaction, so all of it is there when the last line is reached
HALF_WAY = (
    'op.execute("CREATE TABLE half (id INTEGER PRIMARY KEY, entry INTEGER REFERENCES entries (id))")',
    'op.execute("ALTER TABLE entries ADD COLUMN half INTEGER")',
    'op.execute("CREATE VIEW half_seen AS SELECT id FROM half")',
    'op.execute("DELETE FROM entries")',
    'op.execute("CREATE TABLE half_too (id INTEGER PRIMARY KEY)")',
    'raise RuntimeError("half-way")',
)
