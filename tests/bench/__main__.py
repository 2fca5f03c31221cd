# SPDX-License-Identifier: GPL-3.0-or-later
"""Times the playbooks against a plain shell script, on fresh boxes in one run. See docs/performance.md.

Exits with 1 when something failed, with 2 when a goal is missed and --strict was given.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import ssl
import statistics
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.bench import bench_report as report
from tests.bench.traced import Failure, play, run
from tests.support.stack import ROOT

HERE = Path(__file__).resolve().parent
BENCH = ROOT / "build" / "bench"
BOX_COMMAND = str(ROOT / "scripts" / "box")
KEY, KNOWN_HOSTS = ROOT / ".ansible/box/id_ed25519", ROOT / ".ansible/box/known_hosts"
PLAIN, STACK = "bench-plain", "bench-stack"

HOSTS = f"""\
all:
  children:
    web: {{hosts: {{{STACK}: }}}}
    db: {{hosts: {{{STACK}: }}}}
"""
HOST = """\
ansible_host: {address}
ansible_ssh_private_key_file: {key}
ansible_ssh_common_args: -o UserKnownHostsFile="{known_hosts}"
"""


@dataclasses.dataclass(frozen=True)
class Page:
    """What a visitor gets: which release served it, and the line of the bench in it (None: there is none)."""

    release: str
    line: str | None


class Bench:
    """Measured seconds and traces by kind of run."""

    def __init__(self, repeats: int) -> None:
        self.repeats = repeats
        self.seconds: dict[str, list[float]] = {}
        self.traces: dict[str, list[report.Trace]] = {}
        self.runs = 0

    def plain(self) -> None:
        """The plain script on a fresh box."""
        address = fresh_box(PLAIN)
        words = [HERE / "plain.sh", address, KEY, KNOWN_HOSTS, ROOT / "examples" / "guestbook"]
        launched, exited = run([str(word) for word in words], self._log(report.PLAIN), {})
        self._note(report.PLAIN, exited - launched)
        visit(address)

    def stack(self, number: int) -> None:
        """All playbooks on a fresh box."""
        address = fresh_box(STACK)
        app = prepare(address)
        # the first run is the control node's first, too
        shutil.rmtree(BENCH / "modules", ignore_errors=True)
        self._play("first_converge", "site.yml")
        visit(address)
        for _ in range(self.repeats):
            trace = self._play("second_converge", "site.yml")
            if trace.changed:
                raise Failure(f"The second site.yml changed {trace.changed} tasks: {BENCH / 'log'} says which.")
        for repeat in range(self.repeats):
            before = visit(address)
            line = f"bench {number}.{repeat}"
            template = app / "guestbook" / "templates" / "base.html"
            template.write_text(report.with_line(template.read_text(), line))
            self._play("deploy", "deploy.yml", "-e", "flask_app=guestbook")
            after = visit(address)
            if after.line != line or after.release == before.release:
                raise Failure(f"After the deploy of {line!r} the page is {after}; before it was {before}.")
            # by its id: which release is the one before is not what is measured here
            self._play("rollback", "rollback.yml", "-e", "flask_app=guestbook", "-e", f"flask_release={before.release}")
            back = visit(address)
            if back != before:
                raise Failure(f"After the rollback the page is {back}, not {before}.")

    def _play(self, kind: str, playbook: str, *options: str) -> report.Trace:
        words = [playbook, "-i", str(BENCH / "inventory"), "--limit", STACK, *options]
        trace, seconds = play(words, self._log(kind))
        self.traces.setdefault(kind, []).append(trace)
        self._note(kind, seconds)
        return trace

    def _log(self, kind: str) -> Path:
        self.runs += 1
        return BENCH / "log" / f"{self.runs:02}-{kind}.log"

    def _note(self, kind: str, seconds: float) -> None:
        self.seconds.setdefault(kind, []).append(seconds)
        print(f"  {kind.replace('_', ' '):16} {seconds:6.1f} s", flush=True)


def fresh_box(name: str) -> str:
    """Make a box anew; its address."""
    made = subprocess.run([BOX_COMMAND, "up", "--fresh", name], capture_output=True, text=True, check=False)
    if made.returncode:
        raise Failure(f"No box {name}:\n{made.stdout}{made.stderr}")
    return subprocess.run([BOX_COMMAND, "address", name], capture_output=True, text=True, check=True).stdout.strip()


def prepare(address: str) -> Path:
    """An inventory of this one box, with the apps of the repository's inventory; where its copy of the app lies."""
    apps = ROOT / "inventory" / "group_vars" / "all" / "flask_apps.yml"
    app = BENCH / "examples" / "guestbook"  # where ../examples/guestbook leads to from there
    if "source: {path: ../examples/guestbook}" not in apps.read_text():
        raise Failure(f"{apps} no longer serves examples/guestbook, which is what the plain script sets up.")
    for path in (BENCH / "inventory", BENCH / "examples"):
        shutil.rmtree(path, ignore_errors=True)
    debris = shutil.ignore_patterns(".venv", ".env", "instance", "__pycache__")
    shutil.copytree(ROOT / "examples" / "guestbook", app, ignore=debris)
    # a work tree of its own: build/ is ignored by the git of this repository, and what is ignored is not deployed
    subprocess.run(["git", "init", "--quiet", str(app)], check=True)
    for name, text in {
        "hosts.yml": HOSTS,
        f"host_vars/{STACK}.yml": HOST.format(address=address, key=KEY, known_hosts=KNOWN_HOSTS),
        "group_vars/all/flask_apps.yml": apps.read_text(),
    }.items():
        path = BENCH / "inventory" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return app


def visit(address: str) -> Page:
    """The front page over TLS (the certificate is self-signed)."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(f"https://{address}/", timeout=10, context=trusting) as answer:
            text = answer.read().decode()
            release = answer.headers.get("X-Flaskhost-Release", "")
    except OSError as error:
        raise Failure(f"https://{address}/ does not answer: {error}") from error
    return Page(release, report.line_of(text))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Time the playbooks against a plain shell script.")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("BENCH_ROUNDS") or 1),
                        help="pairs of fresh boxes (default: BENCH_ROUNDS, or 1); 3 give quiet numbers")  # fmt: skip
    parser.add_argument("--repeats", type=int, default=3, help="of second converge, deploy and rollback in each round")
    parser.add_argument("--strict", action="store_true", help="exit with 2 when a goal is missed")
    parser.add_argument("--keep", action="store_true", help="leave the boxes up")
    parser.add_argument("--all-tasks", action="store_true", help="print all tasks, not the slowest ten")
    options = parser.parse_args()
    if min(options.rounds, options.repeats) < 1:
        parser.error("--rounds and --repeats are at least 1")
    return options


def main() -> int:
    options = arguments()
    shutil.rmtree(BENCH, ignore_errors=True)
    (BENCH / "log").mkdir(parents=True)
    bench = Bench(options.repeats)
    try:
        for number in range(1, options.rounds + 1):
            load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
            print(f"Round {number} of {options.rounds} ({load})", flush=True)
            # who comes first alternates: a machine that gets slower, or a cache that gets warm, is nobody's advantage
            if number % 2:
                bench.plain()
                bench.stack(number)
            else:
                bench.stack(number)
                bench.plain()
    except (Failure, ValueError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        return 1
    finally:
        if not options.keep:
            subprocess.run([BOX_COMMAND, "down", PLAIN, STACK], stdout=subprocess.DEVNULL, check=False)

    seconds = {kind: statistics.median(values) for kind, values in bench.seconds.items()}
    traces = {kind: report.merge(values) for kind, values in bench.traces.items()}
    for kind, trace in traces.items():
        print(f"\n{report.summary(kind, trace)}")
        print(report.listing(trace.tasks if options.all_tasks else report.slowest(trace)))
    print(f"\n{report.table(seconds, bench.seconds)}")
    result = BENCH.with_suffix(".json")
    result.write_text(json.dumps(report.document(seconds, traces), indent=2) + "\n")
    return 2 if options.strict and report.missed(report.ratios(seconds)) else 0


if __name__ == "__main__":
    sys.exit(main())
