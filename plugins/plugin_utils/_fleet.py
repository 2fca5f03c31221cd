# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hosts of an app tell of each other while one deploy runs on all of them. Works on the control node.

A host is known by what its tasks registered: facts that a rescue sets come too late, for the tasks of a block run to their
end on the good hosts before the rescue of a failed one begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# of an error, what fits into another host's; the whole of it stands where it happened
_FIRST_LINE = 300


def result(hostvars: Any, host: str, name: str) -> dict[str, Any]:
    """What a host registered; empty where it registered nothing."""
    try:
        value = hostvars[host].get(name)
    except (KeyError, AttributeError):
        return {}
    return dict(value) if isinstance(value, Mapping) else {}


def apps_of(variables: Any) -> list[str]:
    """Names of the apps of a host; as its inventory has them where it was not reached."""
    entries = variables.get("flaskhost_apps")
    if entries is None:
        entries = [entry for entry in variables.get("flask_apps") or [] if entry.get("state", "present") != "absent"]
    return [str(entry["name"]) for entry in entries]


def with_app(hosts: Iterable[str], hostvars: Any, app: str) -> list[str]:
    """Those of the hosts that have an app; one of any apps where the name is empty."""
    found = []
    for host in hosts:
        try:
            names = apps_of(hostvars[host])
        except (KeyError, AttributeError, TypeError):
            continue
        if app in names or (not app and names):
            found.append(host)
    return found


def why_not(told: Mapping[str, Any], key: str = "") -> str:
    """In words, why a host did not come as far as a task; empty when it did, or had nothing to do there.

    :param told: what the task registered; empty when it never ended.
    :param key: of the result, what has to be true.
    """
    if told.get("skipped"):
        return ""
    if told.get("unreachable") or not told:
        return "it cannot be reached any more, or failed before"
    if told.get("failed"):
        return (str(told.get("msg") or "it failed").strip().splitlines() or ["it failed"])[0][:_FIRST_LINE]
    return "" if not key or told.get(key) else "it cannot be reached any more"


def trouble(hosts: Iterable[str], hostvars: Any, names: Iterable[str], key: str = "") -> str:
    """In words, which hosts failed at a task, and why; empty when none did."""
    hosts, names, found = list(hosts), list(names), list[str]()
    for host in hosts:
        why = next(filter(None, (why_not(result(hostvars, host, name), key) for name in names)), "")
        if why:
            found.append(f"{host}: {why}")
    if key and not found:
        # nobody failed, so all of them should have done it
        found = [f"{host}: it was skipped" for host in hosts if result(hostvars, host, names[-1]).get("skipped")]
    return "; ".join(found)


def became_of(hostvars: Any, host: str, present: Iterable[str]) -> str:
    """In words, what became of one host in a run that failed on some of them.

    :param present: the hosts that are still reached.
    """
    begin, serve, back = (result(hostvars, host, f"__release_{name}") for name in ("begin", "serve", "went_back"))
    if host not in present:
        return "cannot be reached any more, and may serve either release"
    if back and not back.get("skipped"):
        return (
            f"had switched and could NOT go back ({why_not(back)})"
            if back.get("failed")
            else f"had switched and is back on {begin.get('live')}"
        )
    if serve.get("switched"):
        return "has the new release"
    failed = why_not(serve) if serve else ""
    return f"failed too ({failed})" if failed else "was not switched"


def others(hosts: Iterable[str], hostvars: Any, me: str, present: Iterable[str]) -> str:
    """In words, what became of the other hosts; empty where there are none."""
    present = list(present)
    return "; ".join(f"{host} {became_of(hostvars, host, present)}" for host in hosts if host != me)


def differences(hosts: Iterable[str], hostvars: Any) -> str:
    """In words, how the releases differ that hosts are to go to; empty when they are of one commit."""
    told = {host: result(hostvars, host, "__release_begin") for host in hosts}
    commits = {str(begin.get("commit")) for begin in told.values() if begin.get("commit")}
    if len(commits) < 2:
        return ""
    return "; ".join(
        f"{host} would go to {begin.get('target') or (begin.get('canary') or {}).get('release')}"
        for host, begin in told.items()
    )


def known_ids(hosts: Iterable[str], hostvars: Any) -> dict[str, str]:
    """The ids of releases that hosts have live and finished, by their commit: the first host's where they differ."""
    ids: dict[str, str] = {}
    for host in hosts:
        begin = result(hostvars, host, "__release_begin")
        record = begin.get("record") or {}
        if record.get("state") == "finished" and record.get("commit") and begin.get("live"):
            ids.setdefault(str(record["commit"]), str(begin["live"]))
    return ids


def share_here(share: str, count: int, hosts: list[str], host: str) -> str:
    """The share of a canary on one host, in percent.

    :param share: what all hosts get; empty without one.
    :param count: only so many hosts get it, and the others a canary that nobody is sent to; 0 for all of them.
    """
    if not count:
        return share
    return (share or "100") if host in hosts[:count] else "0"


def count_mistake(value: Any, app: str, hosts: int) -> str:
    """In words, what is wrong with a number of hosts that a canary is for; empty when nothing is."""
    text = "" if value is None else str(value).strip()
    if text in ("", "0"):
        return ""
    if not app:
        return f"flask_canary_hosts={text[:40]}: a canary is of one app. Give `-e flask_app=NAME` with it."
    if not text.isdecimal() or int(text) >= hosts:
        return (
            f"flask_canary_hosts={text[:40]}: {app} has {hosts} host{'s' if hosts != 1 else ''} here; give a smaller number, of those "
            "that get the new release first. On a single host, `-e flask_canary=10` gives it to some of the visitors."
        )
    return ""
