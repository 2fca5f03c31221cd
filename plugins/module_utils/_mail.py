# SPDX-License-Identifier: GPL-3.0-or-later
"""Mail that leaves: what may be wrong with its settings, and the DNS records that let others believe it. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_NAME = re.compile(rf"({_LABEL}\.)+{_LABEL}")
_SELECTOR = re.compile(rf"{_LABEL}(\.{_LABEL})*")
# what ends up in a configuration file unquoted: no spaces, braces, quotes
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`|~-]+@(?P<domain>[A-Za-z0-9.-]+)")
# https://www.rfc-editor.org/rfc/rfc1035#section-3.3: a string of a TXT record has 255 bytes at most
_STRING = 255


def mistakes(settings: Mapping[str, Any]) -> list[str]:
    """What is wrong, each with what would be right; ``settings`` are the variables of the role by name."""
    domains, hostname = settings["mail_domains"], str(settings["mail_hostname"])
    if isinstance(domains, str) or not domains:
        return [f"mail_domains is {domains!r}; it needs the domains that mail is sent from, such as [example.com]."]
    found = [
        f"mail_domains[{number}] is {domain!r}, which is no domain; write it such as example.com."
        for number, domain in enumerate(domains)
        if not _NAME.fullmatch(str(domain))
    ]
    if not _NAME.fullmatch(hostname):
        found.append(f"mail_hostname is {hostname!r}; it needs a full name, such as web1.example.com.")
    elif hostname.lower() in {str(domain).lower() for domain in domains}:
        # all mail to the domain would count as mail to the host's own accounts
        found.append(
            f"mail_hostname is the domain {hostname}; give the host a name of its own, such as web1.{hostname}."
        )
    if not _SELECTOR.fullmatch(str(settings["mail_selector"])):
        found.append(f"mail_selector is {settings['mail_selector']!r}; it is a name in DNS: letters, digits and -.")
    for key in ("mail_root", "mail_dmarc_reports"):
        address = _ADDRESS.fullmatch(str(settings[key])) if settings[key] else None
        if settings[key] and not address:
            found.append(f"{key} is {settings[key]!r}, which is no address; write it such as admin@example.com.")
        elif address and address["domain"].lower() == hostname.lower():
            found.append(
                f"{key} is {settings[key]}, on this very host, which delivers nothing; give an address elsewhere."
            )
    for number, address in enumerate(settings["mail_addresses"]):
        try:
            ip_address(str(address))
        except ValueError:
            found.append(f"mail_addresses[{number}] is {address!r}, which is no address; write it such as 192.0.2.7.")
    return found + _relay_mistakes(settings)


def _relay_mistakes(settings: Mapping[str, Any]) -> list[str]:
    host, user, password = (str(settings[f"mail_relay_{key}"]) for key in ("host", "user", "password"))
    found = []
    if host and not _NAME.fullmatch(host) and not re.fullmatch(r"[0-9.]+", host):
        found.append(f"mail_relay_host is {host!r}; write its name alone, such as smtp.example.com.")
    if user and not host:
        found.append("mail_relay_user is given, but no mail_relay_host.")
    if bool(user) != bool(password):
        found.append("mail_relay_user and mail_relay_password (in the vault) belong together; give both or none.")
    if re.search(r"\s", user + password) or ":" in user:
        found.append("mail_relay_user and mail_relay_password must have no spaces, and the user no colon.")
    return found


def records(
    domains: Sequence[str], *, key: str, selector: str, hostname: str, addresses: Sequence[str],
    relay: str = "", policy: str = "none", reports: str = "",
) -> list[dict[str, str]]:  # fmt: skip
    """What to publish: name (ends with a dot), type, value and why.

    :param key: the public key, as PEM.
    :param addresses: from which mail leaves.
    :param relay: the server through which it leaves, if any; its own SPF record has the addresses then.
    :param policy: of DMARC; ``reports`` is the address that gets the receivers' reports, or empty.
    """
    public = "".join(key.strip().splitlines()[1:-1])
    found = []
    for address in [ip_address(str(one)) for one in addresses]:
        kind = "A" if address.version == 4 else "AAAA"
        found.append(_record(hostname, kind, str(address), "the name by which the host greets"))
        why = "set by whoever owns the address, in the provider's console"
        found.append(_record(address.reverse_pointer, "PTR", f"{hostname}.", why))
    found.append(
        _record(hostname, "TXT", "v=spf1 a -all", "SPF of the greeting: mail from that name comes from its address")
    )
    senders = [f"include:{relay}"] if relay else [f"ip{ip_address(str(one)).version}:{one}" for one in addresses]
    for domain in domains:
        why = "SPF; a domain has one such record, so add these words to one that is there"
        found.append(_record(domain, "TXT", " ".join(["v=spf1", *senders, "~all"]), why))
        found.append(_record(f"{selector}._domainkey.{domain}", "TXT", f"v=DKIM1; k=rsa; p={public}", "DKIM"))
        rua = f"; rua=mailto:{reports}" if reports else ""
        found.append(_record(f"_dmarc.{domain}", "TXT", f"v=DMARC1; p={policy}{rua}", "DMARC"))
    return found


def _record(name: str, kind: str, value: str, why: str) -> dict[str, str]:
    return {"name": f"{name}.", "type": kind, "value": value, "why": why}


def zone_lines(found: Sequence[Mapping[str, str]]) -> list[str]:
    """The records as a zone file has them, each with its reason."""
    lines = []
    for record in found:
        value = record["value"]
        if record["type"] == "TXT":
            parts = [value[start : start + _STRING] for start in range(0, len(value), _STRING)]
            value = " ".join(f'"{part}"' for part in parts)
        lines += [f"; {record['why']}", f"{record['name']} IN {record['type']} {value}"]
    return lines
