# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of scripts/box: names, subnets, addresses, host keys; and which parts scripts/test has."""

from __future__ import annotations

import os
from ipaddress import IPv4Network as Network
from pathlib import Path
from typing import Any

import pytest
import testrun
from boxlib import daemon, emulation, image, plan
from boxlib.image import Recipe
from boxlib.system import Problem

VAGRANT = Network("192.168.56.0/24")


def test_clones_share_no_name_and_no_first_subnet() -> None:
    ids = {plan.clone_id(path) for path in ("/home/a/stack", "/home/b/stack", "/home/a/stack 2")}
    assert len(ids) == 3
    assert len({plan.network_name(clone) for clone in ids}) == 3
    assert len({plan.container_name(clone, "rehearsal") for clone in ids}) == 3
    assert len({next(plan.subnets(clone)) for clone in ids}) == 3


@pytest.mark.parametrize("number", range(50))
def test_subnets_are_private_and_never_vagrants(number: int) -> None:
    clone = plan.clone_id(f"/clone/{number}")
    candidates = list(plan.subnets(clone))
    assert candidates == list(plan.subnets(clone)), "the same clone gets the same ones again"
    assert len(candidates) >= 12
    assert all(candidate.is_private and candidate.prefixlen == 24 for candidate in candidates)
    assert not any(candidate.overlaps(VAGRANT) for candidate in candidates)
    for private in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"):
        assert any(candidate.subnet_of(Network(private)) for candidate in candidates)


def test_a_routed_range_moves_the_clone_to_another_one() -> None:
    candidates = list(plan.subnets("0123abcd"))
    company = Network("10.0.0.0/8")
    docker = Network("172.17.0.0/16")
    free = plan.free_subnets(candidates, [company, docker])
    assert free
    assert not any(subnet.overlaps(taken) for subnet in free for taken in (company, docker))
    assert plan.free_subnets(candidates, [candidates[0]]) == candidates[1:]
    assert plan.free_subnets(candidates, []) == candidates


def test_routes_are_read_from_the_kernels_table() -> None:
    table = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "br-1\t006AA00A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert plan.routes(table) == [Network("172.17.0.0/16"), Network("10.160.106.0/24")]
    assert plan.routes("") == []


@pytest.mark.parametrize(("name", "octet"), [("rehearsal", 10), ("default", 11), ("options-a", 12), ("options-b", 13)])
def test_boxes_that_others_name_have_known_addresses(name: str, octet: int) -> None:
    assert plan.octet_for(name, {"other": 77}) == octet


def test_other_addresses_follow_from_the_name_and_collide_with_none() -> None:
    taken: dict[str, int] = {}
    for number in range(100):
        name = f"try-{number}"
        taken[name] = plan.octet_for(name, taken)
    assert len(set(taken.values())) == 100
    assert min(taken.values()) >= 40
    assert plan.octet_for("try", {}) == plan.octet_for("try", {"try": plan.octet_for("try", {})})


def test_bench_boxes_have_their_own_range_which_ends() -> None:
    taken: dict[str, int] = {}
    for number in range(10):
        taken[f"bench-{number}"] = plan.octet_for(f"bench-{number}", taken)
    assert sorted(taken.values()) == list(range(20, 30))
    with pytest.raises(ValueError, match="no address is free"):
        plan.octet_for("bench-more", taken)


@pytest.mark.parametrize("name", ["rehearsal", "options-a", "a1"])
def test_good_names(name: str) -> None:
    assert plan.NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "1a", "-a", "A", "a_b", "a.b", "a b", "a" * 31, "../a"])
def test_bad_names(name: str) -> None:
    assert not plan.NAME.fullmatch(name)


def test_host_keys_replace_those_of_the_same_address_only() -> None:
    before = "10.1.2.10 ssh-rsa OLD\n10.1.2.100 ssh-rsa OTHER\n"
    after = plan.with_host_keys(before, "10.1.2.10", "ssh-ed25519 NEW root@box\necdsa NEWER root@box\n")
    assert after == "10.1.2.100 ssh-rsa OTHER\n10.1.2.10 ssh-ed25519 NEW\n10.1.2.10 ecdsa NEWER\n"
    assert plan.with_host_keys(after, "10.1.2.10", "") == "10.1.2.100 ssh-rsa OTHER\n"


def test_an_image_is_named_after_all_that_goes_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLASKHOST_BOX_IMAGE", raising=False)
    monkeypatch.delenv("FLASKHOST_BOX_SUITE", raising=False)
    plain = Recipe.wanted(None, None, like_ubuntu=False)
    assert plain == Recipe("bookworm")
    assert plain.tag == Recipe.wanted("bookworm", None, like_ubuntu=False).tag
    others = [
        Recipe("trixie"),
        Recipe("trixie-mysql"),
        Recipe("bookworm", like_ubuntu=True),
        Recipe("", "ubuntu:24.04"),
    ]
    assert len({recipe.tag for recipe in (plain, *others)}) == 5
    assert Recipe("", "ubuntu:24.04").tag.startswith("flaskhost-box:ubuntu-24.04-")
    assert Recipe.wanted("trixie-mysql", None, like_ubuntu=False).additions == ["like-ubuntu", "mysql"]


def test_box_of_another_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(image, "own_arch", lambda: "amd64")
    arm = Recipe.wanted(None, None, False, "arm64")
    assert (arm.title, arm.arch) == ("bookworm-arm64", "arm64")
    assert arm.tag != Recipe("bookworm").tag
    assert Recipe.wanted(None, None, False, "amd64") == Recipe("bookworm"), "it needs no emulation"
    for given in ({"suite": "trixie-mysql"}, {"base": "ubuntu:24.04"}, {"like_ubuntu": True}):
        wish: dict[str, Any] = {"suite": None, "base": None, "like_ubuntu": False, **given}
        with pytest.raises(Problem, match="--arch arm64 goes with --suite bookworm or trixie only"):
            Recipe.wanted(**wish, arch="arm64")


def test_the_kernel_is_told_of_an_emulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = "package qemu-user-static\ninterpreter /usr/bin/qemu\nmagic \\x7fELF\nmask \\xff\noffset 0\ncredentials no\n"
    assert emulation.entry("arm64", told) == r":flaskhost-arm64:M:0:\x7fELF:\xff:/usr/bin/qemu:PFC"
    monkeypatch.setattr(emulation, "BINFMT", tmp_path)
    assert not emulation.registered("arm64")
    for state, flags, right in (("enabled", "PF", False), ("enabled", "POCF", True), ("disabled", "POCF", False)):
        (tmp_path / "flaskhost-arm64").write_text(f"{state}\ninterpreter /usr/bin/qemu\nflags: {flags}\n")
        assert emulation.registered("arm64") is right, "without C, no sudo; without F, no file in a container"


def test_the_environment_chooses_the_image_unless_the_command_line_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASKHOST_BOX_IMAGE", "ubuntu:24.04")
    assert Recipe.wanted(None, None, like_ubuntu=False).base == "ubuntu:24.04"
    assert Recipe.wanted("trixie", None, like_ubuntu=False) == Recipe("trixie")
    monkeypatch.setenv("FLASKHOST_BOX_IMAGE", "")
    monkeypatch.setenv("FLASKHOST_BOX_SUITE", "trixy")
    with pytest.raises(Problem, match="bookworm, trixie"):
        Recipe.wanted(None, None, like_ubuntu=False)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the daemon is only ever started on Linux")
def test_a_process_is_known_by_number_name_and_birth() -> None:
    pid = os.getpid()
    name = Path("/proc/self/comm").read_text().strip()
    assert daemon.is_process(pid, name)
    assert not daemon.is_process(pid, "dockerd")
    assert not daemon.is_process(pid, name, born="1")
    assert not daemon.is_process(0, name)


def test_the_suite_has_a_part_per_scenario_and_the_quick_ones_last() -> None:
    names = [part.name for part in testrun.parts()]
    assert names[-3:] == ["unit", "guestbook", "lint"]
    assert names == list(dict.fromkeys(names))


def test_the_suite_removes_the_boxes_of_its_scenarios_only() -> None:
    chosen = [testrun.Part("options", (), needs_boxes=True), testrun.Part("unit", (), counts=True)]
    assert testrun.own_boxes(chosen, ["default", "options-a", "options-b", "optionsx", "rehearsal", "unit"]) == [
        "options-a",
        "options-b",
    ]
