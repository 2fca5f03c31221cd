# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates of the roles, rendered by the code that renders them in a run, without a host."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.flaskhost.stack.plugins.plugin_utils._render import RenderingAction

ROLES = Path(__file__).resolve().parents[2] / "roles"


class Action(RenderingAction):
    """The part of an action that renders; there is no host."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        raise NotImplementedError


def action(
    folder: Path | None,
    variables: Mapping[str, Any] | None = None,
    *,
    basedir: Path = ROLES.parent,
    kind: type[RenderingAction] = Action,
    arguments: Mapping[str, Any] | None = None,
) -> Any:
    """An action in a task of the role in ``folder``, or of no role."""
    loader = DataLoader()
    loader.set_basedir(str(basedir))
    role = folder and SimpleNamespace(_role_path=str(folder), get_name=lambda include_role_fqcn: folder.name)
    task = SimpleNamespace(_role=role, args=dict(arguments or {}), async_val=0, check_mode=False, diff=False)
    shell = SimpleNamespace(tmpdir=None)
    connection: Any = SimpleNamespace(_shell=shell, transport="ssh")
    templar = Templar(loader=loader, variables=dict(variables or {}))
    return kind(task, connection, SimpleNamespace(), loader, templar)


def trusted(value: Any) -> Any:
    """A value in which templates count, as in a variable of a role."""
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return {key: trusted(item) for key, item in value.items()} if isinstance(value, dict) else value


def role_variables(name: str) -> dict[str, Any]:
    """Defaults and vars of a role."""
    found: dict[str, Any] = {}
    for part in ("defaults", "vars"):
        path = ROLES / name / part / "main.yml"
        found |= (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}
    return dict(trusted(found))


def render(role: str, template: str, **variables: Any) -> str:
    """The text of a role's template."""
    everything = {**role_variables(role), **variables}
    return str(action(ROLES / role, everything).render(template, {}, everything))


def evaluate(role: str, expression: str, **variables: Any) -> Any:
    """The value of an expression where a role's variables are known."""
    templar = Templar(loader=DataLoader(), variables={**role_variables(role), **variables})
    return templar.template(trust_as_template("{{ " + expression + " }}"))
