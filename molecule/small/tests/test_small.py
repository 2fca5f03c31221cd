# SPDX-License-Identifier: GPL-3.0-or-later
"""The guestbook on a host of 512 MB without nginx: it answers by itself, and releases lose nothing. Also run by the scenario `arm`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra.host

from tests.support.load import SteadyLoad
from tests.support.memory import Memory
from tests.support.remains import settled
from tests.support.root import Root
from tests.support.stack import ROOT, Run, Stack
from tests.support.web import ask, fetch, post_entry

Host = testinfra.host.Host
# what the load saw; shown in the end
TOLD: list[str] = []


@pytest.fixture(scope="module")
def name(stack: Stack) -> str:
    """The box is called like the scenario."""
    return stack.inventory.parent.name


@pytest.fixture(scope="module")
def root(name: str) -> Root:
    return Root(name)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the guestbook that tests change."""
    return Path(shutil.copytree(ROOT / "examples" / "guestbook", tmp_path_factory.mktemp("source") / "guestbook"))


@pytest.fixture(scope="module")
def play(stack: Stack, source: Path) -> Callable[..., Run]:
    """Runs a playbook with the guestbook of that copy, and keys changed."""
    own = {
        "name": "guestbook", "source": {"path": str(source)}, "wsgi": "guestbook:create_app()", "port": 80,
        "workers": 1, "database": {"engine": "sqlite"}, "build": ["flask translate compile"],
        "migrate": ["flask db upgrade"], "healthcheck": {"path": "/healthz", "timeout": 120},
    }  # fmt: skip

    def run(verb: str, *words: str, changes: dict[str, Any] | None = None, **extra: Any) -> Run:
        guestbook = {**own, **(changes or {})}
        return stack.playbook(verb, *words, flask_app="guestbook", other_guestbook=guestbook, **extra)

    return run


@pytest.fixture(scope="module")
def memory(name: str) -> Iterator[Memory]:
    """What the box takes while the tests of this module run."""
    with Memory(name) as made:
        yield made


@pytest.fixture(scope="module")
def under_load(name: str, address: str) -> Callable[..., tuple[Run, SteadyLoad]]:
    """Runs something while visitors come, of whom none may be lost."""

    def run(action: Callable[[], Run]) -> tuple[Run, SteadyLoad]:
        # emulation has a tenth of the speed
        with SteadyLoad(address, tls=False, rate=20 if name == "small" else 4, visitors=4, longest=2400) as load:
            time.sleep(1)
            done = action()
            time.sleep(1)
        assert load.report.failed == [], load.report
        assert load.report.sent > 50
        TOLD.append(f"{name}: {load.report}")
        return done, load

    return run


def live(address: str) -> str:
    return fetch(f"http://{address}/").headers["x-flaskhost-release"]


def test_only_what_is_needed_is_there(host: Host, address: str) -> None:
    installed = host.check_output("dpkg-query -W -f '${db:Status-Status} ${Package}\\n'").splitlines()
    assert {"installed nginx-common", "installed mariadb-server", "installed aide"}.isdisjoint(installed)
    assert host.check_output("cat /proc/sys/net/ipv4/tcp_migrate_req") == "1"
    assert host.check_output("cat /proc/sys/net/ipv4/ip_unprivileged_port_start") == "80"
    assert "Storage=volatile" in host.check_output("cat /etc/systemd/journald.conf.d/60-flaskhost.conf")
    # what it had written before is left where it is
    written = host.check_output("ls -l /proc/$(systemctl show -p MainPID --value systemd-journald)/fd")
    assert "/run/log/journal/" in written
    assert "/var/log/journal/" not in written
    process = host.check_output("pgrep -u guestbook -f guestbook:create_app | head -1")
    shown = host.check_output("ls -l /proc/%s/fd", process)
    assert "/dev/shm/" in shown, "the heartbeat of the workers is in memory"
    assert "stdout_logfile_maxbytes=1MB" in host.check_output("cat /etc/supervisor/conf.d/guestbook@*.conf")
    assert ask(address, address, "/healthz", tls=False).status == 200


def test_a_deploy_loses_no_request(
    play: Callable[..., Run], under_load: Callable[..., Any], address: str, root: Root, source: Path, memory: Memory
) -> None:
    before = live(address)
    post_entry(address, "Ann", "on a small board", scheme="http")
    (source / "note.txt").write_text("two")
    run, load = under_load(lambda: play("deploy"))
    run.check()
    now = live(address)
    assert now != before
    assert load.report.releases == [before, now]
    state = settled(root, "guestbook")
    assert (state.live, state.leftovers) == (now, [])
    assert "on a small board" in fetch(f"http://{address}/").text
    again = play("deploy").check()
    assert again.changed == 0
    assert "treated as a small host, for " in again.output


def test_a_rollback_loses_no_request(
    play: Callable[..., Run], under_load: Callable[..., Any], address: str, root: Root, memory: Memory
) -> None:
    before = live(address)
    run, load = under_load(lambda: play("rollback"))
    run.check()
    now = live(address)
    assert now < before
    assert load.report.releases == [before, now]
    assert settled(root, "guestbook").leftovers == []


def test_a_deploy_that_fails_changes_nothing(
    play: Callable[..., Run], under_load: Callable[..., Any], address: str, root: Root, source: Path, memory: Memory
) -> None:
    before = live(address)
    (source / "note.txt").write_text("three")
    # long enough for a first answer, so that this tells what is wrong
    nowhere = {"healthcheck": {"path": "/nowhere", "timeout": 3 if root.name == "small" else 90}}
    run, load = under_load(lambda: play("deploy", changes=nowhere))
    assert run.code != 0
    assert "status 404 where 200 is expected" in " ".join(run.output.split())
    assert load.report.releases == [before]
    state = settled(root, "guestbook")
    assert (state.live, state.leftovers) == (before, [])


@pytest.mark.parametrize(
    ("verb", "extra", "says"),
    [
        ("deploy", {"flask_canary": 10}, "only nginx can share its visitors out"),
        ("maintenance", {"state": "on"}, "has no apps behind nginx, which shows the page"),
    ],
)
def test_what_needs_nginx_says_so(
    play: Callable[..., Run], address: str, verb: str, extra: dict[str, Any], says: str
) -> None:
    before = live(address)
    run = play(verb, **extra)
    assert run.code != 0
    assert says in " ".join(run.output.split())
    assert live(address) == before


def test_power_cut_brings_the_live_release_back(address: str, root: Root, memory: Memory) -> None:
    """Also where the cut came in a deploy: a second release that is there starts, and keeps its port closed."""
    before = live(address)
    other = next(release for release in settled(root, "guestbook").releases if release != before)
    root.must(
        'sed "s/$1/$2/g" "/etc/supervisor/conf.d/guestbook@$1.conf" > "/etc/supervisor/conf.d/guestbook@$2.conf"',
        before, other,
    )  # fmt: skip
    root.power_cut()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if root.run("ls /run/guestbook/*.sock | wc -l")[1].strip() == "2" and ask_quietly(address):
            break
        time.sleep(0.5)
    time.sleep(2)
    assert {live(address) for _time in range(20)} == {before}
    root.must('rm "/etc/supervisor/conf.d/guestbook@$1.conf"; supervisorctl update', other)
    assert settled(root, "guestbook", 30).live == before


def ask_quietly(address: str) -> bool:
    try:
        return ask(address, address, "/healthz", tls=False).status == 200
    except OSError:
        return False


def test_all_of_it_fits(name: str, memory: Memory, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(
            "\n".join(["", *TOLD]),
            f"\nmemory of the host's services and the app: {memory.taken() - memory.emulator():.0f} MiB now, {memory.own:.0f} MiB "
            f"at most; with the emulator's own {memory.taken():.0f} MiB now, {memory.peak:.0f} MiB at most, of {memory.limit:.0f} MiB",
        )
    # under emulation each process brings the emulator's own memory along
    assert memory.limit == (512 if name == "small" else 1024)
    assert memory.killed() == 0
    assert memory.own < 300
