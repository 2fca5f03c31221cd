# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of each role fits its defaults: meta/argument_specs.yml and defaults/main.yml are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"
NAMES = sorted(path.name for path in ROLES.iterdir() if path.is_dir())


def read(role: str, path: str) -> dict[str, Any]:
    """A YAML file of a role; empty when there is none."""
    file = ROLES / role / path
    return (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.is_file() else {}


def options_of(role: str) -> dict[str, dict[str, Any]]:
    """The options of all entry points of a role."""
    merged: dict[str, dict[str, Any]] = {}
    for entry in read(role, "meta/argument_specs.yml").get("argument_specs", {}).values():
        merged |= entry.get("options", {})
    return merged


def text_of(option: dict[str, Any]) -> str:
    """What an option's description says."""
    description = option.get("description", "")
    return description if isinstance(description, str) else " ".join(description)


def mistakes(options: dict[str, dict[str, Any]], defaults: dict[str, Any]) -> list[str]:
    """Where documented options and defaults do not fit."""
    found = [f"{name} has a default, but no spec" for name in sorted(defaults.keys() - options.keys())]
    for name, option in sorted(options.items()):
        explained = "default" in text_of(option).lower()
        if not text_of(option):
            found.append(f"{name} has no description")
        if name not in defaults:
            if "default" in option:
                found.append(f"{name} has a default in its spec only, where it has no effect")
            elif not option.get("required") and not explained:
                found.append(
                    f"{name} has no default, is not required, and its description does not say what happens then"
                )
        elif option.get("required"):
            found.append(f"{name} is required, but has a default")
        elif "default" in option:
            if option["default"] != defaults[name]:
                found.append(f"{name} is {defaults[name]!r}, its spec says {option['default']!r}")
        elif "{{" not in str(defaults[name]):
            found.append(f"{name} is {defaults[name]!r}, its spec gives no default")
        elif not explained:
            found.append(
                f"{name} is an expression: give it in the spec, or say in the description what it is by default"
            )
    return found


@pytest.mark.parametrize("role", NAMES)
def test_specs_fit_defaults(role: str) -> None:
    assert mistakes(options_of(role), read(role, "defaults/main.yml")) == []


@pytest.mark.parametrize("role", NAMES)
def test_entry_points_are_documented(role: str) -> None:
    specs = read(role, "meta/argument_specs.yml").get("argument_specs", {})
    assert "main" in specs
    for name, entry in specs.items():
        assert entry.get("short_description"), name
        assert (ROLES / role / "tasks" / f"{name}.yml").is_file(), f"no tasks/{name}.yml"


@pytest.mark.parametrize("role", NAMES)
def test_role_is_complete(role: str) -> None:
    readme = ROLES / role / "README.md"
    assert readme.is_file()
    assert readme.read_text(encoding="utf-8").startswith(f"# {role}\n")
    assert read(role, "meta/main.yml")["galaxy_info"]["description"]
    empty = [str(path) for path in (ROLES / role).rglob("*") if path.is_dir() and not any(path.iterdir())]
    assert empty == []


@pytest.mark.parametrize(
    ("options", "defaults", "expected"),
    [
        ({"a": {"description": "A.", "default": 1}}, {"a": 1}, ""),
        ({"a": {"description": "By default what is there."}}, {"a": "{{ there }}"}, ""),
        ({"a": {"description": "A.", "required": True}}, {}, ""),
        ({"a": {"description": "A.", "default": 1}}, {"a": 2}, "spec says 1"),
        ({}, {"a": 1}, "no spec"),
        ({"a": {"description": "A.", "default": 1}}, {}, "in its spec only"),
        ({"a": {"description": "A."}}, {}, "is not required"),
        ({"a": {"description": "A."}}, {"a": 1}, "gives no default"),
        ({"a": {"description": "A."}}, {"a": "{{ there }}"}, "an expression"),
        ({"a": {"description": "A.", "required": True}}, {"a": 1}, "is required, but"),
        ({"a": {"default": 1}}, {"a": 1}, "no description"),
    ],
)
def test_the_comparison_itself(options: dict[str, dict[str, Any]], defaults: dict[str, Any], expected: str) -> None:
    found = mistakes(options, defaults)
    assert expected in found[0] if expected else found == []
