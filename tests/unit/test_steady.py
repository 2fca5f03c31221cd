# SPDX-License-Identifier: GPL-3.0-or-later
"""All workers of a candidate come up, and stay: with real processes, and a supervisord that only tells."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _health, _steady
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App

from tests.support.host import Host

# a master with two children that tells their process ids, and makes no new ones
MASTER = """
import subprocess, sys, time
children = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
print(*(child.pid for child in children), flush=True)
while True:
    time.sleep(0.02)
    for child in children:
        child.poll()
"""


class Daemon:
    """What supervisord would tell."""

    def __init__(self) -> None:
        self.state, self.pid, self.asked = "RUNNING", 0, 0

    def processes(self, group: str) -> list[dict[str, Any]]:
        self.asked += 1
        return [{"name": group, "statename": self.state, "spawnerr": "", "pid": self.pid}]


@pytest.fixture
def app(host: Host) -> App:
    app = host.app(workers=2)
    Path(app.paths["log"], "web.log").write_text("the reason\n")
    return app


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    daemon = Daemon()
    monkeypatch.setattr(_steady, "Supervisord", lambda: daemon)
    monkeypatch.setattr(_steady, "_MARGIN", 0.0)
    monkeypatch.setattr(_steady, "_PAUSE", 0.02)
    return daemon


@pytest.fixture
def children(daemon: Daemon) -> Iterator[list[int]]:
    with subprocess.Popen([sys.executable, "-c", MASTER], stdout=subprocess.PIPE, start_new_session=True) as master:
        assert master.stdout
        daemon.pid = master.pid
        yield [int(word) for word in master.stdout.readline().split()]
        os.killpg(master.pid, signal.SIGKILL)


@pytest.fixture
def workers(app: App) -> _steady.Workers:
    return _steady.Workers(app, "r1")


def tell(app: App, *pids: int) -> None:
    """As gunicorn's workers do."""
    with open(os.path.join(app.paths["run"], "r1.workers"), "a", encoding="ascii") as stream:
        stream.writelines(f"{pid}\n" for pid in pids)


def test_all_there_and_staying(app: App, daemon: Daemon, workers: _steady.Workers, children: list[int]) -> None:
    workers.expect()
    tell(app, *children)
    assert workers.complaint(0.1, 1) == ""
    workers.forget()
    assert os.listdir(app.paths["run"]) == []


def test_each_look_asks_supervisord_once(
    app: App, daemon: Daemon, workers: _steady.Workers, children: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a processor that the host's visitors have a use for."""
    monkeypatch.setattr(_steady, "_PAUSE", 0.1)
    workers.expect()
    tell(app, *children)
    workers.complaint(0, 1)
    without, daemon.asked = daemon.asked, 0
    assert workers.complaint(1, 1) == ""
    # one more when it begins
    assert daemon.asked - without <= 11


def test_one_that_need_not_stay_is_not_waited_for(
    app: App, daemon: Daemon, workers: _steady.Workers, children: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_steady, "_MARGIN", 2.0)
    workers.expect()
    tell(app, *children)
    began = time.monotonic()
    assert workers.complaint(0, 1) == ""
    assert time.monotonic() - began < 1


def test_the_second_comes_later(app: App, daemon: Daemon, workers: _steady.Workers, children: list[int]) -> None:
    workers.expect()
    tell(app, children[0])
    threading.Timer(0.2, tell, (app, children[1])).start()
    began = time.monotonic()
    assert workers.complaint(0, 5) == ""
    assert 0.1 <= time.monotonic() - began < 3


def test_the_second_does_not_come(app: App, daemon: Daemon, workers: _steady.Workers, children: list[int]) -> None:
    workers.expect()
    # of a run before: no worker of this master
    tell(app, children[0], children[0], os.getpid(), 1)
    why = workers.complaint(0, 0.1)
    assert why.startswith("blog r1 answers, but only 1 of its 2 workers came up within 0.1 s\n")
    assert why.endswith("web.log:\nthe reason")


def test_master_gives_up(app: App, daemon: Daemon, workers: _steady.Workers, children: list[int]) -> None:
    workers.expect()
    tell(app, children[0])
    daemon.state = "BACKOFF"
    assert "blog r1 answers, but does not stay up: blog@r1 BACKOFF\n" in workers.complaint(0, 5)


def test_nobody_tells(app: App, daemon: Daemon, workers: _steady.Workers, children: list[int]) -> None:
    """uWSGI, or a host whose gunicorn.conf.py is older: that they stay is seen all the same."""
    workers.expect()
    assert workers.complaint(0, 5) == ""


def test_a_worker_ends(app: App, daemon: Daemon, workers: _steady.Workers, children: list[int]) -> None:
    threading.Timer(0.2, os.kill, (children[1], signal.SIGKILL)).start()
    why = workers.complaint(3, 5)
    assert f"does not stay up: a worker (process {children[1]}) ended, 0." in why
    assert why.endswith("the reason")


def test_the_master_is_another(app: App, daemon: Daemon, workers: _steady.Workers, children: list[int]) -> None:
    def restart() -> None:
        daemon.pid = os.getpid()

    threading.Timer(0.2, restart).start()
    assert "does not stay up: it was started anew, 0." in workers.complaint(3, 5)


def test_it_is_watched_as_long_as_asked(
    app: App, daemon: Daemon, workers: _steady.Workers, children: list[int]
) -> None:
    began = time.monotonic()
    assert workers.complaint(0.5, 5) == ""
    assert 0.5 <= time.monotonic() - began < 2


def test_it_is_watched_from_its_first_answer_on(
    app: App, daemon: Daemon, workers: _steady.Workers, children: list[int]
) -> None:
    """The time in which the other workers come up counts."""
    workers.expect()
    tell(app, children[0])
    threading.Timer(0.8, tell, (app, children[1])).start()
    began = time.monotonic()
    assert workers.complaint(2.0, 5) == ""
    assert 2.0 <= time.monotonic() - began < 2.7


def test_one_that_comes_late_is_watched_too(
    app: App, daemon: Daemon, workers: _steady.Workers, children: list[int]
) -> None:
    workers.expect()
    tell(app, children[0])
    threading.Timer(0.6, tell, (app, children[1])).start()
    threading.Timer(0.9, os.kill, (children[1], signal.SIGKILL)).start()
    assert f"a worker (process {children[1]}) ended" in workers.complaint(0.5, 5)


def test_the_first_has_gone_when_the_last_comes(
    app: App, daemon: Daemon, workers: _steady.Workers, children: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    workers.expect()
    tell(app, children[0])
    ended = threading.Event()

    def another() -> None:
        os.kill(children[0], signal.SIGKILL)
        ended.set()

    ready = workers._ready
    # as many as are wanted then, but not those that answered
    monkeypatch.setattr(workers, "_ready", lambda: set(children) if ended.is_set() else ready())
    threading.Timer(0.2, another).start()
    assert f"a worker (process {children[0]}) ended" in workers.complaint(0.3, 5)


def test_file_is_new_and_the_apps(app: App, workers: _steady.Workers, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root's")
    place = Path(app.paths["run"], "r1.workers")
    place.symlink_to(secret)
    workers.expect()
    assert not place.is_symlink()
    assert (place.stat().st_mode & 0o777, place.read_text(), secret.read_text()) == (0o600, "", "root's")


def test_removed_with_its_release(host: Host, app: App, workers: _steady.Workers) -> None:
    host.release(app, "r1", "building")
    workers.expect()
    app.remove("r1")
    assert os.listdir(app.paths["run"]) == []


# The hook of gunicorn's workers.


class Worker:
    def __init__(self, place: Any) -> None:
        self.wsgi = None
        self.sockets = [self]
        self._place = place

    def getsockname(self) -> Any:
        return self._place


def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    source = Path(__file__).parents[2] / "roles/app/templates/usr/local/lib/flaskhost/gunicorn.conf.py"
    names: dict[str, Any] = {"__file__": str(source)}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RELEASE_ID", "r1")
    exec(compile(source.read_text(), "gunicorn.conf.py", "exec"), names)
    return names


def test_a_worker_tells_only_while_somebody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = hooks(tmp_path, monkeypatch)
    place = tmp_path / "r1.sock"
    names["post_worker_init"](Worker(str(place)))
    assert os.listdir(tmp_path) == []
    (tmp_path / "r1.workers").touch()
    names["post_worker_init"](Worker(str(place)))
    assert (tmp_path / "r1.workers").read_text() == f"{os.getpid()}\n"
    # a TCP socket has no file beside it
    names["post_worker_init"](Worker(("127.0.0.1", 8000)))


def test_the_apps_own_hook_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("def post_worker_init(worker):\n    raise RuntimeError('own')\n")
    (tmp_path / "r1.workers").touch()
    with pytest.raises(RuntimeError, match="own"):
        hooks(tmp_path, monkeypatch)["post_worker_init"](Worker(str(tmp_path / "r1.sock")))
    assert (tmp_path / "r1.workers").read_text() == "", "it is not ready"


def test_died_is_what_the_probe_asks(daemon: Daemon) -> None:
    daemon.state = "FATAL"
    assert _health.died(daemon, "blog@r1") == "blog@r1 FATAL"  # type: ignore[arg-type]
