# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases on a host: which one is live, which may be rolled back to, and what is never deleted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import (
    _drain,
    _health,
    _history,
    _release_lock,
    _releases,
    _supervisord,
    _tidy,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import Steps
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import app_groups, release_of
from ansible_collections.flaskhost.stack.plugins.modules import (
    release_begin,
    release_end,
    release_serve,
    release_status,
)

from tests.support.host import Host

# not those of tests that start processes: what runs of a release ends with it, and tests run side by side
R = [f"20260101T0700{number:02d}Z-abcdef{number}" for number in range(10)]


@pytest.fixture
def blog(host: Host, monkeypatch: pytest.MonkeyPatch) -> App:
    """An app, and a supervisord that only remembers what it was told to stop."""

    class Daemon:
        def processes(self, group: str = "") -> list[dict[str, Any]]:
            names = [name for name in [*host.groups(), *host.running] if group in ("", name)]
            return [{"group": name, "pid": 0} for name in names]

        def kill(self, group: str) -> None:
            assert group in host.told, "or it would be started anew"

        def tell_to_stop(self, group: str) -> None:
            assert group not in host.groups(), "its file must be gone first, or a reboot would bring it back"
            host.told.append(group)

        def stop(self, group: str) -> bool:
            assert group in host.told, "all are told before one is waited for"
            host.stopped.append(group)
            return True

    monkeypatch.setattr(_tidy, "Supervisord", Daemon)
    monkeypatch.setattr(_tidy, "serve_what_is_written", lambda: host.told.append("nginx"))
    return host.app()


def releases(host: Host, app: App, *states: str) -> None:
    """Releases R[0], R[1], ... with these states, the last one live and running."""
    for release, state in zip(R, states, strict=False):
        host.release(app, release, state, venv=f"venv-{release[-1]}")
    live = R[len(states) - 1]
    host.upstream(app, live)
    host.current(app, live)
    host.group(f"{app.name}@{live}")


# live, previous


def test_live_is_what_nginx_says(host: Host, blog: App) -> None:
    releases(host, blog, "finished", "finished")
    host.upstream(blog, R[0])
    assert blog.live() == R[0]


@pytest.mark.parametrize("upstream", ["none", R[5], "none of them"])
def test_live_is_current_where_nginx_knows_none(host: Host, blog: App, upstream: str) -> None:
    releases(host, blog, "finished", "finished")
    host.upstream(blog, upstream)
    host.current(blog, R[0])
    assert blog.live() == R[0]
    (host.upstreams / "blog.conf").unlink()
    assert blog.live() == R[0]


def test_live_is_none(host: Host, blog: App) -> None:
    assert blog.live() == ""
    host.current(blog, R[0])
    assert blog.live() == "", "a link to nothing"
    Path(blog.paths["current"]).unlink()
    Path(blog.paths["current"]).mkdir()
    assert blog.live() == "", "no link"
    host.release(blog, R[0])
    assert blog.live() == ""


def test_live_is_not_that_of_another_app(host: Host, blog: App) -> None:
    other = host.app("blog2")
    for app in (blog, other):
        host.release(app, R[0])
        host.release(app, R[1])
    host.upstream(other, R[1])
    host.upstream(blog, R[0])
    (host.upstreams / "blog.conf").write_text(
        f"# unix:{other.socket(R[1])};\n" + (host.upstreams / "blog.conf").read_text()
    )
    assert (blog.live(), other.live()) == (R[0], R[1])


def test_previous(host: Host, blog: App) -> None:
    releases(host, blog, "finished", "rolled_back", "building", "failed", "candidate", "", "finished", "finished")
    assert blog.previous(R[7]) == R[6]
    assert blog.previous(R[6]) == R[0], "what was never finished and what was rolled back from is skipped"
    assert blog.previous(R[1]) == R[0]
    assert blog.previous(R[0]) == ""


def test_previous_is_what_was_live_before(host: Host, blog: App) -> None:
    releases(host, blog, "finished", "finished", "rolled_back", "finished", "finished")
    for former, expected in ((R[0], R[0]), (R[4], R[4]), (R[3], R[1]), (R[2], R[1]), (R[9], R[1]), ("", R[1])):
        blog.write_record(R[3], former=former)
        assert blog.previous(R[3]) == expected, former


def test_prune_keeps_what_a_rollback_would_go_to(host: Host, blog: App) -> None:
    releases(host, blog, *["finished"] * 5)
    blog.write_record(R[4], former=R[1])
    _tidy.prune(blog, R[4], 1)
    assert blog.releases() == [R[1], R[4]]


def test_finished_needs_the_record_and_no_mark(host: Host, blog: App) -> None:
    releases(host, blog, "finished", "rolled_back", "building", "")
    assert [release for release in R[:4] if blog.finished(release)] == R[:2]
    Path(blog.release_dir(R[0]), _releases.UNFINISHED).touch()
    assert not blog.finished(R[0])
    Path(blog.release_dir(R[1]), "RELEASE.json").write_text('{"state": "fini')
    assert not blog.finished(R[1])


def test_record(host: Host, blog: App) -> None:
    host.release(blog, R[0])
    blog.write_record(R[0], commit="abc")
    assert blog.record(R[0]) == {"id": R[0], "state": "finished", "commit": "abc"}
    blog.write_record(R[0], state="rolled_back")
    assert blog.record(R[0]) == {"id": R[0], "state": "rolled_back", "commit": "abc"}
    assert os.listdir(blog.release_dir(R[0])) == ["RELEASE.json"], "no temporary file stays"
    assert os.stat(blog.release_dir(R[0]) + "/RELEASE.json").st_mode & 0o777 == 0o644
    assert blog.record(R[1]) == {"id": R[1]}


def test_releases_are_in_order_of_their_ids(host: Host, blog: App) -> None:
    for release in (R[2], R[0], R[1]):
        host.release(blog, release)
    Path(blog.paths["releases"], ".removed-x").mkdir()
    Path(blog.paths["releases"], "file").touch()
    assert blog.releases() == R[:3]
    assert App({"name": "x", "user": "x", "paths": {"releases": "/nowhere"}}).releases() == []


# remove


def test_remove_leaves_nothing(host: Host, blog: App) -> None:
    releases(host, blog, "finished", "finished")
    Path(blog.socket(R[0])).touch()
    Path(blog.paths["releases"], f".removed-{R[0]}", "half").mkdir(parents=True)
    assert blog.remove(R[0])
    assert os.listdir(blog.paths["releases"]) == [R[1]]
    assert sorted(os.listdir(blog.paths["environments"])) == [f"{R[1]}.env", f"{R[1]}.json"]
    assert os.listdir(blog.paths["run"]) == []
    assert sorted(os.listdir(blog.paths["venvs"])) == ["venv-0", "venv-1"], "a link is removed, not what it names"
    assert not blog.remove(R[0])


def test_killed_removal_leaves_no_half_release(host: Host, blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    releases(host, blog, "finished", "finished")

    def rmtree(path: str, ignore_errors: bool = False) -> None:
        assert ignore_errors or os.path.isdir(path)
        if not ignore_errors:
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with pytest.raises(KeyboardInterrupt):
        blog.remove(R[0])
    assert blog.releases() == [R[1]]


# names


def test_names_match_exactly(host: Host) -> None:
    names = [f"{app}@{R[0]}" for app in ("blog", "blog2", "my-blog", "blog-2", "blo")]
    for group in [*names, f"blog@{R[1]}+workers", f"blog2@{R[1]}+workers", "blog", "blog.conf@x"]:
        host.group(group)
    (host.conf_d / f"blog@{R[2]}.conf.bak").touch()
    (host.conf_d / f"blog@{R[3]}").touch()
    assert app_groups("blog") == [f"blog@{R[0]}", f"blog@{R[1]}+workers"]
    assert app_groups("blog2") == [f"blog2@{R[0]}", f"blog2@{R[1]}+workers"]
    assert app_groups("b") == []
    assert {release_of(group) for group in app_groups("blog")} == {R[0], R[1]}


def test_no_conf_d_is_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_supervisord, "CONF_DIR", "/nowhere")
    assert app_groups("blog") == []


def test_strangers(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_status, "CONF_DIR", str(host.conf_d))
    for name in (f"blog@{R[0]}", f"blog2@{R[0]}", f"old@{R[0]}", f"old@{R[0]}+workers"):
        (host.conf_d / f"{name}.conf").write_text(f"{release_status.MARK}: the web process\n[program:x]\n")
    (host.conf_d / "mine@home.conf").write_text("[program:mine]\n")
    (host.conf_d / "celery.conf").write_text(f"{release_status.MARK}\n")
    found = release_status.stranger_groups({"blog"})
    assert sorted(found) == [f"blog2@{R[0]}", f"old@{R[0]}", f"old@{R[0]}+workers"]
    assert release_status.stranger_groups({"blog", "blog2", "old"}) == []


# tidy


def test_tidy_leaves_a_healthy_host_alone(host: Host, blog: App) -> None:
    releases(host, blog, "finished", "rolled_back", "finished")
    host.group(f"blog@{R[2]}+workers")
    assert _tidy.tidy(blog) == []
    assert (blog.releases(), host.stopped) == (R[:3], [])


def test_tidy_removes_what_dead_runs_left(host: Host, blog: App) -> None:
    other = host.app("blog2")
    releases(host, other, "building", "", "finished")
    host.group(f"blog2@{R[0]}")
    releases(host, blog, "finished", "building", "candidate", "", "failed", "finished")
    for group in (f"blog@{R[4]}", f"blog@{R[4]}+workers", f"blog@{R[0]}"):
        host.group(group)
    debris = [
        Path(blog.paths["releases"], ".removed-x"),
        Path(blog.paths["releases"], ".file"),
        Path(blog.paths["cache"], "deploy-key-x"),
    ]
    debris[0].mkdir()
    debris[1].touch()
    debris[2].touch()
    Path(blog.paths["cache"], "uv").mkdir()
    expected = [
        f"blog@{R[0]}",
        f"blog@{R[4]}",
        f"blog@{R[4]}+workers",
        *R[1:5],
        *map(str, sorted(debris[:2])),
        str(debris[2]),
    ]
    assert sorted(_tidy.tidy(blog, check=True)) == sorted(expected)
    assert (len(blog.releases()), host.stopped) == (6, []), "check mode changes nothing"
    assert sorted(_tidy.tidy(blog)) == sorted(expected)
    assert blog.releases() == [R[0], R[5]]
    assert host.stopped == [f"blog@{R[0]}", f"blog@{R[4]}", f"blog@{R[4]}+workers"]
    assert host.groups() == [f"blog2@{R[0]}", f"blog2@{R[2]}", f"blog@{R[5]}"]
    assert other.releases() == R[:3]
    assert os.listdir(blog.paths["cache"]) == ["uv"]
    assert _tidy.tidy(blog) == [], "nothing is found twice"


def test_tidy_never_removes_what_is_live(host: Host, blog: App) -> None:
    """Killed between switch and finish: the new release serves, though it is not finished."""
    releases(host, blog, "finished", "building")
    host.current(blog, R[0])
    host.group(f"blog@{R[0]}")
    assert _tidy.tidy(blog) == [f"blog@{R[0]}"]
    assert (blog.live(), blog.releases()) == (R[1], R[:2])
    assert host.groups() == [f"blog@{R[1]}"]


def test_end_of_all_but_the_live_release(host: Host, blog: App) -> None:
    """Those that were told to end have no file any more; a run that was killed may have left some with a file."""
    for group in (f"blog@{R[2]}", f"blog@{R[2]}+workers", f"blog@{R[0]}", f"blog2@{R[0]}"):
        host.group(group)
    host.running = [f"blog@{R[1]}", f"blog@{R[1]}+workers", f"blog2@{R[1]}", "blog", "celery"]
    ended = [f"blog@{R[0]}", f"blog@{R[1]}", f"blog@{R[1]}+workers"]
    assert _tidy.end_all_but(blog, R[2]) == ended
    assert host.stopped == ended
    assert host.groups() == [f"blog2@{R[0]}", f"blog@{R[2]}", f"blog@{R[2]}+workers"]
    host.running = []
    assert _tidy.end_all_but(blog, R[2]) == []


# prune


def test_prune_keeps_the_newest(host: Host, blog: App) -> None:
    releases(host, blog, *["finished"] * 7)
    assert _tidy.prune(blog, R[6], 3, check=True)[:4] == R[:4]
    assert len(blog.releases()) == 7
    removed = _tidy.prune(blog, R[6], 3)
    assert removed == [*R[:4], *(f"{blog.paths['venvs']}/venv-{number}" for number in range(4))]
    assert blog.releases() == R[4:7]
    assert sorted(os.listdir(blog.paths["venvs"])) == ["venv-4", "venv-5", "venv-6"]
    assert _tidy.prune(blog, R[6], 3) == []


@pytest.mark.parametrize("keep", [-1, 0, 1])
def test_prune_never_deletes_live_and_predecessor(host: Host, blog: App, keep: int) -> None:
    releases(host, blog, *["finished"] * 4)
    _tidy.prune(blog, R[3], keep)
    assert blog.releases() == R[2:4]


def test_prune_after_a_rollback_keeps_what_is_live(host: Host, blog: App) -> None:
    """The live release is the oldest but one, and those after it are finished too."""
    releases(host, blog, "finished", "finished", "rolled_back", "rolled_back", "rolled_back", "rolled_back")
    _tidy.prune(blog, R[1], 1)
    assert blog.releases()[:2] == R[:2]


def test_prune_never_deletes_what_runs_or_is_current(host: Host, blog: App) -> None:
    releases(host, blog, *["finished"] * 8)
    host.group(f"blog@{R[0]}")
    host.group(f"blog@{R[1]}+workers")
    host.group(f"blog2@{R[2]}")
    host.current(blog, R[3])
    _tidy.prune(blog, R[7], 1)
    assert blog.releases() == [R[0], R[1], R[3], R[6], R[7]]


def test_prune_after_more_failures_in_a_row_than_it_keeps(host: Host, blog: App) -> None:
    releases(host, blog, "finished", "finished")
    for failed in R[2:9]:
        host.release(blog, failed, "building", venv=f"venv-{failed[-1]}")
        host.group(f"blog@{failed}")
        assert release_end.discard(blog, failed, False) == [f"blog@{failed}", failed]
        assert _tidy.prune(blog, blog.live(), 2) == [f"{blog.paths['venvs']}/venv-{failed[-1]}"]
    assert (blog.releases(), blog.live()) == (R[:2], R[1])
    assert sorted(os.listdir(blog.paths["venvs"])) == ["venv-0", "venv-1"]
    assert host.groups() == [f"blog@{R[1]}"]


def test_failures_that_nobody_tidied_do_not_push_out_the_good_ones(host: Host, blog: App) -> None:
    releases(host, blog, "finished", "finished")
    for failed in R[2:9]:
        host.release(blog, failed, "building")
    assert _tidy.prune(blog, R[1], 2) == []
    assert len(blog.releases()) == 9, "unfinished ones are tidy's, not prune's"


def test_what_went_live_and_was_never_finished_is_removed_once_another_is(host: Host, blog: App) -> None:
    releases(host, blog, "finished", "building", "finished")
    host.release(blog, R[3], "building")
    host.group(f"blog@{R[3]}")
    assert _tidy.remove_unfinished(blog, R[2]) == [R[1]]
    assert blog.releases() == [R[0], R[2], R[3]], "what runs stays"


def test_venv_in_use_stays(host: Host, blog: App) -> None:
    releases(host, blog, *["finished"] * 3)
    host.release(blog, R[5], "building", venv="venv-new")
    os.unlink(blog.release_dir(R[1]) + "/.venv")
    Path(blog.release_dir(R[1]), ".venv").symlink_to(blog.paths["venvs"] + "/venv-0")
    Path(blog.paths["venvs"], "venv-dead").mkdir()
    assert _tidy.prune(blog, R[2], 2) == [R[0], *(f"{blog.paths['venvs']}/venv-{name}" for name in ("1", "dead"))]
    assert sorted(os.listdir(blog.paths["venvs"])) == ["venv-0", "venv-2", "venv-new"]


def test_no_venvs_directory(host: Host, blog: App) -> None:
    os.rmdir(blog.paths["venvs"])
    assert blog.unused_venvs() == []


def test_nginx_serves_what_is_written_before_anything_stops(host: Host, blog: App) -> None:
    """A run died between writing the upstream and the reload: visitors are still with the former release."""
    releases(host, blog, "finished", "building")
    host.group(f"blog@{R[0]}")
    assert _tidy.tidy(blog, check=True) == [f"blog@{R[0]}"]
    assert host.told == []
    assert _tidy.tidy(blog) == [f"blog@{R[0]}"]
    assert host.told == ["nginx", f"blog@{R[0]}"]
    host.told.clear()
    assert _tidy.tidy(blog) == []
    assert host.told == [], "nothing stops, so nothing is reloaded"


@pytest.mark.parametrize(("script", "calls"), [("exit 0", ["-t", "-s reload"]), ("echo bad >&2; exit 1", ["-t"])])
def test_nginx_is_reloaded_when_its_files_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, calls: list[str]
) -> None:
    nginx, told = tmp_path / "nginx", tmp_path / "told"
    monkeypatch.setenv("PATH", f"{tmp_path}")
    _tidy.serve_what_is_written()
    nginx.write_text(f"#!/bin/sh\necho $* >>{told}\n{script}\n")
    nginx.chmod(0o755)
    monkeypatch.setattr(_tidy, "_RELOAD_TIME", 0)
    if len(calls) == 2:
        _tidy.serve_what_is_written()
    else:
        with pytest.raises(_releases.ReleaseError, match=r"no release is stopped:\nbad$"):
            _tidy.serve_what_is_written()
    assert told.read_text().splitlines() == calls


# errors of the system


def test_failed_write_leaves_the_former_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deploy.lock"
    _releases.write_json(str(path), {"a": 1})

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        _releases.write_json(str(path), {"a": 2})
    assert os.listdir(tmp_path) == ["deploy.lock"]
    assert _releases.read_json(str(path)) == {"a": 1}


class Module:
    """What an AnsibleModule does here."""

    check_mode = False

    def __init__(self, params: dict[str, object]) -> None:
        self.params = params

    def fail_json(self, **result: object) -> None:
        raise SystemExit(f"failed: {result['msg']}")

    def exit_json(self, **result: object) -> None:
        raise SystemExit(f"live: {result['live']}")


@pytest.mark.parametrize("step", ["tidy", "require_space", "fsync", ""])
def test_begin_leaves_no_lock_when_it_fails(host: Host, blog: App, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    releases(host, blog, "finished")
    holder = {"token": "mine", "owner": "ann", "controller": "laptop"}
    params = {
        "app": blog.app,
        "holder": holder,
        "wait": 0,
        "min_free_mb": 0,
        "break_token": "",
        "rollback": False,
        "restore": False,
    }
    params |= {"canary": "refuse", "purpose": "deploy main"}
    monkeypatch.setattr(release_begin, "AnsibleModule", lambda **given: Module(params))

    def broken(*given: object) -> None:
        raise OSError("broken")

    if step:
        monkeypatch.setattr(os if step == "fsync" else release_begin, step, broken)
    with pytest.raises(SystemExit, match=r"^failed: (lock|pre-flight): .*broken$" if step else rf"^live: {R[0]}$"):
        release_begin.main()
    assert os.path.exists(blog.paths["lock"]) == (not step)
    # a run that ends here is told of; where nothing can be written, that hides nothing
    told = [(line["result"], line["step"]) for line in _history.read(blog, 9)[0]]
    assert told == ([("failed", "pre-flight")] if step in ("tidy", "require_space") else [])


# the end of a run


def test_discard_never_touches_what_is_live(host: Host, blog: App) -> None:
    releases(host, blog, "finished", "finished")
    assert release_end.discard(blog, R[1], False) == []
    assert release_end.discard(blog, "", False) == []
    assert (blog.releases(), host.stopped) == (R[:2], [])


def test_discard_of_a_rollback_keeps_the_release(host: Host, blog: App) -> None:
    releases(host, blog, "finished", "finished")
    host.group(f"blog@{R[0]}")
    host.group(f"blog2@{R[0]}")
    assert release_end.discard(blog, R[0], True) == [f"blog@{R[0]}"]
    assert blog.releases() == R[:2]
    assert host.groups() == [f"blog2@{R[0]}", f"blog@{R[1]}"]


def test_former_release_ends_after_its_visitors(host: Host, blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    releases(host, blog, "finished", "building")
    host.group(f"blog@{R[0]}")
    waited = []

    def let_finish(app: App, release: str, former_workers: list[int]) -> float:
        waited.append((release, former_workers, list(host.stopped)))
        return 1.0

    monkeypatch.setattr(release_end, "let_finish", let_finish)
    release_end.retire(blog, R[1], R[0], [4711])
    assert waited == [(R[0], [4711], [])], "nothing had been stopped by then"
    assert host.stopped == [f"blog@{R[0]}"]


@pytest.fixture
def workers(host: Host, blog: App, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The state of each worker, which a test may change; the clock is quick."""
    states = {"mail": "STARTING", "index": "RUNNING"}

    class Daemon:
        def start(self, group: str) -> bool:
            return True

        def processes(self, group: str) -> list[dict[str, str]]:
            return [{"name": f"{group[:-8]}+{name}", "statename": states[name], "spawnerr": ""} for name in states]

    monkeypatch.setattr(release_serve, "Supervisord", Daemon)
    monkeypatch.setattr(_health, "Supervisord", Daemon)
    monkeypatch.setattr(release_serve, "WORKERS_WATCHED", 0.15)
    monkeypatch.setattr(release_serve, "apply_fileset", lambda *given: [])
    releases(host, blog, "finished", "building")
    host.group(f"blog@{R[0]}")
    _release_lock.take(blog.paths["lock"], {"token": "mine"})
    return states


def test_workers_that_stay_up(blog: App, workers: dict[str, str]) -> None:
    steps = Steps(blog, "mine")
    release_serve.start_workers(blog, R[1], "the group", steps)
    assert 0.1 < steps.seconds["probe"] < 5


@pytest.mark.parametrize("state", ["BACKOFF", "FATAL", "EXITED"])
def test_worker_that_dies_at_once_is_told_with_its_log(
    host: Host, blog: App, workers: dict[str, str], state: str
) -> None:
    workers["mail"] = state
    Path(blog.environment_files(R[1])[0]).write_text('{"API_KEY": "0123456789"}')
    Path(blog.paths["log"], "mail.log").write_text("no module named 0123456789\n")
    with pytest.raises(_releases.ReleaseError) as failed:
        release_serve.start_workers(blog, R[1], "the group", Steps(blog, "mine"))
    assert str(failed.value) == (
        f"probe: a worker process does not stay up: blog@{R[1]}+mail {state}\n"
        f"The end of {blog.paths['log']}/mail.log:\nno module named ********"
    )
    assert host.stopped == [], "the former release goes on"


def test_former_release_ends(host: Host, blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_drain, "drain", lambda *given: None)
    blog.app["drain"] = 1
    releases(host, blog, "finished", "building")
    host.group(f"blog@{R[0]}")
    release_end.retire(blog, R[1], R[0], [])
    assert host.stopped == [f"blog@{R[0]}"]


# files that pages ask for


def test_files_of_the_next_release_are_there_before_it_is(host: Host, blog: App) -> None:
    releases(host, blog, "finished", "building")
    link = Path(blog.paths["releases"], ".next")
    for release in R[:2]:
        blog.announce(release)
        assert os.readlink(link) == release
        assert os.lstat(link).st_uid == os.stat(blog.release_dir(release)).st_uid, "or nginx would not follow it"
    assert blog.releases() == R[:2]
    blog.announce("")
    blog.announce("")
    assert not link.is_symlink()


def test_pages_of_the_release_just_left_keep_their_files(host: Host, blog: App) -> None:
    """After a rollback the newer release is neither live nor the predecessor, and pages of it are still open."""
    releases(host, blog, "finished", "finished", "rolled_back")
    text = f'map "" $flaskhost_previous_blog {{ default {R[2]}; }}\n'
    host.upstream(blog, R[1])
    with Path(_releases.UPSTREAMS, "blog.conf").open("a") as stream:
        stream.write(text)
    host.current(blog, R[1])
    Path(_supervisord.group_file(f"blog@{R[2]}")).unlink()
    host.group(f"blog@{R[1]}")
    assert blog.named() == {R[1], R[2]}
    blog.write_record(R[1], former=R[0])
    _tidy.prune(blog, R[1], keep=1)
    assert blog.releases() == R[:3]
