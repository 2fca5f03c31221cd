# SPDX-License-Identifier: GPL-3.0-or-later
"""Apps and releases below a temporary directory, owned by whoever runs the tests."""

from __future__ import annotations

import getpass
import grp
import os
from pathlib import Path
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._releases import UNFINISHED, App

USER = getpass.getuser()
GROUP = grp.getgrgid(os.getgid()).gr_name


def resolved(base: Path, name: str, **changed: Any) -> dict[str, Any]:
    """What the filter resolve_apps makes, as far as the release modules read it."""
    root = base / "srv" / name
    paths = {"root": str(root), "repo": str(root / "repo.git"), "lock": str(root / "deploy.lock")}
    paths |= {key: str(root / key) for key in ("releases", "venvs", "shared", "current", "cache", "environments")}
    paths |= {"run": str(base / "run" / name), "log": str(base / "log" / name)}
    return {"name": name, "user": USER, "group": GROUP, "paths": paths, "source": {"kind": "git", "git": ""}, **changed}


class Host:
    """A host's directories: apps, conf.d of supervisor, upstreams of nginx."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.conf_d, self.upstreams = base / "conf.d", base / "upstreams"
        for folder in (self.conf_d, self.upstreams):
            folder.mkdir()
        # what a supervisord that only remembers was told, waited for, and runs without a file
        self.told: list[str] = []
        self.stopped: list[str] = []
        self.running: list[str] = []

    def app(self, name: str = "blog", **changed: Any) -> App:
        """An app with its directories, as the app role makes them."""
        app = App(resolved(self.base, name, **changed))
        for key in ("root", "releases", "venvs", "shared", "cache", "environments", "repo", "run", "log"):
            os.makedirs(app.paths[key], exist_ok=True)
        return app

    def release(self, app: App, release: str, state: str = "finished", venv: str = "") -> str:
        """A release; ``state`` "" is one that died before it had a record, all but "finished" ones have the mark."""
        folder = Path(app.release_dir(release))
        folder.mkdir()
        if state:
            app.write_record(release, state=state)
        if state not in ("finished", "rolled_back"):
            (folder / UNFINISHED).touch()
        for path in app.environment_files(release):
            Path(path).write_text("secret")
        if venv:
            target = Path(app.paths["venvs"], venv)
            target.mkdir(exist_ok=True)
            (folder / ".venv").symlink_to(target)
        return release

    def group(self, group: str) -> None:
        """A group's file in conf.d."""
        (self.conf_d / f"{group}.conf").touch()

    def groups(self) -> list[str]:
        """The groups that have a file in conf.d."""
        return sorted(path.stem for path in self.conf_d.iterdir())

    def upstream(self, app: App, release: str) -> None:
        """Let nginx send the traffic to a release."""
        text = f"upstream flaskhost_{app.name} {{\n    server unix:{app.socket(release)} max_fails=0;\n}}\n"
        (self.upstreams / f"{app.name}.conf").write_text(text)

    def current(self, app: App, release: str) -> None:
        """Let the link ``current`` name a release."""
        link = Path(app.paths["current"])
        link.unlink(missing_ok=True)
        link.symlink_to(app.release_dir(release))
