# SPDX-License-Identifier: GPL-3.0-or-later
"""What boxes are called and which addresses they get: pure functions, tested in tests/unit/test_box.py."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Collection, Iterable, Iterator, Mapping

Network = ipaddress.IPv4Network

# boxes that others name: the inventory, the Molecule scenarios
OCTETS = {"rehearsal": 10, "default": 11, "options-a": 12, "options-b": 13, "public-host": 14, "public-net": 15}
BENCH_OCTETS = range(20, 30)
OTHER_OCTETS = range(40, 250)
NAME = re.compile(r"[a-z][a-z0-9-]{0,29}")
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")


def clone_id(root: str) -> str:
    """Short id of a clone from its real path: two clones on one machine share no name and no address."""
    return hashlib.sha256(root.encode()).hexdigest()[:8]


def network_name(clone: str) -> str:
    """Name of the docker network of a clone."""
    return f"flaskhost-{clone}"


def container_name(clone: str, box: str) -> str:
    """Name of the container of a box."""
    return f"flaskhost-{clone}-{box}"


def subnets(clone: str) -> Iterator[Network]:
    """Candidates for the subnet of a clone, best first.

    Of each private range some, as a company network may route a whole range; never 192.168.56.0/24, which is Vagrant's.
    """
    digest = hashlib.sha256(f"subnet of {clone}".encode()).digest()
    pairs = list(zip(digest[::2], digest[1::2], strict=True))
    for second, third in pairs[:6]:
        yield Network(f"10.{64 + second % 128}.{third}.0/24")
    for second, third in pairs[6:11]:
        yield Network(f"172.{16 + second % 16}.{third}.0/24")
    for _, third in pairs[11:]:
        if third != 56:
            yield Network(f"192.168.{third}.0/24")


def free_subnets(candidates: Iterable[Network], taken: Collection[Network]) -> list[Network]:
    """The candidates that touch no network in `taken` (routes and docker networks of the machine)."""
    return [candidate for candidate in candidates if not any(candidate.overlaps(other) for other in taken)]


def routes(proc_net_route: str) -> list[Network]:
    """The networks in the text of /proc/net/route (hexadecimal, little endian), without the default route."""
    found = []
    for line in proc_net_route.splitlines()[1:]:
        fields = line.split()
        destination, mask = (int.from_bytes(bytes.fromhex(fields[i])[::-1]) for i in (1, 7))
        if mask:
            found.append(Network((destination, bin(mask).count("1"))))
    return found


def octet_for(name: str, taken: Mapping[str, int]) -> int:
    """Last number of a box's address: its well-known one, else one that follows from the name.

    `taken` has the numbers of the other boxes; only a collision with one of them moves a box to its next number.
    """
    if name in OCTETS:
        return OCTETS[name]
    span = BENCH_OCTETS if name.startswith("bench-") else OTHER_OCTETS
    first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
    used = {octet for other, octet in taken.items() if other != name}
    for step in range(len(span)):
        octet = span[(first + step) % len(span)]
        if octet not in used:
            return octet
    raise ValueError(f"no address is free for {name}: {len(span)} boxes of its kind exist")


def with_host_keys(known_hosts: str, address: str, keys: str) -> str:
    """Text of a known_hosts file in which `address` has exactly these public keys (lines of ssh_host_*_key.pub)."""
    others = [line for line in known_hosts.splitlines() if line and line.split()[0] != address]
    own = [f"{address} {' '.join(line.split()[:2])}" for line in keys.splitlines() if line.strip()]
    return "".join(f"{line}\n" for line in others + own)
