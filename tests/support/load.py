# SPDX-License-Identifier: GPL-3.0-or-later
"""A steady load, as visitors make it: for the boxes that a test made itself, bounded in rate and time."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType

from tests.support.web import NamedConnection

RELEASE_HEADER = "X-Flaskhost-Release"


@dataclass
class Report:
    """What the load saw. Times are seconds since its start, which ``began`` is in seconds of the monotonic clock."""

    sent: int = 0
    failed: list[str] = field(default_factory=list)
    failed_at: list[float] = field(default_factory=list)  # when those began
    answered: list[tuple[float, str]] = field(default_factory=list)  # when, which release
    began: float = 0.0

    @property
    def gaps(self) -> list[tuple[float, float]]:
        """Begin and end of each time between two answers."""
        return list(itertools.pairwise(sorted(when for when, _release in self.answered)))

    @property
    def longest_gap(self) -> float:
        """Longest time in which no answer came."""
        return max((end - begin for begin, end in self.gaps), default=0.0)

    def gap_of_its_own(self, other: Report) -> float:
        """Longest time in which no answer came, less that in which none came to another load either at that time."""
        shift = other.began - self.began
        theirs = [(begin + shift, end + shift) for begin, end in other.gaps]

        def shared(begin: float, end: float) -> float:
            return max((min(end, until) - max(begin, since) for since, until in theirs), default=0.0)

        return max((end - begin - max(0.0, shared(begin, end)) for begin, end in self.gaps), default=0.0)

    def outage(self, since: float) -> tuple[float, float]:
        """Begin and end of the longest time without an answer, from some moment on."""
        gaps = [(end - begin, begin, end) for begin, end in self.gaps if end > since]
        return max(gaps)[1:] if gaps else (since, float("inf"))

    @property
    def releases(self) -> list[str]:
        """The releases that answered, in the order of their first answer."""
        return list(dict.fromkeys(release for _when, release in sorted(self.answered)))

    def last_release(self) -> str:
        """The release of the last answer."""
        return max(self.answered)[1] if self.answered else ""

    def __str__(self) -> str:
        return (
            f"sent {self.sent}, failed {len(self.failed)}, longest gap {self.longest_gap:.2f} s, "
            f"releases {' -> '.join(self.releases)}{''.join(chr(10) + '  ' + text for text in self.failed[:10])}"
        )


class SteadyLoad:
    """Requests at a fixed rate while a ``with`` block runs; ``report`` holds the result afterwards.

    Half of the visitors keep their connection, half open a new one for each request.

    :param address: address of a box.
    :param path: what to get.
    :param host: name to ask for.
    :param rate: requests per second.
    :param longest: seconds after which it stops by itself.
    :param visitors: concurrent visitors; each sends ``rate / visitors`` requests per second.
    :param patience: seconds that one waits for an answer.
    :param tls: over https.
    """

    def __init__(
        self,
        address: str,
        path: str = "/",
        *,
        host: str = "",
        rate: float = 50,
        longest: float = 300,
        visitors: int = 10,
        patience: float = 30,
        tls: bool = True,
    ) -> None:
        self.report = Report()
        self._address, self._path, self._host = address, path, host or address
        self._interval, self._longest, self._patience = visitors / rate, longest, patience
        self._tls = tls
        self._stop = threading.Event()
        self._mutex = threading.Lock()
        self._start = 0.0
        self._threads = [
            threading.Thread(target=self._visit, args=(n, visitors), name=f"visitor-{n}", daemon=True)
            for n in range(visitors)
        ]

    def __enter__(self) -> SteadyLoad:
        self._start = self.report.began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def now(self) -> float:
        """Seconds since the start, as the report has them."""
        return time.monotonic() - self._start

    def _connect(self) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection(self._address, timeout=self._patience)
        return NamedConnection(self._address, self._host, timeout=self._patience)

    def _visit(self, number: int, visitors: int) -> None:
        keeps = number % 2 == 0
        connection = self._connect()
        due = self._start + self._interval * number / visitors
        while not self._stop.wait(max(0.0, due - time.monotonic())) and self.now() < self._longest:
            due += self._interval
            fresh = not keeps or connection.sock is None
            began = self.now()
            try:
                release = self._get(connection)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
                connection.close()
                if fresh:
                    self._fail(began, error)
                    continue
                # a server may close an idle connection at any time; every client asks again on a new one (RFC 9110, 9.2.2)
                try:
                    release = self._get(connection)
                except (OSError, http.client.HTTPException, ValueError) as again:
                    self._fail(began, again)
                    connection.close()
                    continue
            except (OSError, http.client.HTTPException, ValueError) as error:
                connection.close()
                self._fail(began, error)
                continue
            if not keeps:
                connection.close()
            self._answer(release)
        connection.close()

    def _get(self, connection: http.client.HTTPConnection) -> str:
        # by its name a visitor without cookies is known, and stays on its side of a canary
        headers = {"Host": self._host, "User-Agent": threading.current_thread().name}
        connection.request("GET", self._path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise ValueError(f"status {response.status}: {body[:80]!r}")
        return response.getheader(RELEASE_HEADER) or ""

    def _answer(self, release: str) -> None:
        with self._mutex:
            self.report.sent += 1
            self.report.answered.append((self.now(), release))

    def _fail(self, began: float, error: Exception) -> None:
        with self._mutex:
            self.report.sent += 1
            self.report.failed.append(f"{self.now():.2f} s: {type(error).__name__} {error}")
            self.report.failed_at.append(began)
