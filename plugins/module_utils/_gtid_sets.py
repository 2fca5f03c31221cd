# SPDX-License-Identifier: GPL-3.0-or-later
"""MySQL's sets of transactions, such as 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-9:11, compared without a server. Pure functions."""

from __future__ import annotations


def own(text: str, server: str) -> dict[str, list[tuple[int, int]]]:
    """The transactions in a set that began on one server: by tag (mostly empty) the first and last number of each run of them.

    :param server: its UUID.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    for part in text.lower().split(","):
        origin, *words = part.strip().split(":")
        tag = ""
        for word in words if origin == server.lower() else []:
            first, _, last = word.partition("-")
            if first.isdigit():
                found.setdefault(tag, []).append((int(first), int(last or first)))
            else:
                tag = word
    return found


def holds(text: str, other: str, server: str) -> bool:
    """Whether a set has all transactions of another one that began on `server`."""
    there = own(text, server)
    return all(
        any(low <= first and last <= high for low, high in there.get(tag, []))
        for tag, runs in own(other, server).items()
        for first, last in runs
    )
