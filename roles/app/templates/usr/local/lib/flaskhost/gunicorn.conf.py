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

# an app may name others in its own settings, or none
_libraries = globals().get("shared_libraries")
_own_when_ready = globals().get("when_ready")
_own_post_worker_init = globals().get("post_worker_init")


def _beside(name):
    """The module of that name beside this file, which is in no package."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"flaskhost_{name}", path)
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[spec.name])
    return sys.modules[spec.name]


_answers = _beside("answers")


def when_ready(server):
    """Called by gunicorn in its master, before the first worker."""
    if _own_when_ready:
        _own_when_ready(server)
    # where nginx is in front, a release is given its visitors by nginx; without it the releases share a port
    port = int(server.cfg.env.get("FLASKHOST_PORT", 0))
    if port:
        server.LISTENERS = [*server.LISTENERS, *_beside("shared_port").doors(port)]
    # other kinds of workers put their own parts in the place of the standard library's, before anybody has imported those
    if server.cfg.worker_class_str in ("sync", "gthread") and not server.cfg.preload_app:
        _beside("libraries").load(_libraries, server.log)


def post_worker_init(worker):
    """Called by gunicorn in each worker, after it has loaded the app."""
    shared = sys.modules.get("flaskhost_shared_port")
    doors = shared.doors_of(worker) if shared else []
    worker.wsgi = _answers.NamesItsRelease(worker.wsgi, os.environ["RELEASE_ID"], bool(doors))
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
