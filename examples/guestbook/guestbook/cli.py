# SPDX-License-Identifier: GPL-3.0-or-later
"""`flask translate`: the life of a translation, as in the Flask Mega-Tutorial.

init LANG -> (translate the .po file) -> update, whenever texts change -> compile, in every build.
"""

from __future__ import annotations

import logging
from pathlib import Path

import click
from babel.messages.frontend import BaseError, CommandLineInterface
from flask import Flask, current_app
from flask.cli import AppGroup

from .config import ROOT

translate = AppGroup("translate", help="Translation and localization commands.")


def init_app(app: Flask) -> None:
    app.cli.add_command(translate)


@translate.command("compile")
def compile_all() -> None:
    """Compile all languages."""
    pybabel("compile", "-d", catalogs())


@translate.command("update")
def update_all() -> None:
    """Collect the texts of the app and update all languages."""
    extract()
    pybabel("update", "-i", str(ROOT / "messages.pot"), "-d", catalogs(), "--no-fuzzy-matching")


@translate.command("init")
@click.argument("lang")
def init_language(lang: str) -> None:
    """Start a new language, for example fr."""
    extract()
    pybabel("init", "-i", str(ROOT / "messages.pot"), "-d", catalogs(), "-l", lang)


def catalogs() -> str:
    """The directory Flask-Babel reads; joining with an absolute path yields that path."""
    return str(Path(current_app.root_path, current_app.config["BABEL_TRANSLATION_DIRECTORIES"]))


def extract() -> None:
    """Write the template all languages start from. No line numbers: they would change with every edit."""
    pybabel(
        *("extract", "-F", str(ROOT / "babel.cfg"), "-k", "_l", "-o", str(ROOT / "messages.pot")),
        *("--project", "guestbook", "--version", "1", "--no-location", "--sort-output", str(ROOT)),
    )


def pybabel(*arguments: str) -> None:
    """Run Babel's command line in this process; it needs no PATH and no second start of Python."""
    logging.getLogger("babel").propagate = False  # it prints its own messages
    try:
        failed = CommandLineInterface().run(["pybabel", *arguments])
    except BaseError as error:
        raise click.ClickException(str(error)) from error
    if failed:
        raise click.ClickException(f"pybabel {arguments[0]} failed")
