# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written into a .env file comes back exactly, through the real python-dotenv and the real environment."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils._dotenv import dump
from dotenv import dotenv_values, load_dotenv

HARD = [
    "",
    " ",
    " both ends ",
    "it's",
    'say "hi"',
    "'single'",
    '"double"',
    "'",
    '"',
    "\\",
    "\\\\",
    'ends in \\"',
    "ends in a backslash and a space \\",
    "\\n is not a line break",
    "line\nbreak",
    "carriage\rreturn",
    "both\r\n",
    "\n",
    "\t\v\f\a\b",
    "$",
    "$HOME",
    "${HOME}",
    "$${HOME}",
    "${HOME",
    "${}",
    "${:-x}",
    "${A:-${B}}",
    "\\${HOME}",
    "'${HOME}'",
    "100%",
    "%(x)s",
    "#comment",
    "a #comment",
    "a=b=c",
    "export X=1",
    "`id` $(id)",
    "ünï€ 漢字 😀",
    "\u2028\u2029\x85\xa0",
    "\ufeff",
    "a;b|c&d",
    "x" * 10000,
]
ALPHABET = [*"ab ='\"\\$${}:-#%\n\r\t`;é😀", "${", "}", "\\n", "${HOME}", "${:-"]


def hard_values() -> dict[str, str]:
    chance = random.Random(24)
    values = [*HARD, *("".join(chance.choices(ALPHABET, k=chance.randrange(1, 14))) for _ in range(1500))]
    return {f"V{number}": value for number, value in enumerate(values)}


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    values = hard_values()
    path = tmp_path / ".env"
    path.write_text(dump(values), encoding="utf-8")
    return path, values


def test_dotenv_values(written: tuple[Path, dict[str, str]]) -> None:
    path, values = written
    assert dict(dotenv_values(path, interpolate=True, encoding="utf-8")) == values


def test_load_dotenv_into_the_environment(written: tuple[Path, dict[str, str]]) -> None:
    path, values = written
    script = "import json, os, sys; from dotenv import load_dotenv; load_dotenv(sys.argv[1]); print(json.dumps(dict(os.environ)))"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "A": "wrong"},
    )
    found = json.loads(done.stdout)
    assert {name: found[name] for name in values} == values


def test_each_value_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    for value in HARD:
        monkeypatch.delenv("ALONE", raising=False)
        path.write_text(dump({"ALONE": value}), encoding="utf-8")
        assert load_dotenv(path)
        assert os.environ["ALONE"] == value


def test_without_interpolation_all_but_references_survive(written: tuple[Path, dict[str, str]]) -> None:
    path, values = written
    found = dotenv_values(path, interpolate=False)
    # References and a backslash at the end are written by means of interpolation.
    plain = {name: value for name, value in values.items() if "${" not in value and not value.endswith("\\")}
    assert len(plain) > 300
    assert {name: found[name] for name in plain} == plain


def test_older_python_dotenv_reads_the_same(
    written: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 1.2.3 a quoted value went on after an escaped backslash and a quote; these are the expressions of that time."""
    import dotenv.parser as parser

    monkeypatch.setattr(parser, "_single_quoted_value", parser.make_regex(r"'((?:\\'|[^'])*)'"))
    monkeypatch.setattr(parser, "_double_quoted_value", parser.make_regex(r'"((?:\\"|[^"])*)"'))
    path, values = written
    assert dict(dotenv_values(path)) == values


def test_simple_values_stay_readable() -> None:
    assert dump(
        {"LANG": "C.UTF-8", "URL": "mysql+pymysql://u:p%40@127.0.0.1:3306/x?charset=utf8mb4", "G": "it costs $5"}
    ) == ('LANG=C.UTF-8\nURL=mysql+pymysql://u:p%40@127.0.0.1:3306/x?charset=utf8mb4\nG="it costs $5"\n')
    assert dump({}) == ""


@pytest.mark.parametrize(("name", "value"), [("A-B", "x"), ("", "x"), ("1A", "x"), ("A\n", "x"), ("A", "x\0y")])
def test_what_no_environment_can_carry_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"environment variable|NUL"):
        dump({name: value})
