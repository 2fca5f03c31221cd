# SPDX-License-Identifier: GPL-3.0-or-later
"""What workers share: the real gunicorn with our settings, in an environment with libraries that tell who has loaded them."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils._probe import ask

from tests.support.render import ROLES

SETTINGS = ROLES / "app/templates/usr/local/lib/flaskhost/gunicorn.conf.py"
LIBRARY = "import os\nLOADED_BY = os.getpid()\n"
APP = """
import json, os
import flask, flask_cors

def app(environ, start_response):
    start_response("200 OK", [])
    told = {"worker": os.getpid(), "master": os.getppid(), "library": flask.LOADED_BY, "own": flask_cors.LOADED_BY}
    return [json.dumps(told).encode()]
"""
OTHER_KIND = "from gunicorn.workers.sync import SyncWorker\nclass Worker(SyncWorker):\n    pass\n"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with gunicorn, a library, and one that is broken."""
    root = tmp_path_factory.mktemp("venv")
    venv.create(root, symlinks=True)
    libraries = next(root.glob("lib/python3*/site-packages"))
    (libraries / "gunicorns.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (libraries / "flask.py").write_text(LIBRARY)
    (libraries / "flask_mail.py").write_text("raise RuntimeError('broken')\n")
    return root / "bin/python"


@pytest.fixture
def asked(tmp_path: Path, python: Path) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Start a release with one kind of workers, and see what one of them tells."""
    started: list[subprocess.Popen[bytes]] = []
    (tmp_path / "teller.py").write_text(APP)
    (tmp_path / "otherkind.py").write_text(OTHER_KIND)
    # the app's own module, which has the name of a library that is not installed
    (tmp_path / "flask_cors.py").write_text(LIBRARY)

    def tell(kind: str) -> dict[str, Any]:
        place, log = str(tmp_path / "one.sock"), tmp_path / "log"
        words = [
            str(python),
            "-m",
            "gunicorn",
            f"--config={SETTINGS}",
            f"--bind=unix:{place}",
            f"--worker-class={kind}",
        ]
        started.append(
            subprocess.Popen(
                # a worker that is told to end before it listens to signals is waited for so long
                [*words, "--graceful-timeout=2", "--workers=2", "teller:app"],
                cwd=tmp_path,
                env={**os.environ, "RELEASE_ID": "one", "PYTHONPATH": ""},
                stdout=subprocess.DEVNULL,
                stderr=log.open("wb"),
            )
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            answer = ask(place)
            if answer.status == 200:
                told: dict[str, Any] = json.loads(answer.text)
                return told
            time.sleep(0.05)
        pytest.fail(log.read_text())

    yield tell
    for process in started:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_libraries_are_loaded_once_and_the_app_by_each(asked: Callable[[str], dict[str, Any]], kind: str) -> None:
    told = asked(kind)
    assert told["library"] == told["master"], "although another library is broken"
    assert told["own"] == told["worker"], "what opens connections when it is loaded cannot be shared"


@pytest.mark.parametrize("named", ["['flask', 'no_such_library', 'flask_mail']", "'flask'"])
def test_an_app_may_name_them(asked: Callable[[str], dict[str, Any]], tmp_path: Path, named: str) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(f"shared_libraries = {named}\n")
    told = asked("sync")
    assert told["library"] == told["master"]
    log = (tmp_path / "log").read_text()
    assert ("no_such_library is not installed" in log) == ("no_such_library" in named)
    assert ("flask_mail cannot be imported: RuntimeError('broken')" in log) == ("flask_mail" in named)


def test_an_app_may_share_none(asked: Callable[[str], dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("shared_libraries = []\n")
    told = asked("sync")
    assert told["library"] == told["worker"]


def test_where_somebody_may_patch_nothing_is_shared(asked: Callable[[str], dict[str, Any]], python: Path) -> None:
    """The parts of libraries that were imported before would not be replaced."""
    gevent = next(python.parents[1].glob("lib/python3*/site-packages")) / "gevent"
    gevent.mkdir()
    try:
        told = asked("sync")
    finally:
        gevent.rmdir()
    assert told["library"] == told["worker"]


def test_the_app_own_module_comes_before_a_library(asked: Callable[[str], dict[str, Any]], python: Path) -> None:
    library = next(python.parents[1].glob("lib/python3*/site-packages")) / "flask_cors.py"
    library.write_text(LIBRARY)
    try:
        told = asked("sync")
    finally:
        library.unlink()
    assert told["own"] == told["worker"]


def test_other_kinds_of_workers_load_their_own(asked: Callable[[str], dict[str, Any]]) -> None:
    told = asked("otherkind.Worker")
    assert told["library"] == told["worker"]
