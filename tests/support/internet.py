# SPDX-License-Identifier: GPL-3.0-or-later
"""What is around the host of the scenario `public`: the box public-net."""

from __future__ import annotations

import base64
import json
import urllib.request
from dataclasses import dataclass
from typing import Any

import testinfra
import testinfra.host

from tests.support.stack import ROOT, box


@dataclass(frozen=True)
class Internet:
    """The box around the host; ``shell`` is a root's in it."""

    address: str
    shell: testinfra.host.Host

    @classmethod
    def reach(cls, name: str = "public-net") -> Internet:
        """The box of that name, over ssh."""
        state, address = ROOT / ".ansible" / "box", box("address", name)
        options = f"-o UserKnownHostsFile={state}/known_hosts -o ControlMaster=auto -o ControlPersist=60"
        shell = testinfra.get_host(
            f"ssh://root@{address}",
            ssh_identity_file=str(state / "id_ed25519"),
            ssh_extra_args=options + " -o ControlPath=/tmp/flaskhost-%C",
        )
        return cls(address, shell)

    def put(self, path: str, text: str) -> None:
        """Write a file there."""
        encoded = base64.b64encode(text.encode()).decode()
        self.shell.check_output("echo %s | base64 -d > %s", encoded, path)

    def name(self, host: str, *addresses: str) -> None:
        """Say in its DNS which addresses a name has; none takes the name away."""
        words: dict[str, Any] = {"host": host, **({"addresses": addresses} if addresses else {})}
        url = f"http://{self.address}:8055/{'add' if addresses else 'clear'}-a"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(urllib.request.Request(url, json.dumps(words).encode()), timeout=10).close()
