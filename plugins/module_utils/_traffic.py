# SPDX-License-Identifier: GPL-3.0-or-later
"""Give visitors to a release, see whether it serves them, and take them back where it does not."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
from collections.abc import Callable
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils import _release_lock
from ansible_collections.flaskhost.stack.plugins.module_utils._drain import let_finish, workers_of_web
from ansible_collections.flaskhost.stack.plugins.module_utils._fileset import (
    FilesetError,
    Former,
    apply_fileset,
    look,
    put,
)
from ansible_collections.flaskhost.stack.plugins.module_utils._health import complaint, dead, in_words
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError, write_text
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import Steps
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisord import Supervisord, SupervisordError
from ansible_collections.flaskhost.stack.plugins.module_utils._tidy import in_service, stop_groups
from ansible_collections.flaskhost.stack.plugins.module_utils._watch import (
    LOGS,
    Figures,
    Rules,
    Tail,
    Verdict,
    past,
    watch,
)

_TEST, _RELOAD = "nginx -t", "nginx -s reload"
# seconds before a switch from which the error ratio of the former release is known; longer where the watch is
PAST_SECONDS = 300


def run(command: str) -> tuple[int, str]:
    """Exit code and output of a command; 127 when it cannot be run."""
    try:
        done = subprocess.run(command.split(), capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        # a command that is not there must not end the module before the file is back
        return 127, str(error)
    return done.returncode, (done.stdout + done.stderr).strip()


def switch(app: App, release: str, upstream: str, steps: Steps) -> None:
    """Give visitors to releases as the switch file of the app says from now on.

    :param release: that gets visitors by it.
    :param upstream: the text of that file.
    :raises ReleaseError: nginx refuses it; the former file is there again.
    """
    files = [{"path": app.switch_file, "content": upstream, "mode": "0644"}]
    with steps.step("switch"):
        if app.port:
            # its workers look at the file, and so do those that start after a power cut
            write_text(app.switch_file, upstream)
            return
        app.announce(release)
        try:
            if not apply_fileset(files, [], commands=[_TEST, _RELOAD], run=run):
                # a run that died may have written it, and no more
                run(_RELOAD)
        except (FilesetError, OSError):
            # a failed reload may have been half of one: load what is there now, which is the former file
            run(_RELOAD)
            raise


def verify(app: App, releases: list[str], former: str, steps: Steps) -> str:
    """Ask as a visitor for releases; in words, which does not serve, else empty.

    :param former: where releases share a port, it answers there as well until it is told to end.
    """
    beside = former if app.port else ""
    try:
        with steps.step("verify"):
            answers = (complaint(app, one, through_web=True, beside=beside) for one in releases)
            why = next(filter(None, answers), "")
    except (ReleaseError, OSError) as error:
        # not known to be healthy
        why = str(error) or repr(error)
    return f"verify: {why.removeprefix('verify: ')}" if why else ""


def observe(app: App, release: str, other: str, tail: Tail, rules: Rules, old: Figures | None, steps: Steps) -> Verdict:
    """Watch what becomes of the requests of a release.

    :param old: how the other did before; else both are counted side by side.
    :raises ReleaseError: the lock was lost meanwhile; then the run that has it decides.
    """
    daemon, group = Supervisord(), f"{app.name}@{release}"

    def died() -> str:
        with contextlib.suppress(SupervisordError):
            return in_words(dead(daemon.processes(group)))
        return ""

    def go_on() -> None:
        if not _release_lock.still_mine(app.paths["lock"], steps.token):
            raise ReleaseError(f"watch: the lock of {app.name} was taken over by another run")

    try:
        with steps.step("watch"):
            return watch(tail, release, other, rules, old=old, dead=died, alive=go_on)
    except ReleaseError as error:
        go_on()
        return Verdict("bad", str(error).removeprefix("watch: "))


def go_back(app: App, release: str, former: str, before: Former) -> str:
    """Put a switch file back and have it count; in words, how that went."""
    try:
        put(app.switch_file, before)
    except (FilesetError, OSError) as error:
        return (
            f"\nThe former file could not be put back ({error}), so the traffic stays with {release}. "
            "Mend that, then run the same again."
        )
    workers = workers_of_web(app)
    if app.port:
        # it closes its port first, and the former one has that for itself
        with contextlib.suppress(SupervisordError, OSError):
            stop_groups([f"{app.name}@{release}"], let_finish(app, release, []))
    else:
        run(_RELOAD)
    if not former:
        return ""
    try:
        again = complaint(app, former, through_web=True)
    except OSError as error:
        again = str(error) or repr(error)
    if not app.port and not again and release not in in_service(app):
        # it is ended next
        let_finish(app, release, workers)
    return f"\nThe traffic is back with {former}." + (f"\nThat does not answer either: {again}" if again else "")


def serve(
    app: App, params: dict[str, Any], steps: Steps, before_all: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Give a release its visitors, ask as one of them, and watch what becomes of the others' requests.

    :param before_all: what has to be done before all visitors get it.
    :returns: whether it is a canary now, what was seen of it, and the processes of the web server from before, of which each may
        hold requests for the former release.
    :raises ReleaseError: it does not serve, or fails too much; then the former one has its visitors again.
    """
    release, former, share, payload = params["release"], params["former"], params["share"], params["payload"]
    rules = Rules(**params["watch"]) if params["watch"] else None
    log = os.path.join(LOGS, f"{app.name}.access.log")
    # side by side with a live release; else with what was before
    old = None if share or not rules else past(log, former, max(rules.seconds, PAST_SECONDS))
    tail, before, workers = Tail(log), look(app.switch_file), workers_of_web(app)
    if share:
        # first: what nginx names without such a record would be tidied away by the next run
        app.write_record(release, state="candidate", preview=params["preview"])
    else:
        before_all()
    switch(app, release, payload["upstream"], steps)
    why, seen = verify(app, [release, *([former] if share else [])], former, steps), ""
    if not why and rules:
        verdict = observe(app, release, former, tail, rules, old, steps)
        seen = verdict.words
        if verdict.kind == "bad":
            why = f"watch: {seen}"
            if share:
                # none at all, also where a smaller share went well
                before = dataclasses.replace(before, content=payload["back"].encode())
        elif share and verdict.kind == "good":
            before_all()
            before = look(app.switch_file)
            # those that have spread the visitors until now, and those from before that still finish something
            workers = workers_of_web(app)
            switch(app, release, payload["whole"], steps)
            why, share = verify(app, [release], former, steps), ""
    if why:
        raise ReleaseError(why + go_back(app, release, former, before))
    return {"canary": bool(share), "seen": seen, "former_workers": workers}
