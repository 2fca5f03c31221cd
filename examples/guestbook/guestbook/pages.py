# SPDX-License-Identifier: GPL-3.0-or-later
"""What visitors and monitors can ask for."""

from __future__ import annotations

from flask import Blueprint, current_app, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from . import notice
from .extensions import db
from .forms import EntryForm
from .models import Entry

blueprint = Blueprint("pages", __name__)


@blueprint.get("/")
def index() -> ResponseReturnValue:
    return show(EntryForm())


@blueprint.post("/")
def sign() -> ResponseReturnValue:
    form = EntryForm()
    if not form.validate():
        return show(form), 400  # shown again with what was typed
    db.session.add(Entry(name=form.name.data, place=form.place.data or None, message=form.message.data))
    db.session.commit()
    current_app.logger.info("new entry from %s", request.remote_addr)
    notice.send(current_app.config, current_app.logger, form.name.data, form.message.data)
    flash(_("Thank you! Your entry is in the book."))
    return redirect(url_for("pages.index"), code=303)  # so that a reload does not send it twice


def show(form: EntryForm) -> str:
    """The page with the form and the newest entries first (by id: two may share a second)."""
    entries = db.paginate(
        select(Entry).order_by(Entry.id.desc()),
        per_page=current_app.config["ENTRIES_PER_PAGE"],
        max_per_page=current_app.config["ENTRIES_PER_PAGE"],
    )
    return render_template("index.html", form=form, entries=entries)


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    """Healthy means: this release can read its table, with every column it knows."""
    answer = {"status": "ok", "release": current_app.config["RELEASE_ID"]}
    try:
        db.session.execute(select(Entry).limit(1))
    except SQLAlchemyError as error:  # one line, not a traceback: monitors ask often
        current_app.logger.error("the database does not answer: %s", error.__cause__ or error)
        return {**answer, "status": "database unavailable"}, 503
    return answer
