# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of `make audit`: python -m tests.audit. See docs/audit.md."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import yaml

from tests.audit.checks import BUILD, ROOT, AuditError, lynis, ports, ssh, tls, tools
from tests.support import guestbook
from tests.support.stack import Stack, box

BOX, NAME, LEAST = "audit", "www.example.test", 80
PORTS = [22, 80, 443]


def prepare(fresh: bool) -> str:
    """The box with the shipped guestbook on it, as site.yml makes it; its address."""
    inventory, shipped = guestbook.prepare(BUILD, BOX, fresh)
    (inventory / "group_vars").mkdir(exist_ok=True)
    (inventory / "group_vars" / "all.yml").write_text(yaml.safe_dump({"flask_apps": [{**shipped, "domains": [NAME]}]}))
    print("site.yml ...", flush=True)
    Stack(inventory).playbook("site").check()
    return box("address", BOX)


def inside(name: str, user: str = "ops") -> Callable[[str], str]:
    """Runs scripts as root on a box."""

    def shell(script: str) -> str:
        words = [str(ROOT / "scripts" / "box"), "ssh", name, "--user", user, "--", "sudo", "bash", "-s"]
        done = subprocess.run(words, input=script, capture_output=True, text=True, check=False, timeout=400)
        if done.returncode:
            raise AuditError(
                f"the script ended with {done.returncode} on {name}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        return done.stdout

    return shell


def audit(address: str, name: str, shell: Callable[[str], str]) -> tuple[dict[str, Any], list[str]]:
    """The figures, and the goals that are missed; told as they come."""
    tools()
    missed: list[str] = []

    def tell(what: str, figure: str, bad: list[str]) -> None:
        missed.extend(f"{what}: {one}" for one in bad)
        print(f"{what:10} {figure:14} {'MISSED' if bad else 'ok'}", flush=True)

    sshd = ssh(address)
    bad = [*sshd.fail, *sshd.warn, *(f"policy: {one}" for one in sshd.policy)]
    tell("ssh-audit", f"{len(sshd.fail)} fail, {len(sshd.warn)} warn", bad)
    found = tls(address, name)
    tell("TLS", found.letter, [] if found.good else found.reasons or [found.letter])
    addresses = [address, *shell("ip -6 -o addr show scope global | awk '{print $4}' | cut -d/ -f1").split()]
    reached = sorted({number for one in addresses for number in ports(one)})
    tell("ports", " ".join(map(str, reached)), [] if reached == PORTS else [f"open are {reached}, wanted {PORTS}"])
    host = lynis(shell)
    bad = [f"{one}; docs/audit.md does not say why" for one in host.unreasoned]
    tell("Lynis", str(host.index), [*([f"{host.index} is less than {LEAST}"] if host.index < LEAST else []), *bad])
    (BUILD / "lynis.txt").write_text("".join(f"{one}\n" for one in host.findings))
    figures = {
        "ssh_audit": {"fail": len(sshd.fail), "warn": len(sshd.warn)},
        "tls": found.letter,
        "ports": reached,
        "lynis": host.index,
    }
    return figures, missed


def main() -> int:
    """Judge a box; 0 when every goal is reached."""
    parser = argparse.ArgumentParser(prog="make audit", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="use the box that is there, and leave it there")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    BUILD.mkdir(parents=True, exist_ok=True)
    try:
        address = prepare(not options.keep)
        figures, missed = audit(address, NAME, inside(BOX))
    except AuditError as error:
        print(f"audit: {error}", file=sys.stderr)
        return 1
    finally:
        if not options.keep:
            box("down", BOX)
    (ROOT / "build" / "audit.json").write_text(json.dumps(figures) + "\n")
    print("".join(f"\n  {one}" for one in missed) or "\nall goals are reached", f"({time.monotonic() - began:.0f} s)")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
