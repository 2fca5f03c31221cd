# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of entries

Revision ID: 3b8a1c5d7e02
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "3b8a1c5d7e02"
down_revision = None
branch_labels = None
depends_on = None


def upgrade():
    op.create_table(
        "entries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("message", sa.String(length=1000), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entries")),
        # Every script and emoji, also where the server's default is smaller.
        mysql_charset="utf8mb4",
    )


def downgrade():
    op.drop_table("entries")
