# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of an app: run as it, killed with all they started, and told about without secrets."""

from __future__ import annotations

import json
import os
import pwd
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _commands, _health, _release_lock, _run
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import ReleaseError
from ansible_collections.flaskhost.stack.plugins.module_utils._run import hide, run_as, tail

from tests.support.host import USER, Host


def run(*command: str, **changed: Any) -> tuple[int, str]:
    given: dict[str, Any] = {"cwd": "/", "timeout": 10, **changed}
    return run_as(USER, list(command), **given)


def shell(script: str, **changed: Any) -> tuple[int, str]:
    return run("/bin/sh", "-c", script, **changed)


def test_output_and_code_are_kept() -> None:
    assert shell("echo one; echo two >&2; echo three; exit 3") == (3, "one\ntwo\nthree")
    assert shell("printf '\\377 \\303\\266'") == (0, "\ufffd ö")
    assert shell("kill -9 $$")[0] == -signal.SIGKILL
    assert run("printf", "%s|", "a b", "$HOME", "*", "'\"", ";") == (0, "a b|$HOME|*|'\"|;|"), "no shell sees the words"


def test_directory_and_input(tmp_path: Path) -> None:
    assert shell("pwd; cat", cwd=str(tmp_path), stdin=b"given") == (0, f"{tmp_path}\ngiven")
    reader, writer = os.pipe()
    former = os.dup(0)
    os.dup2(reader, 0)
    try:
        assert shell("cat; echo end", timeout=3) == (0, "end"), "ours is not theirs"
    finally:
        os.dup2(former, 0)
        for handle in (former, reader, writer):
            os.close(handle)
    assert shell("head -c1", stdin=b"x" * 10**6) == (0, "x")


def test_environment_is_only_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET", "of root's session")
    code, output = run("/usr/bin/env", environment={"A": "b c", "N": 3, "PATH": "/bin"})
    variables = dict(line.split("=", 1) for line in output.splitlines())
    home = pwd.getpwnam(USER).pw_dir
    assert code == 0
    assert variables == {
        "HOME": home,
        "USER": USER,
        "LOGNAME": USER,
        "LANG": "C.UTF-8",
        "PATH": "/bin",
        "A": "b c",
        "N": "3",
    }


def test_umask_is_the_usual_one() -> None:
    former = os.umask(0o077)
    try:
        assert shell("umask") == (0, "0022")
    finally:
        os.umask(former)


def test_runs_as_the_user_with_its_groups_only(needs_root: Callable[[], None]) -> None:
    needs_root()
    former = os.getgroups()
    os.setgroups([*former, 4])
    try:
        code, output = run_as("nobody", ["/bin/sh", "-c", "id -un; id -G; echo $HOME"], cwd="/", timeout=10)
    finally:
        os.setgroups(former)
    account = pwd.getpwnam("nobody")
    assert (code, output) == (0, f"nobody\n{account.pw_gid}\n{account.pw_dir}")


def test_what_cannot_be_started(tmp_path: Path) -> None:
    code, output = run("no-such-program", cwd=str(tmp_path))
    assert code == 127
    assert "no-such-program cannot be started" in output
    assert run("/bin/true", cwd=str(tmp_path / "nowhere"))[0] == 127
    (tmp_path / "text").write_text("no program")
    assert run(str(tmp_path / "text"))[0] == 127


def gone(pid: int) -> bool:
    """Whether a process runs no more, within a moment."""
    for _attempt in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_timeout_kills_all_that_was_started(tmp_path: Path) -> None:
    """A child that ignores every polite signal, and its own child."""
    script = (
        "trap '' TERM INT HUP; echo begun; (trap '' TERM INT HUP; echo $$ >child; exec sleep 60) & echo $! >child; wait"
    )
    started = time.monotonic()
    code, output = shell(script, cwd=str(tmp_path), timeout=0.4)
    assert time.monotonic() - started < 2
    assert (code, output) == (124, "begun\n(killed: it took longer than 0.4 s)")
    child = int((tmp_path / "child").read_text())
    assert gone(child)


def test_timeout_holds_when_a_daemon_keeps_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What made itself a session of its own is beyond the group; it must not keep us waiting."""
    monkeypatch.setattr(_run, "_AFTER_KILL", 0.2)
    started = time.monotonic()
    code, output = shell("echo begun; setsid sleep 60 & echo $! >daemon; sleep 60", cwd=str(tmp_path), timeout=0.3)
    try:
        assert time.monotonic() - started < 5
        assert (code, output) == (124, "begun\n(killed: it took longer than 0.3 s)")
    finally:
        os.kill(int((tmp_path / "daemon").read_text()), signal.SIGKILL)


def test_quick_command_is_not_slowed_down() -> None:
    started = time.monotonic()
    assert run(sys.executable, "-c", "print('x' * 10**6)") == (0, "x" * 10**6)
    assert time.monotonic() - started < 3


def test_tail() -> None:
    assert tail("1\n2\n3", 2) == "2\n3"
    assert tail("", 2) == ""
    assert tail("\n".join(map(str, range(100)))).splitlines() == [str(number) for number in range(60, 100)]


SECRETS = {
    "SECRET_KEY": "0123456789abcdef",
    "DATABASE_URL": "mysql+pymysql://blog:p%40ss%2Fword@127.0.0.1:3306/blog?charset=utf8mb4",
    "REDIS_URL": "redis://:hunter2hunter2@localhost/0",
    "MAIL_PASSWORD": "with spaces and 'quotes'",
    "mail_pwd": "lower-case-name",
    "BASIC_AUTH": "ann:letmein",
    "TLS_PRIVATE": "-----BEGIN-----\nfirst line\nsecond line\n-----END-----",
    "API_TOKEN": "abc",
    "FLASK_APP": "blog:create_app()",
    "MAIL_SERVER": "localhost",
    "SALT": "",
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key 0123456789abcdef.", "key ********."),
        ("for p%40ss%2Fword and p@ss/word", "for ******** and ********"),
        (SECRETS["DATABASE_URL"], "mysql+pymysql://blog:********@127.0.0.1:3306/blog?charset=utf8mb4"),
        ("redis://:hunter2hunter2@localhost/0", "redis://:********@localhost/0"),
        ("MAIL with spaces and 'quotes'!", "MAIL ********!"),
        (repr({"p": SECRETS["MAIL_PASSWORD"]}), "{'p': \"********\"}"),
        ("lower-case-name ann:letmein", "******** ********"),
        (f"<{SECRETS['TLS_PRIVATE']}>", "<********>"),
        (repr(SECRETS["TLS_PRIVATE"]), "'********'"),
        ("blog:create_app() on localhost with abc of blog", "blog:create_app() on localhost with abc of blog"),
        ("nothing", "nothing"),
        ("", ""),
    ],
)
def test_secrets_are_hidden_and_words_are_not(text: str, shown: str) -> None:
    assert hide(text, SECRETS) == shown


def test_secret_with_both_quotes() -> None:
    value = """it's "quoted" """
    assert hide(repr([value]), {"KEY": value}) == "['********']"


def test_longer_secret_first() -> None:
    assert hide("abcdefgh abcdef", {"KEY": "abcdef", "LONG_KEY": "abcdefgh"}) == "******** ********"


def test_secret_cut_by_the_tail_stays_hidden() -> None:
    key = "\n".join(["-----BEGIN-----", *(f"line {number} of the key" for number in range(60))])
    assert "of the key" not in tail(hide(f"output\n{key}\nend", {"KEY": key}))


KEY = "\n".join(["-----BEGIN-----", *(f"line {number} of the key" for number in range(120))])


def test_secret_cut_by_the_end_of_an_output_stays_hidden(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    app = host.app()
    Path(app.environment_files("r1")[0]).write_text(json.dumps({"KEY": KEY}))
    monkeypatch.setattr(_commands, "run_as", lambda *given, **more: (1, f"output\n{KEY}\nend"))
    monkeypatch.setattr(_release_lock, "enter", lambda *given: None)
    with pytest.raises(ReleaseError) as failed:
        _commands.run_commands(app, "r1", ["x"], step="build", timeout=1, token="")
    assert str(failed.value) == "build: `x` ended with 1:\noutput\n********\nend"


def test_secret_cut_by_the_end_of_a_log_stays_hidden(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    log.write_text(f"output\n{KEY}\nend\n")
    assert _health.log_end(str(log), {"KEY": KEY}) == "output\n********\nend"
    assert _health.log_end(str(tmp_path / "none"), {}) == ""


def test_values_that_are_no_text() -> None:
    assert hide("port 123456", {"PORT": 123456, "KEY": 123456}) == "port ********"  # type: ignore[dict-item]
