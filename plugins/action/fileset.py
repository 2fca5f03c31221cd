# SPDX-License-Identifier: GPL-3.0-or-later
"""Render a whole set of files on the control node and send it in one call."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

# `template` is rendered here; all other keys travel on to the module
_ENTRY_KEYS = frozenset(
    ["path", "state", "content", "template", "vars", "each", "target", "owner", "group", "mode", "secret"]
)
_FILLED_KEYS = ("path", "target", "owner", "group")


class ActionModule(ActionBase):
    """Action part of ``flaskhost.stack.fileset``: templates become contents."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(["files", "validate", "purge"])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = self._task.args
        entries = [
            made for number, entry in enumerate(arguments.get("files") or []) for made in self._expand(number, entry)
        ]
        payload = {
            "files": [self._render(entry, variables) for entry in entries],
            "purge": arguments.get("purge") or [],
        }
        result: dict[str, Any] = self._execute_module(
            module_name="flaskhost.stack.fileset",
            module_args={"payload": json.dumps(payload), "validate": arguments.get("validate")},
            task_vars=variables,
        )
        # the contents may hold secrets: never print the call itself, not even with -vvv
        result.pop("invocation", None)
        return result

    @staticmethod
    def _expand(number: int, entry: Any) -> list[dict[str, Any]]:
        """One entry, or one per element of its ``each`` list with ``{key}`` filled in."""
        if not isinstance(entry, dict):
            raise AnsibleActionFail(f"files[{number}] must be a dictionary, not {entry!r}")
        unknown = set(entry) - _ENTRY_KEYS
        if unknown:
            raise AnsibleActionFail(
                f"files[{number}] has unknown keys {sorted(unknown)}; known are {sorted(_ENTRY_KEYS)}"
            )
        if "path" not in entry:
            raise AnsibleActionFail(f"files[{number}] needs a path")
        if "each" not in entry:
            return [dict(entry)]
        made = []
        for item in entry["each"]:
            one = {key: value for key, value in entry.items() if key != "each"}
            for key in _FILLED_KEYS:
                if key in one:
                    one[key] = str(one[key]).format_map(item if isinstance(item, dict) else {"item": item})
            one["vars"] = {**one.get("vars", {}), "item": item}
            made.append(one)
        return made

    def _render(self, entry: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """The entry as the module takes it: ``content`` in place of ``template`` and ``vars``."""
        template = entry.pop("template", None)
        extra = entry.pop("vars", {})
        if template is None:
            return entry
        roots = self._template_roots(variables)
        source = next((path for path in (os.path.join(root, template) for root in roots) if os.path.isfile(path)), None)
        if source is None:
            raise AnsibleActionFail(f"template {template} not found in {', '.join(roots)}")
        text = trust_as_template(self._loader.get_text_file_contents(source))
        # the parent of an override stays reachable: {% extends "<same path>" %} finds the role's own file
        search = [os.path.dirname(source), *reversed(roots)]
        templar = self._templar.copy_with_new_env(searchpath=search, available_variables={**variables, **extra})
        content = templar.template(
            text, escape_backslashes=False, overrides={"trim_blocks": True, "lstrip_blocks": True}
        )
        entry["content"] = "" if content is None else str(content)
        return entry

    def _template_roots(self, variables: dict[str, Any]) -> list[str]:
        """Where templates are looked for: the site's overrides first, then the role's own."""
        role = self._task._role
        if role is None:
            return [os.path.join(self._loader.get_basedir(), "templates")]
        roots = [os.path.join(role._role_path, "templates")]
        overrides = variables.get("flaskhost_templates_dir")
        if overrides is None and variables.get("inventory_dir"):
            overrides = os.path.join(variables["inventory_dir"], os.pardir, "templates")
        if overrides:
            overrides = str(self._templar.template(overrides))
            roots.insert(0, os.path.normpath(os.path.join(overrides, role.get_name(include_role_fqcn=False))))
        return roots
