# SPDX-License-Identifier: GPL-3.0-or-later
"""What every answer of an app tells of its release, and what of a request is believed. gunicorn.conf.py loads it."""


class NamesItsRelease:
    """The app, with a header that says which release answers: told by the process itself, so it can be trusted."""

    def __init__(self, app, release, direct):
        self.app = app
        self.release = release
        self.direct = direct

    def __call__(self, environ, start_response):
        """Have the app answer a request."""
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
