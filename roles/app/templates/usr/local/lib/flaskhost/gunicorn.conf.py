# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of gunicorn that all apps share. What differs is on the command line, and wins."""

import errno
import os
import select
import socket
import socketserver
import wsgiref.simple_server

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

# Where nginx is in front, a release is given its visitors by nginx. Without it, the releases of an app share a port of the
# host, and the file `serving` here names the one that may open it. gunicorn starts a release in its own directory.
_ROOT = os.path.dirname(os.path.dirname(os.getcwd()))
# seconds between two looks at it
_LOOK = 0.05

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


class _Door(socket.socket):
    """A port of the host that is ours together with the other releases of the app, closed at first."""

    def accept(self):
        """A visitor; none where the door was closed meanwhile, which is no reason to end what is under way."""
        try:
            return super().accept()
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise BlockingIOError(errno.EAGAIN, "closed") from error
            raise

    def close(self):
        """Let go of it; in the master, which ends then, let no worker have more visitors either.

        Those who wait already go to the release that listens beside this one (net.ipv4.tcp_migrate_req).
        """
        if os.getpid() == self.master and _is_open(self):
            self.shutdown(socket.SHUT_RDWR)
        super().close()


def _door(family, address, port):
    """A door that is bound and closed; none where the host does not know such addresses."""
    try:
        door = _Door(family, socket.SOCK_STREAM)
    except OSError:
        return []
    door.master = os.getpid()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if family == socket.AF_INET6:
        door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        door.bind((address, port))
    except OSError as error:
        raise OSError(error.errno, f"port {port} cannot be had: {error.strerror}") from error
    door.setblocking(False)
    door.set_inheritable(True)
    return [door]


def _is_open(door):
    return bool(door.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def when_ready(server):
    """Called by gunicorn in its master, before the first worker."""
    if _own_when_ready:
        _own_when_ready(server)
    port = int(server.cfg.env.get("FLASKHOST_PORT", 0))
    if port:
        doors = _door(socket.AF_INET, "0.0.0.0", port) + _door(socket.AF_INET6, "::", port)
        server.LISTENERS = [*server.LISTENERS, *doors]


def post_worker_init(worker):
    """Called by gunicorn in each worker, after it has loaded the app."""
    doors = [one for one in getattr(worker, "sockets", ()) if isinstance(one, _Door)]
    worker.wsgi = _NamesItsRelease(worker.wsgi, os.environ["RELEASE_ID"], bool(doors))
    if _own_post_worker_init:
        _own_post_worker_init(worker)
    _say_ready(worker)
    _wait_for_visitors(worker, doors)


def _wait_for_visitors(worker, doors):
    """Answer nobody but who asks for its health over the socket, until this release may open the door."""
    if all(_is_open(door) for door in doors):
        return
    with _Examined(worker) as examined:
        while worker.alive and os.getppid() == worker.ppid and not _is_served():
            worker.notify()
            if select.select([examined], [], [], _LOOK)[0]:
                examined.handle_request()
    # each worker does, and the first one opens it: by now it can answer
    for door in doors if worker.alive else ():
        door.listen(worker.cfg.backlog)


def _is_served():
    """Whether this release may have visitors: what `serving` says, or, where that is lost, the link of the last deploy."""
    served = ""
    try:
        with open(os.path.join(_ROOT, "serving"), encoding="ascii") as stream:
            served = stream.read().strip()
    except (OSError, ValueError):
        pass
    return (served or os.path.basename(os.path.realpath(os.path.join(_ROOT, "current")))) == os.environ["RELEASE_ID"]


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    # seconds for one who asks to say what
    timeout = 5

    def log_message(self, *words):
        """Say nothing."""


class _Examined(wsgiref.simple_server.WSGIServer):
    """The app on its own socket, before gunicorn begins to accept."""

    def __init__(self, worker):
        socketserver.BaseServer.__init__(self, "", _Quiet)
        (listening,) = [one for one in worker.sockets if not isinstance(one, _Door)]
        self.socket = socket.socket(fileno=os.dup(listening.fileno()))
        self.timeout = 0
        self.server_name, self.server_port = "localhost", 0
        self.setup_environ()
        self.set_app(worker.wsgi)

    def get_request(self):
        """One who asks; OSError where another worker was faster."""
        connection, _nobody = self.socket.accept()
        connection.setblocking(True)
        return connection, ("127.0.0.1", 0)


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
