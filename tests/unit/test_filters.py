# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters and the lookup as templates use them, and that each has documentation."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.flaskhost.stack.plugins.filter.app_mistakes import app_mistakes
from ansible_collections.flaskhost.stack.plugins.filter.canary_share import canary_share
from ansible_collections.flaskhost.stack.plugins.filter.databases import databases
from ansible_collections.flaskhost.stack.plugins.filter.dotenv import dotenv
from ansible_collections.flaskhost.stack.plugins.filter.environments import environments
from ansible_collections.flaskhost.stack.plugins.filter.release_config import release_config
from ansible_collections.flaskhost.stack.plugins.filter.resolve_apps import resolve_apps
from ansible_collections.flaskhost.stack.plugins.filter.supervisor_command import supervisor_command
from ansible_collections.flaskhost.stack.plugins.filter.waiting_releases import waiting_releases
from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import Missing, plain

ROOT = Path(__file__).resolve().parents[2]
FILTERS = (
    "app_mistakes",
    "canary_share",
    "databases",
    "database_hosts",
    "database_primary",
    "database_servers",
    "canary_share_here",
    "choose_apps",
    "dotenv",
    "environments",
    "failover",
    "fleet_differences",
    "fleet_hosts",
    "fleet_ids",
    "fleet_others",
    "fleet_trouble",
    "replication_mistakes",
    "replication_settled",
    "resolve_apps",
    "supervisor_command",
    "waiting_releases",
)
APP: dict[str, Any] = {
    "name": "blog",
    "source": {"git": "https://example.com/blog.git"},
    "wsgi": "blog:app",
    "database": {"engine": "mysql"},
}
SECRETS = {"blog": {"secret_key": "key", "database_password": "p@ss"}}


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_is_documented(name: str) -> None:
    document = yaml.safe_load((ROOT / "plugins" / "filter" / f"{name}.yml").read_text())
    module = importlib.import_module(f"ansible_collections.flaskhost.stack.plugins.filter.{name}")
    (function,) = module.FilterModule().filters().values()
    arguments = function.__wrapped__.__code__ if hasattr(function, "__wrapped__") else function.__code__
    options = document["DOCUMENTATION"]["options"]
    assert document["DOCUMENTATION"]["name"] == name
    assert list(options) == ["_input", *arguments.co_varnames[1 : arguments.co_argcount]]
    assert document["EXAMPLES"]
    assert document["RETURN"]["_value"]["type"]


def test_mistakes() -> None:
    assert app_mistakes({"web1": [APP]}) == []
    (line,) = app_mistakes({"web1": [{**APP, "wokers": 1}]}, vault_by_host={"web1": None})
    assert line == "web1: flask_apps[0].wokers (app blog): unknown key. Did you mean workers?"
    with pytest.raises(AnsibleFilterError, match="mapping of host names"):
        app_mistakes([APP])


def test_mistakes_look_at_the_files_of_the_control_node(tmp_path: Path) -> None:
    app = {**APP, "source": {"path": "code"}}
    (line,) = app_mistakes({"web1": [app]}, base=str(tmp_path))
    assert f"looked for {tmp_path}/code" in line
    (tmp_path / "code").mkdir()
    assert app_mistakes({"web1": [app]}, base=str(tmp_path)) == []


def test_resolve() -> None:
    (app,) = resolve_apps(
        [APP], vault={"blog": {"env": {"A": "x"}}}, host={"memory_mb": 4000, "cpus": 1}, address="10.0.0.1", base="/x"
    )
    assert (app["name"], app["workers"], app["url"]) == ("blog", 3, "https://10.0.0.1")
    assert resolve_apps(None) == []
    assert resolve_apps([]) == []


@pytest.mark.parametrize(
    "bad", ["x", [3], [{}], [{"name": "x"}], [{**APP, "tls": {"mode": "provided"}, "static": [{}]}]]
)
def test_resolve_points_to_the_mistakes(bad: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="app_mistakes tells what is wrong"):
        resolve_apps(bad)


def test_environments() -> None:
    found = environments([APP, {"name": "old", "state": "absent"}], {"blog": {"env": {"SECRET_KEY": "vault"}}}, SECRETS)
    assert list(found) == ["blog"]
    assert found["blog"]["SECRET_KEY"] == "vault"
    assert found["blog"]["DATABASE_URL"] == "mysql+pymysql://blog:p%40ss@127.0.0.1:3306/blog?charset=utf8mb4"
    with pytest.raises(AnsibleFilterError, match="no secret_key"):
        environments([APP])
    with pytest.raises(AnsibleFilterError, match="hold no environment"):
        environments(resolve_apps([APP]))


def test_both_sides_of_a_database_have_the_same_password() -> None:
    apps = [{**APP, "database": {"engine": "mysql", "host": "10.0.0.5"}}]
    (database,) = databases({"web1": apps}, "db1", ["10.0.0.5"], {"web1": "10.0.0.11"}, {"web1": None}, SECRETS)
    assert database == {"engine": "mysql", "name": "blog", "user": "blog", "password": "p@ss", "hosts": ["10.0.0.11"]}
    assert "blog:p%40ss@10.0.0.5" in environments(apps, None, SECRETS)["blog"]["DATABASE_URL"]
    with pytest.raises(AnsibleFilterError, match="no address of web host web1"):
        databases({"web1": apps}, "db1", ["10.0.0.5"], secrets=SECRETS)


def test_texts() -> None:
    assert dotenv({"A": "x y"}) == 'A="x y"\n'
    assert supervisor_command("date +%F") == "date +%%F"
    with pytest.raises(AnsibleFilterError):
        dotenv({"A": "\0"})
    with pytest.raises(AnsibleFilterError):
        supervisor_command("")


def test_plain_copies_are_deep_and_of_plain_types() -> None:
    class Tagged(str):
        pass

    found = plain({Tagged("a"): (Tagged("b"), 1, True, None, {"c": 1.5})})
    assert found == {"a": ["b", 1, True, None, {"c": 1.5}]}
    assert type(next(iter(found))) is str
    assert type(found["a"][0]) is str
    assert found["a"][2] is True
    assert plain(b"x") == b"x"


def test_plain_keeps_the_undefined_visible() -> None:
    from jinja2 import StrictUndefined

    (found,) = plain([StrictUndefined(hint="who is it")])
    assert isinstance(found, Missing)
    assert "who is it" in repr(found)


PLAY = """
- hosts: web1,web2
  gather_facts: false
  vars:
    app_secrets: "{{ lookup('flaskhost.stack.generated_secrets', flask_apps | map(attribute='name'), 'third', directory=playbook_dir ~ '/s') }}"
  tasks:
    - ansible.builtin.copy:
        dest: "{{ playbook_dir }}/{{ inventory_hostname }}.json"
        mode: "0600"
        content: "{{ result | to_json }}"
      delegate_to: localhost
      vars:
        by_host: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'broken'))) }}"
        result:
          mistakes: "{{ by_host | flaskhost.stack.app_mistakes(base=playbook_dir) }}"
          resolved: "{{ flask_apps | flaskhost.stack.resolve_apps(vault_flask_apps, {'memory_mb': 1024, 'cpus': 1}, '10.0.0.1', playbook_dir) }}"
          environments: "{{ flask_apps | flaskhost.stack.environments(vault_flask_apps, app_secrets) }}"
          databases: "{{ {inventory_hostname: flask_apps} | flaskhost.stack.databases(inventory_hostname, secrets=app_secrets) }}"
          secrets: "{{ app_secrets }}"
          dotenv: "{{ {'A': 'x y'} | flaskhost.stack.dotenv }}"
"""
INVENTORY = """
all:
  hosts: {web1: {}, web2: {}}
  vars:
    ansible_connection: local
    word: "blog"
    vault_word: "sesame"
    flask_apps:
      - {name: "{{ word }}", source: {path: ..}, wsgi: "blog:app", database: {engine: mysql}, env: {N: 3, T: yes, W: "{{ vault_word }}"}}
    vault_flask_apps: {blog: {env: {SECRET_KEY: "{{ vault_word }}"}}}
    broken:
      - {name: "{{ word }}", source: {path: ..}, wsgi: "{{ nobody_defined_me }}", wokers: 2, workers: "{{ 1 + 1 }}"}
"""


def test_in_a_real_play(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "inventory.yml").write_text(INVENTORY)
    environment = {name: value for name, value in os.environ.items() if name != "ANSIBLE_CONFIG"}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventory.yml", "play.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = (json.loads((tmp_path / f"{host}.json").read_text()) for host in ("web1", "web2"))
    assert first["secrets"] == second["secrets"]
    assert sorted(first["secrets"]) == ["blog", "third"]
    wsgi, wokers = sorted(first["mistakes"])[::-1]
    assert wokers == "web1, web2: flask_apps[0].wokers (app blog): unknown key. Did you mean workers?"
    assert wsgi.startswith("web1, web2: flask_apps[0].wsgi (app blog): refers to a variable that is not defined. ")
    assert "nobody_defined_me" in wsgi
    assert first["resolved"][0]["source"]["path"] == str(tmp_path.parent)
    assert first["resolved"][0]["workers"] == 3
    assert (
        first["environments"]["blog"].items() >= {"N": "3", "T": "true", "W": "sesame", "SECRET_KEY": "sesame"}.items()
    )
    assert first["databases"][0]["password"] == first["secrets"]["blog"]["database_password"]
    assert first["dotenv"] == 'A="x y"\n'


@pytest.mark.parametrize(
    ("given", "share"),
    [
        ("", ""), (None, ""), ("10", "10"), (10, "10"), (0, "0"), ("0", "0"), ("0.5", "0.5"), (0.5, "0.5"), ("12.50", "12.5"),
        ("100", "100"), (100, "100"), ("100.00", "100"), ("007", "7"), ("10.0", "10"), (" 5 ", "5"), (99.99, "99.99"), ("0.0", "0"),
    ],
)  # fmt: skip
def test_share_of_a_canary(given: Any, share: str) -> None:
    assert canary_share(given) == share


@pytest.mark.parametrize(
    "given",
    [
        "ten",
        "-1",
        "-0.5",
        "101",
        100.01,
        "0.005",
        "10%",
        "1e1",
        "nan",
        "inf",
        "10 20",
        ".5",
        "5.",
        "1,5",
        True,
        [10],
        "٣",
    ],
)
def test_bad_share_of_a_canary(given: Any) -> None:
    with pytest.raises(AnsibleFilterError, match=r"not a share.*flask_canary=10`. Nothing was changed"):
        canary_share(given)


@pytest.mark.parametrize(
    ("share", "app", "watch", "hosts", "says"),
    [
        ("10", "", 0, 1, "flask_canary=10: a canary is of one app. Give `-e flask_app=NAME`"),
        ("10", "blog", 3601, 1, "flask_canary_watch=3601: give 1 to 3600 seconds"),
        ("10", "blog", "-1", 1, "flask_canary_watch=-1: give 1 to 3600 seconds"),
        ("10", "blog", "1.5", 1, "flask_canary_watch=1.5: give 1 to 3600 seconds"),
        ("10", "blog", "soon", 1, "flask_canary_watch=soon: give 1 to 3600 seconds"),
        ("", "blog", 60, 1, "flask_canary_watch=60: without flask_canary there is no canary to watch"),
        (
            "10",
            "blog",
            60,
            2,
            "flask_canary_watch=60: each of the 2 hosts would decide for itself. Give `--limit HOST`",
        ),
    ],
)
def test_canary_that_cannot_be(share: str, app: str, watch: Any, hosts: int, says: str) -> None:
    with pytest.raises(AnsibleFilterError) as told:
        canary_share(share, app, watch, hosts)
    assert str(told.value).startswith(says)
    assert str(told.value).endswith(" Nothing was changed.")


def test_canary_that_can_be() -> None:
    assert canary_share("10", "blog", "60", 1) == canary_share("10", "blog", 0, 5) == canary_share("10") == "10"
    assert canary_share("", "", 0, 3) == canary_share("", "blog", "0", 1) == ""


@pytest.mark.parametrize(
    ("live", "canary", "share", "found"),
    [
        ("former", None, 0, []),
        ("former", ("now", "c1"), 0, ["ours"]),
        # somebody's own: another commit, the former configuration, or visitors
        ("former", ("now", "c2"), 0, ["others"]),
        ("former", ("former", "c1"), 0, ["others"]),
        ("former", ("now", "c1"), 10, ["others"]),
        # the app is where it should be: its canary is nobody's business
        ("now", ("former", "c1"), 10, []),
    ],
)
def test_canaries_of_a_failover(live: str, canary: tuple[str, str] | None, share: int, found: list[str]) -> None:
    apps, environments = resolve_apps([APP]), {"blog": {"DATABASE_URL": "mysql://db2"}}
    configs = {"now": release_config(apps[0], environments["blog"]), "former": "else"}
    records = [{"id": "1", "config": configs[live], "commit": "c1"}]
    if canary:
        records.append({"id": "2", "config": configs[canary[0]], "commit": canary[1]})
    status = {
        "canary": "2" if canary else "",
        "record": records[0],
        "releases": records,
        "shares": [{"release": "1", "share": 100 - share}, {"release": "2", "share": share}],
    }
    told = waiting_releases({"blog": status}, apps, environments)
    assert [key for key, names in told.items() if names == ["blog"]] == found
