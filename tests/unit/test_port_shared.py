# SPDX-License-Identifier: GPL-3.0-or-later
"""Two releases share a port: the real gunicorn with our settings, under requests, of which none may be lost."""

from __future__ import annotations

import contextlib
import os
import runpy
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils._probe import Answer, ask

from tests.support.network import own_network
from tests.support.render import ROLES

SETTINGS = ROLES / "app/templates/usr/local/lib/flaskhost/gunicorn.conf.py"
APP = """
import os
if os.path.exists("broken"):
    raise RuntimeError("broken")

def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        import time
        time.sleep(1)
    start_response("200 OK", [])
    return [environ.get("HTTP_X_FORWARDED_FOR", "nobody").encode()]
"""


class Site:
    """An app below a directory, with releases one and two."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        for release in ("one", "two"):
            folder = root / "releases" / release
            folder.mkdir(parents=True)
            (folder / "sharer.py").write_text(APP)

    def socket(self, release: str) -> str:
        return str(self.root / f"{release}.sock")

    def start(self, release: str) -> None:
        self.running[release] = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", f"--config={SETTINGS}", f"--bind=unix:{self.socket(release)}"),
                *("--worker-class=gthread", "--keep-alive=0", f"--env=FLASKHOST_PORT={self.port}"),
                *("--workers=2", "--threads=2", "--graceful-timeout=10", "sharer:app"),
            ],
            cwd=self.root / "releases" / release,
            env={**os.environ, "RELEASE_ID": release, "PYTHONPATH": ""},
            stdout=subprocess.DEVNULL,
            stderr=(self.root / f"{release}.log").open("wb"),
        )

    def serve(self, release: str) -> None:
        aside = self.root / "aside"
        aside.write_text(f"{release}\n")
        aside.replace(self.root / "serving")

    def visit(self, path: str = "/") -> Answer:
        return ask(f"http://127.0.0.1:{self.port}", path=path)

    def until(self, target: str, release: str) -> Answer:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            answer = ask(target)
            if answer.release == release:
                return answer
            time.sleep(0.05)
        pytest.fail((self.root / f"{release}.log").read_text())

    def end(self, release: str) -> None:
        process = self.running.pop(release)
        process.terminate()
        process.wait(20)


@pytest.fixture
def hands_over() -> Iterator[bool]:
    with own_network() as ours:
        yield ours


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    for process in made.running.values():
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


def test_releases_take_turns_on_a_port_and_lose_nobody(hands_over: bool, site: Site) -> None:
    site.serve("one")
    site.start("one")
    site.until(f"http://127.0.0.1:{site.port}", "one")
    # somebody on this host may be a proxy, and say who the visitor is
    assert ask(site.socket("one"), path="/").text == "127.0.0.1"
    site.start("two")
    site.until(site.socket("two"), "two")
    assert {site.visit().release for _time in range(20)} == {"one"}, "it may be asked, but has no visitors yet"

    answers: list[Answer] = []
    over = threading.Event()

    def visitors() -> None:
        while not over.is_set():
            answers.append(site.visit())

    threads = [threading.Thread(target=visitors) for _number in range(4)]
    slow = threading.Thread(target=lambda: answers.append(site.visit("/slow")))
    for thread in threads:
        thread.start()
    site.serve("two")
    site.until(f"http://127.0.0.1:{site.port}", "two")
    slow.start()
    time.sleep(0.3)
    site.end("one")
    time.sleep(0.3)
    over.set()
    for thread in [*threads, slow]:
        thread.join()
    lost = [answer for answer in answers if answer.status != 200]
    # without it, those few who waited at the port when it was closed
    assert len(lost) <= (0 if hands_over else len(answers) / 50), lost[:3]
    assert {"one", "two"} == {answer.release for answer in answers} - {""}
    assert len(answers) > 50
    assert {site.visit().release for _time in range(20)} == {"two"}


@pytest.mark.parametrize(
    ("direct", "visitor", "kept"),
    [
        (True, "192.0.2.9", set()),
        (True, "127.0.0.1", {"HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP"}),
        (True, "", {"HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP"}),
        (False, "192.0.2.9", {"HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_PROXY"}),
    ],
)
def test_what_a_visitor_says_of_itself_is_not_believed(direct: bool, visitor: str, kept: set[str]) -> None:
    seen: dict[str, str] = {}
    wrapped = runpy.run_path(str(SETTINGS))["_answers"].NamesItsRelease(
        lambda environ, _start: seen.update(environ), "one", direct
    )
    said = dict.fromkeys(("HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_PROXY"), "198.51.100.1")
    wrapped({"REMOTE_ADDR": visitor, **said}, None)
    assert {name for name in seen if name.startswith("HTTP_")} == kept


def test_release_that_was_live_last_opens_where_the_file_is_lost(site: Site) -> None:
    (site.root / "current").symlink_to(site.root / "releases" / "one")
    site.start("one")
    site.until(f"http://127.0.0.1:{site.port}", "one")


def test_broken_release_never_opens(site: Site) -> None:
    (site.root / "releases/two/broken").touch()
    site.serve("two")
    site.start("two")
    assert site.running["two"].wait(20) != 0
    assert site.visit().status == 0


def test_port_that_is_taken_is_told(site: Site) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", site.port))
        other.listen()
        site.start("one")
        assert site.running["one"].wait(20) != 0
    assert f"port {site.port} cannot be had: Address already in use" in (site.root / "one.log").read_text()
