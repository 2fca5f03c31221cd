# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.canary_share; documented in canary_share.yml."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from ansible.errors import AnsibleFilterError


def canary_share(value: Any) -> str:
    """The share of a canary in percent as nginx writes it, from what a person gave; empty when that is empty."""
    text = "" if value is None else str(value).strip()
    if not text:
        return ""
    # True is a number to Python
    number = Decimal(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) and not isinstance(value, bool) else None
    if number is None or number > 100 or number != round(number, 2):
        raise AnsibleFilterError(
            f"flask_canary={text[:40]}: not a share. Give the percentage of the visitors who get the new release, "
            "from 0 (none but those with the preview link) to 100, with at most two decimals and without %, "
            "such as `-e flask_canary=10`. Nothing was changed."
        )
    return f"{round(number, 2):f}".rstrip("0").rstrip(".") if "." in text else str(int(number))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"canary_share": canary_share}
