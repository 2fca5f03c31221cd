# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendering of templates on the control node, for the action plugins that send whole files."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

_ENTRY_KEYS = frozenset(
    [
        "path",
        "state",
        "content",
        "template",
        "vars",
        "each",
        "target",
        "owner",
        "group",
        "mode",
        "secret",
        "keep",
        "apart",
    ]
)
_MANAGED = "Written by Ansible (collection flaskhost.stack): what is changed here by hand will be lost."
_PURGE_KEYS = frozenset(["path", "pattern"])
_FILLED_KEYS = ("path", "template", "target", "owner", "group", "apart")


class RenderingAction(ActionBase):
    """An action whose arguments name templates of the role, or a site's overrides of them."""

    TRANSFERS_FILES = False

    def render_entries(self, entries: Any, variables: dict[str, Any]) -> list[dict[str, Any]]:
        """Entries as ``flaskhost.stack.fileset`` documents them, as the host-side module takes them."""
        made = []
        for number, entry in enumerate(entries or []):
            for one in _expand(number, entry):
                template, extra = one.pop("template", None), one.pop("vars", None) or {}
                if template is not None:
                    one["content"] = self.render(template, extra, variables)
                made.append(one)
        return made

    def render(self, template: str, extra: dict[str, Any], variables: dict[str, Any]) -> str:
        """The text of one template.

        :param template: path below the role's ``templates`` folder.
        :param extra: variables of this template alone.
        :param variables: all variables of the task.
        """
        roots = self._roots(variables)
        source = next((path for path in (os.path.join(root, template) for root in roots) if os.path.isfile(path)), None)
        if source is None:
            raise AnsibleActionFail(f"template {template} not found in {', '.join(roots)}")
        text = trust_as_template(self._loader.get_text_file_contents(source))
        # the role's own file stays reachable from its override, {% extends "<same path>" %}: so it is looked for first
        search = [*reversed(roots), os.path.dirname(source)]
        templar = self._templar.copy_with_new_env(
            searchpath=search, available_variables={"ansible_managed": _MANAGED, **variables, **extra}
        )
        content = templar.template(
            text, escape_backslashes=False, overrides={"trim_blocks": True, "lstrip_blocks": True}
        )
        return "" if content is None else str(content)

    def execute_hidden(self, module: str, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Run the module; its call may hold secrets and is never printed, not even with -vvv."""
        result: dict[str, Any] = self._execute_module(module_name=module, module_args=arguments, task_vars=variables)
        result.pop("invocation", None)
        return result

    def _roots(self, variables: dict[str, Any]) -> list[str]:
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


def _expand(number: int, entry: Any) -> list[dict[str, Any]]:
    """One entry, or one per element of its ``each`` list with ``{key}`` filled in."""
    if not isinstance(entry, dict):
        raise AnsibleActionFail(f"files[{number}] must be a dictionary, not {entry!r}")
    unknown = set(entry) - _ENTRY_KEYS
    if unknown:
        raise AnsibleActionFail(f"files[{number}] has unknown keys {sorted(unknown)}; known are {sorted(_ENTRY_KEYS)}")
    if "path" not in entry:
        raise AnsibleActionFail(f"files[{number}] needs a path")
    if "each" not in entry:
        return [dict(entry)]
    made = []
    for item in entry["each"] or []:
        one = {key: value for key, value in entry.items() if key != "each"}
        for key in _FILLED_KEYS:
            if key in one:
                one[key] = _fill(f"files[{number}].{key}", str(one[key]), item)
        one["vars"] = {**(one.get("vars") or {}), "item": item}
        made.append(one)
    return made


def _fill(place: str, text: str, item: Any) -> str:
    try:
        return text.format_map(item if isinstance(item, dict) else {"item": item})
    except (LookupError, ValueError, AttributeError) as error:
        raise AnsibleActionFail(f"{place}: {text!r} cannot be filled in ({type(error).__name__}: {error})") from error


def check_purge(purge: Any) -> list[dict[str, Any]]:
    """The purge list, refused when something is in it that would be overlooked: it decides what is deleted."""
    for number, place in enumerate(purge or []):
        unknown = sorted(set(place) - _PURGE_KEYS) if isinstance(place, dict) else place
        if unknown or "path" not in place:
            raise AnsibleActionFail(f"purge[{number}] must be a dictionary of path and pattern, not {place!r}")
    return list(purge or [])
