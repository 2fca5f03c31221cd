# SPDX-License-Identifier: GPL-3.0-or-later
"""A canary beside the live release: what tells that there is one, who leaves it alone, and who refuses to work beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _releases, _tidy
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, Canary, ReleaseError
from ansible_collections.flaskhost.stack.plugins.modules import release_begin, release_end, release_source

from tests.support.host import Host
from tests.support.render import render

OLD, LIVE, CANDIDATE, OTHER = (f"2026010{day}T000000Z-abcdef{day}" for day in range(1, 5))


@pytest.fixture
def blog(host: Host, monkeypatch: pytest.MonkeyPatch) -> App:
    """An app with two finished releases and a candidate that gets 10 % of the visitors, all of them as if they ran."""

    class Daemon:
        def processes(self, group: str = "") -> list[dict[str, Any]]:
            return [{"group": name, "pid": 0} for name in host.groups() if group in ("", name)]

        def kill(self, group: str) -> None:
            assert group in host.told, "or it would be started anew"

        def tell_to_stop(self, group: str) -> None:
            host.told.append(group)

        def stop(self, group: str) -> bool:
            host.stopped.append(group)
            return True

    monkeypatch.setattr(_tidy, "Supervisord", Daemon)
    monkeypatch.setattr(_tidy, "serve_what_is_written", lambda: host.told.append("nginx"))
    app = host.app(tls={"mode": "self_signed"}, timeout=1, drain=1, keep_releases=1)
    for release in (OLD, LIVE, CANDIDATE):
        host.release(app, release, "candidate" if release == CANDIDATE else "finished", venv=f"venv-{release[-1]}")
    app.write_record(CANDIDATE, preview="0123456789abcdef", commit="c" * 40, config="x")
    for release in (LIVE, CANDIDATE):
        host.group(f"{app.name}@{release}")
    write(host, app)
    return app


def write(host: Host, app: App, share: str = "10", candidate: str = CANDIDATE, live: str = LIVE) -> None:
    """What nginx is told, as the release role renders it; without a candidate a plain switch."""
    extra = {"upstream_candidate": candidate, "upstream_share": share, "upstream_preview": "0123456789abcdef"}
    text = render(
        "release",
        "etc/nginx/flaskhost/upstreams/app.conf.j2",
        app={"url": "https://example.com", **app.app},
        upstream_live=live,
        upstream_previous=OLD,
        **(extra if candidate else {}),
    )
    (host.upstreams / f"{app.name}.conf").write_text(text)


# what tells that there is one


@pytest.mark.parametrize("share", ["0", "0.01", "10", "33.33", "100"])
def test_canary_is_what_nginx_and_its_record_say(host: Host, blog: App, share: str) -> None:
    write(host, blog, share)
    assert blog.canary() == Canary(CANDIDATE, float(share), "0123456789abcdef")
    assert (blog.live(), blog.served()) == (LIVE, LIVE)
    assert blog.shares() == [
        {"release": LIVE, "share": round(100 - float(share), 2)},
        {"release": CANDIDATE, "share": float(share)},
    ]


def test_no_canary_is_no_share(host: Host, blog: App) -> None:
    write(host, blog, candidate="")
    assert blog.canary() is None
    assert blog.shares() == [{"release": LIVE, "share": 100.0}]
    (host.upstreams / "blog.conf").unlink()
    assert blog.shares() == []


@pytest.mark.parametrize("state", ["building", "finished", "rolled_back", ""])
def test_what_nginx_names_without_such_a_record_is_no_canary(blog: App, state: str) -> None:
    blog.write_record(CANDIDATE, state=state)
    assert blog.canary() is None


def test_canary_is_not_that_of_another_app(host: Host, blog: App) -> None:
    other = host.app("blog_candidate", tls={"mode": "none"})
    host.release(other, OTHER, "candidate")
    write(host, other, "40", candidate=OTHER, live=OTHER)
    assert blog.canary() == Canary(CANDIDATE, 10.0, "0123456789abcdef")
    # as if an operator had put both into one file
    both = (host.upstreams / "blog_candidate.conf").read_text() + (host.upstreams / "blog.conf").read_text()
    (host.upstreams / "blog.conf").write_text(both)
    assert blog.canary() == Canary(CANDIDATE, 10.0, "0123456789abcdef")
    assert blog.live() == LIVE


def test_each_side_can_be_chosen(host: Host, blog: App) -> None:
    assert (blog.side(LIVE), blog.side(CANDIDATE)) == ("live", "0123456789abcdef")
    write(host, blog, candidate="")
    assert (blog.side(LIVE), blog.side(CANDIDATE)) == ("", "")


# who leaves it alone


def test_tidy_leaves_a_canary_alone(host: Host, blog: App) -> None:
    assert _tidy.tidy(blog) == []
    assert host.groups() == [f"blog@{LIVE}", f"blog@{CANDIDATE}"]
    assert blog.releases() == [OLD, LIVE, CANDIDATE]


@pytest.mark.parametrize("how", ["not yet named by nginx", "named, but no candidate yet"])
def test_tidy_removes_a_canary_that_was_never_on(host: Host, blog: App, how: str) -> None:
    """Its making was killed: before nginx was told, or by something that wrote no record."""
    if how == "not yet named by nginx":
        write(host, blog, candidate="")
    else:
        blog.write_record(CANDIDATE, state="building")
    assert set(_tidy.tidy(blog)) == {f"blog@{CANDIDATE}", CANDIDATE}
    assert host.groups() == [f"blog@{LIVE}"]


def test_tidy_after_a_killed_promotion_keeps_what_is_live(host: Host, blog: App) -> None:
    write(host, blog, candidate="", live=CANDIDATE)
    assert _tidy.tidy(blog) == [f"blog@{LIVE}"]
    assert host.told[0] == "nginx", "before anything stops"
    assert blog.releases() == [OLD, LIVE, CANDIDATE]
    assert not blog.finished(CANDIDATE), "so that the next run makes it anew"


def test_prune_and_failures_leave_a_canary_alone(host: Host, blog: App) -> None:
    _tidy.prune(blog, LIVE, 1)
    assert CANDIDATE in blog.releases()
    assert release_end.discard(blog, CANDIDATE, False) == [], "a failed raise of the share"
    assert CANDIDATE in blog.releases()
    assert host.groups() == [f"blog@{LIVE}", f"blog@{CANDIDATE}"]


def test_canary_that_could_not_be_promoted_loses_its_workers(host: Host, blog: App) -> None:
    """They begin with a promotion; those of the live release do the work again."""
    host.group(f"blog@{CANDIDATE}+workers")
    host.group(f"blog@{LIVE}+workers")
    assert release_end.discard(blog, CANDIDATE, True) == [f"blog@{CANDIDATE}+workers"]
    assert release_end.discard(blog, LIVE, True) == []
    assert host.groups() == [f"blog@{LIVE}", f"blog@{LIVE}+workers", f"blog@{CANDIDATE}"]


def test_a_canary_is_nothing_to_go_back_to(blog: App) -> None:
    assert blog.previous(LIVE) == OLD
    assert not blog.finished(CANDIDATE)


# who refuses


@pytest.mark.parametrize("purpose", ["deploy main", "rollback"])
def test_others_are_refused_while_it_is_on(blog: App, purpose: str) -> None:
    with pytest.raises(ReleaseError) as told:
        release_begin.canary_of(blog, "refuse", purpose)
    text = str(told.value)
    assert text.startswith(f"{purpose}: blog has a canary, {CANDIDATE}, which gets 10 % of the visitors beside {LIVE}.")
    assert "promote.yml -e flask_app=blog" in text
    assert "abort.yml" in text


def test_promote_and_abort_need_one(host: Host, blog: App) -> None:
    found = {"release": CANDIDATE, "share": 10.0, "preview": "0123456789abcdef"}
    assert release_begin.canary_of(blog, "require", "promote") == found
    assert release_begin.canary_of(blog, "allow", "deploy") == found
    write(host, blog, candidate="")
    with pytest.raises(ReleaseError, match=rf"^promote: blog has no canary; live is {LIVE}.*-e flask_canary=10` makes"):
        release_begin.canary_of(blog, "require", "promote")
    assert release_begin.canary_of(blog, "allow", "deploy") == release_begin.canary_of(blog, "refuse", "x") == {}


def test_no_canary_beside_nothing(host: Host) -> None:
    with pytest.raises(ReleaseError, match="no live release that a canary could stand beside"):
        release_begin.canary_of(host.app(), "allow", "deploy")


def test_canary_of_the_same_is_gone_on_with(blog: App) -> None:
    release_source.require_same(blog, CANDIDATE, "c" * 40, "x")


@pytest.mark.parametrize(
    ("commit", "config", "says"),
    [("d" * 40, "x", "of commit cccccccccccc, and this is dddddddddddd"), ("c" * 40, "y", "of another configuration")],
)
def test_another_canary_beside_one_is_refused(blog: App, commit: str, config: str, says: str) -> None:
    with pytest.raises(
        ReleaseError, match=f"^fetch: the canary {CANDIDATE} of blog is {says}.*abort.yml -e flask_app=blog"
    ):
        release_source.require_same(blog, CANDIDATE, commit, config)


# the end


class Ended(Exception):
    """How the module ended."""


class Module:
    """What an AnsibleModule does here."""

    check_mode = False

    def __init__(self, params: dict[str, object]) -> None:
        self.params = params

    def fail_json(self, **result: object) -> None:
        raise Ended(result)

    exit_json = fail_json


def end(monkeypatch: pytest.MonkeyPatch, app: App, result: str) -> dict[str, object]:
    """Run release_end; the line it adds to the history."""
    _releases.write_json(app.paths["lock"], {"token": "t"})
    params: dict[str, object] = {
        "app": app.app,
        "release": CANDIDATE,
        "token": "t",
        "result": result,
        "former": LIVE,
        "payload": "",
    }
    params |= {"former_workers": [], "seconds": {"boot": 1.0}, "who": "ada@box", "keep_candidate": False}
    monkeypatch.setattr(release_end, "AnsibleModule", lambda **given: Module(params))
    with pytest.raises(Ended) as ended:
        release_end.main()
    assert "msg" not in ended.value.args[0], ended.value
    assert not Path(app.paths["lock"]).exists()
    line: dict[str, object] = json.loads(Path(app.paths["root"], "history.jsonl").read_text().splitlines()[-1])
    return line


def test_end_of_a_deploy_that_made_a_canary(host: Host, blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    line = end(monkeypatch, blog, "candidate")
    assert (line["result"], line["release"], line["former"], line["share"]) == ("candidate", CANDIDATE, LIVE, 10.0)
    assert (blog.canary() or Canary("", 0, "")).release == CANDIDATE
    assert (host.groups(), host.stopped) == ([f"blog@{LIVE}", f"blog@{CANDIDATE}"], [])
    assert not blog.finished(CANDIDATE)


def test_end_of_an_abort(host: Host, blog: App, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []

    def let_finish(_app: App, release: str, _pids: list[int]) -> float:
        waited.append((release, list(host.stopped)))
        return 0.0

    monkeypatch.setattr(release_end, "let_finish", let_finish)
    write(host, blog, candidate="")
    line = end(monkeypatch, blog, "aborted")
    assert (line["result"], line["release"], line["former"]) == ("aborted", CANDIDATE, LIVE)
    assert "share" not in line
    assert waited == [(CANDIDATE, [])], "it finishes its requests before it is told to end"
    assert host.groups() == [f"blog@{LIVE}"]
    assert blog.releases() == [OLD, LIVE]
    assert not Path(blog.paths["venvs"], "venv-3").exists()
