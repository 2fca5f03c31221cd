# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual environments by hash: releases with the same requirements share one."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass

from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError
from ansible_collections.flaskhost.stack.plugins.module_utils._run import hide, run_as, tail

UV = "/opt/flaskhost/uv/bin/uv"
_COMPLETE = ".flaskhost-complete"
# in a requirements file
_INCLUDE = re.compile(r"^\s*(?:(?:-r|-c)[ \t=]*|--(?:requirement|constraint)[ \t=]+)([^\s#]+)", re.MULTILINE)
_EDITABLE = re.compile(r"^\s*(?:-e|--editable)[ \t=]*(?![ \t=]|\S+://)", re.MULTILINE)
_LOCAL = re.compile(r"^\s*(?:\.|[^\s#@:-][^\s#@:]*/)|\bfile:", re.MULTILINE)
# in uv.lock: members of a workspace and folders beside the app; the app itself (".") is not installed
_LOCKED_EDITABLE = re.compile(r'\beditable = "(?!\.")')
_LOCKED_LOCAL = re.compile(r'\bdirectory = "(?!\.")')
# in pyproject.toml: what it needs stands somewhere else
_DYNAMIC = re.compile(r"^dynamic\s*=\s*\[[^\]]*dependencies", re.MULTILINE)


@dataclass(frozen=True)
class Requirements:
    """What a release's environment is made from.

    ``kind`` is ``uv`` (uv.lock), ``file`` (a requirements file), ``project`` (pyproject.toml without a lock) or ``none``.
    """

    kind: str
    path: str
    files: tuple[str, ...]


def find(tree: str, wanted: str, packages: list[str]) -> Requirements:
    """Which files of a source tree say what it needs.

    :param wanted: ``auto``, or the path of a requirements file relative to the tree.
    """
    if wanted != "auto":
        if not os.path.isfile(os.path.join(tree, wanted)):
            raise ReleaseError(f"build: python.requirements names {wanted}, which is not in the source tree")
        return Requirements("file", wanted, tuple(_with_includes(tree, wanted)))
    if os.path.isfile(os.path.join(tree, "uv.lock")) and os.path.isfile(os.path.join(tree, "pyproject.toml")):
        return Requirements("uv", "uv.lock", ("pyproject.toml", "uv.lock"))
    if os.path.isfile(os.path.join(tree, "requirements.txt")):
        return Requirements("file", "requirements.txt", tuple(_with_includes(tree, "requirements.txt")))
    if os.path.isfile(os.path.join(tree, "pyproject.toml")):
        return Requirements("project", "pyproject.toml", ("pyproject.toml",))
    if any(package.lower().startswith("flask") for package in packages):
        return Requirements("none", "", ())
    raise ReleaseError(
        "build: the source tree has no uv.lock, requirements.txt or pyproject.toml at its top. "
        "Add one, or name the file with python.requirements (poetry and pipenv can export a requirements.txt)."
    )


def _with_includes(tree: str, name: str) -> list[str]:
    """A requirements file and all that it includes, relative to the tree."""
    found: list[str] = []
    waiting = [name]
    while waiting:
        one = os.path.normpath(waiting.pop())
        if one in found:
            continue
        if one.startswith(("..", "/")) or not os.path.isfile(os.path.join(tree, one)):
            raise ReleaseError(f"build: {name} includes {one}, which is not in the source tree")
        found.append(one)
        included = (include for include in _INCLUDE.findall(_text(tree, one)) if "://" not in include)
        waiting += [os.path.join(os.path.dirname(one), include) for include in included]
    return found


def _text(tree: str, name: str) -> str:
    with open(os.path.join(tree, name), encoding="utf-8", errors="replace") as stream:
        return stream.read()


def _own_code(requirements: Requirements, tree: str) -> tuple[bool, bool]:
    """Whether code of the source tree is in the environment, and whether it stays where it is (editable)."""
    text = "\n".join(_text(tree, name) for name in requirements.files)
    if requirements.kind == "uv":
        editable = bool(_LOCKED_EDITABLE.search(text))
        return editable or bool(_LOCKED_LOCAL.search(text)), editable
    if requirements.kind == "file":
        editable = bool(_EDITABLE.search(text))
        return editable or bool(_LOCAL.search(text)), editable
    return bool(_DYNAMIC.search(text)), False


def key(tree: str, requirements: Requirements, packages: list[str], python: str, commit: str) -> str:
    """Name of the environment: changes with everything that goes into it."""
    digest = hashlib.sha256(f"{python}\0{requirements.kind}\0".encode())
    for name in requirements.files:
        with open(os.path.join(tree, name), "rb") as stream:
            content = stream.read()
        digest.update(name.encode() + b"\0" + content + b"\0")
    inside, editable = _own_code(requirements, tree)
    if inside:
        digest.update(commit.encode() + b"\0")
    if editable:
        # the environment points into this very release, which no other may outlive
        digest.update(os.path.basename(tree).encode() + b"\0")
    digest.update("\0".join(sorted(packages)).encode())
    return digest.hexdigest()[:16]


def build(
    app: App, tree: str, requirements: Requirements, name: str, *, python: str, packages: list[str],
    environment: dict[str, str], timeout: float,
) -> bool:  # fmt: skip
    """Make the environment ``venvs/<name>`` unless a whole one is there. Returns whether it was made."""
    path = os.path.join(app.paths["venvs"], name)
    if os.path.exists(os.path.join(path, _COMPLETE)):
        return False
    shutil.rmtree(path, ignore_errors=True)
    variables = {"UV_CACHE_DIR": os.path.join(app.paths["cache"], "uv"), "UV_NO_PROGRESS": "1", "UV_NO_CONFIG": "1"}
    # the host's own certificate authorities count, as they do for apt and curl
    variables |= {"UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never", **environment}
    commands = [[UV, "venv", "--quiet", "--python", python, path]]
    into = ["--python", os.path.join(path, "bin", "python")]
    if requirements.kind == "uv":
        variables["UV_PROJECT_ENVIRONMENT"] = path
        commands.append([UV, "sync", "--quiet", "--frozen", "--no-dev", "--no-install-project", *into])
        if packages:
            commands.append([UV, "pip", "install", "--quiet", *into, *packages])
    else:
        listed = ["-r", requirements.path] if requirements.path else []
        if listed or packages:
            commands.append([UV, "pip", "install", "--quiet", *into, *listed, *packages])
    for command in commands:
        code, output = run_as(app.user, command, cwd=tree, timeout=timeout, environment=variables)
        if code:
            shutil.rmtree(path, ignore_errors=True)
            shown = " ".join(["uv", *command[1:]])
            raise ReleaseError(f"build: `{shown}` ended with {code}:\n{tail(hide(output, variables))}")
    # as the app: root would follow a link that something just installed has put there
    code, output = run_as(app.user, ["touch", os.path.join(path, _COMPLETE)], cwd=tree, timeout=60)
    if code:
        raise ReleaseError(f"build: marking {path} as complete ended with {code}:\n{tail(output)}")
    return True
