# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploy, failed deploy and rollback under load: 50 requests a second over TLS, none may be lost."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import testinfra.host

from tests.support.load import SteadyLoad
from tests.support.stack import ROOT, Run, Stack
from tests.support.web import fetch

Host = testinfra.host.Host


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the guestbook that tests change."""
    folder = tmp_path_factory.mktemp("source") / "guestbook"
    shutil.copytree(ROOT / "examples" / "guestbook", folder)
    return folder


def apps(source: Path, **changes: Any) -> dict[str, Any]:
    """The shipped flask_apps, with another source and other keys."""
    import yaml

    shipped = yaml.safe_load((ROOT / "inventory/group_vars/all/flask_apps.yml").read_text())["flask_apps"][0]
    return {"flask_apps": [{**shipped, "source": {"path": str(source)}, **changes}]}


def live(address: str) -> str:
    """The release that answers visitors."""
    return fetch(f"https://{address}/").headers["x-flaskhost-release"]


def leftovers(host: Host) -> dict[str, list[str]]:
    """What lies and runs on the host for the guestbook."""
    return {
        "programs": host.check_output("ls /etc/supervisor/conf.d").split(),
        "running": [line.split()[0] for line in host.run("supervisorctl status").stdout.splitlines()],
        "sockets": host.check_output("ls /run/guestbook").split(),
        "releases": host.check_output("ls -A /srv/guestbook/releases").split(),
        "secrets": host.check_output("ls -A /srv/guestbook/environments").split(),
        "venvs": host.check_output("ls -A /srv/guestbook/venvs").split(),
        "locks": host.run("ls /srv/guestbook/deploy.lock*").stdout.split(),
    }


def under_load(address: str, action: Any) -> tuple[Run, SteadyLoad]:
    """Run something under load, with a second of load before and after."""
    with SteadyLoad(address) as load:
        time.sleep(1)
        run = action()
        time.sleep(1)
    assert load.report.failed == [], load.report
    # no request is lost; how long one may wait on two busy cores is told, not judged to the tenth
    assert load.report.longest_gap < 3, load.report
    assert load.report.sent > 100
    return run, load


def test_a_deploy_loses_no_request(stack: Stack, address: str, host: Host, source: Path) -> None:
    before = live(address)
    style = source / "guestbook/static/style.css"
    style.write_text(style.read_text() + "\n/* version two */\n")
    run, load = under_load(address, lambda: stack.playbook("deploy", **apps(source), flask_app="guestbook"))
    run.check()
    now = live(address)
    assert load.report.releases == [before, now]
    assert "version two" in fetch(f"https://{address}/static/style.css").text
    record = json.loads(host.check_output("cat /srv/guestbook/releases/%s/RELEASE.json", now))
    assert (record["state"], record["app"], record["id"]) == ("finished", "guestbook", now)
    # with nothing to migrate, the step costs no call of its own
    assert "Migrate |" not in run.output
    assert {"build", "migrate", "boot"} <= record["seconds"].keys()
    left = leftovers(host)
    assert left["programs"] == [f"guestbook@{now}.conf"]
    assert left["sockets"] == [f"{now}.sock"]
    assert left["locks"] == []
    # a module of another collection, which a release uses once: of the second at the latest, what Python compiles is kept
    kept = host.file("/var/cache/flaskhost-bytecode").listdir()
    name = "ansible_collections.community.general.plugins.modules.deploy_helper.cpython-3"
    assert [path for path in kept if path.startswith(name)], sorted(kept)


def test_the_same_again_changes_nothing_and_logs_in_once(
    stack: Stack, address: str, host: Host, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def logins() -> int:
        return int(host.run("journalctl -o cat -t sshd -t sshd-session | grep -c 'Accepted publickey'").stdout)

    before, _opens_a_connection = live(address), logins()
    # with none open that an earlier run has left; the path of a socket has to be short
    with tempfile.TemporaryDirectory(prefix="flaskhost-") as sockets:
        monkeypatch.setenv("ANSIBLE_SSH_CONTROL_PATH_DIR", sockets)
        since = logins()
        assert stack.playbook("deploy", **apps(source)).check().changed == 0
        assert logins() - since == 1, "one connection for all of it"
    assert live(address) == before


def style_before(host: Host) -> str:
    """The stylesheet of the live release, as it lies on the host."""
    return host.file("/srv/guestbook/current/guestbook/static/style.css").content_string


def test_a_rollback_loses_no_request(stack: Stack, address: str, host: Host) -> None:
    before = live(address)
    run, load = under_load(address, lambda: stack.playbook("rollback", flask_app="guestbook"))
    run.check()
    assert live(address) < before
    assert load.report.releases == [before, live(address)]
    assert fetch(f"https://{address}/static/style.css").text == style_before(host)
    assert (
        json.loads(host.check_output("cat /srv/guestbook/releases/%s/RELEASE.json", before))["state"] == "rolled_back"
    )


def test_rollback_to_a_named_release(stack: Stack, address: str, host: Host) -> None:
    newest = host.check_output("ls /srv/guestbook/releases").split()[-1]
    assert newest != live(address)
    stack.playbook("rollback", flask_app="guestbook", flask_release=newest).check()
    assert live(address) == newest


# further ways to fail are in the scenario trial; test_status.py looks at these
@pytest.mark.parametrize(
    ("step", "changes", "says"),
    [
        (
            "build",
            {"build": ["echo so it went; exit 3"]},
            ["build: `echo so it went; exit 3` ended with 3", "so it went"],
        ),
        (
            "migrate",
            {"migrate": ["flask db upgrade no-such-revision"]},
            ["migrate: `flask db upgrade no-such-revision`"],
        ),
        (
            "boot",
            {"wsgi": "guestbook:no_such_name", "env": {"FLASK_APP": "guestbook:create_app()"}},
            ["probe: GET /healthz", "no_such_name"],
        ),
    ],
)
def test_a_failed_deploy_changes_nothing_that_people_see(
    stack: Stack, address: str, host: Host, source: Path, step: str, changes: dict[str, Any], says: list[str]
) -> None:
    before, left = live(address), leftovers(host)
    style = source / "guestbook/static/style.css"
    style.write_text(style.read_text() + f"\n/* {step} */\n")
    run, load = under_load(address, lambda: stack.playbook("deploy", **apps(source, **changes)))
    assert run.code == 2, run.output[-3000:]
    for text in [*says, "Still live is " + before]:
        assert text in run.output, f"{text!r} is missing in:\n{run.output[-5000:]}"
    assert load.report.releases == [before]
    assert leftovers(host) == left


def test_an_unknown_version_is_refused_by_name(stack: Stack, address: str) -> None:
    before = live(address)
    run = stack.playbook("deploy", flask_app="guestbook", flask_version="no-such-branch")
    assert run.code == 2
    assert "no version 'no-such-branch'" in run.output
    assert live(address) == before


def test_an_unknown_app_is_refused_by_name(stack: Stack) -> None:
    run = stack.playbook("deploy", flask_app="guestbok")
    assert run.code == 2
    assert "has no such app; it has guestbook" in run.output


def test_pruning_keeps_live_and_previous(stack: Stack, address: str, host: Host, source: Path) -> None:
    for number in range(3):
        (source / "note.txt").write_text(str(number))
        stack.playbook("deploy", **apps(source, keep_releases=2)).check()
    now = live(address)
    left = leftovers(host)
    assert len(left["releases"]) == 2
    assert now in left["releases"]
    assert len(left["venvs"]) == 1
    assert len(left["secrets"]) == 2 * len(left["releases"])
    stack.playbook("rollback", flask_app="guestbook").check()
    assert live(address) == left["releases"][0] < now


def test_a_changed_environment_brings_a_new_release_of_the_same_code(
    stack: Stack, address: str, host: Host, source: Path
) -> None:
    stack.playbook("deploy", **apps(source)).check()
    before = live(address)
    # code that came since must not slip in with a change of configuration
    (source / "note.txt").write_text("not yet released")
    nasty = "a 'b' \"c\" $HOME ${PATH} %(x)s %d #no\nü \\"
    changed = apps(source, env={"GREETING": nasty})
    # by its tag alone: what releases has to come along with what decides on it
    run, load = under_load(address, lambda: stack.playbook("site", "--tags", "release", **changed))
    run.check()
    now = live(address)
    assert load.report.releases == [before, now]
    assert now[-7:] == before[-7:]
    assert host.run("cat /srv/guestbook/current/note.txt").stdout != "not yet released"
    master = host.check_output("supervisorctl pid guestbook@%s", now)
    environment = host.check_output("cat /proc/%s/environ", master)
    assert f"GREETING={nasty}" in environment.split("\0")
    told = host.check_output(
        "runuser -u guestbook -- /srv/guestbook/current/.venv/bin/python -c "
        '\'import dotenv; print(dotenv.dotenv_values("/srv/guestbook/current/.env")["GREETING"], end="")\''
    )
    assert told == nasty


def test_the_inventory_as_it_was_is_no_change_again(stack: Stack) -> None:
    stack.playbook("site").check()
    assert stack.playbook("site").check().changed == 0
