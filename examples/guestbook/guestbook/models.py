# SPDX-License-Identifier: GPL-3.0-or-later
"""The one table of this app."""

from __future__ import annotations

from datetime import datetime, timezone

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from .extensions import db


def utc_now() -> datetime:
    """The time in UTC without a zone and a fraction: what every supported database stores alike."""
    return datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)


class Entry(db.Model):  # type: ignore[name-defined,misc]
    """What one visitor wrote."""

    __tablename__ = "entries"
    __table_args__ = {"mysql_charset": "utf8mb4"}  # noqa: RUF012 (SQLAlchemy's own idiom)

    # MySQL and MariaDB need a length for every string.
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    place: Mapped[str | None] = mapped_column(String(80))
    message: Mapped[str] = mapped_column(String(1000))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
