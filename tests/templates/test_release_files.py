# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release is started with: read by the real supervisor, run by the real launcher, with values that are hard to pass."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils._app_resolve import resolve
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App
from ansible_collections.flaskhost.stack.plugins.modules.release_status import MARK
from dotenv import dotenv_values
from supervisor.options import ServerOptions, UnhosedConfigParser

from tests.support.render import ROLES, evaluate, render

WEB, WORKERS = "etc/supervisor/conf.d/web.conf.j2", "etc/supervisor/conf.d/workers.conf.j2"
RELEASE = "20260101T000000Z-abcdef0"
LIB = ROLES / "app/templates/usr/local/lib/flaskhost"
NASTY = {
    "QUOTES": 'it\'s "quoted" `id` \\ \\n',
    "LINES": "-----BEGIN KEY-----\nab+/=\n\n-----END KEY-----\n",
    "PERCENT": "100% %s %(here)s %%",
    "DOLLAR": "$HOME ${HOME} $$ $(id)",
    "UNICODE": "größe 😀 \u2028",
    "SPACES": "  \t two  ",
    "HASH": "a #b ;c",
    "JINJA": "{{ 7 * 7 }} {% raw %} {# x #}",
    "EMPTY": "",
    "LONG": "x" * 20000,
}


@pytest.fixture
def app(tmp_path: Path) -> dict[str, Any]:
    """A resolved app below a temporary directory, of whoever runs the tests."""
    given = {
        "name": "blog",
        "source": {"path": "/src"},
        "wsgi": "blog:create_app('a b')",
        "shared": {"dirs": ["uploads"], "files": ["a.cfg"]},
    }
    (made,) = resolve([given], {"memory_mb": 1000, "cpus": 1})
    made["paths"] = {key: str(tmp_path / path.lstrip("/")) for key, path in made["paths"].items()}
    made["user"] = getpass.getuser()
    for path in (made["paths"]["environments"], made["paths"]["log"], App(made).release_dir(RELEASE)):
        os.makedirs(path)
    return made


@pytest.fixture
def launch(tmp_path: Path) -> str:
    """The launcher, run by the interpreter that is here."""
    text = (LIB / "launch").read_text()
    first, rest = text.split("\n", 1)
    interpreter, *options = first.removeprefix("#!").split()
    assert (interpreter, options) == ("/usr/bin/python3", ["-IS"]), (
        "quick, and nothing of the caller's environment counts"
    )
    path = tmp_path / "launch"
    path.write_text(f"#!{sys.executable} {' '.join(options)}\n{rest}")
    path.chmod(0o755)
    return str(path)


def variables(app: dict[str, Any], environment: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "app": app,
        "__release_source": {"release": RELEASE},
        "release_environments": {"blog": environment or {}},
        **more,
    }


def put_environment(app: dict[str, Any], environment: dict[str, str]) -> dict[str, str]:
    """Write what the role writes into the environments directory; the texts by name."""
    files = evaluate("release", "__release_files", **variables(app, environment))
    texts = {os.path.basename(one["path"]): one["content"] for one in files if "content" in one}
    for name, text in texts.items():
        Path(app["paths"]["environments"], name).write_text(text, encoding="utf-8")
    return texts


def run(words: list[str], **changed: Any) -> str:
    options: dict[str, Any] = {"env": {"LC_ALL": "C"}, **changed}
    done = subprocess.run(words, capture_output=True, check=False, **options)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


DUMP = "import json, os; print(json.dumps([os.getcwd(), dict(os.environ)]))"


# the environment


@pytest.mark.parametrize("caller", [{"LC_ALL": "C"}, {"LC_ALL": "de_DE.ISO-8859-1", "LANG": "x"}, {}])
def test_environment_reaches_the_process_exactly(app: dict[str, Any], launch: str, caller: dict[str, str]) -> None:
    """With nothing of the caller's, whatever its language."""
    put_environment(app, NASTY)
    words = [launch, App(app).release_dir(RELEASE), sys.executable, "-X", "utf8", "-c", DUMP]
    folder, found = json.loads(
        run(words, env={**caller, "AWS_SECRET": "of root", "PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere"})
    )
    assert folder == App(app).release_dir(RELEASE)
    venv = f"{folder}/.venv"
    assert {name: found[name] for name in found if name not in NASTY} == {
        "HOME": app["paths"]["root"] + "/home",
        "USER": app["user"],
        "LOGNAME": app["user"],
        "PATH": f"{venv}/bin:/usr/local/bin:/usr/bin:/bin",
        "VIRTUAL_ENV": venv,
        "RELEASE_ID": RELEASE,
    } | ({"LC_CTYPE": "C.UTF-8"} if "LC_CTYPE" in found else {})
    assert {name: found[name] for name in NASTY} == NASTY


def test_environment_is_utf8_where_the_caller_knows_none(app: dict[str, Any], launch: str) -> None:
    """Python would write it in the language of a caller that is not C, such as ISO-8859-1."""
    put_environment(app, NASTY)
    words = [sys.executable, "-IS", "-X", "utf8=0", launch, App(app).release_dir(RELEASE), sys.executable]
    _folder, found = json.loads(run([*words, "-X", "utf8", "-c", DUMP, "größe"], env={"LC_ALL": "C"}))
    assert {name: found[name] for name in NASTY} == NASTY


def test_launcher_decides_on_its_own_names(app: dict[str, Any], launch: str) -> None:
    put_environment(app, {"PATH": "/evil", "HOME": "/root", "RELEASE_ID": "another", "A": "1"})
    words = [launch, App(app).release_dir(RELEASE) + "/", "/usr/bin/env"]
    found = dict(line.split("=", 1) for line in run(words).splitlines())
    assert found["RELEASE_ID"] == RELEASE
    assert found["HOME"] == app["paths"]["root"] + "/home"
    assert "/evil" not in found["PATH"]


def test_programs_of_the_environment_come_first(app: dict[str, Any], launch: str) -> None:
    put_environment(app, {})
    venv = Path(app["paths"]["venvs"], "abc")
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/flask").write_text('#!/bin/sh\nprintf "%s|" "$0" "$@"\n')
    (venv / "bin/flask").chmod(0o755)
    Path(App(app).release_dir(RELEASE), ".venv").symlink_to(venv)
    arguments = ["a b", "$HOME", "", "*", "größe"]
    shown = run([launch, App(app).release_dir(RELEASE), "flask", *arguments]).split("|")
    assert shown == [f"{venv}/bin/flask", *arguments, ""], (
        "the environment's own path, so that it stays when the link moves"
    )


def test_launcher_without_a_command(launch: str) -> None:
    for words in ([], ["/srv/blog/releases/x"]):
        done = subprocess.run([launch, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "launch RELEASE_DIRECTORY COMMAND" in done.stderr


def test_environment_files(app: dict[str, Any]) -> None:
    texts = put_environment(app, NASTY)
    assert json.loads(texts[f"{RELEASE}.json"]) == NASTY
    path = Path(app["paths"]["environments"], f"{RELEASE}.env")
    assert dict(dotenv_values(path, interpolate=True)) == NASTY
    files = evaluate("release", "__release_files", **variables(app, NASTY))
    secret = [one for one in files if "content" in one]
    assert [(one["mode"], one["group"], one["secret"]) for one in secret] == [("0640", "blog", True)] * 2
    release = App(app).release_dir(RELEASE)
    links = {one["path"]: one["target"] for one in files if one.get("state") == "link"}
    # those into shared are made with the source, by the app itself
    assert links == {f"{release}/.env": str(path)}


# programs


def groups(text: str) -> dict[str, dict[str, Any]]:
    """Programs by name, by group, as supervisord makes them."""
    parser = UnhosedConfigParser()
    parser.read_string(text)
    parser.expand_here("/etc/supervisor")
    found = ServerOptions().process_groups_from_parser(parser)
    return {group.name: {one.name: one for one in group.process_configs} for group in found}


def test_web_program(app: dict[str, Any]) -> None:
    text = render("release", WEB, **variables(app))
    assert text.startswith(MARK), "strangers are known by it"
    ((name, programs),) = groups(text).items()
    assert name == f"blog@{RELEASE}"
    program = programs[name]
    release = App(app).release_dir(RELEASE)
    assert shlex.split(program.command) == [
        "/usr/local/lib/flaskhost/launch",
        release,
        "gunicorn",
        "--config=/usr/local/lib/flaskhost/gunicorn.conf.py",
        f"--bind=unix:{App(app).socket(RELEASE)}",
        f"--workers={app['workers']}",
        "--threads=1",
        "--timeout=30",
        "--graceful-timeout=30",
        "blog:create_app('a b')",
    ]
    assert program.directory == release
    assert program.uid == os.getuid()
    assert (program.autostart, bool(program.autorestart)) == (True, True), "it is there again after a reboot"
    assert program.stopwaitsecs > 30, "it may finish what it has begun"
    assert program.stdout_logfile == f"{app['paths']['log']}/web.log"
    assert (program.redirect_stderr, program.stdout_logfile_backups) == (True, 5)


def test_connections_that_never_end_get_the_drain_of_the_app(app: dict[str, Any]) -> None:
    app |= {"timeout": 20, "drain": 120}
    ((_name, programs),) = groups(render("release", WEB, **variables(app))).items()
    program = programs[f"blog@{RELEASE}"]
    assert {"--timeout=20", "--graceful-timeout=120"} <= set(shlex.split(program.command))
    assert program.stopwaitsecs > 120
    ((_name, programs),) = groups(render("release", WEB, **variables({**app, "server": "uwsgi"}))).items()
    assert {"--harakiri=20", "--worker-reload-mercy=120"} <= set(shlex.split(programs[f"blog@{RELEASE}"].command))


def test_web_program_of_uwsgi(app: dict[str, Any]) -> None:
    app["server"] = "uwsgi"
    ((_name, programs),) = groups(render("release", WEB, **variables(app))).items()
    words = shlex.split(programs[f"blog@{RELEASE}"].command)
    assert words[2] == "uwsgi"
    assert f"--http-socket={App(app).socket(RELEASE)}" in words
    assert f"--add-header=X-Flaskhost-Release:{RELEASE}" in words
    assert "--hook-master-start=unix_signal:15 gracefully_kill_them_all" in words
    assert words[-1] == "--module=blog:create_app('a b')"


# a command line, and the arguments that the program gets
PROCESSES = {
    "plain": ("rq worker tasks", ["rq", "worker", "tasks"]),
    "percent": ("date +%F-%(here)s 100%", ["date", "+%F-%(here)s", "100%"]),
    "spaces": ("prog 'two  words' \"it's\"", ["prog", "two  words", "it's"]),
    "comments": ("prog 'a ; b' 'c # d' e#f", ["prog", "a ; b", "c # d", "e#f"]),
    "dollar": ("prog '$HOME' \\$x", ["prog", "$HOME", "$x"]),
    "syntax": ("prog a;b a&b > * $HOME (x) ;", ["prog", "a;b", "a&b", ">", "*", "$HOME", "(x)", ";"]),
    "umlauts": ("prog größe", ["prog", "größe"]),
}


@pytest.mark.parametrize("process", PROCESSES)
def test_worker_gets_its_arguments(app: dict[str, Any], launch: str, process: str) -> None:
    """From the template through supervisor's parser and the launcher to the program, for real."""
    line, arguments = PROCESSES[process]
    put_environment(app, {})
    app["processes"] = {process: line}
    bin_folder = Path(App(app).release_dir(RELEASE), ".venv/bin")
    bin_folder.mkdir(parents=True)
    program = bin_folder / arguments[0]
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$RELEASE_ID" "$@"\n')
    program.chmod(0o755)
    text = render("release", WORKERS, **variables(app, release_launch=launch))
    ((_group, programs),) = groups(text).items()
    command = programs[f"blog@{RELEASE}+{process}"].command
    assert run(shlex.split(command)).splitlines() == [RELEASE, *arguments[1:]]


def test_workers_are_one_group(app: dict[str, Any]) -> None:
    app["processes"] = {name: line for name, (line, _arguments) in PROCESSES.items()}
    text = render("release", WORKERS, **variables(app))
    assert text.startswith(MARK)
    ((name, programs),) = groups(text).items()
    assert name == f"blog@{RELEASE}+workers"
    assert set(programs) == {f"blog@{RELEASE}+{process}" for process in PROCESSES}
    for process in PROCESSES:
        program = programs[f"blog@{RELEASE}+{process}"]
        assert program.stdout_logfile == f"{app['paths']['log']}/{process}.log"
        assert (program.stopasgroup, program.killasgroup, program.uid) == (True, True, os.getuid())


def test_both_files_side_by_side(app: dict[str, Any]) -> None:
    """supervisord reads all of conf.d as one."""
    app["processes"] = {"worker": "rq worker"}
    other = {**app, "name": "blog2"}
    both = (render("release", file, **variables(one)) for one in (app, other) for file in (WEB, WORKERS))
    names = [f"{name}@{RELEASE}{end}" for name in ("blog", "blog2") for end in ("", "+workers")]
    assert sorted(groups("\n".join(both))) == sorted(names)


# gunicorn.conf.py


def settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What gunicorn makes of our file in a release directory."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RELEASE_ID", RELEASE)
    path = LIB / "gunicorn.conf.py"
    found: dict[str, Any] = {"__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), found)
    return found


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """An app."""
    try:
        raise ValueError
    except ValueError:
        start_response("418 Teapot", [("Content-Type", "text/plain")], sys.exc_info())
    return [environ["PATH_INFO"].encode()]


def answer(worker: Any) -> tuple[Any, ...]:
    seen: list[Any] = []
    body = worker.wsgi({"PATH_INFO": "/x"}, lambda *given: seen.append(given))
    return (*seen[0][:2], len(seen[0]), b"".join(body))


def test_answers_name_the_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(tmp_path, monkeypatch)
    worker = SimpleNamespace(wsgi=wsgi)
    found["post_worker_init"](worker)
    headers = [("Content-Type", "text/plain"), ("X-Flaskhost-Release", RELEASE)]
    assert answer(worker) == ("418 Teapot", headers, 3, b"/x"), "with the exception that the app hands on"
    assert found["umask"] == 0
    assert "bind" not in found


@pytest.mark.parametrize(
    ("direct", "visitor", "told"),
    [
        (True, "192.0.2.7", {}),
        # a tunnel on the host itself, and the probe on the socket
        (True, "127.0.0.1", {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_FORWARDED": "proto=https"}),
        (True, "", {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_FORWARDED": "proto=https"}),
        # nginx has seen to it
        (False, "192.0.2.7", {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_FORWARDED": "proto=https"}),
    ],
)
def test_who_comes_without_a_proxy_cannot_say_who_he_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direct: bool, visitor: str, told: dict[str, str]
) -> None:
    found = settings(tmp_path, monkeypatch)
    seen: dict[str, str] = {}
    app = found["_answers"].NamesItsRelease(lambda environ, _start: seen.update(environ) or [], RELEASE, direct)
    forwarded = {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_FORWARDED": "proto=https"}
    app({"REMOTE_ADDR": visitor, "HTTP_HOST": "x", **forwarded}, lambda *_given: None)
    assert {name: value for name, value in seen.items() if "FORWARDED" in name} == told
    assert seen["HTTP_HOST"] == "x"


def test_settings_of_the_app_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = "import multiprocessing\nmax_requests = 1000\numask = 0o77\ndef post_worker_init(worker):\n    worker.mine = worker.wsgi\n"
    (tmp_path / "gunicorn.conf.py").write_text(own + "größe = 'ö'\n", encoding="utf-8")
    found = settings(tmp_path, monkeypatch)
    worker = SimpleNamespace(wsgi=wsgi)
    found["post_worker_init"](worker)
    assert found["max_requests"] == 1000
    assert found["umask"] == 0, "or the web server could not connect"
    assert worker.mine is worker.wsgi, "its own function runs too, after ours"
    assert ("X-Flaskhost-Release", RELEASE) in answer(worker)[1]


# files of the other roles


def test_tmpfiles_make_the_directories_of_the_sockets() -> None:
    apps = resolve([{"name": name, "source": {"path": "/src"}, "wsgi": "a:b"} for name in ("blog", "blog-2")])
    text = render("app", "etc/tmpfiles.d/flaskhost.conf.j2", app_apps=apps)
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    assert lines == [["d", f"/run/{name}", "2750", name, "www-data", "-"] for name in ("blog", "blog-2")]


def test_files_of_the_app_role_hold_no_template() -> None:
    """They are rendered like all others, and must come out as they are."""
    ours = ("launch", "answers.py", "gunicorn.conf.py", "libraries.py", "shared_port.py")
    for path in (*(f"usr/local/lib/flaskhost/{name}" for name in ours), "opt/flaskhost/uv.txt"):
        assert render("app", path) == (ROLES / "app/templates" / path).read_text()


@pytest.mark.parametrize("provider", ["mysql", "mariadb"])
def test_mysql_settings(provider: str) -> None:
    text = render(
        "mysql",
        "etc/mysql/flaskhost.cnf.j2",
        mysql_provider=provider,
        mysql_bind_address="10.0.0.1",
        mysql_buffer_pool_mb=64,
        mysql_max_connections=151,
        mysql_performance_schema=False,
        mysql_settings={"max_connections": 50},
    )
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines[0] == "[mysqld]"
    assert lines[1:3] == ["bind-address = 10.0.0.1", "skip-name-resolve"]
    assert ("mysqlx = OFF" in lines) == (provider == "mysql"), (
        "MariaDB does not start with a setting that it does not know"
    )
    assert "innodb_buffer_pool_size = 64M" in lines
    assert ("performance_schema = OFF" in lines) == (provider == "mysql")
    assert lines.index("max_connections = 151") < lines.index("max_connections = 50"), (
        "what a person says comes last, and wins"
    )


@pytest.mark.parametrize(("provider", "words"), [("mysql", ("source", "replica")), ("mariadb", ("master", "slave"))])
def test_mysql_among_several(provider: str, words: tuple[str, str]) -> None:
    text = render(
        "mysql", "etc/mysql/flaskhost.cnf.j2", mysql_provider=provider, mysql_role="replica", mysql_server_id=7
    )
    lines = text.splitlines()
    assert [line.removeprefix("loose_") for line in lines if "rpl_semi_sync" in line] == [
        f"rpl_semi_sync_{words[0]}_enabled = ON",
        f"rpl_semi_sync_{words[1]}_enabled = ON",
        f"rpl_semi_sync_{words[0]}_wait_point = AFTER_SYNC",
        f"rpl_semi_sync_{words[0]}_timeout = 2000",
    ]
    assert "server_id = 7" in lines
    # neither starts with a setting that it does not know
    for line in ("gtid_mode = ON", "enforce_gtid_consistency = ON", "plugin_load_add = semisync_source.so"):
        assert (line in lines) == (provider == "mysql")
    assert ("gtid_strict_mode = ON" in lines) == (provider == "mariadb")
    assert ("loose_" in text) == (provider == "mysql")
    assert lines[-1] == "!include /etc/mysql/flaskhost-role/role.cnf"


CONFINED = ("privileges", "files", "devices", "kernel", "calls", "namespaces", "network", "processes")
UNIT = "etc/systemd/system/supervisor.service.d/flaskhost.conf.j2"


def confined(**on: bool) -> list[str]:
    switches = {f"supervisor_confine_{name}": on.get(name, False) for name in CONFINED}
    text = render("supervisor", UNIT, supervisor_open_files=1234, **switches)
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_limits_of_supervisord() -> None:
    assert confined() == ["[Service]", "LimitNOFILE=1234"]


@pytest.mark.parametrize("name", CONFINED)
def test_each_part_of_the_confinement_has_a_switch(name: str) -> None:
    found = confined(**{name: True})[2:]
    assert found
    assert not set(found) & {line for other in CONFINED if other != name for line in confined(**{other: True})[2:]}


def test_supervisord_keeps_the_rights_it_needs() -> None:
    text = "\n".join(confined(**dict.fromkeys(CONFINED, True)))
    for right in ("CAP_SETUID", "CAP_SETGID", "CAP_CHOWN", "CAP_KILL", "CAP_SYS_RESOURCE"):
        assert right in text
    # apps write below /srv, /var and /run
    assert "ProtectSystem=full" in text
    # the devices of a Raspberry Pi have a switch of their own
    assert "PrivateDevices" not in "\n".join(confined(**{name: name != "devices" for name in CONFINED}))
