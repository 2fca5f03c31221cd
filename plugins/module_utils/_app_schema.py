# Copyright: (c) 2025, flaskhost contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an entry of flask_apps may hold: the one table that checking, resolving and docs/apps.md read.

A key's path uses dots for mappings, `[]` for the items of a list and `{}` for the values of a mapping with free keys:
`static[].url`, `processes{}`, `env{}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

ROOT = "/srv"
LOCAL_ADDRESSES = ("127.0.0.1", "localhost", "::1")
DATABASE_PORTS = {"mysql": 3306, "postgresql": 5432}
DATABASE_SCHEMES = {"mysql": "mysql+pymysql", "postgresql": "postgresql+psycopg2"}
# cryptography: pymysql needs it for caching_sha2_password, the default of MySQL 8 and later.
DRIVER_PACKAGES = {"mysql": ("pymysql", "cryptography"), "postgresql": ("psycopg2-binary",)}
SERVER_PACKAGES = {"gunicorn": "gunicorn", "uwsgi": "pyuwsgi"}
# What the launcher of a release sets itself; a value of the user would be lost or would break it.
RESERVED_ENV = ("RELEASE_ID", "PATH", "HOME", "USER")
# Headers of answers that are the business of nginx, of another key or of each single answer; in lower case.
_SINGLE_HEADERS = """
    connection content-encoding content-length content-type date location retry-after server set-cookie
    strict-transport-security transfer-encoding upgrade x-flaskhost-release
"""
RESERVED_HEADERS = frozenset(_SINGLE_HEADERS.split())

# Accounts and groups that Debian, Ubuntu and Raspberry Pi OS or the packages of our roles bring. An app's name becomes its system user.
_SYSTEM_NAMES = """
    root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody nogroup adm tty disk
    kmem dialout fax voice cdrom floppy tape sudo audio dip operator src shadow utmp video sasl plugdev staff users input
    sgx kvm render crontab netdev messagebus systemd systemd-network systemd-resolve systemd-timesync systemd-journal
    systemd-coredump syslog uuidd tcpdump landscape pollinate sshd ssh ssh-cert _ssh polkitd tss lxd docker git mysql mariadb postgres
    postgresql redis nginx supervisor postfix postdrop opendkim fail2ban certbot letsencrypt ntp chrony ubuntu debian pi admin
    administrator vagrant ansible wheel flaskhost localhost default
"""
RESERVED_NAMES = frozenset(_SYSTEM_NAMES.split())


@dataclass(frozen=True)
class Rule:
    """What a text must look like: a pattern for the whole text and the words for people."""

    pattern: re.Pattern[str]
    says: str


def _rule(pattern: str, says: str) -> Rule:
    return Rule(re.compile(pattern), says)


_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = r"[a-z][a-z0-9_-]{0,23}"
_PART = r"(?!\.{1,2}(?:/|$))[\w.@+-]+"

RULES = {
    "name": _rule(_NAME, "a lower-case letter, then up to 23 lower-case letters, digits, - or _"),
    "process": _rule(_NAME, "a lower-case letter, then up to 23 lower-case letters, digits, - or _"),
    "domain": _rule(
        rf"(?=.{{1,253}}$)(?!.*\.[0-9]+$)(?![0-9]+$){_LABEL}(?:\.{_LABEL})*",
        "a host name in lower case, without scheme, port, path or *",
    ),
    "host": _rule(
        r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*", "a host name or an IP address"
    ),
    "identifier": _rule(r"[A-Za-z_][A-Za-z0-9_-]{0,31}", "a letter, then up to 31 letters, digits, _ or -"),
    "relative": _rule(
        rf"{_PART}(?:/{_PART})*/?",
        "a path inside the source tree: relative, without .., made of letters, digits and . _ @ + - /",
    ),
    "requirements": _rule(rf"{_PART}(?:/{_PART})*", "auto, or a file inside the source tree"),
    "package": _rule(
        r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:\[[A-Za-z0-9._, -]*\])?(?:\s*(?:[<>=!~;@(]|\s)[^\n\r\0]*)?",
        "a requirement as pip writes it",
    ),
    "git": _rule(
        r"(?:https?|ssh|git)://[^\s/][^\s]*|file:///[^\s]+|/[^\s]+|(?:[\w.-]+@)?[\w.-]+:(?!/?/|:)[^\s]+",
        "an https://, ssh:// or file:// URL, or user@host:path",
    ),
    "version": _rule(
        r"(?!-)(?!.*\.\.)[^\s~^:?*\[\\\x00-\x20\x7f]+", "a branch, a tag or a commit (not an option, no spaces)"
    ),
    "url_path": _rule(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~@+-]+)+/?", "a path that starts with / and is more than /"),
    "request_path": _rule(r"/[^\s\"'\\#\x00-\x20\x7f]*", "a path that starts with /, without spaces"),
    "expires": _rule(r"[0-9]+(?:ms|s|m|h|d|w|M|y)|max|off|epoch", "a time as nginx writes it"),
    "size": _rule(r"[0-9]+[kKmMgG]?", "a size as nginx writes it: a number with k, m or g"),
    "header_name": _rule(r"[A-Za-z][A-Za-z0-9-]{0,63}", "letters, digits and -"),
    "header": _rule(r"[^\"\\$\x00-\x1f\x7f-\uffff]*", 'ASCII text on one line without " \\ and $'),
    "env": _rule(r"[A-Za-z_][A-Za-z0-9_]*", "letters, digits and _, not starting with a digit"),
    "command": _rule(r"(?s)(?=.*\S)[^\0]+", "a command that is not empty"),
    "line": _rule(r"(?=.*\S)[^\0\n\r]+", "a command on one line that is not empty"),
    "file": _rule(r"[^\0\n\r]+", "a file name"),
    "private_key": _rule(
        r"(?s)\s*-----BEGIN [A-Z ]*PRIVATE KEY-----\n.+\n-----END [A-Z ]*PRIVATE KEY-----\s*",
        "the text of a private key file, from its BEGIN to its END line",
    ),
    "password": _rule(r"[^\0\n\r]+", "a text on one line that is not empty"),
}


@dataclass(frozen=True)
class Key:
    """One key of an app."""

    path: str
    kind: str  # text | integer | boolean | workers | choice | list | mapping | scalar
    text: str
    example: str
    default: Any = None
    derived: str = ""  # the default in words, where it is computed
    required: bool = False
    choices: tuple[str, ...] = ()
    low: int = 0
    high: int = 0
    rule: str = ""
    refuses: str = ""  # mistakes told beyond kind, choices, range and rule
    vault: bool = False  # may stand in vault_flask_apps
    vault_only: bool = False


def _count(path: str, text: str, default: int, low: int = 1, high: int = 1000, example: str = "") -> Key:
    return Key(
        path,
        "integer",
        text,
        example or f"{path.rsplit('.', maxsplit=1)[-1]}: {default}",
        default=default,
        low=low,
        high=high,
    )


KEYS: tuple[Key, ...] = (
    Key(
        "name",
        "text",
        "The name of the app on its host: its system user, its directories, its programs.",
        "name: blog",
        required=True,
        rule="name",
        refuses="a reserved account name; the same name twice on a host",
    ),
    Key(
        "state",
        "choice",
        "`absent` takes the app off the host without deleting the entry; its data stays until it is deleted by hand.",
        "state: present",
        default="present",
        choices=("present", "absent"),
    ),
    Key(
        "source",
        "mapping",
        "Where the code comes from: `git` or `path`.",
        "source: {git: https://example.com/blog.git, version: main}",
        required=True,
        vault=True,
        refuses="both or neither of `git` and `path`",
    ),
    Key(
        "source.git",
        "text",
        "A repository the host can fetch.",
        "git: https://example.com/blog.git",
        rule="git",
        refuses="a password or token inside the URL (it would end up in process lists and logs)",
    ),
    Key(
        "source.path",
        "text",
        "A directory on the control node that is shipped as it is. Relative to the directory of the inventory; `~` works.",
        "path: ../blog",
        rule="file",
        refuses="a directory that does not exist on the control node",
    ),
    Key(
        "source.version",
        "text",
        "Branch, tag or commit of `git`.",
        "version: main",
        derived="`HEAD`, the default branch of the repository",
        rule="version",
        refuses="`version` beside `path`",
    ),
    Key(
        "source.subdir",
        "text",
        "The directory of the source tree that holds the app.",
        "subdir: backend",
        default="",
        rule="relative",
    ),
    Key(
        "source.deploy_key",
        "text",
        "In `vault_flask_apps` only: a private ssh key that may read the repository of `git`. It is on the host only while code is fetched.",
        "deploy_key: \"{{ lookup('file', 'keys/blog') }}\"",
        default="",
        rule="private_key",
        vault=True,
        vault_only=True,
        refuses="a key in `flask_apps`",
    ),
    Key(
        "wsgi",
        "text",
        "What the server loads: `module:callable`, or a factory with literal arguments, `module:create_app()`.",
        "wsgi: blog:create_app()",
        required=True,
        refuses="anything else; arguments of a factory with uWSGI, which calls it without any",
    ),
    Key(
        "port",
        "integer",
        "The port of the host on which the app's own server answers visitors, in plain http and without nginx: for a small host at home, "
        "see [small-hosts.md](small-hosts.md). Nginx is left out of a host whose apps all have one.",
        "port: 80",
        derived="none: nginx is in front",
        low=1,
        high=65535,
        refuses="the port of another app of the host, of ssh or of nginx; `server: uwsgi`; keys that only nginx can keep: `static`, `limits`, "
        "`headers`, `max_body`, `watch`, `tls`",
    ),
    Key("server", "choice", "The WSGI server.", "server: gunicorn", default="gunicorn", choices=("gunicorn", "uwsgi")),
    Key(
        "workers",
        "workers",
        "Processes of the server. `auto` looks at processors and memory of the host, see planning.md.",
        "workers: 3",
        default="auto",
        low=1,
        high=1000,
    ),
    Key(
        "threads",
        "integer",
        "Threads of each worker.",
        "threads: 1",
        derived="1; with `port` 4, for browsers open connections before they need them",
        low=1,
        high=1000,
    ),
    _count("timeout", "Seconds after which a request is given up and its worker replaced.", 30),
    Key(
        "drain",
        "integer",
        "Seconds that requests in flight may live on after a switch, before the former release ends: uploads, server-sent events, websockets.",
        "drain: 120",
        derived="the app's `timeout`",
        low=1,
        high=1000,
    ),
    Key(
        "domains",
        "list",
        "Names the app answers for; the first one is the main one. Empty: every name on its host, for one app a host at most.",
        "domains: [example.com, www.example.com]",
        default=[],
        refuses="two apps of a host without domains",
    ),
    Key(
        "domains[]",
        "text",
        "A host name. Unicode names in their ASCII form (`xn--...`).",
        "example.com",
        rule="domain",
        refuses="an IP address; a name that another app of the host has",
    ),
    Key("tls", "mapping", "How the app gets its certificate.", "tls: {mode: self_signed}", default={}),
    Key(
        "tls.mode",
        "choice",
        "`acme` fetches and renews it (Let's Encrypt or another), `provided` uses your files, `none` speaks plain http: [tls.md](tls.md).",
        "mode: self_signed",
        default="self_signed",
        choices=("self_signed", "acme", "provided", "none"),
        refuses="`acme` without `domains`, with a domain without a dot, or with more than 100",
    ),
    Key(
        "tls.certificate",
        "text",
        "Mode `provided`: the certificate with its chain, a PEM file on the control node. Relative to the directory of the inventory.",
        "certificate: certificates/blog.pem",
        default="",
        rule="file",
        refuses="a file that does not exist; none in mode `provided`; one in another mode",
    ),
    Key(
        "tls.key",
        "text",
        "Mode `provided`: the private key, a PEM file on the control node. Relative to the directory of the inventory.",
        "key: certificates/blog.key",
        default="",
        rule="file",
        refuses="a file that does not exist; none in mode `provided`; one in another mode",
    ),
    Key(
        "tls.hsts",
        "integer",
        "Seconds for which browsers ask for the app over https only (HSTS). 0: not said by nginx. Mind that you cannot take it back.",
        "hsts: 63072000",
        derived="15552000 (180 days) in the modes `acme` and `provided`, else 0",
        low=0,
        high=63072000,
        refuses="any but 0 in mode `none`",
    ),
    Key(
        "database",
        "mapping",
        "The database of the app; it becomes `DATABASE_URL`.",
        "database: {engine: mysql}",
        default={},
        vault=True,
    ),
    Key(
        "database.engine",
        "choice",
        "`mysql` means MySQL or MariaDB, whichever the host's system brings.",
        "engine: mysql",
        default="none",
        choices=("mysql", "postgresql", "sqlite", "none"),
        refuses="`postgresql` without a server of your own in `database.host`: there is no role for it yet",
    ),
    Key(
        "database.name",
        "text",
        "The name of the database.",
        "name: blog",
        derived="the name of the app with `-` written as `_`",
        rule="identifier",
        refuses="a name that another app uses on the same server",
    ),
    Key(
        "database.user",
        "text",
        "The database user of the app.",
        "user: blog",
        derived="the name of the app with `-` written as `_`",
        rule="identifier",
        refuses="a name that another app uses on the same server",
    ),
    Key(
        "database.host",
        "text",
        "The database server as the web hosts reach it. One of the group `db` is spoken to by TLS; see [databases.md](databases.md).",
        "host: 10.0.0.5",
        default="127.0.0.1",
        derived="the host itself where it is in the group `db`, else the host of that group, of several the primary",
        rule="host",
        refuses="a local database on a host without a database server; a replica",
    ),
    Key(
        "database.port",
        "integer",
        "The port of the database server.",
        "port: 3306",
        derived="3306 for `mysql`, 5432 for `postgresql`",
        low=1,
        high=65535,
    ),
    Key(
        "database.password",
        "text",
        "In `vault_flask_apps` only. Needed for a server that is not ours; otherwise one is generated.",
        "password: ...",
        derived="generated",
        rule="password",
        vault=True,
        vault_only=True,
        refuses="a password in `flask_apps`; none for an external server",
    ),
    Key(
        "env",
        "mapping",
        "Environment of the app. A name given here wins over what is set by default (`DATABASE_URL`, `SECRET_KEY`, `FLASK_APP`, `LANG`, `PYTHONUNBUFFERED`).",
        "env: {MAIL_SERVER: localhost}",
        default={},
        vault=True,
    ),
    Key(
        "env{}",
        "scalar",
        "Text, number or boolean. `true` and `yes` arrive as `true`, `false` and `no` as `false`, numbers in decimal: quote what must arrive as typed.",
        'GREETING: "hello"',
        rule="env",
        vault=True,
        refuses="`RELEASE_ID`, `PATH`, `HOME`, `USER`; lists, mappings, dates, empty values; a NUL character",
    ),
    Key(
        "python",
        "mapping",
        "What is installed into the virtual environment.",
        "python: {requirements: auto}",
        default={},
    ),
    Key(
        "python.requirements",
        "text",
        "`auto` takes uv.lock, requirements.txt or pyproject.toml, whichever is there first; or the name of a requirements file.",
        "requirements: requirements/prod.txt",
        default="auto",
        rule="requirements",
    ),
    Key(
        "python.packages",
        "list",
        "Packages beside the app's own requirements. The driver of the database and the server are added by themselves.",
        "packages: [sentry-sdk]",
        default=[],
    ),
    Key("python.packages[]", "text", "A requirement.", "sentry-sdk[flask]>=2", rule="package"),
    Key(
        "build",
        "list",
        "Commands run in the candidate before it is probed.",
        "build: [flask translate compile]",
        default=[],
    ),
    Key("build[]", "text", "A command.", "flask translate compile", rule="command"),
    Key(
        "migrate",
        "list",
        "Commands run once per deploy, before the candidate starts.",
        "migrate: [flask db upgrade]",
        default=[],
    ),
    Key("migrate[]", "text", "A command.", "flask db upgrade", rule="command"),
    Key(
        "snapshot",
        "boolean",
        "Keep a snapshot of the database from before each `migrate`; put it back when the migrations fail half-way. See [migrations.md](migrations.md).",
        "snapshot: true",
        default=False,
        refuses="`true` without a database or without `migrate`; a `DATABASE_URL` of your own that cannot be dumped",
    ),
    Key(
        "processes",
        "mapping",
        "Commands that run beside the web server, by name.",
        "processes: {worker: rq worker tasks}",
        default={},
    ),
    Key(
        "processes{}",
        "text",
        "A command without shell syntax; it is started, watched and stopped with the release.",
        "worker: rq worker tasks",
        rule="line",
        refuses="the name `web`, which is the app itself (`wsgi`, `server`); quotes that do not close",
    ),
    Key(
        "static",
        "list",
        "Directories that nginx serves by itself.",
        "static: [{url: /static, path: blog/static}]",
        default=[],
    ),
    Key("static[]", "mapping", "One directory.", "{url: /static, path: blog/static, expires: 30d}"),
    Key(
        "static[].url",
        "text",
        "Where it appears.",
        "url: /static",
        required=True,
        rule="url_path",
        refuses="the same url twice in an app",
    ),
    Key(
        "static[].path", "text", "Where it is in the source tree.", "path: blog/static", required=True, rule="relative"
    ),
    Key(
        "static[].expires",
        "text",
        "How long browsers may keep the files.",
        "expires: 30d",
        default="30d",
        rule="expires",
    ),
    Key("shared", "mapping", "What outlives releases.", "shared: {dirs: [uploads]}", default={}),
    Key(
        "shared.dirs",
        "list",
        "Directories of the source tree that live in `shared/` instead.",
        "dirs: [uploads]",
        default=[],
    ),
    Key(
        "shared.dirs[]", "text", "A directory.", "uploads", rule="relative", refuses="a path inside another shared path"
    ),
    Key(
        "shared.files",
        "list",
        "Files of the source tree that live in `shared/` instead.",
        "files: [config.ini]",
        default=[],
    ),
    Key(
        "shared.files[]", "text", "A file.", "config.ini", rule="relative", refuses="a path inside another shared path"
    ),
    Key(
        "healthcheck",
        "mapping",
        "The request that proves that a release works.",
        "healthcheck: {path: /healthz}",
        default={},
    ),
    Key("healthcheck.path", "text", "Its path.", "path: /healthz", default="/", rule="request_path"),
    _count("healthcheck.status", "The status that means healthy.", 200, 200, 599),
    _count("healthcheck.timeout", "Seconds a candidate may take until it answers.", 30),
    _count(
        "healthcheck.steady",
        "Seconds from its first answer on that it must stay up, with all its workers, before it gets traffic. Not for rollbacks and first releases.",
        3,
        0,
    ),
    _count(
        "watch",
        "Seconds to watch a new release after the switch, while the former one waits: if it fails too many requests, the former gets "
        "its visitors back. 0 is off.",
        0,
        0,
        3600,
        "watch: 60",
    ),
    _count(
        "watch_limit",
        "Percent points that its error ratio may be above that of the former one.",
        5,
        0,
        100,
    ),
    _count(
        "watch_requests",
        "Requests that a release must have had before it is judged, by `watch` or as a canary.",
        20,
        1,
        1000000,
    ),
    _count("keep_releases", "Finished releases that stay on the host for a rollback.", 5),
    Key("max_body", "text", "The largest request body nginx takes.", "max_body: 16m", default="16m", rule="size"),
    Key(
        "limits",
        "mapping",
        "What one address may ask for before nginx answers 429; static files are free. Off by default: behind a proxy, a CDN or the router of an office, "
        "many visitors have one address.",
        "limits: {requests: 20}",
        default={},
        refuses="`burst` without `requests`",
    ),
    _count("limits.requests", "Requests per second. 0: no limit.", 0, 0, 10000, "requests: 20"),
    Key(
        "limits.burst",
        "integer",
        "Requests beyond that which are served all the same, at once, until the address has been quiet for a while.",
        "burst: 100",
        derived="ten times `requests`",
        low=1,
        high=100000,
    ),
    _count("limits.connections", "Requests at the same time. 0: no limit.", 0, 0, 10000, "connections: 20"),
    Key(
        "headers",
        "mapping",
        "Headers that nginx adds to every answer, in place of the app's own. By default `X-Content-Type-Options: nosniff`, "
        "`X-Frame-Options: SAMEORIGIN` and `Referrer-Policy: strict-origin-when-cross-origin`, each only where the app does not say it itself.",
        "headers: {Permissions-Policy: camera=()}",
        default={},
    ),
    Key(
        "headers{}",
        "text",
        "Its value. An empty one takes the header off the answers, also the default and the app's own.",
        'X-Frame-Options: ""',
        rule="header",
        refuses="headers that nginx or another key is in charge of: `Strict-Transport-Security` (`tls.hsts`), `Set-Cookie`, `Content-Length` and the like",
    ),
)

BY_PATH = {key.path: key for key in KEYS}


def children(path: str) -> dict[str, Key]:
    """The keys right below `path` ('' for an app itself), by their last name."""
    start = f"{path}." if path else ""
    found = {}
    for key in KEYS:
        rest = key.path[len(start) :]
        if key.path.startswith(start) and rest and not any(sign in rest for sign in ".[{"):
            found[rest] = key
    return found


def plain_default(path: str) -> Any:
    """The default of a key as a fresh value."""
    default = BY_PATH[path].default
    return type(default)(default) if isinstance(default, (list, dict)) else default
