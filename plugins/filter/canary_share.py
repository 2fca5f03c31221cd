# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.canary_share; documented in canary_share.yml."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from ansible.errors import AnsibleFilterError

_LONGEST_WATCH = 3600


def canary_share(value: Any, app: Any = None, watch: Any = 0, hosts: int = 1) -> str:
    """The share of a canary in percent as nginx writes it, from what a person gave; empty when that is empty."""
    text = "" if value is None else str(value).strip()
    # True is a number to Python
    number = Decimal(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) and not isinstance(value, bool) else None
    mistake = _share(text, number) or _app(text, app) or _watch(text, str(watch).strip(), hosts)
    if mistake:
        raise AnsibleFilterError(f"{mistake} Nothing was changed.")
    if number is None:
        return ""
    return f"{round(number, 2):f}".rstrip("0").rstrip(".") if "." in text else str(int(number))


def _share(text: str, number: Decimal | None) -> str:
    if not text or (number is not None and number <= 100 and number == round(number, 2)):
        return ""
    return (
        f"flask_canary={text[:40]}: not a share. Give the percentage of the visitors who get the new release, "
        "from 0 (none but those with the preview link) to 100, with at most two decimals and without %, "
        "such as `-e flask_canary=10`."
    )


def _app(text: str, app: Any) -> str:
    if not text or app is None or str(app):
        return ""
    return f"flask_canary={text}: a canary is of one app. Give `-e flask_app=NAME` with it."


def _watch(text: str, watch: str, hosts: int) -> str:
    if watch in ("", "0"):
        return ""
    if not re.fullmatch(r"[0-9]{1,9}", watch) or int(watch) > _LONGEST_WATCH:
        return (
            f"flask_canary_watch={watch[:40]}: give 1 to {_LONGEST_WATCH} seconds, such as `-e flask_canary_watch=600`."
        )
    if not text:
        return (
            f"flask_canary_watch={watch}: without flask_canary there is no canary to watch. Give that too; or the key `watch` "
            "of the app, to watch each new release after its switch."
        )
    if hosts > 1:
        return (
            f"flask_canary_watch={watch}: each of the {hosts} hosts would decide for itself. Give `--limit HOST`; or leave it "
            "out, look at status.yml and promote or abort on all of them."
        )
    return ""


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"canary_share": canary_share}
