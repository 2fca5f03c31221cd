# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts tell of each other during one deploy on all of them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flaskhost.stack.plugins.filter.canary_share_here import canary_share_here
from ansible_collections.flaskhost.stack.plugins.filter.choose_apps import choose_apps
from ansible_collections.flaskhost.stack.plugins.filter.fleet_differences import fleet_differences
from ansible_collections.flaskhost.stack.plugins.filter.fleet_hosts import fleet_hosts
from ansible_collections.flaskhost.stack.plugins.filter.fleet_ids import fleet_ids
from ansible_collections.flaskhost.stack.plugins.filter.fleet_others import fleet_others
from ansible_collections.flaskhost.stack.plugins.filter.fleet_trouble import fleet_trouble

WEB = ["web1", "web2", "web3"]
OLD, NEW = "20260101T000001Z-aaaaaaa", "20260101T000002Z-bbbbbbb"


def told(**results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What each host registered as ``build``."""
    return {host: {"build": result} for host, result in results.items()}


GOOD = {"changed": True, "failed": False}
BAD = {"failed": True, "msg": "build: `make` ended with 2:\nlots of output"}


@pytest.mark.parametrize(
    ("hostvars", "expected"),
    [
        (told(web1=GOOD, web2=GOOD, web3=GOOD), ""),
        (told(web1=GOOD, web2={"skipped": True}, web3=GOOD), ""),
        (told(web1=GOOD, web2=BAD, web3=GOOD), "web2: build: `make` ended with 2:"),
        (told(web1=BAD, web2=GOOD, web3=BAD), "web1: build: `make` ended with 2:; web3: build: `make` ended with 2:"),
        # ansible registers nothing of a host that it lost; begin.yml has emptied what was there
        (told(web1=GOOD, web2=GOOD, web3={}), "web3: it cannot be reached any more, or failed before"),
        (told(web1=GOOD, web2=GOOD), "web3: it cannot be reached any more, or failed before"),
        (
            told(web1=GOOD, web2=GOOD, web3={"unreachable": True, "msg": "x"}),
            "web3: it cannot be reached any more, or failed before",
        ),
        (told(web1=GOOD, web2=GOOD, web3={"failed": True}), "web3: it failed"),
    ],
)
def test_trouble_of_any_host_is_told(hostvars: dict[str, Any], expected: str) -> None:
    assert fleet_trouble(WEB, hostvars, ["build"]) == expected


def test_host_that_was_lost_in_its_turn_has_the_result_of_its_preparation() -> None:
    hostvars = told(web1={"switched": True}, web2={"switched": False}, web3={"skipped": True})
    assert fleet_trouble(WEB, hostvars, ["build"]) == ""
    assert fleet_trouble(WEB, hostvars, ["build"], "switched") == "web2: it cannot be reached any more"
    hostvars["web2"] = {"build": {"switched": True}}
    assert fleet_trouble(WEB, hostvars, ["build"], "switched") == "web3: it was skipped"


def test_what_one_host_decided_for_all_counts_too() -> None:
    hostvars = {"web1": {"decided": BAD, "source": {"skipped": True}}}
    hostvars["web2"] = {"decided": {"skipped": True}, "source": {"skipped": True}}
    assert fleet_trouble(["web1", "web2"], hostvars, ["decided", "source"]).startswith("web1: build:")


def test_hosts_with_an_app() -> None:
    hostvars: dict[str, Any] = {
        "web1": {"flaskhost_apps": [{"name": "blog"}], "flask_apps": [{"name": "other"}]},
        # not reached: nothing was resolved there
        "web2": {"flask_apps": [{"name": "blog"}, {"name": "shop", "state": "absent"}]},
        "web3": {"flaskhost_apps": []},
        "web4": {},
    }
    assert fleet_hosts([*hostvars, "nowhere"], hostvars, "blog") == ["web1", "web2"]
    assert fleet_hosts(hostvars, hostvars, "") == ["web1", "web2"]
    assert fleet_hosts(hostvars, hostvars, "shop") == []


def begun(target: str = "", commit: str = "", **more: Any) -> dict[str, Any]:
    return {"__release_begin": {"target": target, "commit": commit, **more}}


def test_hosts_that_would_go_to_different_code() -> None:
    same = {"web1": begun(OLD, "a"), "web2": begun(OLD, "a")}
    assert fleet_differences(same, same) == ""
    assert fleet_differences(WEB, {host: begun() for host in WEB}) == "", "a deploy goes to none of those there are"
    # a release of the same code with another configuration is the same version
    same["web2"] = begun(NEW, "a")
    assert fleet_differences(same, same) == ""
    same["web2"] = begun("", "b", canary={"release": NEW})
    assert fleet_differences(same, same) == f"web1 would go to {OLD}; web2 would go to {NEW}"


def test_ids_that_a_host_which_comes_late_gives_its_release() -> None:
    hostvars = {
        "web1": begun(live=OLD, record={"commit": "a", "state": "finished"}),
        "web2": begun(live=NEW, record={"commit": "a", "state": "finished"}),
        "web3": begun(live=NEW, record={"commit": "b", "state": "building"}),
        "web4": begun(live="", record={}),
        "web5": {},
    }
    assert fleet_ids(hostvars, hostvars) == {"a": OLD}


def test_what_became_of_the_others() -> None:
    hostvars: dict[str, Any] = {
        host: {"__release_begin": {"live": OLD}, "__release_serve": {}, "__release_went_back": {}}
        for host in ["web1", "web2", "web3", "web4", "web5", "web6", "web7"]
    }
    hostvars["web2"] |= {"__release_serve": {"switched": True}, "__release_went_back": {"switched": True}}
    hostvars["web3"] |= {"__release_serve": {"skipped": True}, "__release_went_back": {"skipped": True}}
    hostvars["web4"] |= {"__release_serve": {"switched": True}, "__release_went_back": {"failed": True, "msg": "dead"}}
    hostvars["web5"] |= {"__release_serve": {"switched": True}, "__release_went_back": {"skipped": True}}
    hostvars["web6"] |= {"__release_serve": {"failed": True, "msg": "verify: no"}}
    assert fleet_others(hostvars, hostvars, "web1", [host for host in hostvars if host != "web7"]).split("; ") == [
        f"web2 had switched and is back on {OLD}",
        "web3 was not switched",
        "web4 had switched and could NOT go back (dead)",
        "web5 has the new release",
        "web6 failed too (verify: no)",
        "web7 cannot be reached any more, and may serve either release",
    ]
    assert fleet_others(["web1"], hostvars, "web1", ["web1"]) == ""


@pytest.mark.parametrize(
    ("share", "count", "shares"),
    [
        ("", 0, ["", "", ""]),
        ("", "", ["", "", ""]),
        ("10", 0, ["10", "10", "10"]),
        ("", 1, ["100", "0", "0"]),
        ("", "2", ["100", "100", "0"]),
        ("10", 1, ["10", "0", "0"]),
        ("0", 1, ["0", "0", "0"]),
    ],
)
def test_canary_on_some_of_the_hosts(share: str, count: Any, shares: list[str]) -> None:
    assert [canary_share_here(share, count, "blog", WEB, host) for host in WEB] == shares


@pytest.mark.parametrize(
    ("count", "app", "says"),
    [
        (3, "blog", "flask_canary_hosts=3: blog has 3 hosts here; give a smaller number"),
        ("one", "blog", "flask_canary_hosts=one: blog has 3 hosts"),
        (-1, "blog", "flask_canary_hosts=-1: "),
        (True, "blog", "flask_canary_hosts=True: "),
        (1, "", "a canary is of one app"),
    ],
)
def test_number_of_hosts_that_cannot_be(count: Any, app: str, says: str) -> None:
    with pytest.raises(AnsibleFilterError, match=says):
        canary_share_here("", count, app, WEB, "web1")


def test_app_that_a_host_has_not() -> None:
    apps = [{"name": "blog"}, {"name": "shop"}]
    assert choose_apps(apps, "") == apps
    assert choose_apps(apps, "shop") == [{"name": "shop"}]
    assert choose_apps(apps, "blo") == []
