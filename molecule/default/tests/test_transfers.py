# SPDX-License-Identifier: GPL-3.0-or-later
"""What is under way while the traffic is switched: long requests, pages that ask for their files, streams that never end."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
import testinfra.host
import yaml

from tests.support import journey
from tests.support.journey import Source, Trip
from tests.support.root import Failpoint, Root
from tests.support.stack import ROOT, Stack
from tests.support.web import fetch

Host = testinfra.host.Host

# seconds that a transfer takes; 20 for a longer look
LONG = float(os.environ.get("FLASKHOST_LONG", "8"))
DRAIN = 6
MIB_DOWN, MIB_UP = 64, 12


def apps(source: Source, **changes: Any) -> dict[str, Any]:
    """The shipped flask_apps with the long requests."""
    shipped = yaml.safe_load((ROOT / "inventory/group_vars/all/flask_apps.yml").read_text())["flask_apps"][0]
    entry = {**shipped, "source": {"path": str(source.folder)}, "wsgi": "journey:create_app()", "workers": 4}
    return {"flask_apps": [{**entry, **changes}]}


def release(address: str) -> str:
    """The release that answers new visitors."""
    return fetch(f"https://{address}/healthz").headers["x-flaskhost-release"]


@dataclass
class Reader:
    """Somebody who opens page after page, each with the stylesheet that it names, and has one page open since before."""

    address: str
    old: str
    pages: int = 0
    broken: list[str] = field(default_factory=list)

    def read(self, stop: threading.Event) -> None:
        """Until told to stop."""
        while not stop.wait(0.03):
            name = fetch(f"https://{self.address}/page").text
            for one in (name, self.old):
                answer = fetch(f"https://{self.address}/static/{one}")
                if answer.status != 200:
                    self.broken.append(f"{answer.status} for {one}, of the page with {name}")
            self.pages += 1


@dataclass
class Switched:
    """A deploy in whose switch transfers were under way."""

    former: str
    live: str
    at: float
    trips: dict[str, Trip]
    reader: Reader
    new: str


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return Source(tmp_path_factory.mktemp("journey"))


@pytest.fixture(scope="module")
def root() -> Root:
    return Root("default")


@pytest.fixture(scope="module")
def switched(stack: Stack, address: str, root: Root, source: Source) -> Iterator[Switched]:
    """One process per request, as by default; the next version is made live while four of them are busy."""
    old = source.version("body { color: black }")
    stack.playbook("deploy", **apps(source)).check()
    former, stop = release(address), threading.Event()
    reader = Reader(address, old)
    new = source.version("body { color: navy }")
    point = Failpoint(root, "guestbook", "switch", "hold")
    with (
        ThreadPoolExecutor() as pool,
        stack.start("deploy", **apps(source, threads=4)) as run,
    ):
        try:
            point.wait(unless=lambda: not run.alive())
            pool.submit(reader.read, stop)
            going = {
                "download": pool.submit(journey.download, address, MIB_DOWN, LONG),
                "upload": pool.submit(journey.upload, address, MIB_UP, LONG),
                "slow": pool.submit(journey.slow, address, 5),
            }
            time.sleep(1)
            point.clear()
            while release(address) == former and run.alive():
                time.sleep(0.05)
            at = time.monotonic()
            trips = {name: trip.result(LONG + 120) for name, trip in going.items()}
            run.end().check()
        finally:
            stop.set()
            point.clear()
    yield Switched(former, release(address), at, trips, reader, new)
    # back to what the inventory says
    stack.playbook("site").check()


def test_what_is_under_way_completes_on_the_former_release(switched: Switched) -> None:
    assert switched.live != switched.former
    assert {name: (trip.status, trip.release) for name, trip in switched.trips.items()} == dict.fromkeys(
        ("download", "upload", "slow"), (200, switched.former)
    )
    assert switched.trips["download"].size == MIB_DOWN * journey.MIB
    assert switched.trips["download"].digest == journey.large(MIB_DOWN)
    assert switched.trips["upload"].digest == journey.large(MIB_UP)
    assert switched.trips["slow"].digest == "late"
    # each was still going on when new visitors got the new release
    assert {name: trip.ended > switched.at for name, trip in switched.trips.items()} == dict.fromkeys(
        switched.trips, True
    )


def test_each_page_finds_its_files_all_the_time(switched: Switched, address: str) -> None:
    assert switched.reader.broken == []
    assert switched.reader.pages > 20
    assert fetch(f"https://{address}/page").text == switched.new
    for name, text in ((switched.new, "navy"), (switched.reader.old, "black")):
        answer = fetch(f"https://{address}/static/{name}")
        assert (answer.status, text in answer.text) == (200, True)
        assert "max-age" in answer.headers["cache-control"]


def test_manifests_do_not_mix(switched: Switched, address: str, host: Host) -> None:
    assert json.loads(fetch(f"https://{address}/static/manifest.json").text) == {"style.css": switched.new}
    folder = "/srv/guestbook/releases/%s/guestbook/static"
    for one, name in ((switched.former, switched.reader.old), (switched.live, switched.new)):
        names = host.check_output(f"ls {folder}", one).split()
        assert [found for found in names if found.startswith("style.") and found != "style.css"] == [name]


def test_a_former_worker_of_nginx_finds_the_files_of_the_next_release(
    switched: Switched, address: str, host: Host
) -> None:
    """For 0.1 s of a reload, pages of the next release ask workers that know nothing of it but the link."""
    assert not host.file("/srv/guestbook/releases/.next").exists
    names = {"none": 404, "root": 404, "guestbook": 200}
    host.check_output(
        "cd /srv/guestbook/releases && mkdir -p try-next/guestbook/static && echo next > try-next/guestbook/static/next.css "
        "&& chown -R guestbook:www-data try-next && chmod 750 try-next"
    )
    found = {}
    for owner in names:
        if owner != "none":
            host.check_output(f"cd /srv/guestbook/releases && ln -sfn try-next .next && chown -h {owner} .next")
        found[owner] = fetch(f"https://{address}/static/next.css").status
    host.check_output("cd /srv/guestbook/releases && rm -r .next try-next")
    assert found == names


def test_a_stream_that_never_ends_gets_its_time_and_no_more(
    stack: Stack, address: str, host: Host, root: Root, source: Source, switched: Switched
) -> None:
    # what runs was told to take 30 s for its end; what is deployed now has less patience
    source.version("body { color: teal }")
    point = Failpoint(root, "guestbook", "switch", "hold")
    with (
        ThreadPoolExecutor() as pool,
        stack.start("deploy", **apps(source, threads=4, drain=DRAIN)) as run,
    ):
        try:
            point.wait(unless=lambda: not run.alive())
            # server-sent events, and a websocket
            streams = [pool.submit(what, address, DRAIN + 120) for what in (journey.listen, journey.converse)]
            time.sleep(1)
            point.clear()
            while release(address) == switched.live and run.alive():
                time.sleep(0.05)
            at = time.monotonic()
            trips = [stream.result(DRAIN + 130) for stream in streams]
            run.end().check()
        finally:
            point.clear()
    for trip, status in zip(trips, (200, 101), strict=True):
        assert (trip.status, trip.release) == (status, switched.live)
        # the time counts from when the former release is told to end, on busy machines some seconds later
        assert DRAIN - 2 < trip.seen[-1] - at < DRAIN + 12, "it got its time, and no more"
    record = json.loads(host.check_output("cat /srv/guestbook/current/RELEASE.json"))
    assert DRAIN - 1 < record["seconds"]["retire"] < DRAIN + 4
    left = host.check_output("ls /run/guestbook").split()
    assert left == [f"{release(address)}.sock"]
    # browsers connect again by themselves
    again = journey.converse(address, 0.5)
    assert (again.status, again.release) == (101, release(address))
    assert again.size > 0
