# SPDX-License-Identifier: GPL-3.0-or-later
"""The form. FlaskForm protects it against cross-site requests with a token."""

from __future__ import annotations

from flask_babel import lazy_gettext as _l
from flask_wtf import FlaskForm
from wtforms import StringField, SubmitField, TextAreaField
from wtforms.validators import DataRequired, Length

from .models import Entry


def clean(value: str | None) -> str | None:
    """Line ends as typed, not as sent; no NUL (PostgreSQL refuses it); nothing around the text."""
    return value and value.replace("\r\n", "\n").replace("\0", "").strip()


def longest(column: str) -> int:
    """The length of a column, so that form and database cannot disagree."""
    return int(Entry.__table__.c[column].type.length)


class EntryForm(FlaskForm):
    """A new entry."""

    name = StringField(
        _l("Your name"),
        filters=[clean],
        validators=[DataRequired(), Length(max=longest("name"))],
        render_kw={"autocomplete": "name"},
    )
    place = StringField(
        _l("Where are you from?"),
        filters=[clean],
        validators=[Length(max=longest("place"))],
        render_kw={"autocomplete": "address-level2"},
    )
    message = TextAreaField(
        _l("Your message"),
        filters=[clean],
        validators=[DataRequired(), Length(max=longest("message"))],
        render_kw={"rows": 5},
    )
    submit = SubmitField(_l("Sign the guestbook"))
