# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be right about the settings of fetched certificates. Runs on the control node, before any host is touched."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._app_report import Report, show
from ansible_collections.flaskhost.stack.plugins.module_utils._app_resolve import control_path

_URL = re.compile(r"https://[A-Za-z0-9.:\[\]-]+/[^\s\"'\\]*")


def acme_mistakes(
    directories: Mapping[str, Any],
    authorities: Mapping[str, Any],
    base: str = "",
    exists: Callable[[str], bool] = os.path.isfile,
) -> list[str]:
    """All mistakes, one line each.

    :param directories: what each host has in certificates_acme_directory; empty where it has nothing.
    :param authorities: the same of certificates_acme_ca.
    :param base: where relative paths start.
    """
    report = Report()
    for host, url in directories.items():
        if url and not (isinstance(url, str) and _URL.fullmatch(url)):
            report.add(
                host,
                f"certificates_acme_directory: {show(url)} is no URL of an ACME directory. It begins with https:// and has a path, such as "
                "https://ca.example.com/acme/directory.",
            )
    for host, path in authorities.items():
        if path and not isinstance(path, str):
            report.add(host, f"certificates_acme_ca: must be the name of a file on the control node, not {show(path)}.")
        elif path and not exists(control_path(path, base)):
            report.add(
                host,
                f"certificates_acme_ca: the file {show(path)} does not exist on the control node; looked for {control_path(path, base)}. "
                "Relative paths start at the inventory.",
            )
    return report.lines()
