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
_INCLUDE = re.compile(r"^\s*(?:-r|--requirement|-c|--constraint)[ =]\s*(\S+)", re.MULTILINE)
_ITSELF = re.compile(r"^\s*(?:-e\s*|--editable[ =]\s*)?\.{1,2}(?:/\S*|\[\S*)?\s*$", re.MULTILINE)


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
        if one.startswith("..") or not os.path.isfile(os.path.join(tree, one)):
            raise ReleaseError(f"build: {name} includes {one}, which is not in the source tree")
        found.append(one)
        with open(os.path.join(tree, one), encoding="utf-8") as stream:
            waiting += [os.path.join(os.path.dirname(one), include) for include in _INCLUDE.findall(stream.read())]
    return found


def key(tree: str, requirements: Requirements, packages: list[str], python: str, commit: str) -> str:
    """Name of the environment: changes with everything that goes into it."""
    digest = hashlib.sha256(f"{python}\0{requirements.kind}\0".encode())
    for name in requirements.files:
        with open(os.path.join(tree, name), "rb") as stream:
            content = stream.read()
        digest.update(name.encode() + b"\0" + content + b"\0")
        if requirements.kind == "file" and _ITSELF.search(content.decode("utf-8", "replace")):
            # the app installs itself: its code is part of the environment
            digest.update(commit.encode())
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
    with open(os.path.join(path, _COMPLETE), "w", encoding="utf-8"):
        return True
