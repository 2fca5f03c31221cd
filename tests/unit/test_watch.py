# SPDX-License-Identifier: GPL-3.0-or-later
"""The error ratio of a release: counted from the log alone, proof against what visitors write into it, judged fairly."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _watch
from ansible_collections.flaskhost.stack.plugins.module_utils._watch import (
    Figures,
    Rules,
    Tail,
    count,
    judge,
    past,
    watch,
)

NEW, OLD = "20260102T000000Z-abcdef2", "20260101T000000Z-abcdef1"


def line(
    release: str = NEW, status: int = 200, when: float = 0.0, request: str = "GET / HTTP/2.0", agent: str = "x"
) -> str:
    """A line as nginx writes it in the site's log_format."""
    return f'10.0.0.1 - - [21/Nov/2026:06:08:57 +0000] "{request}" {status} 2293 "-" "{agent}" {release} {when or time.time():.3f}\n'


def figures(text: str, since: float = 0.0) -> dict[str, Figures]:
    found: dict[str, Figures] = {}
    count(text.encode("utf-8", "surrogateescape").splitlines(keepends=True), found, since)
    return found


def test_each_request_counts_for_the_release_that_it_was_for() -> None:
    text = line() + line(status=500) + line(status=502) + line(OLD, 404) + line(OLD, 499) + line(OLD, 304)
    assert figures(text) == {NEW: Figures(3, 2), OLD: Figures(3, 0)}


@pytest.mark.parametrize("status", [200, 301, 400, 404, 413, 429, 444, 499])
def test_what_the_visitor_did_is_no_error(status: int) -> None:
    assert figures(line(status=status)) == {NEW: Figures(1, 0)}


def test_only_what_came_since() -> None:
    assert figures(line(when=100.0) + line(when=200.0, status=503), 150.0) == {NEW: Figures(1, 1)}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        '10.0.0.1 - - [x] "GET / HTTP/1.1" 500 1 "-" "combined"\n',
        f'10.0.0.1 - - [x] "GET / HTTP/1.1" 500 1 "-" "-" {NEW}\n',
        f'x "GET /" 500 1 "-" "-" {NEW} 1.000',
        "\0" * 200 + "\n",
    ],
)
def test_lines_of_another_form_are_passed_over(text: str) -> None:
    assert figures(text) == {}


# what a visitor sends, and what nginx makes of quotes, backslashes and control characters in it
FORGED = f'" 500 1 "-" "-" {OLD} 9999999999.000\n1.1.1.1 - - [x] "GET /" 500 1 "-" "-" {OLD} 9999999999.000'


@pytest.mark.parametrize("field", ["request", "agent"])
def test_visitors_cannot_write_figures(field: str) -> None:
    escaped = FORGED.replace("\\", "\\x5C").replace('"', "\\x22").replace("\n", "\\x0A")
    text = line(request=escaped) if field == "request" else line(agent=escaped)
    assert figures(text) == {NEW: Figures(1, 0)}


def test_past_of_a_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, now = tmp_path / "log", time.time()
    assert past(str(log), OLD, 60) == Figures()
    log.write_text(line(OLD, 500, now - 100) + line(OLD, 200, now - 50) + line(OLD, 502, now - 1) + line(NEW, 500, now))
    assert past(str(log), OLD, 60) == Figures(2, 1)
    monkeypatch.setattr(_watch, "_PAST_BYTES", 2 * len(line(OLD, 502, now)) + 10)
    assert past(str(log), OLD, 3600) == Figures(1, 1), "the end of a long log is enough; half a line is none"


def test_tail_begins_now_and_follows_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"before\n")
    tail = Tail(str(log))
    assert tail.lines() == []
    with log.open("ab") as stream:
        stream.write(b"one\nha")
        stream.flush()
        assert tail.lines() == [b"one\n"]
        stream.write(b"lf\n")
        stream.flush()
        os.rename(log, tmp_path / "log.1")
        assert tail.lines() == [b"half\n"], "nginx goes on writing there until it is told"
        stream.write(b"late\n")
    log.write_bytes(b"new\n")
    assert tail.lines() == [b"late\n", b"new\n"]
    assert tail.lines() == []
    tail.close()


def test_tail_of_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    tail = Tail(str(tmp_path / "log"))
    assert tail.lines() == []
    (tmp_path / "log").write_bytes(b"one\n")
    assert tail.lines() == [b"one\n"]


RULES = Rules(seconds=60, limit=5, requests=20)


@pytest.mark.parametrize(
    ("new", "old", "over", "expected"),
    [
        # all fail: clear as soon as there are enough
        (Figures(19, 19), Figures(), False, ""),
        (Figures(20, 20), Figures(), False, "bad"),
        # one or two errors by chance end nothing early
        (Figures(20, 2), Figures(), False, ""),
        (Figures(100, 6), Figures(), False, ""),
        (Figures(100, 20), Figures(), False, "bad"),
        # at the end, the numbers as they are
        (Figures(100, 6), Figures(), True, "bad"),
        (Figures(100, 5), Figures(), True, "good"),
        (Figures(19, 0), Figures(), True, "unknown"),
        (Figures(19, 19), Figures(), True, "unknown"),
        (Figures(), Figures(), True, "unknown"),
        # what the former failed as well is not its fault
        (Figures(100, 14), Figures(1000, 100), True, "good"),
        (Figures(100, 16), Figures(1000, 100), True, "bad"),
        (Figures(1000, 100), Figures(1000, 100), False, ""),
    ],
)
def test_verdict(new: Figures, old: Figures, over: bool, expected: str) -> None:
    assert judge(new, old, RULES, over=over) == expected


def test_a_limit_of_nothing_and_of_all() -> None:
    assert judge(Figures(1000, 1), Figures(), Rules(1, 0, 1), over=True) == "bad"
    assert judge(Figures(1000, 0), Figures(), Rules(1, 0, 1), over=True) == "good"
    assert judge(Figures(1000, 1000), Figures(), Rules(1, 100, 1), over=True) == "good"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_watch, "_PERIOD", 0.01)
    path = tmp_path / "log"
    path.write_text(line(status=500) * 100)
    return path


def later(seconds: float, action: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()


def add(log: Path, text: str) -> None:
    with log.open("a") as stream:
        stream.write(text)


def test_watch_ends_early_on_a_bad_release(log: Path) -> None:
    tail = Tail(str(log))
    later(0.05, lambda: add(log, line(status=500) * 20 + line(OLD) * 50))
    started = time.monotonic()
    verdict = watch(tail, NEW, OLD, Rules(30, 5, 20))
    assert time.monotonic() - started < 5
    assert verdict.kind == "bad"
    assert "20 of 20 requests failed (100.0 %)" in verdict.words, "what was in the log before does not count"
    assert f"of {OLD} 0 of 50 requests failed (0.0 %); allowed are 5 percent points more" in verdict.words


def test_watch_of_a_good_release_takes_its_time(log: Path) -> None:
    tail, calls = Tail(str(log)), list[int]()
    later(0.05, lambda: add(log, line() * 99 + line(status=500)))
    verdict = watch(tail, NEW, OLD, Rules(0.3, 5, 20), alive=lambda: calls.append(1))
    assert verdict.kind == "good"
    assert "1 of 100 requests failed (1.0 %)" in verdict.words
    assert len(calls) > 3, "the lock is shown to be alive"


def test_watch_compares_with_what_the_former_did_before(log: Path) -> None:
    tail = Tail(str(log))
    add(log, line(status=500) * 20 + line() * 80 + line(OLD) * 100)
    assert watch(tail, NEW, OLD, Rules(0, 5, 20), old=Figures(100, 18)).kind == "good"


def test_watch_without_visitors_says_nothing(log: Path) -> None:
    verdict = watch(Tail(str(log)), NEW, OLD, Rules(0.05, 5, 20))
    assert verdict.kind == "unknown"
    assert verdict.words.endswith("that says nothing, 20 requests are needed (watch_requests)")


def test_a_process_that_dies_is_enough(log: Path) -> None:
    verdict = watch(Tail(str(log)), NEW, OLD, Rules(30, 5, 20), dead=lambda: "blog BACKOFF")
    assert verdict.kind == "bad"
    assert verdict.words.startswith(f"a process of {NEW} has died (blog BACKOFF); in 0 s, 0 of 0 requests failed")
