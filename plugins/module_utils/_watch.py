# SPDX-License-Identifier: GPL-3.0-or-later
"""How many requests a release fails, by nginx's access log, and whether that is too many."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import BinaryIO

LOGS = "/var/log/nginx"
# As the site's log_format writes it. Quotes of a visitor arrive as \x22, so nothing that he says can look like our fields.
_LINE = re.compile(rb'[^"]*"[^"]*" ([0-9]{3}) [0-9]+ "[^"]*" "[^"]*" (\S+) ([0-9]+\.[0-9]{3})\n')
# what is read of the log at most, from its end, to know how the former release did
_PAST_BYTES = 16 * 2**20
# seconds between two looks: what a bad release fails until it is noticed, is at least what comes in so long
_PERIOD = 0.25
# every how many looks the processes and the lock are looked at too
_SELDOM = 8


@dataclass
class Figures:
    """What became of the requests of a release."""

    requests: int = 0
    errors: int = 0  # answered with 500 to 599; nginx says 502 or 504 where no answer came

    @property
    def percent(self) -> float:
        """The error ratio; 0 where nothing was asked."""
        return 100 * self.errors / self.requests if self.requests else 0.0

    @property
    def surely(self) -> float:
        """The error ratio that it has at least, given how few requests that was: two standard errors below."""
        share = self.percent / 100
        spread = math.sqrt(share * (1 - share) / self.requests) if self.requests else 0.0
        return 100 * (share - 2 * spread)

    def __str__(self) -> str:
        return f"{self.errors} of {self.requests} requests failed ({self.percent:.1f} %)"


@dataclass(frozen=True)
class Rules:
    """When a release is given up."""

    seconds: float
    limit: float  # percent points above the error ratio of the other
    requests: int  # below which nothing is said


@dataclass(frozen=True)
class Verdict:
    """What was seen: ``good``, ``bad`` or, of too few requests, ``unknown``; and that in words."""

    kind: str
    words: str


def count(lines: Iterable[bytes], into: dict[str, Figures], since: float = 0.0) -> None:
    """Add what lines of the log tell, by release. Lines of any other form are passed over.

    :param since: seconds of the epoch; what was answered before does not count.
    """
    for line in lines:
        found = _LINE.fullmatch(line)
        if found and float(found.group(3)) >= since:
            figures = into.setdefault(found.group(2).decode("utf-8", "replace"), Figures())
            figures.requests += 1
            figures.errors += found.group(1)[:1] == b"5"


def past(path: str, release: str, seconds: float) -> Figures:
    """How a release did in the last seconds."""
    figures: dict[str, Figures] = {}
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _PAST_BYTES))
        count(stream, figures, time.time() - seconds)
    return figures.get(release, Figures())


class Tail:
    """What is added to a log from now on, also when it is rotated meanwhile."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._half = b""
        self._stream = self._open()
        if self._stream:
            self._stream.seek(0, os.SEEK_END)

    def lines(self) -> list[bytes]:
        """The whole lines that came since the last call."""
        data = self._half + (self._stream.read() if self._stream else b"")
        if self._rotated():
            self.close()
            self._stream = self._open()
            data += self._stream.read() if self._stream else b""
        *whole, self._half = data.split(b"\n")
        return [line + b"\n" for line in whole]

    def close(self) -> None:
        """Let go of the file."""
        if self._stream:
            self._stream.close()

    def _open(self) -> BinaryIO | None:
        with contextlib.suppress(FileNotFoundError):
            return open(self._path, "rb")
        return None

    def _rotated(self) -> bool:
        if not self._stream:
            return os.path.exists(self._path)
        with contextlib.suppress(FileNotFoundError):
            return os.stat(self._path).st_ino != os.fstat(self._stream.fileno()).st_ino
        return False


def judge(new: Figures, old: Figures, rules: Rules, *, over: bool) -> str:
    """``bad``, ``good``, ``unknown``; before the time is over only what is clear already, else nothing."""
    if new.requests >= rules.requests and (new.percent if over else new.surely) > old.percent + rules.limit:
        return "bad"
    if not over:
        return ""
    return "good" if new.requests >= rules.requests else "unknown"


def watch(
    log: Tail,
    release: str,
    other: str,
    rules: Rules,
    *,
    old: Figures | None = None,
    dead: Callable[[], str] = lambda: "",
    alive: Callable[[], None] = lambda: None,
) -> Verdict:
    """Watch how a release does until that is clear, or the time is over.

    :param log: of the app, opened before the release got its visitors.
    :param other: the release to compare with.
    :param old: how that did before; else both are counted side by side.
    :param dead: says that a process of the release has died, empty while it has not.
    :param alive: called again and again, to say that this goes on.
    """
    started = time.monotonic()
    seen: dict[str, Figures] = {}
    for look in itertools.count():
        # first the time, then the log: what came in until then counts
        over = time.monotonic() - started >= rules.seconds
        count(log.lines(), seen)
        why = ""
        if over or look % _SELDOM == 0:
            alive()
            why = dead()
        new, beside = seen.get(release, Figures()), old if old is not None else seen.get(other, Figures())
        kind = "bad" if why else judge(new, beside, rules, over=over)
        if kind:
            break
        time.sleep(_PERIOD)
    words = f"in {time.monotonic() - started:.0f} s, {new}" + (f"; of {other} {beside}" if other else "")
    if why:
        return Verdict(kind, f"a process of {release} has died ({why}); {words}")
    if kind == "unknown":
        return Verdict(kind, f"{words}; that says nothing, {rules.requests} requests are needed (watch_requests)")
    return Verdict(kind, f"{words}; allowed are {rules.limit:g} percent points more")
