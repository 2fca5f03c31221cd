# SPDX-License-Identifier: GPL-3.0-or-later
"""Which database server the apps of a web host use, from the hosts of the group `db`. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.flaskhost.stack.plugins.module_utils._app_schema import LOCAL_ADDRESSES

# on web hosts: whom they trust when a database server shows its certificate
DATABASE_CA = "/etc/ssl/flaskhost/database-ca.pem"


@dataclass(frozen=True)
class Servers:
    """The database hosts of an inventory.

    :ivar hosts: the addresses of each, by its name; the first one is what others connect to.
    :ivar primary: the host that takes what is written, where all of them hold the same data; empty where each is a server of its own.
    """

    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    primary: str = ""

    @property
    def replicated(self) -> bool:
        """Whether several hosts hold the same data."""
        return bool(self.primary) and len(self.hosts) > 1

    @property
    def names(self) -> set[str]:
        """Everything by which an app may call one of them over the network."""
        return {name for host, addresses in self.hosts.items() for name in (host, *addresses)}

    def owner(self, name: str, web: str) -> str:
        """The database host that an app on `web` means by `name`; empty when it is none of them."""
        if name in LOCAL_ADDRESSES:
            return web if web in self.hosts else ""
        return next((host for host, addresses in self.hosts.items() if name in (host, *addresses)), "")

    def default(self, web: str) -> str:
        """The server of apps on `web` that name none: an address, or empty for the host itself."""
        only = next(iter(self.hosts)) if len(self.hosts) == 1 else self.primary
        if not only or web == only or (not self.primary and web in self.hosts):
            return ""
        return next(iter(self.hosts[only]), only) if only in self.hosts else ""


def servers(hosts: Mapping[str, Iterable[str]], primary: str = "") -> Servers:
    """The database hosts from what an inventory says of them; a name counts where there is no address."""
    return Servers({str(host): tuple(str(one) for one in found if one) for host, found in hosts.items()}, primary)
