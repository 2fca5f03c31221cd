# SPDX-License-Identifier: GPL-3.0-or-later
"""A port of the host that the releases of an app share, for apps without nginx. gunicorn.conf.py loads it for those alone.

The file `serving` of the app names the release that may open the port. gunicorn starts a release in its own directory.
"""

import errno
import os
import select
import socket
import socketserver
import wsgiref.simple_server

_ROOT = os.path.dirname(os.path.dirname(os.getcwd()))
# seconds between two looks at it
_LOOK = 0.05


class Door(socket.socket):
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


def _bound(family, address, port):
    """A door of one kind of addresses, bound and closed; none where the host does not know such addresses."""
    try:
        door = Door(family, socket.SOCK_STREAM)
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


def doors(port):
    """The doors of a release: one for each kind of addresses that the host has."""
    return _bound(socket.AF_INET, "0.0.0.0", port) + _bound(socket.AF_INET6, "::", port)


def doors_of(worker):
    """Those among the sockets of a worker."""
    return [one for one in worker.sockets if isinstance(one, Door)]


def wait_for_visitors(worker, doors):
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
        (listening,) = [one for one in worker.sockets if not isinstance(one, Door)]
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
