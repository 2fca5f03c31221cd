# SPDX-License-Identifier: GPL-3.0-or-later
"""How `flask db` runs the migrations: Flask-Migrate's own file without the parts one database never needs."""

import logging
from logging.config import fileConfig

from alembic import context
from flask import current_app

config = context.config
# Unlike the generated file: keep the app's own loggers alive.
fileConfig(config.config_file_name, disable_existing_loggers=False)
logger = logging.getLogger("alembic.env")

migrate = current_app.extensions["migrate"]
engine = migrate.db.engine


def skip_empty_revision(_context, _revision, directives):
    """`flask db migrate` writes no file when nothing changed."""
    if getattr(config.cmd_opts, "autogenerate", False) and directives[0].upgrade_ops.is_empty():
        directives[:] = []
        logger.info("No changes in schema detected.")


def run_offline():
    """`flask db upgrade --sql`: print the statements instead of running them."""
    context.configure(
        url=engine.url,
        target_metadata=migrate.db.metadata,
        literal_binds=True,
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_online():
    options = {"process_revision_directives": skip_empty_revision, **migrate.configure_args}
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=migrate.db.metadata, **options)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
