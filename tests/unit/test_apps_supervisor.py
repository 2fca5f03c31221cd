# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of program files, read back by the real supervisor."""

from __future__ import annotations

import random
import shlex
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisor import command
from supervisor.options import ServerOptions, UnhosedConfigParser

ALPHABET = [*"ab ='\"\\$%;#,()é\t😀", " ;", " #", "%(here)s", "%s", "%%", "%(ENV_HOME)s", "(here)s"]


def read(line: str) -> Any:
    """The program that supervisor makes of one more line in its section, in the way its daemon goes."""
    parser = UnhosedConfigParser()
    parser.read_string(f"[program:x]\n{line if line.startswith('command') else f'command=true\n{line}'}\n")
    parser.expand_here("/etc/supervisor")
    (program,) = ServerOptions().processes_from_section(parser, "program:x", "x")
    return program


def texts(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    return ["".join(chance.choices(ALPHABET, k=chance.randrange(1, 10))) for _ in range(count)]


def test_arguments_arrive_as_they_are() -> None:
    for text in [*texts(800, 1), "", " ", ";x", "#x", "a ;b", "it's ;", "%(here)s", "-c 'x;y' #"]:
        arguments = ["prog", text, "last"]
        assert shlex.split(read(f"command={command(arguments)}").command) == arguments


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("rq worker tasks", ["rq", "worker", "tasks"]),
        ("date +%F", ["date", "+%F"]),
        ("sh -c 'a ; b # c'", ["sh", "-c", "a ; b # c"]),
        ("celery -A blog worker ; x", ["celery", "-A", "blog", "worker", ";", "x"]),
        ('echo "two words" %(here)s', ["echo", "two words", "%(here)s"]),
    ],
)
def test_command_lines(line: str, arguments: list[str]) -> None:
    assert shlex.split(read(f"command={command(line)}").command) == arguments


def test_simple_commands_stay_readable() -> None:
    assert command("rq worker --name=a/b.c:d tasks") == "rq worker --name=a/b.c:d tasks"
    assert command("date +%F") == "date +%%F"


def test_commands_that_cannot_be() -> None:
    for line in ["", "  ", "a 'b"]:
        with pytest.raises(ValueError, match=r"empty|quotation"):
            command(line)
    with pytest.raises(ValueError, match="line break"):
        command(["a", "b\nc"])
