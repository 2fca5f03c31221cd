# SPDX-License-Identifier: GPL-3.0-or-later
"""The Flask extensions, created once and bound to an app by the factory."""

from __future__ import annotations

from flask_babel import Babel
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

from .config import ROOT


class Base(DeclarativeBase):
    """Constraints get predictable names, so that a later migration can change them on any database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


db = SQLAlchemy(model_class=Base)
# An absolute path: migrations work from any directory. Batch mode is for SQLite's small ALTER TABLE.
migrate = Migrate(directory=str(ROOT / "migrations"), render_as_batch=True)
babel = Babel()
