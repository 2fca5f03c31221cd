# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the visitor is from

Only adds, and may stay empty: the release before this one keeps working
with the new table, while both run during a deploy and after a rollback.

Revision ID: 9f4e2d6b1a37
Revises: 3b8a1c5d7e02
"""

import sqlalchemy as sa
from alembic import op

revision = "9f4e2d6b1a37"
down_revision = "3b8a1c5d7e02"
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table("entries") as batch_op:
        batch_op.add_column(sa.Column("place", sa.String(length=80), nullable=True))


def downgrade():
    with op.batch_alter_table("entries") as batch_op:
        batch_op.drop_column("place")
