# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command as an app's user and keep the end of what it said."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
from typing import Any

TAIL_LINES = 40
_SECRET_NAME = re.compile(r"SECRET|PASS|TOKEN|KEY|CREDENTIAL|DSN|SALT", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"://[^:/@\s]*:([^@\s]+)@")


def run_as(
    user: str,
    command: list[str],
    *,
    cwd: str,
    timeout: float,
    environment: dict[str, str] | None = None,
    stdin: bytes | None = None,
) -> tuple[int, str]:
    """Run without a shell, as ``user`` with only its own groups; 124 and a note when it takes too long.

    :param command: words of the command.
    :param timeout: seconds after which the whole process group is killed.
    :param environment: all variables; HOME, USER and PATH have defaults.
    :returns: exit code, and standard output and error as they came.
    """
    account = pwd.getpwnam(user)
    variables = {
        "HOME": account.pw_dir,
        "USER": user,
        "LOGNAME": user,
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        **(environment or {}),
    }
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=variables,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        umask=0o022,
        **identity,
    ) as process:
        try:
            output = process.communicate(stdin, timeout)[0]
            note = ""
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output = process.communicate()[0]
            note = f"\n(killed: it took longer than {timeout:g} s)"
    code = 124 if note else process.returncode
    return code, output.decode("utf-8", "replace").strip() + note


def tail(output: str, lines: int = TAIL_LINES) -> str:
    """The last lines, which is where the reason stands."""
    return "\n".join(output.splitlines()[-lines:])


def hide(text: str, environment: dict[str, str]) -> str:
    """The text without secrets: values of variables whose names say so, and passwords inside of addresses."""
    secrets = set()
    for name, value in environment.items():
        if _SECRET_NAME.search(name):
            secrets.add(value)
        secrets.update(_URL_PASSWORD.findall(value))
    # a shorter value would hide ordinary words
    for secret in sorted((value for value in secrets if len(value) >= 6), key=len, reverse=True):
        text = text.replace(secret, "********")
    return text
