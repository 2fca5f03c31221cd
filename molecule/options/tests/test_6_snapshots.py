# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of a MySQL server, of one on another host, and of an SQLite file: half a migration leaves nothing behind."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import testinfra.host

from tests.support.load import SteadyLoad
from tests.support.migrations import HALF_WAY, SHIPPED, add_migration
from tests.support.stack import ROOT, Run, Stack
from tests.support.web import ask

Host = testinfra.host.Host
Live = Callable[[str], str]
OnB = Callable[..., Run]
APPS = pytest.mark.parametrize("app", ["blog", "blog2"])
# a unicorn, as the shell of a box without a language can carry it
NAME = {"blog": "_utf8mb4 0xF09FA684", "blog2": "CAST(x'F09FA684' AS TEXT)"}

# prints what arguments of processes tell, and looks often enough to see one that is there for a tenth of a second
WATCH = """
import glob, re, time
seen = set()
while True:
    for place in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            text = open(place, errors="replace").read().replace("\\0", " ")
        except OSError:
            continue
        for found in re.findall("defaults-fil[e]=[^ ]*|no[t]/a@secret", text):
            if found not in seen:
                seen.add(found)
                print(found, flush=True)
    time.sleep(0.02)
"""


def row(app: str) -> str:
    """A statement that adds a row with all that a dump could get wrong."""
    values = f"""{NAME[app]}, 'it''s (a); "test" ),( %', '2026-01-01 00:00:00'"""
    return f"INSERT INTO entries (name, message, created_at) VALUES ({values})"


@pytest.fixture(scope="module")
def sources(made: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The trees of both apps, to be changed."""
    folder = tmp_path_factory.mktemp("sources")
    shutil.copytree(made / "blog" / "backend", folder / "blog")
    shutil.copytree(ROOT / "examples" / "guestbook", folder / "blog2")
    return {app: folder / app for app in ("blog", "blog2")}


@pytest.fixture(scope="module")
def deploy(on_b: OnB, own_apps: dict[str, Any], sources: dict[str, Path]) -> Callable[..., Run]:
    """Deploys one of the trees, with the options that the inventory has."""

    def run(app: str) -> Run:
        apps = {**own_apps, app: {**own_apps[app], "source": {"path": str(sources[app])}}}
        return on_b("deploy", other_apps=list(apps.values()), flask_app=app)

    return run


def query(host: Host, app: str, statement: str) -> str:
    """The answer of an app's database."""
    if app == "blog":
        return str(host.check_output("mysql --default-character-set=utf8mb4 -N blog -e %s", statement))
    code = (
        "import sqlite3, sys; c = sqlite3.connect('/srv/blog2/shared/blog2.sqlite3', isolation_level=None); "
        "print('\\n'.join('\\t'.join(map(str, row)) for row in c.execute(sys.argv[1])))"
    )
    return str(host.check_output("runuser -u blog2 -- python3 -c %s %s", code, statement))


def everything(host: Host, app: str) -> str:
    """Schema and rows of an app's database."""
    if app == "blog":
        # where a counter is does not matter
        return str(
            host.check_output(
                "mysqldump --skip-dump-date --set-gtid-purged=OFF --no-tablespaces blog | sed 's/ AUTO_INCREMENT=[0-9]*//' | cat -v"
            )
        )
    code = "import sqlite3; print(ascii(list(sqlite3.connect('/srv/blog2/shared/blog2.sqlite3').iterdump())))"
    return str(host.check_output("python3 -c %s", code))


def snapshots(host: Host, app: str) -> list[str]:
    return str(host.run(f"ls /srv/{app}/snapshots").stdout).split()


@APPS
def test_half_a_migration_leaves_nothing(
    address: str, host: Host, deploy: Callable[[str], Run], live: Live, sources: dict[str, Path], app: str
) -> None:
    query(host, app, row(app))
    before, was = everything(host, app), live(app)
    migration = add_migration(sources[app], "d15ea5e00001", *HALF_WAY)
    watcher = host.check_output("nohup timeout 90 python3 -c %s > /tmp/arguments 2>/dev/null & echo $!", WATCH)
    with SteadyLoad(address, host=f"{app}.test", rate=20) as load:
        run = deploy(app)
        time.sleep(1)
    host.run("kill %s", watcher)
    migration.unlink()
    assert run.code == 2
    for text in (
        "migrate: `flask db upgrade` ended with 1",
        "half-way",
        "The database was put back to the snapshot of",
    ):
        assert text in run.output, run.output[-4000:]
    assert everything(host, app) == before
    assert load.report.failed == [], load.report
    assert load.report.releases == [was]
    if app == "blog":
        # of the programs that dump everybody sees the arguments, and nobody the password
        seen = set(host.check_output("cat /tmp/arguments").split())
        assert seen
        assert all(text.startswith("defaults-file=/proc/self/fd/") for text in seen)
        # not as it is: the arguments of this command are seen as well
        assert host.run("grep -rl 'no[t]/a@secret' /srv/blog/snapshots /tmp").rc != 0
    # what the migration left is there for those who look for the reason
    kept = sorted(name for name in snapshots(host, app) if ".failed." in name)
    assert f"/srv/{app}/snapshots/{kept[-1]}" in run.output
    modes = set(host.check_output(f"stat -c %U%a /srv/{app}/snapshots /srv/{app}/snapshots/*").split())
    assert modes == {"root700", "root600"}
    assert host.check_output(f"ls {host.check_output('realpath %s', f'/srv/{app}/cache')}").count("snapshot-") == 0


@APPS
def test_what_a_migration_only_added_goes_and_what_visitors_wrote_stays(
    host: Host, deploy: Callable[[str], Run], sources: dict[str, Path], app: str
) -> None:
    statement = repr(row(app).replace("%", ""))
    # the row of a visitor, by a connection of its own: it would be rolled back with the migration's
    written = ["with op.get_bind().engine.begin() as visitor:", f"    visitor.exec_driver_sql({statement})"]
    number = int(query(host, app, "SELECT COUNT(*) FROM entries"))
    migration = add_migration(sources[app], "d15ea5e00002", HALF_WAY[0], *written, HALF_WAY[-1])
    run = deploy(app)
    migration.unlink()
    assert run.code == 2
    assert "What the migration had made was taken away again (half)" in run.output, run.output[-4000:]
    assert "entries 1" in run.output
    assert int(query(host, app, "SELECT COUNT(*) FROM entries")) == number + 1
    query(host, app, "CREATE TABLE half (id INTEGER)")
    query(host, app, "DROP TABLE half")


@APPS
def test_back_over_a_migration_and_forth_again(
    address: str, host: Host, on_b: OnB, deploy: Callable[[str], Run], live: Live, sources: dict[str, Path], app: str
) -> None:
    deploy(app).check()
    older, before = live(app), everything(host, app)
    add_migration(sources[app], "d15ea5e00003", 'op.execute("ALTER TABLE entries ADD COLUMN mood VARCHAR(80)")')
    deploy(app).check()
    newer = live(app)
    record = json.loads(host.check_output(f"cat /srv/{app}/releases/{newer}/RELEASE.json"))
    assert record["snapshot"]["heads"] == [SHIPPED]
    assert record["migration_heads"] == ["d15ea5e00003"]
    assert record["snapshot"]["bytes"] == host.file(record["snapshot"]["file"]).size
    assert record["seconds"]["snapshot"] >= record["snapshot"]["seconds"] - 0.01
    query(host, app, "UPDATE entries SET mood = 'late'")
    after = everything(host, app)

    refused = on_b("rollback", flask_app=app)
    assert refused.code == 2
    said = " ".join(refused.output.split())
    assert "-e flask_rollback_force=true" in said
    assert re.search(rf"-e flask_restore=true` puts back the snapshot of \S+ \({newer}\)", said)

    on_b("rollback", flask_app=app, flask_restore=True).check()
    assert live(app) == older
    assert everything(host, app) == before
    assert ask(address, f"{app}.test").headers["x-flaskhost-release"] == older
    assert json.loads(host.check_output(f"cat /srv/{app}/database.json"))["heads"] == [SHIPPED]

    # the other way: first the data of before the rollback, then the code
    undo = max(name for name in snapshots(host, app) if name.endswith("-restore.json"))
    on_b("restore", flask_app=app, flask_release=undo.removesuffix(".json")).check()
    assert everything(host, app) == after
    on_b("rollback", flask_app=app, flask_release=newer).check()
    assert live(app) == newer

    # without a name it is the one from before the migrations that ran last
    on_b("restore", flask_app=app).check()
    assert everything(host, app) == before
    assert ask(address, f"{app}.test", "/healthz").status == 200, "nothing was stopped for it"
    assert host.run(f"ls /srv/{app}/deploy.lock").rc != 0


def test_a_restore_of_nothing_is_refused(on_b: OnB) -> None:
    run = on_b("restore", flask_app="blog", flask_release="20260101T000000Z-0000000")
    assert run.code == 2
    said = " ".join(run.output.split())
    assert "blog has no snapshot 20260101T000000Z-0000000; there are 2026" in said
    assert on_b("restore").code == 2


def test_a_database_on_another_host(stack: Stack, hosts: dict[str, Host]) -> None:
    host = hosts["a"]
    release = host.check_output("readlink /srv/plain-http/current").rpartition("/")[2]
    # its client programs were not there before
    assert "INSERT" not in host.check_output("zcat /srv/plain-http/snapshots/%s.sql.gz", release)
    before = hosts["b"].check_output("mysqldump --skip-dump-date --set-gtid-purged=OFF --no-tablespaces visitors")
    hosts["b"].check_output("mysql visitors -e 'CREATE TABLE extra (id INTEGER)'")
    hosts["b"].check_output("mysql visitors -e 'ALTER TABLE entries ADD COLUMN extra INTEGER'")
    now = stack.playbook("restore", "--limit", "options-a", flask_app="plain-http")
    # before the first migrations there was nothing
    now.check()
    assert hosts["b"].check_output("mysql -N visitors -e 'SHOW TABLES'") == ""
    undo = max(name for name in snapshots(host, "plain-http") if name.endswith("-restore.json"))
    stack.playbook(
        "restore", "--limit", "options-a", flask_app="plain-http", flask_release=undo.removesuffix(".json")
    ).check()
    hosts["b"].check_output("mysql visitors -e 'ALTER TABLE entries DROP COLUMN extra; DROP TABLE extra'")
    assert (
        hosts["b"].check_output("mysqldump --skip-dump-date --set-gtid-purged=OFF --no-tablespaces visitors") == before
    )
