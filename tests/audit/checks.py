# SPDX-License-Identifier: GPL-3.0-or-later
"""The four judges: ssh-audit, sslyze, a scan of all TCP ports, Lynis."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.audit.grade import Grade, grade

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "audit"
TOOLS = BUILD / "venv" / "bin"
POLICY = Path(__file__).with_name("sshd.policy")
DOCS = ROOT / "docs" / "audit.md"
_SSLYZE = (
    "certinfo", "sslv2", "sslv3", "tlsv1", "tlsv1_1", "tlsv1_2", "tlsv1_3", "compression", "openssl_ccs", "fallback",
    "heartbleed", "robot", "reneg", "elliptic_curves", "http_headers",
)  # fmt: skip
# Debian's package, unpacked in a directory of its own, so that the host judged is the host that is
_LYNIS = """\
set -eu
directory=$(mktemp -d ~root/lynis.XXXXXX)
trap 'rm -rf "$directory" /run/lynis.pid' EXIT
cd "$directory"
apt-get -q download lynis > /dev/null 2>&1 || { apt-get -q update > /dev/null; apt-get -q download lynis > /dev/null 2>&1; }
dpkg -x lynis_*.deb package
mkdir lynis
cp -r package/usr/share/lynis/* package/etc/lynis/* package/usr/sbin/lynis lynis
chown -R root:root lynis
cd lynis
./lynis audit system --no-colors --quiet --logfile "$directory/log" --report-file "$directory/report" > /dev/null 2>&1 || true
cat "$directory/report"
"""


class AuditError(Exception):
    """A judge did not judge; the message has its output."""


def tools() -> None:
    """ssh-audit and sslyze in an environment of their own, made from requirements-audit.txt when it is not there."""
    wanted = (ROOT / "requirements-audit.txt").read_text()
    stamp = BUILD / "venv" / "made-from"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    uv = str(Path(sys.executable).with_name("uv"))
    _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(BUILD / "venv")])
    install = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", str(TOOLS / "python")]
    _run([*install, "-r", str(ROOT / "requirements-audit.txt")])
    stamp.write_text(wanted)


def _run(words: list[str], codes: Iterable[int] = (0,), seconds: float = 300) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=seconds)
    if done.returncode not in codes:
        raise AuditError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


@dataclass(frozen=True)
class Ssh:
    """What ssh-audit says of sshd."""

    fail: list[str]
    warn: list[str]
    policy: list[str]


def ssh(address: str, port: int = 22) -> Ssh:
    """Ask sshd what it offers, and compare it with the policy.

    The test of how many connections a second it takes is left out: it is an attack, which fail2ban and the firewall answer as such.
    """
    # 2 and 3: there are warnings, there are failures
    words = [str(TOOLS / "ssh-audit"), "--skip-rate-test", "--json", "-p", str(port)]
    told = json.loads(_run([*words, address], codes=(0, 2, 3)))
    if not told.get("kex"):
        raise AuditError(f"ssh-audit got no answer from {address} port {port}: {told}")
    policy = json.loads(_run([*words, "-P", str(POLICY), address], codes=(0, 2, 3)))
    return Ssh(notes(told, "fail"), notes(told, "warn"), policy_mistakes(policy))


def notes(told: dict[str, Any], kind: str) -> list[str]:
    """All that ssh-audit calls a failure, or a warning."""
    found = [
        f"{entry['algorithm']}: {note}"
        for part in ("kex", "key", "enc", "mac")
        for entry in told[part]
        for note in entry.get("notes", {}).get(kind, [])
    ]
    return found + ([f"{entry['name']}: {entry['description']}" for entry in told["cves"]] if kind == "fail" else [])


def policy_mistakes(told: dict[str, Any]) -> list[str]:
    """Where sshd is not as the policy says."""
    if told.get("passed"):
        return []
    return [f"{one['mismatched_field']}: {', '.join(one['actual'])}" for one in told.get("errors", [])] or [
        "it says so"
    ]


def tls(address: str, name: str) -> Grade:
    """The grade of nginx on port 443, asked under a name."""
    BUILD.mkdir(parents=True, exist_ok=True)
    report = BUILD / "tls.json"
    report.unlink(missing_ok=True)
    flags = [f"--{flag}" for flag in _SSLYZE]
    target = f"{name}:443" if name == address else f"{name}:443{{{address}}}"
    # its exit code is about Mozilla's configuration; what it found is graded here
    output = _run([str(TOOLS / "sslyze"), *flags, "--quiet", f"--json_out={report}", target], codes=range(256))
    told = json.loads(report.read_text())["server_scan_results"] if report.is_file() else []
    if not told or told[0]["scan_status"] != "COMPLETED":
        raise AuditError(f"sslyze could not ask {target}:\n{output}{told}")
    return grade(told[0]["scan_result"], name)


def ports(
    address: str, seconds: float = 2.0, numbers: Iterable[int] = range(1, 65536), together: int = 4000
) -> list[int]:
    """The TCP ports that take a connection, of the whole range."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = together + 100
    if soft != resource.RLIM_INFINITY and soft < enough:
        most = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        together = min(together, most - 100)
    return asyncio.run(_scan(address, seconds, list(numbers), together))


async def _scan(address: str, seconds: float, numbers: list[int], together: int) -> list[int]:
    found: list[int] = []
    waiting = iter(numbers)

    async def worker() -> None:
        for number in waiting:
            try:
                _reader, writer = await asyncio.wait_for(asyncio.open_connection(address, number), seconds)
            except (OSError, TimeoutError):
                continue
            found.append(number)
            writer.transport.abort()

    await asyncio.gather(*(worker() for _one in range(together)))
    return sorted(found)


@dataclass(frozen=True)
class Lynis:
    """Its hardening index, and what it would still do, as ``TEST-1234: text``."""

    index: int
    findings: list[str]

    @property
    def unreasoned(self) -> list[str]:
        """The findings of tests that docs/audit.md says nothing of."""
        known = set(re.findall(r"^\| ([A-Z]+-\d+) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
        return [finding for finding in self.findings if finding.split(":")[0] not in known]


def lynis(shell: Callable[[str], str]) -> Lynis:
    """Have Lynis look at a host from inside.

    :param shell: runs a script as root there; its output.
    """
    return read_lynis(shell(_LYNIS))


def read_lynis(report: str) -> Lynis:
    """What stands in its report."""
    index = re.search(r"^hardening_index=(\d+)$", report, re.MULTILINE)
    if not index:
        raise AuditError(f"Lynis made no report:\n{report[-3000:]}")
    told = re.findall(r"^(?:warning|suggestion)\[\]=([A-Z]+-\d+)\|([^|]*)\|([^|]*)", report, re.MULTILINE)
    return Lynis(
        int(index[1]),
        [f"{test}: {text}{f' ({detail})' if detail not in ('', '-') else ''}" for test, text, detail in told],
    )
