# SPDX-License-Identifier: GPL-3.0-or-later
"""The box around the host sees it as visitors do: by name."""

from __future__ import annotations

from tests.support.internet import Internet


def test_names_lead_to_the_host(internet: Internet, address: str) -> None:
    for name in ("www.example.test", "example.test", "shop.example.test"):
        assert internet.shell.check_output("getent ahostsv4 %s", name).split()[0] == address
    assert internet.shell.run("getent ahostsv4 nowhere.example.test").rc != 0
    answer = internet.shell.check_output("curl -skS -o /dev/null -w '%{http_code}' https://www.example.test/healthz")
    assert answer == "200"
