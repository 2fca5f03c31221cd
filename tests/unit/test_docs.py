# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("templates/*.md"), *ROOT.glob("roles/*/README.md")]
)
ROW = re.compile(r"^\| (\w+) \| `([^`]+)` \| (.*)\|$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_all_templates_and_blocks_are_listed() -> None:
    text = (ROOT / "docs" / "customising.md").read_text(encoding="utf-8")
    listed = {(role, path): set(re.findall(r"`(\w+)`", blocks)) for role, path, blocks in ROW.findall(text)}
    there = {}
    for file in (ROOT / "roles").glob("*/templates/**/*"):
        # parts are pieces of other templates, which say what of them can be changed
        if file.is_file() and file.parent.name != "parts":
            role, _, path = file.relative_to(ROOT / "roles").as_posix().split("/", 2)
            there[role, path] = set(re.findall(r"{% block (\w+)", file.read_text(encoding="utf-8")))
    assert listed == there


def test_all_roles_and_variables_of_the_collection_are_named() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    for role in (ROOT / "roles").iterdir():
        assert role.name in text
