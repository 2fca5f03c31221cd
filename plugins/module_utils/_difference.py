# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened to a database between a snapshot and now, and what that means."""

from __future__ import annotations

from dataclasses import dataclass, field

# where alembic writes how far it came: its rows are part of the schema
VERSIONS = "alembic_version"


@dataclass
class Difference:
    """Names of tables by what became of them since the snapshot; tables that are as they were are in none."""

    extra: list[str] = field(default_factory=list)  # not in the snapshot
    missing: list[str] = field(default_factory=list)  # gone
    altered: list[str] = field(default_factory=list)  # defined in another way
    changed: list[str] = field(default_factory=list)  # defined as before, but rows of the snapshot are changed or gone
    added: dict[str, int] = field(default_factory=dict)  # as before, and so many rows more
    other: list[str] = field(default_factory=list)  # views, triggers, indexes, ... that are not as before

    @property
    def schema(self) -> bool:
        """Whether the database is another one for the code, not only for its rows."""
        rows = [*self.changed, *self.added]
        return bool(self.extra or self.missing or self.altered or self.other or VERSIONS in rows)

    @property
    def only_added(self) -> bool:
        """Whether every table and every row of the snapshot is there, so that taking away what is new is enough."""
        return not (self.missing or self.altered or self.changed or VERSIONS in self.added)

    @property
    def tables(self) -> list[str]:
        """The tables of the snapshot that are not exactly as they were then."""
        return sorted({*self.missing, *self.altered, *self.changed, *self.added})
