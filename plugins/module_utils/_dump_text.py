# SPDX-License-Identifier: GPL-3.0-or-later
"""What mariadb-dump and mysqldump write: read, compared, and turned into tables under other names.

A line break inside of a name, text or comment is always written as an escape, so the beginning of a line tells what it
is. That does not hold for the bodies of triggers and routines: they come last, after a line of our own.
"""

from __future__ import annotations

import gzip
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ansible_collections.flaskhost.stack.plugins.module_utils._difference import Difference

PROGRAMS = b"-- flaskhost.stack: triggers, routines and events\n"
# tables of ours while a snapshot is put back; they are in no dump
STAGING = "_flaskhost_"
_NEW, _OLD = f"{STAGING}new_", f"{STAGING}old_"

_NAME = rb"`((?:[^`]|``)+)`"
_CREATE = re.compile(rb"CREATE TABLE " + _NAME + rb" \(")
_INSERT = re.compile(rb"INSERT INTO " + _NAME)
_VIEW = re.compile(rb"/\*!50001 VIEW " + _NAME)
_REFERENCES = re.compile(rb"REFERENCES " + _NAME)
_COUNTER = re.compile(rb" AUTO_INCREMENT=([0-9]+)")
# numbers, NULL, 0x..., 'text': a parenthesis inside of a row stands in quotes
_ROW = re.compile(rb"\((?:[^()']+|'(?:[^'\\]+|\\.|'')*')*\)", re.DOTALL)
# settings around each table, which say nothing of the schema
_AROUND = (b"--", b"DROP TABLE ", b"SET ", b"/*!40", b"/*!50503 SET ", b"/*M!", b"commit;", b"\n")


@dataclass
class Schema:
    """All of a dump but its rows."""

    tables: dict[bytes, bytes] = field(default_factory=dict)  # CREATE TABLE by name, in the order of the dump
    views: list[bytes] = field(default_factory=list)
    programs: list[bytes] = field(default_factory=list)

    @property
    def view_names(self) -> set[bytes]:
        """Names of the views."""
        return {found[1] for found in map(_VIEW.match, self.views) if found}


@dataclass(frozen=True)
class Piece:
    """A part of a dump: ``table`` with its CREATE, ``insert`` with one line of rows, ``view`` or ``program``."""

    kind: str
    name: bytes
    text: bytes


def pieces(path: str) -> Iterator[Piece]:
    """Read a compressed dump."""
    with gzip.open(path, "rb") as stream:
        lines = iter(stream)
        for line in lines:
            if line == PROGRAMS:
                break
            create, insert = _CREATE.match(line), _INSERT.match(line)
            if create:
                yield Piece("table", create[1], b"".join(_statement(line, lines)))
            elif insert:
                # some versions write each row on a line of its own
                for part in _statement(line, lines):
                    yield Piece("insert", insert[1], part)
            elif line.startswith(b"/*!50001"):
                yield Piece(
                    "view", b"", b"".join(_statement(line, lines, b"*/;\n" if b"CREATE VIEW" in line else b"\n"))
                )
            elif not line.startswith(_AROUND):
                yield Piece("view", b"", line)
        for line in lines:
            yield Piece("program", b"", line)


def _statement(first: bytes, lines: Iterator[bytes], end: bytes = b";\n") -> Iterator[bytes]:
    """The lines of a statement, of which the first is read already."""
    yield first
    while not first.endswith(end):
        try:
            first = next(lines)
        except StopIteration:
            return
        yield first


def schema(path: str) -> Schema:
    """All of a dump but its rows."""
    found = Schema()
    for piece in pieces(path):
        if piece.kind == "table":
            found.tables[piece.name] = piece.text
        elif piece.kind == "view":
            found.views.append(piece.text)
        elif piece.kind == "program":
            found.programs.append(piece.text)
    return found


def compare(before: str, now: str) -> Difference:
    """What became of a database between two dumps of it."""
    old, new = schema(before), schema(now)
    found = Difference(
        extra=_texts(name for name in new.tables if name not in old.tables),
        missing=_texts(name for name in old.tables if name not in new.tables),
        altered=_texts(
            name
            for name, text in old.tables.items()
            if name in new.tables and _COUNTER.sub(b"", text) != _COUNTER.sub(b"", new.tables[name])
        ),
    )
    if old.views != new.views:
        found.other.append("views")
    if old.programs != new.programs:
        found.other.append("triggers, routines or events")
    as_before = {name for name in old.tables if _text(name) not in [*found.missing, *found.altered]}
    there = _tables_of_rows(now, as_before)
    for name, rows in _tables_of_rows(before, as_before):
        name_now, rows_now = next(there, (b"", iter(())))
        # the order is the server's, and the same both times
        kept, added = _within(rows, rows_now) if name_now == name else (False, 0)
        if not kept:
            found.changed.append(_text(name))
        elif added:
            found.added[_text(name)] = added
    return found


def _tables_of_rows(path: str, names: set[bytes]) -> Iterator[tuple[bytes, Iterator[bytes]]]:
    """Each of these tables in its order, empty ones too, and its rows."""
    wanted = (piece for piece in pieces(path) if piece.kind in ("table", "insert") and piece.name in names)
    for name, group in itertools.groupby(wanted, key=lambda piece: piece.name):
        yield name, itertools.chain.from_iterable(rows(piece.text) for piece in group if piece.kind == "insert")


def rows(line: bytes) -> Iterator[bytes]:
    """The rows in a line of an INSERT."""
    start = 0
    if line.startswith(b"INSERT INTO "):
        # a column of a name with parentheses cannot come after VALUES
        start = line.index(b" VALUES") + len(b" VALUES")
    return (found[0] for found in _ROW.finditer(line, start))


def _within(before: Iterable[bytes], now: Iterable[bytes]) -> tuple[bool, int]:
    """Whether all rows of before are there now, unchanged and in their order, and how many more there are."""
    present = iter(now)
    more = 0
    for row in before:
        for other in present:
            if other == row:
                break
            more += 1
        else:
            return False, 0
    return True, more + sum(1 for _row in present)


def with_relatives(tables: set[bytes], known: Schema) -> set[bytes]:
    """These tables, and all that refer to them: a reference would follow the table that is taken away."""
    found, last = set(tables), 0
    while len(found) != last:
        last = len(found)
        found |= {name for name, text in known.tables.items() if found & set(_REFERENCES.findall(text))}
    return found


def staged(path: str, numbers: dict[bytes, int], now: Schema) -> Iterator[bytes]:
    """Statements that make tables of a dump with their rows anew, each under another name and without its constraints.

    :param numbers: the tables, each with the number in its other name.
    :param now: what is there; a counter that went on is not set back, or it would give numbers twice.
    """
    for piece in pieces(path):
        if piece.name not in numbers or piece.kind not in ("table", "insert"):
            continue
        name = new_name(numbers[piece.name])
        if piece.kind == "table":
            yield b"COMMIT;\nDROP TABLE IF EXISTS " + name + b";\n"
            text = _without_constraints(_counting_on(piece.text, now.tables.get(piece.name, b"")))
            yield b"CREATE TABLE " + name + text[len(b"CREATE TABLE " + quoted(piece.name)) :]
        elif piece.text.startswith(b"INSERT INTO "):
            yield b"INSERT INTO " + name + piece.text[len(b"INSERT INTO " + quoted(piece.name)) :]
        else:
            yield piece.text
    yield b"COMMIT;\n"


def _counting_on(before: bytes, now: bytes) -> bytes:
    then, later = _COUNTER.search(before), _COUNTER.search(now)
    if not then or not later or int(then[1]) >= int(later[1]):
        return before
    return before.replace(then[0], later[0], 1)


def _without_constraints(create: bytes) -> bytes:
    """A CREATE TABLE without foreign keys and checks: their names may be taken by the table that is there."""
    first, *body = create.splitlines()
    end = next(number for number, line in enumerate(body) if line.startswith(b")"))
    columns = [line.rstrip(b",") for line in body[:end] if not line.startswith(b"  CONSTRAINT ")]
    return b"\n".join([first, b",\n".join(columns), *body[end:]]) + b"\n"


def constraints(create: bytes) -> list[bytes]:
    """The foreign keys and checks of a CREATE TABLE."""
    return [line.strip().rstrip(b",") for line in create.splitlines() if line.startswith(b"  CONSTRAINT ")]


def swapped(numbers: dict[bytes, int], extra: Iterable[bytes], before: Schema, now: Schema) -> Iterator[bytes]:
    """Statements that put the staged tables in the place of those that are there, all at one moment."""
    moves, old = [], []
    for name, number in numbers.items():
        if name in now.tables:
            moves.append(quoted(name) + b" TO " + old_name(number))
            old.append(old_name(number))
        moves.append(new_name(number) + b" TO " + quoted(name))
    if moves:
        yield b"RENAME TABLE " + b", ".join(moves) + b";\n"
    gone = [*old, *map(quoted, extra)]
    if gone:
        yield b"DROP TABLE IF EXISTS " + b", ".join(gone) + b";\n"
    for name in numbers:
        added = constraints(before.tables[name])
        if added:
            yield b"ALTER TABLE " + quoted(name) + b" " + b", ".join(b"ADD " + line for line in added) + b";\n"


def new_name(number: int) -> bytes:
    """Name of a staged table."""
    return f"`{_NEW}{number}`".encode()


def old_name(number: int) -> bytes:
    """Name of a table that a staged one took the place of."""
    return f"`{_OLD}{number}`".encode()


def quoted(name: bytes) -> bytes:
    """A name as it stands in a dump, in quotes; one read from a dump is escaped already."""
    return b"`" + name + b"`"


def _text(name: bytes) -> str:
    return name.replace(b"``", b"`").decode("utf-8", "replace")


def _texts(names: Iterable[bytes]) -> list[str]:
    return [_text(name) for name in names]


def raw(name: str) -> bytes:
    """The reverse of what :class:`Difference` has as a name."""
    return name.replace("`", "``").encode()
