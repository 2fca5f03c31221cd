# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of gunicorn that all apps share. What differs is on the command line, and wins."""

import importlib.util
import os
import sys

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

_SHARED_PORT = "flaskhost_shared_port"

_own_when_ready = globals().get("when_ready")
_own_post_worker_init = globals().get("post_worker_init")


class _NamesItsRelease:
    """The app, with a header that says which release answers: told by the process itself, so it can be trusted."""

    def __init__(self, app, release, direct):
        self.app = app
        self.release = release
        self.direct = direct

    def __call__(self, environ, start_response):
        # libraries would take what a visitor says here for the variable http_proxy
        if self.direct:
            environ.pop("HTTP_PROXY", None)
        # what a proxy says of a visitor may be believed; not what a visitor says who is connected to us
        if self.direct and (environ.get("REMOTE_ADDR") or "127.0.0.1") not in ("127.0.0.1", "::1"):
            for name in [
                name for name in environ if name.startswith(("HTTP_X_FORWARDED_", "HTTP_FORWARDED", "HTTP_X_REAL_IP"))
            ]:
                del environ[name]

        def start(status, headers, *more):
            return start_response(status, [*headers, ("X-Flaskhost-Release", self.release)], *more)

        return self.app(environ, start)


def when_ready(server):
    """Called by gunicorn in its master, before the first worker."""
    if _own_when_ready:
        _own_when_ready(server)
    # where nginx is in front, a release is given its visitors by nginx; without it the releases share a port
    port = int(server.cfg.env.get("FLASKHOST_PORT", 0))
    if port:
        beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shared_port.py")
        spec = importlib.util.spec_from_file_location(_SHARED_PORT, beside)
        sys.modules[_SHARED_PORT] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[_SHARED_PORT])
        server.LISTENERS = [*server.LISTENERS, *sys.modules[_SHARED_PORT].doors(port)]


def post_worker_init(worker):
    """Called by gunicorn in each worker, after it has loaded the app."""
    shared = sys.modules.get(_SHARED_PORT)
    doors = shared.doors_of(worker) if shared else []
    worker.wsgi = _NamesItsRelease(worker.wsgi, os.environ["RELEASE_ID"], bool(doors))
    if _own_post_worker_init:
        _own_post_worker_init(worker)
    _say_ready(worker)
    if doors:
        shared.wait_for_visitors(worker, doors)


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
