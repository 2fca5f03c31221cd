# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of an app, run in a release as the app itself would run them."""

from __future__ import annotations

from ansible_collections.flaskhost.stack.plugins.module_utils import _release_lock
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import LAUNCH, App, ReleaseError, read_json
from ansible_collections.flaskhost.stack.plugins.module_utils._run import hide, run_as, tail


def run_commands(app: App, release: str, commands: list[str], *, step: str, timeout: float, token: str) -> list[str]:
    """Run lines for sh one after the other, as the app's user with the app's environment, in the release.

    :param step: name of the step, for the error.
    :param timeout: seconds that one command may take.
    :param token: the lock of the app; a run that has lost it begins no further command.
    :returns: the end of what each printed, without secrets.
    :raises ReleaseError: at the first that fails, with the command and the end of its output.
    """
    tree = app.release_dir(release)
    secrets = read_json(app.environment_files(release)[0])
    outputs = []
    for command in commands:
        _release_lock.enter(app, token, step)
        words = [LAUNCH, tree, "/bin/sh", "-c", command]
        code, output = run_as(app.user, words, cwd=app.paths["root"], timeout=timeout)
        shown = tail(hide(output, secrets))
        if code:
            raise ReleaseError(f"{step}: `{command}` ended with {code}:\n{shown}")
        outputs.append(shown)
    return outputs
