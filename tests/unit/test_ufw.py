# SPDX-License-Identifier: GPL-3.0-or-later
"""The planning of firewall rules: nothing of others is touched, ssh is never shut out."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _ufw as ufw

V4 = """\
*filter
### RULES ###

### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=666c61736b686f73743a20737368
-A ufw-user-input -p tcp --dport 22 -j ACCEPT

### tuple ### limit tcp 8080 0.0.0.0/0 any 10.0.0.0/8 in comment=666c61736b686f73743a20782079
### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in
### tuple ### allow any 90 0.0.0.0/0 any 0.0.0.0/0 in_eth0
### tuple ### allow_log udp 53 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### route:allow any any 1.2.3.4 any 0.0.0.0/0 in_eth0
### tuple ### deny any any 0.0.0.0/0 any 203.0.113.9
### tuple ### broken line
### END RULES ###
"""


def rule(text: str, comment: str = "flaskhost: x", family: int = 4, extra: str = "") -> ufw.Rule:
    """Make a rule from `allow tcp 22 [source]`."""
    action, proto, port, *source = text.split()
    return ufw.Rule(family, action, proto, port, source[0] if source else ufw.ANYWHERE[family], comment, extra)


def specs(*rules: dict[str, object], ipv6: bool = False) -> list[ufw.Rule]:
    return ufw.wanted_rules(rules, "flaskhost", ipv6)


def test_rules_of_the_file() -> None:
    found = ufw.parse_rules(V4, 4)
    assert [str(r) for r in found] == [
        "allow 22/tcp from anywhere v4 # flaskhost: ssh",
        "limit 8080/tcp from 10.0.0.0/8 v4 # flaskhost: x y",
        "allow 22/tcp from anywhere v4 (profile OpenSSH)",
        "allow 90 from anywhere v4 (in_eth0)",
        "allow 53/udp from anywhere v4 (log)",
        "allow any port from anywhere v4 (route, in_eth0, to 1.2.3.4)",
        "deny any port from 203.0.113.9 v4",
    ]
    assert [ufw.is_own(r, "flaskhost") for r in found] == [True, True, False, False, False, False, False]


def test_state(tmp_path: Path) -> None:
    with pytest.raises(ufw.UfwError, match="not installed"):
        ufw.read_state(tmp_path, True)
    (tmp_path / "etc/ufw").mkdir(parents=True)
    (tmp_path / "etc/default").mkdir()
    (tmp_path / "etc/ufw/ufw.conf").write_text("# comment\nENABLED=yes\nLOGLEVEL=low\n")
    (tmp_path / "etc/default/ufw").write_text(
        '#IPV6=no\nIPV6=yes\nDEFAULT_INPUT_POLICY="DROP"\nDEFAULT_OUTPUT_POLICY="ACCEPT"\n'
    )
    (tmp_path / "etc/ufw/user6.rules").write_text("### tuple ### allow tcp 80 ::/0 any ::/0 in\n")
    state = ufw.read_state(tmp_path, True)
    assert (state.enabled, state.ipv6, state.incoming, state.outgoing) == (True, False, "deny", "allow")
    assert [str(r) for r in state.rules] == ["allow 80/tcp from anywhere v6"]
    (tmp_path / "proc/sys/net/ipv6").mkdir(parents=True)
    assert ufw.read_state(tmp_path, False).ipv6 is True
    assert ufw.read_state(tmp_path, False).rules == ()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"port": 22}, ["allow 22/tcp from anywhere v4 # flaskhost: 22/tcp"]),
        ({"port": "443, 80", "comment": "web"}, ["allow 80,443/tcp from anywhere v4 # flaskhost: web"]),
        ({"port": "8000-8010"}, ["allow 8000:8010/tcp from anywhere v4 # flaskhost: 8000:8010/tcp"]),
        ({"port": 53, "proto": "any"}, ["allow 53 from anywhere v4 # flaskhost: 53"]),
        (
            {"port": 3306, "from": ["10.1.2.3/8", "192.0.2.1/32"], "comment": "db"},
            ["allow 3306/tcp from 10.0.0.0/8 v4 # flaskhost: db", "allow 3306/tcp from 192.0.2.1 v4 # flaskhost: db"],
        ),
        (
            {"port": "any", "proto": "any", "from": ["10.0.0.1"], "action": "deny"},
            ["deny any port from 10.0.0.1 v4 # flaskhost: any"],
        ),
        ({"port": 80, "from": ["2001:DB8::1"]}, []),
    ],
)
def test_wanted(spec: dict[str, object], expected: list[str]) -> None:
    assert [str(r) for r in specs(spec)] == expected


def test_wanted_for_both_families() -> None:
    assert [str(r) for r in specs({"port": 22}, {"port": 80, "from": ["2001:DB8:0::1"]}, ipv6=True)] == [
        "allow 22/tcp from anywhere v4 # flaskhost: 22/tcp",
        "allow 22/tcp from anywhere v6 # flaskhost: 22/tcp",
        "allow 80/tcp from 2001:db8::1 v6 # flaskhost: 80/tcp",
    ]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"port": "ssh"}, "neither a port"),
        ({"port": 0}, "from 1 to 65535"),
        ({"port": 70000}, "from 1 to 65535"),
        ({"port": "10:9"}, "smaller to the larger"),
        ({"port": "80,443", "proto": "any"}, "need proto"),
        ({"port": "any"}, "needs proto any"),
        ({"port": "any", "proto": "any"}, "default policy"),
        ({"port": 1, "from": ["example.com"]}, "neither an address"),
        ({"port": 1, "action": "permit"}, "none of allow"),
        ({"port": 1, "proto": "sctp"}, "none of tcp"),
        ({"port": 1, "comment": "it's"}, "no quote"),
        ({"port": 1, "comment": "a\nb"}, "no quote"),
    ],
)
def test_mistakes(spec: dict[str, object], words: str) -> None:
    with pytest.raises(ufw.UfwError, match=words) as error:
        specs({"port": 22}, spec)
    assert "rule 2 (port " in str(error.value)


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ufw.UfwError) as error:
        specs({"port": "x"}, {"port": 22}, {"port": 22, "action": "deny"}, {"port": 22, "comment": "same again"})
    assert "rule 1" in str(error.value)
    assert "rule 3" in str(error.value)
    assert "rule 4" not in str(error.value)


def run(current: list[ufw.Rule], wanted: list[ufw.Rule]) -> tuple[ufw.Plan, list[str]]:
    plan = ufw.make_plan(current, wanted, "flaskhost")
    return plan, [" ".join(c) for c in ufw.commands(plan)]


def test_nothing_to_do() -> None:
    current = [rule("allow tcp 22"), rule("allow tcp 22", "", extra="profile OpenSSH"), rule("deny tcp 25", "")]
    plan, calls = run(current, [rule("allow tcp 22")])
    assert (plan, calls) == (ufw.Plan(), [])


def test_add_before_remove_and_both_families_in_one_command() -> None:
    current = [rule("allow tcp 80"), rule("allow tcp 80", family=6)]
    wanted = [rule("allow tcp 443"), rule("allow tcp 443", family=6)]
    plan, calls = run(current, wanted)
    assert calls == [
        "allow proto tcp from any to any port 443 comment flaskhost: x",
        "--force delete allow proto tcp from any to any port 80",
    ]
    assert ufw.apply_plan(current, plan) == tuple(wanted)


def test_one_family_is_missing() -> None:
    both = [rule("allow tcp 80"), rule("allow tcp 80", family=6)]
    assert run(both[:1], both)[1] == ["allow proto tcp from ::/0 to any port 80 comment flaskhost: x"]
    assert run(both[1:], both)[1] == ["allow proto tcp from 0.0.0.0/0 to any port 80 comment flaskhost: x"]


def test_change_in_place() -> None:
    current = [rule("allow tcp 22"), rule("deny tcp 25", "")]
    plan, calls = run(current, [rule("limit tcp 22", "flaskhost: y")])
    assert calls == ["limit proto tcp from 0.0.0.0/0 to any port 22 comment flaskhost: y"]
    assert [r.action for r in ufw.apply_plan(current, plan)] == ["limit", "deny"]


def test_rules_of_others_stay() -> None:
    current = [rule("limit tcp 22", ""), rule("allow tcp 80", "by hand"), rule("allow tcp 81", "other: x")]
    plan, calls = run(current, [rule("allow tcp 22"), rule("allow tcp 80")])
    assert calls == []
    assert [(w.action, o.action) for w, o in plan.conflicts] == [("allow", "limit")]
    assert ufw.apply_plan(current, plan) == tuple(current)


def test_order_is_kept_where_it_matters() -> None:
    current = [rule("deny tcp 3306"), rule("allow tcp 80")]
    wanted = [rule("allow tcp 3306 10.0.0.0/8"), rule("deny tcp 3306"), rule("allow tcp 80")]
    plan, calls = run(current, wanted)
    assert calls == [
        "allow proto tcp from 10.0.0.0/8 to any port 3306 comment flaskhost: x",
        "--force delete deny proto tcp from 0.0.0.0/0 to any port 3306",
        "deny proto tcp from 0.0.0.0/0 to any port 3306 comment flaskhost: x",
    ]
    after = ufw.apply_plan(current, plan)
    assert after == (wanted[2], wanted[0], wanted[1])
    assert ufw.make_plan(after, wanted, "flaskhost") == ufw.Plan()


OPEN = rule("allow tcp 22")


@pytest.mark.parametrize(
    ("rules", "policy", "client", "expected"),
    [
        ([OPEN], "deny", "192.0.2.1", True),
        ([OPEN], "deny", "", True),
        ([OPEN], "deny", "2001:db8::1", False),
        ([rule("allow tcp 22", family=6)], "deny", "2001:db8::1", True),
        ([], "deny", "192.0.2.1", False),
        ([], "allow", "192.0.2.1", True),
        ([rule("allow udp 22")], "deny", "192.0.2.1", False),
        ([rule("limit tcp 20:30")], "deny", "192.0.2.1", True),
        ([rule("allow any any 192.0.2.0/24")], "deny", "192.0.2.1", True),
        ([rule("allow any any 192.0.2.0/24")], "deny", "198.51.100.1", False),
        ([rule("allow tcp 22 192.0.2.0/24")], "deny", "", True),
        ([rule("deny tcp 22"), OPEN], "deny", "192.0.2.1", False),
        ([rule("deny tcp 22"), OPEN], "deny", "", False),
        ([rule("deny any any 203.0.113.9"), OPEN], "deny", "192.0.2.1", True),
        ([rule("deny any any 203.0.113.9"), OPEN], "deny", "203.0.113.9", False),
        ([rule("allow tcp 22", extra="in_eth0")], "deny", "192.0.2.1", False),
        ([rule("deny tcp 22", extra="in_eth0"), OPEN], "deny", "192.0.2.1", False),
        ([rule("deny tcp 22", extra="out"), OPEN], "deny", "192.0.2.1", True),
        ([rule("deny any any", extra="route, in_eth0"), OPEN], "deny", "192.0.2.1", True),
        ([rule("allow tcp 22", extra="profile OpenSSH")], "deny", "192.0.2.1", True),
        ([rule("allow tcp 22", extra="log")], "deny", "192.0.2.1", True),
    ],
)
def test_admits(rules: list[ufw.Rule], policy: str, client: str, expected: bool) -> None:
    assert ufw.admits(rules, policy, 22, client) is expected


def process(root: Path, pid: int, parent: int, environ: bytes) -> None:
    folder = root / "proc" / str(pid)
    folder.mkdir(parents=True)
    (folder / "environ").write_bytes(environ)
    (folder / "status").write_text(f"Name:\tx\nPPid:\t{parent}\n")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"192.0.2.7 50000 192.0.2.1 2222", ("192.0.2.7", 2222)),
        (b"::ffff:192.0.2.7 50000 ::ffff:192.0.2.1 22", ("192.0.2.7", 22)),
        (b"fe80::1%eth0 50000 fe80::2%eth0 22", ("fe80::1", 22)),
        (b"UNKNOWN 65535 UNKNOWN 65535", ("", 65535)),
        (b"nonsense", None),
    ],
)
def test_ssh_connection_through_sudo(tmp_path: Path, value: bytes, expected: tuple[str, int] | None) -> None:
    process(tmp_path, 10, 1, b"SSH_CONNECTION=" + value + b"\0HOME=/root")
    process(tmp_path, 20, 10, b"SUDO_USER=admin\0")
    assert ufw.ssh_connection(tmp_path, 20) == expected
    assert ufw.ssh_connection(tmp_path, 99) is None


def test_ports_of_sshd() -> None:
    text = """port 22
listenaddress [::]:22
listenaddress 0.0.0.0:2222
listenaddress 127.0.0.1:2200 rdomain vrf
listenaddress [::1]:2201
"""
    assert ufw.listening_ports(text) == {22, 2222}
    assert ufw.listening_ports("sshd is not installed") == set()
