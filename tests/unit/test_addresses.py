# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of a setting are checked, and a mistake is named."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flaskhost.stack.plugins.filter.addresses import addresses

CONTROL = {"control": "192.0.2.1"}


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], []),
        (["192.0.2.7", "192.0.2.7/32"], ["192.0.2.7"]),
        (["198.51.100.7/24", "2001:DB8::/32", "::1"], ["198.51.100.0/24", "2001:db8::/32", "::1"]),
        (["control"], ["192.0.2.1"]),
    ],
)
def test_usual_form(values: list[str], found: list[str]) -> None:
    assert addresses(values, "fail2ban_ignore", CONTROL) == found


def test_a_word_for_nothing_is_left_out() -> None:
    assert addresses(["control"], "fail2ban_ignore", {"control": ""}) == []


@pytest.mark.parametrize("value", ["10.0.0.0/99", "office", "10.0.0.1, 10.0.0.2", 7, None])
def test_mistakes_are_named(value: Any) -> None:
    with pytest.raises(AnsibleFilterError, match=r"^fail2ban_ignore\[1\] is .*write control, 192\.0\.2\.7"):
        addresses(["192.0.2.7", value], "fail2ban_ignore", CONTROL)


def test_a_text_is_no_list() -> None:
    with pytest.raises(AnsibleFilterError, match=r"fail2ban_ignore is .192\.0\.2\.7.; write a list"):
        addresses("192.0.2.7", "fail2ban_ignore")
