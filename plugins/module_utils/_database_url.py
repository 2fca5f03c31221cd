# SPDX-License-Identifier: GPL-3.0-or-later
"""What a DATABASE_URL says, as SQLAlchemy reads it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

# first part of a scheme such as mysql+pymysql
ENGINES = {
    "mysql": "mysql",
    "mariadb": "mysql",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "sqlite": "sqlite",
}
_SCHEME = re.compile(r"[a-z][a-z0-9_]{0,20}(?:\+[a-z0-9_]{1,20})?")
# what follows ://; only user and password are quoted
_ADDRESS = re.compile(
    r"(?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:\[(?P<ipv6>[^/?\]]+)\]|(?P<host>[^/:?]+))?(?::(?P<port>[^/?]*))?"
    r"(?:/(?P<name>[^?]*))?(?:\?(?P<query>.*))?"
)


@dataclass(frozen=True)
class Database:
    """Where a database is, and how to log in."""

    engine: str  # mysql | postgresql | sqlite
    name: str = ""  # of the database on its server
    path: str = ""  # the file of sqlite
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    options: dict[str, str] = field(default_factory=dict, repr=False)


def parse(url: str) -> Database:
    """Read an address.

    :raises ValueError: nothing that can be dumped; the message has no password in it.
    """
    scheme, colon, rest = url.partition("://")
    engine = ENGINES.get(scheme.partition("+")[0].lower(), "")
    if not colon or not engine:
        # of anything else it is not known what is secret
        shown = f"begins with {scheme}://" if colon and _SCHEME.fullmatch(scheme) else "is no address"
        raise ValueError(f"DATABASE_URL {shown}; known are {', '.join(f'{name}://' for name in sorted(ENGINES))}")
    if engine == "sqlite":
        return Database(engine, path=_file(rest))
    found = _ADDRESS.fullmatch(rest)
    if not found or not (found["port"] or "0").isdecimal():
        raise ValueError("DATABASE_URL has a malformed host or port")
    if not found["name"]:
        raise ValueError("DATABASE_URL names no database after the host")
    return Database(
        engine,
        name=found["name"],
        host=found["ipv6"] or found["host"] or "",
        port=int(found["port"] or 0),
        user=unquote(found["user"] or ""),
        password=unquote(found["password"] or ""),
        options=dict(parse_qsl(found["query"] or "")),
    )


def _file(rest: str) -> str:
    """The file in what follows sqlite://. Of a relative one nobody but the app knows where it starts."""
    path = rest.partition("?")[0]
    if path in ("", "/", "/:memory:"):
        raise ValueError("DATABASE_URL means a database in memory, which no other process sees")
    if not path.startswith("//"):
        raise ValueError(
            f"DATABASE_URL names the relative file {path[1:]!r}; write it with its whole path, sqlite:////srv/..."
        )
    return os.path.normpath(path[1:])
