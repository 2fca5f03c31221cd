# SPDX-License-Identifier: GPL-3.0-or-later
"""An app on a PostgreSQL server of its owner's, on another host and older than the app's client programs; and its snapshots."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import testinfra.host
import yaml

from tests.support.migrations import HALF_WAY, SHIPPED, add_migration
from tests.support.stack import ROOT, Run
from tests.support.web import ask, post_entry

Host = testinfra.host.Host
Live = Callable[[str], str]
# with all that an address or a file of passwords could get wrong
PASSWORD = r"p:w\ @/%'x"
SERVER = r"""
cd /
apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends postgresql > /dev/null
ask() { runuser -u postgres -- psql -qAt -v ON_ERROR_STOP=1 "$@"; }
ask -c "DROP DATABASE IF EXISTS paper WITH (FORCE)" -c "DROP ROLE IF EXISTS paper"
printf '%s' "ALTER SYSTEM SET listen_addresses = '*'; CREATE ROLE paper LOGIN PASSWORD :'password';" | ask -v password="$1"
ask -c "CREATE DATABASE paper OWNER paper ENCODING 'UTF8' TEMPLATE template0"
# by the server's owner, as it is where the app may not do so
ask paper -c "CREATE EXTENSION citext"
echo "hostssl paper paper $2/32 scram-sha-256" | tee -a /etc/postgresql/*/main/pg_hba.conf
systemctl restart postgresql
ufw allow proto tcp from "$2" to any port 5432 > /dev/null
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of the app, to be changed."""
    return Path(shutil.copytree(ROOT / "examples" / "guestbook", tmp_path_factory.mktemp("paper") / "guestbook"))


@pytest.fixture(scope="module")
def server(hosts: dict[str, Host], addresses: dict[str, str]) -> Host:
    """The box a, with a PostgreSQL that lets b in."""
    hosts["a"].check_output("sh -euc %s sh %s %s", SERVER, PASSWORD, addresses["b"])
    return hosts["a"]


@pytest.fixture(scope="module")
def play(
    on_b: Callable[..., Run],
    own_apps: dict[str, Any],
    made: Path,
    addresses: dict[str, str],
    source: Path,
    server: Host,
) -> Callable[..., Run]:
    """Runs a playbook for b, where the app is one more."""
    paper = {
        "name": "paper", "source": {"path": str(source)}, "wsgi": "guestbook:create_app()", "workers": 1,
        "domains": ["paper.test"], "database": {"engine": "postgresql", "host": addresses["a"]},
        "migrate": ["flask db upgrade"], "snapshot": True, "healthcheck": {"path": "/healthz", "steady": 0},
    }  # fmt: skip
    inventory = yaml.safe_load((made.parent / "inventory/host_vars/options-b.yml").read_text())
    vault = {**inventory["own_vault"], "paper": {"database": {"password": PASSWORD}}}
    everything = {"other_apps": [*own_apps.values(), paper], "other_vault": vault}

    def run(verb: str, *words: str, **extra: Any) -> Run:
        return on_b(verb, *words, **everything, **extra)

    return run


def query(server: Host, statement: str) -> str:
    """The answer of the app's database."""
    return str(server.check_output("runuser -u postgres -- psql -qAt paper -c %s", statement))


def everything(server: Host) -> str:
    """Schema and rows, as the server's own programs see them."""
    return str(server.check_output(r"runuser -u postgres -- pg_dump paper | grep -v '^\\\(un\)\?restrict '"))


def test_an_app_on_it_serves(address: str, host: Host, server: Host, play: Callable[..., Run]) -> None:
    play("site", "--tags", "web").check()
    assert ask(address, "paper.test", "/healthz").status == 200
    assert query(server, "SELECT version_num FROM alembic_version") == SHIPPED
    over_tls = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'paper'"
    assert query(server, over_tls) == "t"
    query(server, "INSERT INTO entries (name, message, created_at) VALUES (U&'\\+01F984', 'it''s \\ \"a\"', now())")
    assert "it&#39;s" in ask(address, "paper.test").text
    # of different ages, as it is where an owner's server is looked after by somebody else
    told = (query(server, "SHOW server_version"), host.check_output("pg_dump --version"))
    server_version, client_version = (int(re.findall(r"\d+", text)[0]) for text in told)
    assert server_version < 17 <= client_version


def test_a_migration_that_fails_is_taken_back_by_its_transaction(
    server: Host, play: Callable[..., Run], live: Live, source: Path
) -> None:
    before, was = everything(server), live("paper")
    migration = add_migration(source, "d15ea5e00001", *HALF_WAY)
    run = play("deploy", flask_app="paper")
    migration.unlink()
    assert run.code == 2
    for text in ("migrate: `flask db upgrade` ended with 1", "half-way", "PostgreSQL takes back by itself"):
        assert text in run.output, run.output[-4000:]
    assert PASSWORD not in run.output
    assert (everything(server), live("paper")) == (before, was)


def test_back_over_a_migration_and_forth_again(
    address: str, host: Host, server: Host, play: Callable[..., Run], live: Live, source: Path
) -> None:
    older, before = live("paper"), everything(server)
    add_migration(
        source,
        "d15ea5e00003",
        "op.execute(\"CREATE TYPE mood AS ENUM ('well', 'late')\")",
        'op.execute("ALTER TABLE entries ADD COLUMN mood mood, ADD COLUMN weather citext")',
        'op.execute("CREATE TABLE moods (id SERIAL PRIMARY KEY, entry INTEGER REFERENCES entries (id))")',
        'op.execute("CREATE VIEW seen AS SELECT id FROM moods")',
    )
    play("deploy", flask_app="paper").check()
    newer = live("paper")
    record = json.loads(host.check_output(f"cat /srv/paper/releases/{newer}/RELEASE.json"))
    assert record["snapshot"]["heads"] == [SHIPPED]
    query(server, "UPDATE entries SET mood = 'late'")
    after = everything(server)

    refused = play("rollback", flask_app="paper")
    assert refused.code == 2
    assert "-e flask_restore=true" in " ".join(refused.output.split())
    play("rollback", flask_app="paper", flask_restore=True).check()
    assert (live("paper"), everything(server)) == (older, before)
    assert "it&#39;s" in ask(address, "paper.test").text

    undo = max(name for name in host.check_output("ls /srv/paper/snapshots").split() if name.endswith("-restore.json"))
    play("restore", flask_app="paper", flask_release=undo.removesuffix(".json")).check()
    assert everything(server) == after
    play("rollback", flask_app="paper", flask_release=newer).check()
    assert ask(address, "paper.test", "/healthz").headers["x-flaskhost-release"] == newer
    # what was put back is the app's own: it goes on counting where it was
    number = int(query(server, "SELECT max(id) FROM entries"))
    post_entry(address, "Ada", "after it", site="paper.test")
    assert int(query(server, "SELECT max(id) FROM entries")) > number
    assert query(server, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'") == "paper"
