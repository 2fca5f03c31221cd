# SPDX-License-Identifier: GPL-3.0-or-later
"""What certbot is asked, what its complaints mean, and when it may ask again. Standard library only: it runs on hosts."""

from __future__ import annotations

import calendar
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._certificates import LINEAGE

# failures are remembered here, one file per app
FAILURES = "/var/lib/flaskhost/acme"
WEBROOT = "/var/www/acme"
# certbot keeps it with the certificate, and runs it after each renewal; a broken site must not take the others' with it
DEPLOY = "nginx -t -q && systemctl try-reload-or-restart nginx"
# seconds; authorities count failures by the hour (Let's Encrypt: five per name), and a week of them tells no more than a day
LONGEST_PAUSE = 86400


def command(one: Mapping[str, Any], *, directory: str, email: str, anew: bool) -> list[str]:
    """The words that have certbot fetch a certificate for exactly these names.

    :param one: name (of the app) and names.
    :param anew: fetch it although the present one has enough time left, such as one of another directory.
    """
    words = ["certbot", "certonly", "--non-interactive", "--agree-tos", "--server", directory]
    words += ["--email", email, "--no-eff-email"] if email else ["--register-unsafely-without-email"]
    words += ["--webroot", "--webroot-path", WEBROOT, "--cert-name", LINEAGE.format(one["name"])]
    words += ["--key-type", "ecdsa", "--elliptic-curve", "secp256r1", "--deploy-hook", DEPLOY]
    words += ["--renew-with-new-domains", "--force-renewal" if anew else "--keep-until-expiring"]
    return [*words, *(word for name in one["names"] for word in ("--domain", name))]


_PROBLEM = re.compile(r"^\s*Domain:\s*(?P<domain>\S+)\s*\n\s*Type:\s*(?P<type>.*)\n\s*Detail:\s*(?P<detail>.*)$", re.M)
# what certbot says around its reason
_CHATTER = re.compile(
    r"^(Saving debug log|Ask for help|See the logfile|Requesting a|Account registered|Renewing an existing|Hint:"
    r"|Some challenges have failed|Plugins selected|Certbot failed to authenticate|An unexpected error occurred|- - -)"
)


def reasons(output: str) -> str:
    """Why certbot got no certificate: domain and reason of each name that failed, else its last words."""
    found = [match.groupdict() for match in _PROBLEM.finditer(output)]
    if found:
        return "; ".join(f"{one['domain']}: {one['detail'].strip()} ({one['type'].strip()})" for one in found)
    lines = [line.strip() for line in output.splitlines() if line.strip() and not _CHATTER.match(line.strip())]
    return " ".join(lines[-3:]) or "certbot said nothing"


def busy(output: str) -> bool:
    """Whether another certbot, such as the timer's, was at work."""
    return "Another instance of Certbot is already running" in output


def retry_after(output: str) -> float:
    """When the authority allows another try, in seconds since 1970; 0 where it does not say."""
    match = re.search(r"retry after (\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2})", output, re.I)
    if not match:
        return 0.0
    return float(calendar.timegm(time.strptime(" ".join(match.groups()), "%Y-%m-%d %H:%M:%S")))


def failed(
    before: Mapping[str, Any], wish: str, reason: str, *, now: float, pause: int, until: float
) -> dict[str, Any]:
    """What is remembered of a failure: the pause doubles with each one of the same wish, up to a day.

    :param before: what was remembered until now.
    :param wish: what was asked for; another wish counts its failures anew.
    :param pause: seconds after the first failure.
    :param until: when the authority allows another try.
    """
    count = int(before.get("count", 0)) + 1 if before.get("wish") == wish else 1
    wait = min(pause * 2 ** min(count - 1, 20), max(LONGEST_PAUSE, pause))
    return {"wish": wish, "count": count, "reason": reason, "at": now, "next": max(now + wait, until)}


def waits(before: Mapping[str, Any], wish: str, now: float) -> bool:
    """Whether the pause after a failure of the same wish is not over; a clock that went back ends it too."""
    return before.get("wish") == wish and before.get("at", 0) <= now < before.get("next", 0)


def wish_of(one: Mapping[str, Any], directory: str) -> str:
    """What is asked for, as text: a failure of something else is no reason to wait."""
    return " ".join([directory, *sorted(one["names"])])


def remembered(app: str) -> dict[str, Any]:
    """The last failure of an app's certificate; empty when there is none."""
    try:
        with open(os.path.join(FAILURES, f"{app}.json"), encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remember(app: str, failure: Mapping[str, Any]) -> None:
    """Keep a failure, or forget the last one."""
    path = os.path.join(FAILURES, f"{app}.json")
    if not failure:
        if os.path.exists(path):
            os.unlink(path)
        return
    os.makedirs(FAILURES, mode=0o755, exist_ok=True)
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(failure, stream, indent=1)


def minute(when: float) -> str:
    """A time for people."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(when))


def link(target: str, path: str) -> None:
    """Have a path be a link to a file, without a moment in which it is neither the former nor the new."""
    made = f"{path}.new"
    if os.path.lexists(made):
        os.unlink(made)
    os.symlink(target, made)
    os.replace(made, path)


def told(problems: Sequence[Mapping[str, Any]], now: float) -> str:
    """The failures of a host in words: app, domain, reason, what visitors get meanwhile, and when it is tried again."""
    lines = []
    for one in problems:
        meanwhile = "the former certificate stays in use" if one["former"] else "visitors get a placeholder meanwhile"
        skipped = "" if one["tried"] else f"not tried now; at {minute(one['at'])}: "
        again = f"next try after {minute(one['next'])}" if one["next"] > now else "the next run tries again"
        lines.append(
            f"{one['name']}: no certificate for {', '.join(one['names'])}: {skipped}{one['reason']}; {meanwhile}, {again}"
        )
    return "\n".join(lines)
