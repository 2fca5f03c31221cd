# SPDX-License-Identifier: GPL-3.0-or-later
"""Small real Flask apps that lie in one way each, to be released in the guestbook's place."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from tests.support.stack import ROOT

_APP = """\
from flask import Flask

app = Flask(__name__)


@app.get("/healthz")
def healthz():
    return "well"


@app.get("/")
def index():
    return "tiny"
"""


def write(folder: Path, lie: str = "", **files: str) -> dict[str, Any]:
    """An app in a folder.

    :param lie: Python that is added at the end, run when the app is imported.
    :param files: further files, their text by name; ``__`` in a name stands for a dot.
    :returns: keys of ``flask_apps`` that release it. It needs nothing that is not on a host with the guestbook.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.py").write_text(_APP + "\n\n" + textwrap.dedent(lie))
    # the very same requirements, so that the environment is there already
    (folder / "requirements.txt").write_text((ROOT / "examples/guestbook/requirements.txt").read_text())
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(textwrap.dedent(text))
    return {"source": {"path": str(folder)}, "wsgi": "tiny:app", "build": [], "migrate": [], "static": []}
