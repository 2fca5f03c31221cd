# SPDX-License-Identifier: GPL-3.0-or-later
"""What a balancer makes of the apps of the web hosts behind it, and what that changes for them. Works on the control node.

Pure functions. The balancer speaks TLS and knows the limits of visitors; web hosts speak plain http to it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._app_report import show
from ansible_collections.flaskhost.stack.plugins.module_utils._app_resolve import present, resolve

# what the balancer does for an app, and so has to be the same on all hosts that have it
SHARED = ("domains", "tls", "max_body", "timeout", "limits", "headers", "static")
NO_TLS = {"hsts": 0, "mode": "none", "certificate": "", "key": "", "source_certificate": "", "source_key": ""}
NO_LIMITS = {"requests": 0, "burst": 0, "connections": 0}


def internal_addresses(hosts: Iterable[str], hostvars: Any) -> dict[str, str]:
    """Where other hosts of the inventory reach each of these: ``flaskhost_internal_address``, else ``ansible_host``."""
    found = {}
    for host in hosts:
        variables = hostvars[host]
        found[host] = str(variables.get("flaskhost_internal_address") or variables.get("ansible_host") or host)
    return found


def behind(apps: Iterable[Mapping[str, Any]], balancers: Mapping[str, str]) -> list[dict[str, Any]]:
    """The resolved apps of a web host, as they are behind balancers.

    :param balancers: address by name; without any, the apps are as they were.
    """
    if not balancers:
        return [dict(app) for app in apps]
    addresses = sorted(set(balancers.values()))
    # counted where all requests of an address come by, not on each host anew
    return [{**app, "balancers": addresses, "tls": {**NO_TLS}, "limits": {**NO_LIMITS}} for app in apps]


def balanced(
    by_host: Mapping[str, Any], addresses: Mapping[str, str], address: str = "", base: str = ""
) -> list[dict[str, Any]]:
    """The apps that a balancer has, resolved, each with the ``hosts`` that have it: ``name`` and ``address``.

    :param by_host: flask_apps of each web host, free of mistakes.
    :param addresses: where the balancer reaches each of them.
    :param address: how people reach the balancer; the URL of an app without domains.
    :param base: directory that relative paths of the control node start from.
    """
    found: dict[str, dict[str, Any]] = {}
    for host, given in by_host.items():
        for app in resolve(given, None, address, base):
            one = found.setdefault(app["name"], {**app, "hosts": []})
            one["hosts"].append({"name": host, "address": addresses[host]})
    return list(found.values())


def mistakes(balancers: Mapping[str, str], addresses: Mapping[str, str], by_host: Mapping[str, Any]) -> list[str]:
    """In words, why web hosts cannot be behind these balancers; none where there is no balancer.

    :param balancers: address of each balancer, as web hosts see it.
    :param addresses: address of each web host, as balancers reach it.
    :param by_host: flask_apps of each web host; what is no list of apps is told elsewhere.
    """
    if not balancers:
        return []
    found = [
        f"{host}: is in the groups balancer and web, and both would answer on port 80. Take it out of one of them."
        for host in balancers
        if host in addresses
    ]
    if not addresses:
        found.append(f"{', '.join(balancers)}: is in the group balancer, but no host is in the group web, behind it.")
    for host, address in {**addresses, **balancers}.items():
        if not _is_address(address):
            found.append(
                f"{host}: {show(address)} is a name, but balancers and web hosts know each other by addresses. "
                f"Give flaskhost_internal_address: 10.0.0.5 (the one in the network that they share)."
            )
    apps = {
        host: [app for app in given if isinstance(app, Mapping) and isinstance(app.get("name"), str)]
        for host, given in by_host.items()
        if isinstance(given, list)
    }
    found += [
        f"{host}: the app {app['name']} answers on port {app['port']} by itself, but balancers reach apps through the nginx of their "
        "hosts. Remove port."
        for host, given in apps.items()
        for app in given
        if app.get("port") and app.get("state") != "absent"
    ]
    return found + _differences(apps) + _names(apps) + _fetched(apps, balancers)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _differences(apps: Mapping[str, list[Any]]) -> list[str]:
    """Apps that are not on all hosts as the balancer has to treat them."""
    first: dict[str, tuple[str, Mapping[str, Any]]] = {}
    found = []
    for host, given in apps.items():
        for app in present(given):
            where, other = first.setdefault(app["name"], (host, app))
            found += [
                f"{where}, {host}: app {app['name']} has another {key} on each: {show(other.get(key))} and {show(app.get(key))}. "
                "The balancer treats all requests for it alike; write the same on all hosts."
                for key in SHARED
                if app.get(key) != other.get(key)
            ]
    return found


def _names(apps: Mapping[str, list[Any]]) -> list[str]:
    """Names that lead to more than one app. On a single host that is told already."""
    owners: dict[str, tuple[str, str]] = {}
    found = []
    for host, given in apps.items():
        for app in present(given):
            domains = app.get("domains") or [""]
            for domain in domains if isinstance(domains, list) else []:
                where, owner = owners.setdefault(str(domain).lower(), (host, app["name"]))
                if owner != app["name"] and where != host:
                    what = f"the domain {show(domain)}" if domain else "no domains, and so all names"
                    found.append(
                        f"{where}, {host}: apps {owner} and {app['name']} have {what}. Behind a balancer, a name leads to one app; "
                        "give each its own domains."
                    )
    return found


def _fetched(apps: Mapping[str, list[Any]], balancers: Mapping[str, str]) -> list[str]:
    """Certificates that an authority would ask the wrong balancer for."""
    if len(balancers) < 2:
        return []
    names = dict.fromkeys(
        app["name"]
        for given in apps.values()
        for app in present(given)
        if isinstance(app.get("tls"), Mapping) and app["tls"].get("mode") == "acme"
    )
    return [
        f"{', '.join(balancers)}: app {name} has tls.mode acme, but with several balancers the authority may ask the wrong one. "
        "Use mode provided, or one balancer."
        for name in names
    ]
