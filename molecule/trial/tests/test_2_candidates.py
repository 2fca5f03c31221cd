# SPDX-License-Identifier: GPL-3.0-or-later
"""Candidates that lie: each is found out before it gets the traffic, told in words, and costs no request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import tiny
from tests.support.load import SteadyLoad
from tests.support.remains import State, look, settled
from tests.support.root import Root
from tests.support.stack import ROOT, Run, Stack

APP = "guestbook"
FAILURES = 5
# what a test of a candidate that does not come up in time need not wait for
SOON = {"path": "/healthz", "timeout": 4}

# only one worker of two gets past this: the first makes the folder
SECOND_WORKER = """
import os
try:
    os.mkdir(f"/tmp/first-{os.environ['RELEASE_ID']}")
except FileExistsError:
"""

# lie, keys of the app beside it, what has to be told
LIES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "dies after 3 s": (
        """
        import os, sys, threading

        def die():
            print("the end has come", flush=True)
            os._exit(7)

        threading.Timer(3, die).start()
        """,
        {},
        ["probe: guestbook", "answers, but does not stay up: a worker (process", "the end has come"],
    ),
    "ends as a whole": (
        """
        import os, signal, threading
        threading.Timer(1, os.kill, (os.getppid(), signal.SIGKILL)).start()
        """,
        {},
        ["probe: guestbook", "answers, but does not stay up: "],
    ),
    "hangs": (
        """
        import time
        app.view_functions["healthz"] = lambda: time.sleep(60)
        """,
        {},
        ["probe: GET /healthz of guestbook", "after 4 s: no answer (TimeoutError"],
    ),
    "answers 500": (
        """
        def broken():
            raise RuntimeError("the well is dry")
        app.view_functions["healthz"] = broken
        """,
        {},
        ["probe: GET /healthz of guestbook", "status 500 where 200 is expected", "RuntimeError: the well is dry"],
    ),
    "second worker raises": (
        SECOND_WORKER + '    raise RuntimeError("there can be only one")\n',
        {"workers": 2},
        ["probe: ", "there can be only one"],
    ),
    "second worker never comes": (
        SECOND_WORKER + '    print("still thinking", flush=True)\n    import time\n    time.sleep(60)\n',
        {"workers": 2},
        ["answers, but only 1 of its 2 workers came up within 4 s", "still thinking"],
    ),
    "needs longer than it may": (
        "import time\ntime.sleep(20)\n",
        {},
        ["probe: GET /healthz of guestbook", "after 4 s: no answer ("],
    ),
    "says it is the live one": (
        'import os\nos.environ["RELEASE_ID"] = os.path.basename(os.path.realpath("/srv/guestbook/current"))\n',
        {},
        ["probe: GET /healthz of guestbook", "status 200, but from release "],
    ),
    "says it is the live one, too": (
        """
        import os
        LIVE = os.path.basename(os.path.realpath("/srv/guestbook/current"))

        @app.after_request
        def name(response):
            response.headers["X-Flaskhost-Release"] = LIVE
            return response
        """,
        {},
        ["probe: GET /healthz of guestbook", "status 200, but from release "],
    ),
    "leads to the live one": (
        """
        import os
        LIVE = os.path.basename(os.path.realpath("/srv/guestbook/current"))
        OWN = f"/run/guestbook/{os.environ['RELEASE_ID']}.sock"
        os.unlink(OWN)
        os.symlink(f"/run/guestbook/{LIVE}.sock", OWN)
        """,
        {},
        ["probe: GET /healthz of guestbook", "status 200, but from release "],
    ),
}


@pytest.fixture(scope="module")
def root(name: str) -> Root:
    return Root(name)


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    entry: dict[str, Any] = yaml.safe_load((ROOT / "inventory/group_vars/all/flask_apps.yml").read_text())[
        "flask_apps"
    ][0]
    return {**entry, "source": {"path": str(ROOT / "examples/guestbook")}, "workers": 2}


Deploy = Callable[..., Run]


@pytest.fixture(scope="module")
def deploy(stack: Stack, shipped: dict[str, Any]) -> Deploy:
    """Deploys the guestbook with other keys; ``extra`` are further variables."""

    def run(extra: dict[str, Any] | None = None, **keys: Any) -> Run:
        return stack.playbook("deploy", flask_app=APP, flask_apps=[{**shipped, **keys}], **(extra or {}))

    return run


@pytest.fixture(scope="module")
def before(root: Root, deploy: Deploy) -> State:
    """The guestbook is live, and everything is tidy."""
    deploy().check()
    state = settled(root, APP)
    assert state.leftovers == []
    return state


@pytest.fixture(scope="module")
def load(address: str, before: State) -> Iterator[SteadyLoad]:
    """Visitors all the time, who get answers from the guestbook alone; whether a switch loses one of many is test_1_canary's."""
    with SteadyLoad(address, rate=8, longest=900) as load:
        yield load


def check(root: Root, load: SteadyLoad, before: State, run: Run, says: list[str]) -> None:
    """A deploy failed, told why, and changed nothing; none of the visitors noticed."""
    assert run.code == 2, run.output[-3000:]
    for text in [*says, f"Still live is {before.live}"]:
        assert text in run.output, f"{text!r} is missing in:\n{run.output[-5000:]}"
    now = settled(root, APP)
    assert now.leftovers == []
    assert (now.live, now.releases, now.groups) == (before.live, before.releases, before.groups)
    assert now.history[-1]["result"] == "failed"
    assert load.report.failed == [], load.report
    assert load.report.releases == [before.live], load.report


@pytest.mark.parametrize("lie", LIES)
def test_a_candidate_that_lies_is_found_out(
    root: Root, deploy: Deploy, before: State, load: SteadyLoad, tmp_path: Path, lie: str
) -> None:
    code, keys, says = LIES[lie]
    run = deploy(
        **{**tiny.write(tmp_path / "tiny", code), "healthcheck": SOON, "workers": 1, "env": {"LIE": lie}, **keys}
    )
    check(root, load, before, run, says)


def test_requirements_that_do_not_resolve(
    root: Root, deploy: Deploy, before: State, load: SteadyLoad, tmp_path: Path
) -> None:
    app = tiny.write(tmp_path / "tiny", requirements__txt="flask==3.1.3\nflask<3\n")
    check(root, load, before, deploy(**app), ["build: `uv pip install", "flask<3", "unsatisfiable"])


def test_migration_that_fails_half_way(
    root: Root, deploy: Deploy, before: State, load: SteadyLoad, tmp_path: Path
) -> None:
    app = tiny.write(tmp_path / "tiny", migrate__sh="echo half of it is done\necho and here it ends >&2\nexit 4\n")
    run = deploy(**{**app, "migrate": ["sh migrate.sh"]})
    says = ["migrate: `sh migrate.sh` ended with 4", "half of it is done", "and here it ends"]
    check(root, load, before, run, says)


def test_build_that_fills_the_disk(root: Root, deploy: Deploy, before: State, load: SteadyLoad, tmp_path: Path) -> None:
    app = tiny.write(tmp_path / "tiny")
    # the app's directory on a small disk of its own, for the time of the test; what runs has the former one open
    root.must(
        "set -e; mkdir -p /mnt/small; mount -t tmpfs -o size=$(($(du -sk /srv/guestbook | cut -f1) + 40000))k,mode=755 none /mnt/small; "
        "cp -a /srv/guestbook/. /mnt/small/; chmod --reference=/srv/guestbook /mnt/small; chown --reference=/srv/guestbook /mnt/small; "
        "mount --bind /mnt/small /srv/guestbook"
    )
    try:
        run = deploy(**{**app, "build": ["cat /dev/zero > everything"]}, extra={"release_min_free_mb": 1})
        check(root, load, before, run, ["build: `cat /dev/zero > everything` ended with 1", "No space left on device"])
        free = root.must("df --output=avail -k /srv/guestbook | tail -n 1")
        assert int(free) > 20000
    finally:
        root.must("umount /srv/guestbook /mnt/small; rmdir /mnt/small")


def test_git_reference_that_does_not_exist(
    root: Root, deploy: Deploy, before: State, load: SteadyLoad, tmp_path: Path
) -> None:
    root.must(
        "set -e; rm -rf /opt/tiny; git init -q /opt/tiny; git config --system --replace-all safe.directory '*'; "
        "git -C /opt/tiny -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m first"
    )
    app = {**tiny.write(tmp_path / "tiny"), "source": {"git": "file:///opt/tiny", "version": "v9"}}
    says = ["fetch: file:///opt/tiny has no branch, tag or commit 'v9'. Is it pushed?"]
    check(root, load, before, deploy(**app), says)


def test_a_candidate_that_needs_20_s_gets_them(
    root: Root, deploy: Deploy, before: State, load: SteadyLoad, tmp_path: Path
) -> None:
    """And it ignores TERM, which is the next test's matter."""
    settings = "import signal\n\n\ndef post_worker_init(worker):\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    app = tiny.write(tmp_path / "tiny", "import time\ntime.sleep(20)\n", gunicorn__conf__py=settings)
    deploy(**{**app, "healthcheck": {"path": "/healthz", "timeout": 60}, "workers": 1, "timeout": 5}).check()
    assert look(root, APP).live != before.live
    assert settled(root, APP).leftovers == []
    assert load.report.failed == [], load.report


def test_a_release_that_ignores_term_is_retired_within_bounds(
    root: Root, deploy: Deploy, before: State, load: SteadyLoad
) -> None:
    live = look(root, APP).live
    began = time.monotonic()
    deploy().check()
    # the app's timeout is 5 s; gunicorn kills its workers then, supervisor the rest 5 s later
    assert time.monotonic() - began < 60
    now = settled(root, APP)
    assert now.live != live
    assert now.leftovers == []
    assert load.report.failed == [], load.report


def test_more_failures_in_a_row_than_releases_are_kept_cost_nothing(
    root: Root, deploy: Deploy, shipped: dict[str, Any], tmp_path: Path
) -> None:
    """The good releases are there, the disk is no fuller, the history tells them all."""
    app = tiny.write(tmp_path / "tiny")
    deploy(**{**app, "keep_releases": 3}).check()
    before = settled(root, APP)
    for number in range(FAILURES):
        (tmp_path / "tiny" / "number.txt").write_text(str(number))
        run = deploy(
            **{
                **app,
                "keep_releases": 3,
                "build": [f"head -c 5000000 /dev/zero > five-megabytes; echo no {number}; exit 1"],
            }
        )
        assert run.code == 2
        assert f"no {number}" in run.output
    now = settled(root, APP)
    assert now.leftovers == []
    assert (now.live, now.releases, now.groups) == (before.live, before.releases, before.groups)
    assert now.kib - before.kib < 1000, "kept by failures"
    assert [line["result"] for line in now.history[-FAILURES:]] == ["failed"] * FAILURES
    # and the way back is open
    deploy().check()
