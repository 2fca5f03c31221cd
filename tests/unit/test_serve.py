# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx is told after each verdict about a release that got visitors: go on, all of them, or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils import _fileset, _traffic
from ansible_collections.flaskhost.stack.plugins.module_utils._fileset import Change
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError, write_json
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import Steps
from ansible_collections.flaskhost.stack.plugins.module_utils._traffic import serve
from ansible_collections.flaskhost.stack.plugins.module_utils._watch import Figures, Verdict

from tests.support.host import GROUP, USER, Host

LIVE, NEW = "20260101T000000Z-abcdef1", "20260102T000000Z-abcdef2"


class Nginx:
    """What was loaded, in order, and whom visitors were sent to; what it refuses."""

    def __init__(self, app: App, path: Path) -> None:
        self.app, self.path = app, path
        self.loaded: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.finished: list[str] = []
        self.refuses, self.ill = "", ""

    def run(self, command: str) -> tuple[int, str]:
        text = self.path.read_text()
        if command == "nginx -t" and self.refuses and self.refuses in text:
            return 1, "no"
        if command == "nginx -s reload":
            self.loaded.append(text.split("\n")[-2])
        return 0, ""

    def complaint(self, _app: App, release: str, *, through_web: bool, beside: str = "") -> str:
        assert through_web
        assert not beside
        self.asked.append((self.loaded[-1], release))
        return f"{release} is ill" if release == self.ill else ""


def text(app: App, live: str, *rest: str) -> str:
    """An upstream file that names its live release, and in its last line what it is."""
    block = f"upstream flaskhost_{app.name} {{\n    server unix:{app.socket(live)} max_fails=0;\n}}\n"
    if rest[0] == "split":
        block += f"upstream flaskhost_{app.name}.candidate {{\n    server unix:{app.socket(NEW)} max_fails=0;\n}}\n"
    return f"{block}# {' '.join(rest)}\n"


@pytest.fixture
def app(host: Host, monkeypatch: pytest.MonkeyPatch) -> App:
    made = host.app(timeout=1)
    host.release(made, LIVE)
    host.release(made, NEW, "building")
    (host.upstreams / "blog.conf").write_text(text(made, LIVE, "before"))
    write_json(made.paths["lock"], {"token": "t"})
    return made


@pytest.fixture
def nginx(app: App, host: Host, monkeypatch: pytest.MonkeyPatch) -> Nginx:
    found = Nginx(app, host.upstreams / "blog.conf")
    monkeypatch.setattr(_traffic, "run", found.run)
    monkeypatch.setattr(_traffic, "complaint", found.complaint)
    # each reload makes new ones
    monkeypatch.setattr(_traffic, "workers_of_web", lambda _app: [len(found.loaded)])
    monkeypatch.setattr(_traffic, "let_finish", lambda _app, release, _pids: found.finished.append(release))

    def apply_fileset(files: list[dict[str, Any]], purge: list[dict[str, Any]], **more: Any) -> list[Change]:
        # on a host the module is root
        return _fileset.apply_fileset([{**one, "owner": USER, "group": GROUP} for one in files], purge, **more)

    monkeypatch.setattr(_traffic, "apply_fileset", apply_fileset)
    return found


def verdicts(monkeypatch: pytest.MonkeyPatch, kind: str, during: Callable[[], None] = lambda: None) -> list[Any]:
    """Let the watch say so; what it was given."""
    calls: list[Any] = []

    def watch(_tail: object, release: str, other: str, rules: object, **more: Any) -> Verdict:
        calls.append((release, other, rules, more["old"]))
        during()
        more["alive"]()
        return Verdict(kind, "seen")

    monkeypatch.setattr(_traffic, "watch", watch)
    return calls


def params(app: App, share: str = "", seconds: int = 0) -> dict[str, Any]:
    payload = {"upstream": text(app, NEW, "all")}
    if share:
        payload = {
            "upstream": text(app, LIVE, "split", share),
            "back": text(app, LIVE, "back"),
            "whole": text(app, NEW, "whole"),
        }
    return {
        "release": NEW,
        "former": LIVE,
        "share": share,
        "preview": "0123456789abcdef",
        "watch": {"seconds": seconds, "limit": 5.0, "requests": 20} if seconds else None,
        "payload": payload,
    }


def test_switch_without_a_watch(app: App, nginx: Nginx) -> None:
    steps = Steps(app, "t")
    assert serve(app, params(app), steps) == {"canary": False, "seen": "", "former_workers": [0]}
    assert nginx.loaded == ["# all"]
    assert nginx.asked == [("# all", NEW)]
    assert "watch" not in steps.seconds


def test_bad_release_is_taken_back_and_finishes_its_requests(
    app: App, nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = verdicts(monkeypatch, "bad")
    with pytest.raises(ReleaseError, match=rf"^watch: seen\nThe traffic is back with {LIVE}\.$"):
        serve(app, params(app, seconds=9), Steps(app, "t"))
    assert [call[:2] for call in calls] == [(NEW, LIVE)]
    assert calls[0][3] == Figures(), "compared with how the former did before, not beside it"
    assert nginx.loaded == ["# all", "# before"]
    assert nginx.asked == [("# all", NEW), ("# before", LIVE)]
    assert nginx.finished == [NEW]


@pytest.mark.parametrize("kind", ["good", "unknown"])
def test_release_that_is_not_bad_stays(app: App, nginx: Nginx, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    verdicts(monkeypatch, kind)
    told = serve(app, params(app, seconds=9), Steps(app, "t"))
    assert told == {"canary": False, "seen": "seen", "former_workers": [0]}
    assert nginx.loaded == ["# all"]


def test_canary_has_a_record_before_nginx_names_it(app: App, nginx: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    states = set()

    def run(command: str) -> tuple[int, str]:
        states.add(app.record(NEW)["state"])
        return Nginx.run(nginx, command)

    monkeypatch.setattr(_traffic, "run", run)
    assert serve(app, params(app, "10"), Steps(app, "t")) == {"canary": True, "seen": "", "former_workers": [0]}
    assert states == {"candidate"}
    assert nginx.asked == [("# split 10", NEW), ("# split 10", LIVE)], "both must serve"
    canary = app.canary()
    assert canary
    assert (canary.release, canary.preview, app.live()) == (NEW, "0123456789abcdef", LIVE)


@pytest.mark.parametrize("ill", [NEW, LIVE])
def test_canary_that_does_not_serve_is_taken_back(app: App, nginx: Nginx, ill: str) -> None:
    nginx.ill = ill
    with pytest.raises(ReleaseError, match=f"^verify: {ill} is ill\nThe traffic is back with {LIVE}"):
        serve(app, params(app, "10"), Steps(app, "t"))
    assert nginx.loaded == ["# split 10", "# before"]
    assert app.canary() is None
    assert nginx.finished == ([NEW] if ill == NEW else []), "while the live one is ill, nothing is waited for"


def test_nginx_that_refuses_the_file_serves_on(app: App, nginx: Nginx) -> None:
    nginx.refuses = "split"
    with pytest.raises(ReleaseError, match=r"^switch: `nginx -t` refuses"):
        serve(app, params(app, "10"), Steps(app, "t"))
    assert nginx.loaded == ["# before"]
    assert app.canary() is None


def test_good_canary_is_promoted(app: App, nginx: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = verdicts(monkeypatch, "good")
    told = serve(app, params(app, "10", 60), Steps(app, "t"))
    assert (told["canary"], told["seen"]) == (False, "seen")
    assert told["former_workers"] == [1], "who spread the visitors until now sent some to the former release, too"
    assert nginx.loaded == ["# split 10", "# whole"]
    assert nginx.asked[-1] == ("# whole", NEW)
    assert calls[0][3] is None, "both are counted side by side"


def test_promotion_that_does_not_serve_leaves_the_canary(
    app: App, nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts(monkeypatch, "good", during=lambda: setattr(nginx, "ill", NEW))
    with pytest.raises(ReleaseError, match=f"^verify: {NEW} is ill"):
        serve(app, params(app, "10", 60), Steps(app, "t"))
    assert nginx.loaded == ["# split 10", "# whole", "# split 10"]
    assert app.canary()
    assert nginx.finished == [], "it has visitors"


def test_canary_of_too_few_requests_stays_one(app: App, nginx: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts(monkeypatch, "unknown")
    assert serve(app, params(app, "10", 60), Steps(app, "t"))["canary"]
    assert nginx.loaded == ["# split 10"]


def test_bad_canary_loses_all_visitors_also_those_of_a_smaller_share(
    app: App, nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(app, params(app, "10"), Steps(app, "t"))
    verdicts(monkeypatch, "bad")
    with pytest.raises(ReleaseError, match=r"^watch: seen"):
        serve(app, params(app, "50", 60), Steps(app, "t"))
    assert nginx.loaded == ["# split 10", "# split 50", "# back"]
    assert app.canary() is None
    assert nginx.finished == [NEW]


def test_raise_that_fails_leaves_the_smaller_share(app: App, nginx: Nginx) -> None:
    serve(app, params(app, "10"), Steps(app, "t"))
    nginx.ill = NEW
    with pytest.raises(ReleaseError, match=r"^verify: "):
        serve(app, params(app, "50"), Steps(app, "t"))
    assert nginx.loaded == ["# split 10", "# split 50", "# split 10"]
    assert app.canary()
    assert nginx.finished == []


def test_watch_of_a_run_that_lost_its_lock_decides_nothing(
    app: App, nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts(monkeypatch, "bad", during=lambda: write_json(app.paths["lock"], {"token": "another"}))
    with pytest.raises(ReleaseError, match=r"^watch: the lock of blog was taken over by another run$"):
        serve(app, params(app, seconds=9), Steps(app, "t"))
    assert nginx.loaded == ["# all"]


def test_what_was_written_already_is_loaded(app: App, nginx: Nginx, host: Host) -> None:
    """A run died between writing the file and the reload; nginx does not know it yet."""
    given = params(app, "10")
    (host.upstreams / "blog.conf").write_text(given["payload"]["upstream"])
    assert serve(app, given, Steps(app, "t"))["canary"]
    assert nginx.loaded == ["# split 10"]


def test_files_of_the_release_are_found_before_nginx_loads_anything(
    app: App, nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers with the former configuration know them by this link alone."""
    there: list[str] = []

    def run(command: str) -> tuple[int, str]:
        there.append(str(Path(app.paths["releases"], ".next").readlink()))
        return nginx.run(command)

    monkeypatch.setattr(_traffic, "run", run)
    serve(app, params(app), Steps(app, "t"))
    assert there == [NEW, NEW]
