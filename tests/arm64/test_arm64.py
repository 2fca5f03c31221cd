# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be shown of arm64 in a minute: its Debian unpacked without being set up, and in it, under emulation, the guestbook.

The whole is `make test-arm`, and `make test-board` with a kernel of its own.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils._probe import ask
from boxlib import emulation
from boxlib.system import Problem, need

from tests.support.load import SteadyLoad
from tests.support.network import own_network
from tests.support.render import ROLES
from tests.support.stack import ROOT

PYTHON = "3.11"  # of Debian 12
SITE = "srv/site"
ENVIRONMENT = {
    "PATH": "/usr/bin", "HOME": "/tmp", "PYTHONPATH": f"/{SITE}/lib", "SECRET_KEY": "no secret",
    "DATABASE_URL": f"sqlite:////{SITE}/guestbook.sqlite3",
}  # fmt: skip


def install(into: Path, *what: str) -> None:
    """Packages for arm64, from wheels alone: nothing is compiled on a board."""
    subprocess.run(
        [
            "uv", "pip", "install", "--quiet", "--no-config", "--only-binary", ":all:",
            "--python-platform", "aarch64-unknown-linux-gnu", "--python-version", PYTHON, "--target", into, *what,
        ],
        check=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    """A Debian for arm64 with Python, and two releases of the guestbook below ``/srv/site``."""
    if os.geteuid():
        pytest.skip("only root may tell the kernel of an emulator")
    try:
        emulation.ready("arm64")
        need("mmdebstrap", ["mmdebstrap", "debian-archive-keyring"], "Install mmdebstrap.")
    except Problem as problem:
        pytest.skip(str(problem))
    with tempfile.TemporaryDirectory(prefix="flaskhost-arm64-") as made:
        tree = Path(made)
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=extract", "--architectures=arm64", "--include=python3", "bookworm", tree],
            check=True,
        )  # fmt: skip
        for release in ("one", "two"):
            shutil.copytree(ROOT / "examples" / "guestbook", tree / SITE / "releases" / release)
        settings = ROLES / "app/templates/usr/local/lib/flaskhost"
        shutil.copytree(settings, tree / "usr/local/lib/flaskhost")
        install(
            tree / SITE / "lib",
            f"gunicorn=={importlib.metadata.version('gunicorn')}",
            f"--requirements={ROOT}/examples/guestbook/requirements.txt",
        )
        install(tree / "opt/uv", "--require-hashes", f"--requirements={ROLES}/app/templates/opt/flaskhost/uv.txt")
        yield tree


def command(tree: Path, folder: str, *words: str) -> list[str]:
    """Something that runs in a folder of the tree."""
    return ["unshare", f"--root={tree}", f"--wd=/{folder}", *words]


@pytest.fixture
def running(tree: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The releases that run, by name; whatever is left of them ends with the test."""
    made: dict[str, subprocess.Popen[bytes]] = {}
    yield made
    for process in made.values():
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


def start(tree: Path, release: str) -> subprocess.Popen[bytes]:
    """A release as supervisor would start it."""
    words = command(
        tree, f"{SITE}/releases/{release}", "/usr/bin/python3", "-m", "gunicorn",
        "--config=/usr/local/lib/flaskhost/gunicorn.conf.py", f"--bind=unix:/{SITE}/{release}.sock", "--workers=1",
        "--threads=4", "--timeout=120", "--worker-class=gthread", "--keep-alive=0", "--env=FLASKHOST_PORT=80",
        "guestbook:create_app()",
    )  # fmt: skip
    with (tree / f"{release}.log").open("wb") as log:
        return subprocess.Popen(words, env={**ENVIRONMENT, "RELEASE_ID": release}, stdout=log, stderr=log)


def until(tree: Path, target: str, release: str) -> None:
    """Until a release answers."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        answer = ask(target, path="/healthz")
        if (answer.status, answer.release) == (200, release):
            return
        time.sleep(0.2)
    pytest.fail((tree / f"{release}.log").read_text())


def serve(tree: Path, release: str) -> None:
    aside = tree / SITE / "aside"
    aside.write_text(f"{release}\n")
    aside.replace(tree / SITE / "serving")


def test_uv_comes_for_it(tree: Path) -> None:
    done = subprocess.run(command(tree, "", "/opt/uv/bin/uv", "--version"), capture_output=True, text=True, check=True)
    assert done.stdout.startswith("uv ")


def test_releases_of_the_guestbook_take_turns_and_lose_nobody(
    tree: Path, running: dict[str, subprocess.Popen[bytes]]
) -> None:
    words = command(tree, f"{SITE}/releases/one", "/usr/bin/python3", "-m", "flask", "--app=guestbook", "db", "upgrade")
    upgraded = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert upgraded.returncode == 0, upgraded.stderr
    with own_network() as ours:
        if not ours:
            pytest.skip("port 80 of this machine is not ours")
        serve(tree, "one")
        running["one"] = start(tree, "one")
        until(tree, "http://127.0.0.1", "one")
        with SteadyLoad("127.0.0.1", tls=False, rate=8, visitors=4) as load:
            running["two"] = start(tree, "two")
            until(tree, str(tree / SITE / "two.sock"), "two")
            serve(tree, "two")
            until(tree, "http://127.0.0.1", "two")
            one = running.pop("one")
            one.terminate()
            assert one.wait(60) == 0
            time.sleep(1)
        assert load.report.failed == []
        assert load.report.releases == ["one", "two"]
        assert load.report.sent > 20
