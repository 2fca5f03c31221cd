# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading ufw's files and planning changes to them; pure, nothing here runs a command.

A rule of ufw is identified by everything but its action and its comment: adding
``limit 22/tcp`` where ``allow 22/tcp`` exists changes that rule in its place. So two owners cannot
have a rule of the same selector, and whoever has it first keeps it here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
ACTIONS = ("allow", "limit", "deny", "reject")
POLICIES = {"ACCEPT": "allow", "DROP": "deny", "REJECT": "reject"}
PORT = re.compile(r"\d+(:\d+)?(,\d+(:\d+)?)*")
TUPLE = re.compile(r"^### tuple ###\s+(?P<fields>.*?)(?:\s+comment=(?P<comment>[0-9a-fA-F]*))?\s*$")


class UfwError(Exception):
    """Something a person has to mend; the text says what and how."""


@dataclass(frozen=True)
class Rule:
    """One tuple of user.rules (family 4) or user6.rules (family 6)."""

    family: int
    action: str
    proto: str
    port: str
    source: str
    comment: str = ""
    # Anything a plain "from SOURCE to any port PORT" does not say: an interface, a destination, a
    # source port, an application profile, "out", "route". Empty for the rules made here.
    extra: str = ""

    @property
    def selector(self) -> tuple[int, str, str, str, str]:
        return (self.family, self.proto, self.port, self.source, self.extra)

    @property
    def from_anywhere(self) -> bool:
        return self.source == ANYWHERE[self.family]

    def __str__(self) -> str:
        port = "any port" if self.port == "any" else self.port
        proto = "" if self.proto == "any" else f"/{self.proto}"
        source = "anywhere" if self.from_anywhere else self.source
        extra = f" ({self.extra})" if self.extra else ""
        comment = f" # {self.comment}" if self.comment else ""
        return f"{self.action} {port}{proto} from {source} v{self.family}{extra}{comment}"


@dataclass(frozen=True)
class State:
    """What ufw's files say; ``loaded`` and ``boot`` are filled in by the caller, who can ask."""

    enabled: bool
    ipv6: bool
    incoming: str
    outgoing: str
    rules: tuple[Rule, ...]
    loaded: bool = False
    boot: bool = False

    def lines(self) -> list[str]:
        """The state as a text whose diff a person can read."""
        head = [
            f"firewall: {'on' if self.enabled and self.loaded else 'off'}",
            f"at boot: {'on' if self.boot else 'off'}",
            f"ipv6: {'on' if self.ipv6 else 'off'}",
            f"incoming: {self.incoming}",
            f"outgoing: {self.outgoing}",
        ]
        return head + [str(rule) for rule in self.rules]


@dataclass
class Plan:
    """``steps`` in the order they are to be run; the other lists are for the report."""

    steps: list[tuple[str, Rule]] = field(default_factory=list)  # ("add" | "delete", rule)
    added: list[Rule] = field(default_factory=list)
    updated: list[Rule] = field(default_factory=list)
    removed: list[Rule] = field(default_factory=list)
    moved: list[Rule] = field(default_factory=list)
    conflicts: list[tuple[Rule, Rule]] = field(default_factory=list)  # (wanted, somebody else's)


# --- what ufw's files say -------------------------------------------------------------------------


def settings(text: str) -> dict[str, str]:
    """``KEY=value`` lines of /etc/default/ufw and ufw.conf, quotes removed."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            found[key.strip()] = value.strip().strip("\"'")
    return found


def parse_rule(line: str, family: int) -> Rule | None:
    """A ``### tuple ###`` line as a rule; None for every other line and for one ufw would skip."""
    match = TUPLE.match(line)
    if not match:
        return None
    words = match["fields"].split()
    if not 6 <= len(words) <= 9:
        return None
    action, proto, port, destination, source_port, source = words[:6]
    # 7 and 9 words end with the direction, 8 and 9 have the application profiles before it.
    direction = words[-1] if len(words) in (7, 9) else "in"
    profiles = words[6:8] if len(words) >= 8 else []
    extra = []
    if ":" in action:
        kind, action = action.split(":", 1)
        extra.append(kind)
    if "_" in action:  # allow_log, limit_log-all
        action, log = action.split("_", 1)
        extra.append(log)
    if direction != "in":
        extra.append(direction)
    if destination != ANYWHERE[family]:
        extra.append(f"to {destination}")
    if source_port != "any":
        extra.append(f"source port {source_port}")
    extra += [f"profile {name}" for name in profiles if name != "-"]
    comment = bytes.fromhex(match["comment"] or "").decode("utf-8", "replace")
    return Rule(family, action, proto, port, source, comment, ", ".join(extra))


def parse_rules(text: str, family: int) -> list[Rule]:
    return [rule for line in text.splitlines() if (rule := parse_rule(line, family)) is not None]


def read_state(root: Path, with_ipv6: bool) -> State:
    """What ufw's files say. Raises UfwError where ufw is not installed.

    The rules of version 6 are in their file even while ufw looks away (IPV6=no), so ``with_ipv6``
    says whether they are of interest.
    """
    conf, defaults = root / "etc/ufw/ufw.conf", root / "etc/default/ufw"
    if not (conf.exists() and defaults.exists()):
        raise UfwError("ufw is not installed: install the package ufw first")
    default = settings(defaults.read_text(encoding="utf-8"))
    # ufw itself ignores IPV6=yes on a kernel without IPv6.
    ipv6 = default.get("IPV6", "no").lower() == "yes" and has_ipv6(root)
    rules: list[Rule] = []
    for name, family in (("user.rules", 4), ("user6.rules", 6)):
        path = root / "etc/ufw" / name
        if path.exists() and (family == 4 or with_ipv6):
            rules += parse_rules(path.read_text(encoding="utf-8"), family)
    return State(
        enabled=settings(conf.read_text(encoding="utf-8")).get("ENABLED", "no").lower() == "yes",
        ipv6=ipv6,
        incoming=POLICIES.get(default.get("DEFAULT_INPUT_POLICY", "").upper(), "unknown"),
        outgoing=POLICIES.get(default.get("DEFAULT_OUTPUT_POLICY", "").upper(), "unknown"),
        rules=tuple(rules),
    )


def has_ipv6(root: Path) -> bool:
    return (root / "proc/sys/net/ipv6").exists()


# --- what is wanted -------------------------------------------------------------------------------


def wanted_rules(specs: Sequence[Mapping[str, object]], owner: str, ipv6: bool) -> list[Rule]:
    """The list of the module's ``rules`` option as tuples; every mistake is told at once.

    Args:
        specs: dicts with port, proto, action, from (list of addresses), comment.
        owner: what the comments begin with, followed by a colon.
    """
    problems: list[str] = []
    rules: dict[tuple[int, str, str, str, str], Rule] = {}
    for number, spec in enumerate(specs, 1):
        try:
            new = _expand(spec, owner)
        except UfwError as error:
            problems.append(f"rule {number} (port {spec.get('port')}): {error}")
            continue
        for rule in new:
            if rule.family == 6 and not ipv6:
                continue
            known = rules.setdefault(rule.selector, rule)
            if known.action != rule.action:
                problems.append(
                    f"rule {number} (port {rule.port}): an earlier rule says {known.action} to the same "
                    f"port and source, this one says {rule.action}; keep one of them"
                )
    if problems:
        raise UfwError("; ".join(problems))
    return list(rules.values())


def _expand(spec: Mapping[str, object], owner: str) -> list[Rule]:
    port = _port(str(spec.get("port", "any")))
    proto, action = str(spec.get("proto", "tcp")), str(spec.get("action", "allow"))
    if action not in ACTIONS:
        raise UfwError(f"action {action!r} is none of {', '.join(ACTIONS)}")
    if proto not in ("tcp", "udp", "any"):
        raise UfwError(f"proto {proto!r} is none of tcp, udp, any")
    if proto == "any" and not port.isdigit() and port != "any":
        raise UfwError("several ports in one rule need proto tcp or udp")
    if port == "any" and proto != "any":
        raise UfwError("port any needs proto any")
    comment = f"{owner}: {spec.get('comment') or (port if proto == 'any' else f'{port}/{proto}')}"
    if "'" in comment or not comment.isprintable():
        raise UfwError("ufw takes no quote and no control character in a comment")
    sources = spec.get("from") or ["any"]
    if isinstance(sources, str):
        sources = [sources]
    if not isinstance(sources, Iterable):
        raise UfwError(f"from {sources!r} is not a list of addresses")
    rules: list[Rule] = []
    for source in sources:
        if source == "any" and port == "any":
            raise UfwError(f"{action} everything from anywhere is the default policy's business")
        rules += [Rule(f, action, proto, port, address, comment) for f, address in _source(str(source))]
    return rules


def _port(text: str) -> str:
    """ufw sorts a list of ports; a range stays where its first port belongs."""
    text = text.replace(" ", "").replace("-", ":")
    if text == "any":
        return text
    if not PORT.fullmatch(text):
        raise UfwError(f"port {text!r} is neither a port, a range like 8000:8010, nor a list of them")
    numbers = [int(n) for n in re.split("[,:]", text)]
    if not all(0 < n < 65536 for n in numbers) or len(numbers) > 15:
        raise UfwError(f"port {text!r}: ports go from 1 to 65535, at most 15 in one rule")
    parts = sorted(text.split(","), key=lambda part: int(part.split(":")[0]))
    if any(int(a) >= int(b) for a, b in (part.split(":") for part in parts if ":" in part)):
        raise UfwError(f"port {text!r}: a range goes from the smaller to the larger port")
    return ",".join(parts)


def _source(text: str) -> list[tuple[int, str]]:
    if text == "any":
        return [(4, ANYWHERE[4]), (6, ANYWHERE[6])]
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise UfwError(f"from {text!r} is neither an address, a network like 10.0.0.0/8, nor any") from None
    single = network.prefixlen == network.max_prefixlen
    return [(network.version, str(network.network_address) if single else str(network))]


# --- from the one to the other --------------------------------------------------------------------


def is_own(rule: Rule, owner: str) -> bool:
    return rule.comment.startswith(f"{owner}:") and not rule.extra


def make_plan(current: Sequence[Rule], wanted: Sequence[Rule], owner: str) -> Plan:
    """The fewest steps from current to wanted that leave everybody else's rules alone.

    What is new is added before anything is deleted, so that no port closes in between. The order of
    the wanted rules is kept where it matters: between overlapping rules with different actions.
    """
    plan = Plan()
    at = {rule.selector: (index, rule) for index, rule in enumerate(current)}
    place: dict[tuple[int, str, str, str, str], int] = {}
    for count, rule in enumerate(wanted):
        index, known = at.get(rule.selector, (-1, None))
        last = len(current) + count  # where an appended rule would end up
        must_follow = max(
            (place[w.selector] for w in wanted[:count] if w.action != rule.action and _overlap(w, rule)),
            default=-1,
        )
        if known is None:
            plan.added.append(rule)
            plan.steps.append(("add", rule))
            place[rule.selector] = last
        elif not is_own(known, owner):
            place[rule.selector] = index
            if known.action != rule.action:
                plan.conflicts.append((rule, known))
        elif must_follow > index:
            plan.moved.append(rule)
            plan.steps += [("delete", known), ("add", rule)]
            place[rule.selector] = last
        else:
            place[rule.selector] = index
            if known != rule:
                plan.updated.append(rule)
                plan.steps.append(("add", rule))
    keep = {rule.selector for rule in wanted}
    plan.removed = [rule for rule in current if is_own(rule, owner) and rule.selector not in keep]
    plan.steps += [("delete", rule) for rule in plan.removed]
    return plan


def apply_plan(current: Sequence[Rule], plan: Plan) -> tuple[Rule, ...]:
    """What ufw's files will hold after the steps (version 4 first, as ufw lists them)."""
    rules = list(current)
    for verb, rule in plan.steps:
        index = next((i for i, known in enumerate(rules) if known.selector == rule.selector), None)
        if verb == "delete":
            if index is not None:
                del rules[index]
        elif index is not None:
            rules[index] = rule
        else:
            rules.append(rule)
    return tuple(sorted(rules, key=lambda rule: rule.family))


def commands(plan: Plan) -> list[list[str]]:
    """Arguments for ufw; a step that is the same for both families is one command."""
    result: list[list[str]] = []
    steps = list(plan.steps)
    while steps:
        verb, rule = steps.pop(0)
        twin = (verb, replace(rule, family=10 - rule.family, source=ANYWHERE[10 - rule.family]))
        source = rule.source
        if rule.from_anywhere and twin in steps:
            steps.remove(twin)
            source = "any"
        words = ["--force", "delete"] if verb == "delete" else []
        words.append(rule.action)
        if rule.proto != "any":
            words += ["proto", rule.proto]
        words += ["from", source, "to", "any"]
        if rule.port != "any":
            words += ["port", rule.port]
        if verb == "add" and rule.comment:
            words += ["comment", rule.comment]
        result.append(words)
    return result


def _ranges(port: str) -> list[tuple[int, int]]:
    if port == "any":
        return [(1, 65535)]
    if not PORT.fullmatch(port):
        return []
    pairs = (part.split(":") for part in port.split(","))
    return [(int(pair[0]), int(pair[-1])) for pair in pairs]


def _overlap(a: Rule, b: Rule) -> bool:
    """Could one packet match both?"""
    if a.family != b.family or (a.proto != b.proto and "any" not in (a.proto, b.proto)):
        return False
    if not any(x[0] <= y[1] and y[0] <= x[1] for x in _ranges(a.port) for y in _ranges(b.port)):
        return False
    first, second = (ipaddress.ip_network(rule.source, strict=False) for rule in (a, b))
    return first.overlaps(second)


# --- would ssh still get in? ----------------------------------------------------------------------


def admits(rules: Sequence[Rule], policy: str, port: int, client: str = "") -> bool:
    """Whether a new connection to a tcp port gets in: the first rule that matches decides.

    Args:
        policy: the default for incoming connections.
        client: its address; empty if unknown, then it is enough that somebody gets in.

    A rule with an interface, destination or source port may or may not match: such a rule is
    believed when it closes the port, and not when it opens it.
    """
    address = ipaddress.ip_address(client) if client else None
    families = (address.version,) if address else (4, 6)
    return any(_admits(rules, family, policy, port, address) for family in families)


def _admits(
    rules: Sequence[Rule],
    family: int,
    policy: str,
    port: int,
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None,
) -> bool:
    for rule in rules:
        if rule.family != family or rule.proto not in ("tcp", "any"):
            continue
        if not any(low <= port <= high for low, high in _ranges(rule.port)):
            continue
        if re.search(r"\b(route|out\w*)\b", rule.extra):
            continue
        opens = rule.action in ("allow", "limit")
        source = ipaddress.ip_network(rule.source, strict=False)
        matches = address in source if address else opens or rule.from_anywhere
        # "log" and a profile only say more about the rule, they do not narrow it down
        narrowed = re.search(r"\b(in_\S+|to |source port)", rule.extra)
        if matches and not (opens and narrowed):
            return opens
    return policy == "allow"


def ssh_connection(root: Path, pid: int) -> tuple[str, int] | None:
    """(client address, port on this host) of the ssh connection that process ``pid`` lives under.

    sudo removes SSH_CONNECTION from the environment it starts, but its own one still has it, so the
    ancestors are asked too (their environment is readable by root).
    """
    for _ in range(64):
        try:
            environ = (root / "proc" / str(pid) / "environ").read_bytes()
            status = (root / "proc" / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        for entry in environ.split(b"\0"):
            if entry.startswith(b"SSH_CONNECTION="):
                words = entry.decode("ascii", "replace").partition("=")[2].split()
                if len(words) == 4 and words[3].isdigit():
                    return _plain_address(words[0]), int(words[3])
        parent = re.search(r"^PPid:\s*(\d+)", status, re.MULTILINE)
        if not parent or int(parent[1]) < 1:
            return None
        pid = int(parent[1])
    return None


def listening_ports(sshd_settings: str) -> set[int]:
    """Ports that ``sshd -T`` names, without those of the loopback interface."""
    found = re.findall(r"^listenaddress (\[[^]]*\]|[^\s:]+):(\d+)\b", sshd_settings, re.MULTILINE)
    return {int(port) for address, port in found if not address.startswith("127.") and address != "[::1]"}


def _plain_address(text: str) -> str:
    """Without a zone, and as IPv4 where it is an IPv4 address in an IPv6 coat; empty if it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
