# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command as an app's user and keep the end of what it said."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import signal
import subprocess
from typing import Any
from urllib.parse import quote, unquote

TAIL_LINES = 40
_SECRET_NAME = re.compile(r"SECRET|PASS|PWD|TOKEN|KEY|CREDENTIAL|PRIVATE|AUTH|DSN|SALT", re.IGNORECASE)
# how long a killed command's grandchildren may keep its output open
_AFTER_KILL = 2.0
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
    """Run without a shell, as ``user`` with only its own groups.

    :param command: words of the command.
    :param timeout: seconds after which the whole process group is killed.
    :param environment: all variables; HOME, USER and PATH have defaults.
    :returns: exit code, and standard output and error as they came. 124 and a note when it took too long, 127 and the
        reason when it could not be started.
    """
    account = pwd.getpwnam(user)
    variables = {
        "HOME": account.pw_dir,
        "USER": user,
        "LOGNAME": user,
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        **{name: str(value) for name, value in (environment or {}).items()},
    }
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=variables,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o022,
            **identity,
        )
    except OSError as error:
        return 127, f"{command[0]} cannot be started in {cwd}: {error}"
    with process:
        output, note = _output(process, stdin, timeout)
    code = 124 if note else process.returncode
    return code, output.decode("utf-8", "replace").strip() + note


def _output(process: subprocess.Popen[bytes], stdin: bytes | None, timeout: float) -> tuple[bytes, str]:
    """What a process says until it ends, or is killed with all of its group."""
    try:
        return process.communicate(stdin, timeout)[0], ""
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    note = f"\n(killed: it took longer than {timeout:g} s)"
    try:
        return process.communicate(timeout=_AFTER_KILL)[0], note
    except subprocess.TimeoutExpired as late:
        # what it started in a session of its own lives on and holds the output
        return late.output or b"", note


def tail(output: str, lines: int = TAIL_LINES) -> str:
    """The last lines, which is where the reason stands."""
    return "\n".join(output.splitlines()[-lines:])


def hide(text: str, environment: dict[str, str]) -> str:
    """The text without secrets: values of variables whose names say so, and passwords inside of addresses.

    To be called before lines are cut off, or the rest of a secret of many lines would be shown.
    """
    secrets = set()
    for name, value in ((name, str(value)) for name, value in environment.items()):
        if _SECRET_NAME.search(name):
            secrets.add(value)
        secrets.update(_URL_PASSWORD.findall(value))
    shown = {way(secret) for secret in secrets for way in (str, _escaped, _in_json, _quoted, unquote)}
    # a shorter value would hide ordinary words
    for secret in sorted((value for value in shown if len(value) >= 6), key=len, reverse=True):
        text = text.replace(secret, "********")
    return text


def _escaped(value: str) -> str:
    """As Python's repr shows it."""
    return repr(value)[1:-1]


def _in_json(value: str) -> str:
    return json.dumps(value)[1:-1]


def _quoted(value: str) -> str:
    """As it stands in an address."""
    return quote(value, safe="")
