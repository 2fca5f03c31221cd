# SPDX-License-Identifier: GPL-3.0-or-later
"""The box around the host sees it as visitors do: by name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import testinfra.host

from tests.support.internet import Internet
from tests.support.wait import eventually


def test_names_lead_to_the_host(internet: Internet, address: str) -> None:
    for name in ("www.example.test", "example.test", "shop.example.test"):
        assert internet.shell.check_output("getent ahostsv4 %s", name).split()[0] == address
    assert internet.shell.run("getent ahostsv4 nowhere.example.test").rc != 0
    answer = internet.shell.check_output("curl -skS -o /dev/null -w '%{http_code}' https://www.example.test/healthz")
    assert answer == "200"


# tells which of the ports 1 to 1200 and of the usual databases and servers answer
KNOCK = """
import asyncio, sys

async def knock(port, few):
    async with few:
        try:
            _reader, writer = await asyncio.wait_for(asyncio.open_connection(sys.argv[1], port), 2)
        except (OSError, asyncio.TimeoutError):
            return
        writer.close()
        print(port)

async def main():
    few = asyncio.Semaphore(400)
    ports = [*range(1, 1201), 3306, 5000, 5432, 6379, 8000, 8001, 8080, 9001, 11211]
    await asyncio.gather(*(knock(port, few) for port in ports))

asyncio.run(main())
"""


@pytest.fixture
def six(internet: Internet, host: testinfra.host.Host) -> Iterator[str]:
    """An address of the host of IPv6, which boxes do not have by themselves; the box around it has one as well."""
    places = {host: "fd5e:ed::1", internet.shell: "fd5e:ed::2"}
    for shell, address in places.items():
        shell.check_output(
            "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0 && ip -6 address replace %s/64 dev eth0 nodad", address
        )
    yield places[host]
    for shell in places:
        shell.check_output("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1")


def test_the_same_ports_are_open_over_ipv6(internet: Internet, host: testinfra.host.Host, six: str) -> None:
    # something that listens on all addresses, and is nobody's business
    host.check_output("systemd-run --quiet --unit=six python3 -m http.server --bind :: 8001")
    try:
        eventually(lambda: host.check_output("ss -Hltn 'sport = 8001'"))
        answered = internet.shell.check_output("python3 -c %s %s", KNOCK, six).split()
    finally:
        host.check_output("systemctl stop six")
    assert sorted(map(int, answered)) == [22, 80, 443]
    served = internet.shell.check_output(
        "curl -skS -o /dev/null -w '%%{http_code}' --resolve www.example.test:443:[%s] https://www.example.test/healthz",
        six,
    )
    assert served == "200"
