# SPDX-License-Identifier: GPL-3.0-or-later
"""A mail about each new entry, if somebody wants it. Nothing a visitor does waits for it or fails with it."""

from __future__ import annotations

import logging
import smtplib
from collections.abc import Mapping
from email.message import EmailMessage
from threading import Thread
from typing import Any

TIMEOUT = 10.0  # seconds


def send(config: Mapping[str, Any], logger: logging.Logger, name: str, text: str) -> None:
    """Write to GUESTBOOK_NOTIFY, in the background; without that address nothing happens."""
    if config["GUESTBOOK_NOTIFY"]:
        Thread(target=deliver, args=(dict(config), logger, name, text), name="notice").start()


def deliver(config: Mapping[str, Any], logger: logging.Logger, name: str, text: str) -> None:
    """Hand the mail to the server; what goes wrong is logged and forgotten."""
    try:
        with smtplib.SMTP(config["MAIL_SERVER"], config["MAIL_PORT"], timeout=TIMEOUT) as server:
            server.send_message(message(config, name, text))
    except (OSError, ValueError, smtplib.SMTPException) as error:
        logger.warning("no mail about the entry of %s: %s", name, error)


def message(config: Mapping[str, Any], name: str, text: str) -> EmailMessage:
    """The mail; a name cannot add a header of its own, since line ends in it become spaces."""
    mail = EmailMessage()
    mail["From"] = config["MAIL_DEFAULT_SENDER"] or config["GUESTBOOK_NOTIFY"]
    mail["To"] = config["GUESTBOOK_NOTIFY"]
    mail["Subject"] = f"Guestbook: {' '.join(name.split())}"
    mail.set_content(text)
    return mail
