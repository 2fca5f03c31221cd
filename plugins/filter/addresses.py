# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.addresses; documented in addresses.yml."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from ansible.errors import AnsibleFilterError


def addresses(values: Any, setting: str, words: Any = None) -> list[str]:
    """The addresses and networks of a setting in their usual form, each once."""
    if isinstance(values, str) or not isinstance(values, (list, tuple)):
        raise AnsibleFilterError(f"{setting} is {values!r}; write a list, such as [192.0.2.7, 198.51.100.0/24].")
    known = dict(words or {})
    found = []
    for number, value in enumerate(values):
        text = str(known.get(value, value))
        # a word that means nothing here, such as the address of a connection that has none
        if not text:
            continue
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            raise AnsibleFilterError(
                f"{setting}[{number}] is {value!r}, which is no address or network; "
                f"write {', '.join([*known, '192.0.2.7', '198.51.100.0/24', 'or 2001:db8::/32'])}."
            ) from None
        found.append(str(network.network_address if network.num_addresses == 1 else network))
    return list(dict.fromkeys(found))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Filters by name."""
        return {"addresses": addresses}
