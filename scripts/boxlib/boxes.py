# SPDX-License-Identifier: GPL-3.0-or-later
"""Boxes of this clone: made, found again, restarted, removed. Docker makes them; everything else goes over ssh.

State lies in .ansible/box: `id_ed25519` and `known_hosts` for all boxes, `subnet`, and per box `<name>/address` and
`<name>/user`. The containers are the truth; the files are written anew from them whenever a box is looked at.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import daemon, plan
from .image import ARCHS, Recipe, ensure
from .system import ROOT, Problem, locked, need, run, say

STATE = ROOT / ".ansible" / "box"
KEY = STATE / "id_ed25519"
KNOWN_HOSTS = STATE / "known_hosts"
CLONE = plan.clone_id(str(ROOT))
NETWORK = plan.network_name(CLONE)
BOOT_SECONDS = 60
RUN_OPTIONS = (
    "--detach", "--restart=unless-stopped", "--stop-signal=SIGRTMIN+3", "--pull=never", "--cgroupns=private",
    "--cap-add=SYS_ADMIN", "--cap-add=NET_ADMIN", "--cap-add=SYS_PTRACE", "--cap-add=SYS_NICE",
    "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined", "--env=container=docker",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a box shall be; None where the command line left it open."""

    name: str
    born: str | None = None
    octet: int | None = None
    recipe: Recipe | None = None
    memory: str | None = None


@dataclasses.dataclass(frozen=True)
class Box:
    """A container that exists."""

    name: str
    running: bool
    address: str
    image: str
    born: str
    title: str
    key: str

    @property
    def boot_seconds(self) -> float:
        """How long to wait for it; that of another processor takes its time."""
        return BOOT_SECONDS * (5 if self.title.endswith(ARCHS) else 1)

    @classmethod
    def from_docker(cls, inspected: dict[str, Any]) -> Box:
        """From an entry of `docker inspect`."""
        labels = inspected["Config"]["Labels"]
        network = inspected["NetworkSettings"]["Networks"].get(NETWORK, {})
        return cls(
            name=labels["flaskhost.box"], running=inspected["State"]["Running"],
            address=((network.get("IPAMConfig") or {}).get("IPv4Address") or ""), image=inspected["Config"]["Image"],
            born=labels["flaskhost.born"], title=labels["flaskhost.title"], key=labels["flaskhost.key"],
        )  # fmt: skip


def boxes() -> dict[str, Box]:
    """The boxes of this clone, by name."""
    listed = run("docker", "ps", "--all", "--quiet", "--filter", f"label=flaskhost.clone={CLONE}").stdout.split()
    if not listed:
        return {}
    # one that is removed at this moment is missing from the answer, which is what we want
    found = [Box.from_docker(entry) for entry in json.loads(run("docker", "inspect", *listed, check=False).stdout)]
    return {box.name: box for box in sorted(found, key=lambda box: box.name)}


def get(name: str) -> Box:
    """A box that must exist."""
    box = boxes().get(name) if daemon.answers() else None
    if box is None:
        raise Problem(f"There is no box {name!r}; `scripts/box up {name}` makes it.")
    return box


def up(wish: Wish, *, fresh: bool = False) -> Box:
    """Make a box, start it, or leave it as it is if it runs already; returns when ssh lets us in."""
    _check(wish)
    need("ssh-keygen", ["openssh-client"], "Install the OpenSSH client.")
    with daemon.in_use(), locked(STATE / f"{wish.name}.lock"):
        _make_key()
        box = boxes().get(wish.name)
        if box and (reason := "asked for" if fresh else _unusable(box)):
            say(f"{wish.name}: made anew ({reason})")
            _remove(box)
            box = None
        if box:
            _compare(wish, box)
            if box.running:
                _wait_for_boot(box)
                say(f"{wish.name}: is up at {box.address} already ({box.title}, login {box.born})")
                return box
        began = time.monotonic()
        if box and run("docker", "start", plan.container_name(CLONE, wish.name), check=False).returncode == 0:
            _wait_for_boot(box)
        else:
            if box:  # its network was removed, say
                _remove(box)
            _create(wish)
            box = get(wish.name)
            _wait_for_login(box)
        say(f"{wish.name}: up at {box.address} ({box.title}, login {box.born}), {time.monotonic() - began:.1f} s")
        return box


def restart(name: str, *, power_cut: bool = False) -> Box:
    """Restart a box, as a power cycle that lets services end in order; or as a power cut, which does not."""
    with daemon.in_use(), locked(STATE / f"{name}.lock"):
        box = get(name)
        for word in ("kill", "start") if power_cut else ("restart",):
            run("docker", word, plan.container_name(CLONE, name))
        _wait_for_boot(box)
        return box


def down(names: list[str] | None) -> None:
    """Remove these boxes, or all; with the last one goes the network. What is gone already is no error."""
    existing = boxes() if daemon.answers() else {}
    known = {path.parent.name for path in STATE.glob("*/address")}
    for name in names if names is not None else sorted({*existing, *known}):
        with locked(STATE / f"{name}.lock"):
            if name in existing:
                _remove(existing[name])
                say(f"{name}: removed")
            _forget(name)
    # docker itself refuses to remove a network that a box is on, also one that came up meanwhile
    if daemon.answers() and not boxes() and _subnets_of(NETWORK):
        with locked(STATE / "network.lock"):
            run("docker", "network", "rm", NETWORK, check=False)


def ssh_command(box: Box, user: str | None) -> list[str]:
    """The ssh command line to a box, without anything of the user's own configuration."""
    options = [
        "IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=yes", f'UserKnownHostsFile="{KNOWN_HOSTS}"',
        "LogLevel=ERROR", "ConnectTimeout=5",
    ]  # fmt: skip
    words = ["ssh", "-F", "none", "-i", str(KEY), "-l", user or box.born]
    return [*words, *(word for option in options for word in ("-o", option)), box.address]


def _check(wish: Wish) -> None:
    if not plan.NAME.fullmatch(wish.name):
        raise Problem(f"{wish.name!r} cannot be the name of a box: small letters, digits and dashes, at most 30.")
    if wish.born is not None and not plan.USER.fullmatch(wish.born):
        raise Problem(f"{wish.born!r} cannot be the name of a user.")
    if wish.octet is not None and not 2 <= wish.octet <= 254:
        raise Problem(f"--octet {wish.octet}: the last number of an address is between 2 and 254.")


def _unusable(box: Box) -> str | None:
    if box.key != _fingerprint():
        return "its key is gone"
    if not box.address:
        return "its network is gone"
    return None


def _compare(wish: Wish, box: Box) -> None:
    """A box that is not what was asked for is no answer; one of an older recipe is."""
    differences = []
    if wish.born not in (None, box.born):
        differences.append(f"its login is {box.born}, not {wish.born}")
    if wish.recipe and wish.recipe.title != box.title:
        differences.append(f"it is {box.title}, not {wish.recipe.title}")
    if wish.octet is not None and not box.address.endswith(f".{wish.octet}"):
        differences.append(f"its address is {box.address}")
    if (subnet := os.environ.get("FLASKHOST_SUBNET")) and box.address not in map(str, plan.Network(subnet)):
        differences.append(f"its address {box.address} is not in {subnet}")
    if differences:
        raise Problem(
            f"The box {wish.name} exists, but {' and '.join(differences)}. "
            f"Add --fresh to make it anew, or remove it: scripts/box down {wish.name}"
        )


def _create(wish: Wish) -> None:
    recipe = wish.recipe or Recipe.wanted(None, None, like_ubuntu=False)
    image = ensure(recipe)
    born = wish.born or "root"
    with _network() as subnet:
        taken = {name: int(box.address.rsplit(".", 1)[1]) for name, box in boxes().items() if box.address}
        octet = wish.octet or plan.octet_for(wish.name, taken)
        if octet in taken.values():
            owner = next(name for name, used in taken.items() if used == octet)
            raise Problem(f"The address {subnet[octet]} belongs to the box {owner}; choose another --octet.")
        labels = {"clone": CLONE, "box": wish.name, "born": born, "title": recipe.title, "key": _fingerprint()}
        run(
            "docker", "run", *RUN_OPTIONS, "--name", plan.container_name(CLONE, wish.name), "--hostname", wish.name,
            "--network", NETWORK, "--ip", str(subnet[octet]), *([f"--memory={wish.memory}"] if wish.memory else []),
            *(f"--label=flaskhost.{key}={value}" for key, value in labels.items()),
            f"--env=BOX_BORN={born}", f"--env=BOX_KEY={_public_key()}", image,
        )  # fmt: skip


def _remove(box: Box) -> None:
    run("docker", "rm", "--force", "--volumes", plan.container_name(CLONE, box.name), check=False)


@contextlib.contextmanager
def _network() -> Iterator[plan.Network]:
    """The network of this clone, made if it is missing; one box at a time takes its address from it."""
    with locked(STATE / "network.lock"):
        wanted = os.environ.get("FLASKHOST_SUBNET", "")
        existing = _subnets_of(NETWORK)
        if existing and wanted and plan.Network(wanted) not in existing:
            if run("docker", "network", "rm", NETWORK, check=False).returncode:
                raise Problem(f"Boxes are up in {existing[0]}, not in {wanted}: scripts/box down --all, then again.")
            existing = []
        yield existing[0] if existing else _make_network(wanted)


def _make_network(wanted: str) -> plan.Network:
    stored = STATE / "subnet"
    if wanted:
        candidates = [plan.Network(wanted)]
    else:
        first = [plan.Network(stored.read_text().strip())] if stored.exists() else []
        candidates = plan.free_subnets([*first, *plan.subnets(CLONE)], _taken())
    for subnet in candidates:
        made = run(
            "docker",
            "network",
            "create",
            "--subnet",
            str(subnet),
            "--label",
            f"flaskhost.clone={CLONE}",
            NETWORK,
            check=False,
        )
        if made.returncode == 0:
            stored.write_text(f"{subnet}\n")
            return subnet
        if "overlap" not in made.stderr and "conflict" not in made.stderr:
            raise Problem(f"The network {subnet} could not be made: {made.stderr.strip()}")
    raise Problem("No subnet is free for the boxes of this clone; name one: FLASKHOST_SUBNET=10.99.0.0/24")


def _taken() -> list[plan.Network]:
    """Networks this machine knows already: those of docker, and those it has routes to."""
    names = run("docker", "network", "ls", "--quiet").stdout.split()
    table = Path("/proc/net/route")
    return [
        *(subnet for name in names for subnet in _subnets_of(name)),
        *(plan.routes(table.read_text()) if table.exists() else []),
    ]


def _subnets_of(network: str) -> list[plan.Network]:
    form = "{{range .IPAM.Config}}{{.Subnet}} {{end}}"
    answer = run("docker", "network", "inspect", "--format", form, network, check=False)
    return [plan.Network(text) for text in answer.stdout.split() if ":" not in text] if answer.returncode == 0 else []


def _wait_for_boot(box: Box) -> None:
    """Until systemd has started everything; asks docker, as the roles may have changed who gets in by ssh, and where.

    A unit that failed is no hindrance: that is for the roles and tests to judge.
    """
    container = plan.container_name(CLONE, box.name)
    deadline = time.monotonic() + box.boot_seconds
    while time.monotonic() < deadline:
        answer = run("docker", "exec", container, "systemctl", "is-system-running", "--wait", check=False)
        if answer.stdout.strip() in ("running", "degraded"):
            _remember(box)
            return
        time.sleep(0.1)
    raise Problem(f"The box {box.name} is not up after {box.boot_seconds} seconds.\n{_logs(container)}")


def _wait_for_login(box: Box) -> None:
    """Until a new box lets us in by ssh, and its boot is over."""
    deadline = time.monotonic() + box.boot_seconds
    while time.monotonic() < deadline:
        if _ssh_answers(box.address):
            _remember(box)
            login = run(*ssh_command(box, None), "systemctl is-system-running --wait || true", check=False)
            if login.returncode == 0:
                return
        time.sleep(0.05)
    raise Problem(
        f"The box {box.name} does not let us in at {box.address} after {box.boot_seconds} seconds.\n"
        f"{_logs(plan.container_name(CLONE, box.name))}"
        "(Docker Desktop gives no way to a container's address: there, use `vagrant up` instead.)"
    )


def _logs(container: str) -> str:
    logs = run("docker", "logs", "--tail", "15", container, check=False)
    return logs.stdout + logs.stderr


def _ssh_answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _remember(box: Box) -> None:
    """Write the state files of a running box, with the host keys it really has."""
    container = plan.container_name(CLONE, box.name)
    keys = run("docker", "exec", container, "sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub").stdout
    directory = STATE / box.name
    directory.mkdir(exist_ok=True)
    with locked(STATE / "known_hosts.lock"):
        before = KNOWN_HOSTS.read_text() if KNOWN_HOSTS.exists() else ""
        _write(KNOWN_HOSTS, plan.with_host_keys(before, box.address, keys))
    for name in (KEY.name, KNOWN_HOSTS.name):
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(Path("..") / name)
    _write(directory / "user", f"{box.born}\n")
    _write(directory / "address", f"{box.address}\n")


def _forget(name: str) -> None:
    address = STATE / name / "address"
    if address.exists():
        with locked(STATE / "known_hosts.lock"):
            before = KNOWN_HOSTS.read_text() if KNOWN_HOSTS.exists() else ""
            _write(KNOWN_HOSTS, plan.with_host_keys(before, address.read_text().strip(), ""))
    shutil.rmtree(STATE / name, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    """At once or not at all, as inventories read these files at any time."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text)
    aside.replace(path)


def _make_key() -> None:
    with locked(STATE / "key.lock"):
        if not (KEY.exists() and KEY.with_suffix(".pub").exists()):
            KEY.unlink(missing_ok=True)
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "flaskhost box", "-f", KEY)


def _public_key() -> str:
    return KEY.with_suffix(".pub").read_text().strip()


def _fingerprint() -> str:
    return hashlib.sha256(_public_key().encode()).hexdigest()[:16]
