# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of gunicorn that all apps share. What differs is on the command line, and wins."""

import os

if os.path.exists("gunicorn.conf.py"):
    # the app's own settings count where ours say nothing
    with open("gunicorn.conf.py", encoding="utf-8") as _own:
        exec(compile(_own.read(), "gunicorn.conf.py", "exec"))

# the heartbeat of the workers belongs into memory: on a disk it blocks when the disk does, and wears an SD card out
if os.path.isdir("/dev/shm"):
    worker_tmp_dir = "/dev/shm"

# the directory of the socket decides who may connect: the app itself and the web server
umask = 0

# supervisor controls the process; two releases side by side would fight over one control socket
control_socket_disable = True

_own_post_worker_init = globals().get("post_worker_init")


class _NamesItsRelease:
    """The app, with a header that says which release answers: told by the process itself, so it can be trusted."""

    def __init__(self, app, release):
        self.app = app
        self.release = release

    def __call__(self, environ, start_response):
        def start(status, headers, *more):
            return start_response(status, [*headers, ("X-Flaskhost-Release", self.release)], *more)

        return self.app(environ, start)


def post_worker_init(worker):
    """Called by gunicorn in each worker, after it has loaded the app."""
    worker.wsgi = _NamesItsRelease(worker.wsgi, os.environ["RELEASE_ID"])
    if _own_post_worker_init:
        _own_post_worker_init(worker)
    _say_ready(worker)


def _say_ready(worker):
    """While the release boots, a file beside its socket takes the process ids of the workers that are ready."""
    for listening in getattr(worker, "sockets", ()):
        place = listening.getsockname()
        try:
            told = os.open(os.path.splitext(place)[0] + ".workers", os.O_WRONLY | os.O_APPEND)
        except (OSError, TypeError, AttributeError):
            # nobody asks, or the socket is none with a path
            continue
        os.write(told, b"%d\n" % os.getpid())
        os.close(told)
