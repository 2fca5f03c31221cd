# SPDX-License-Identifier: GPL-3.0-or-later
"""Libraries of Flask apps, loaded once by gunicorn's master instead of by each of its workers. gunicorn.conf.py calls it.

The workers share that memory, and are there sooner. The app itself is still loaded by each of them: it may open connections
and start threads, which no two processes can share. None of these libraries does that when it is imported.
"""

import gc
import importlib
import importlib.util
import os
import sys

# with each comes what it is made of: werkzeug, jinja2, alembic
NAMES = (
    "flask",
    "sqlalchemy.orm",
    "flask_sqlalchemy",
    "flask_migrate",
    "flask_babel",
    "flask_login",
    "flask_wtf",
    "flask_caching",
    "flask_cors",
    "flask_limiter",
    "flask_mail",
    "flask_marshmallow",
    "flask_session",
    "pymysql",
    "MySQLdb",
    "psycopg",
    "psycopg2",
)
# they put their own parts in the place of others', which must not have been imported before
PATCHING = ("gevent", "eventlet")


def _installed(name):
    """Whether the environment has it; not the app's own module of that name, which stays the workers' business."""
    spec = importlib.util.find_spec(name.partition(".")[0])
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    return any(os.path.abspath(place).startswith(sys.prefix + os.sep) for place in places if place)


def load(named, log):
    """Import what is installed of the libraries that the app has named; where it has named none, of NAMES."""
    if named is None and any(map(_installed, PATCHING)):
        return
    loaded = 0
    for name in NAMES if named is None else [named] if isinstance(named, str) else named:
        # whatever is wrong with one, the worker that wants it meets and tells
        try:
            if _installed(name):
                importlib.import_module(name)
                loaded += 1
                continue
            why = "is not installed"
        except (Exception, SystemExit) as error:
            why = f"cannot be imported: {error!r}"
        if named is not None:
            log.warning("shared_libraries: %s %s", name, why)
    if loaded:
        # out of the collector's way, whose notes would have each worker write into the memory that they share
        gc.collect()
        gc.freeze()
