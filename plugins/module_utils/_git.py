# SPDX-License-Identifier: GPL-3.0-or-later
"""A bare mirror per app: a fetch moves new objects only, an export is local."""

from __future__ import annotations

import contextlib
import os
import pwd
import tempfile
from collections.abc import Iterator

from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, ReleaseError
from ansible_collections.flaskhost.stack.plugins.module_utils._run import run_as, tail

FETCH_TIMEOUT = 600.0
# how the file of a key begins that is there while a fetch lasts
DEPLOY_KEY = "deploy-key-"


@contextlib.contextmanager
def _ssh(app: App, deploy_key: str) -> Iterator[dict[str, str]]:
    """Variables for git's ssh. A key lies in a file that only the app's user can read, for the time of the fetch."""
    options = "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ConnectTimeout=20"
    options += f" -o UserKnownHostsFile={app.paths['cache']}/known_hosts"
    base = {"GIT_TERMINAL_PROMPT": "0"}
    if not deploy_key:
        yield {**base, "GIT_SSH_COMMAND": options}
        return
    handle, path = tempfile.mkstemp(prefix=DEPLOY_KEY, dir=app.paths["cache"])
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            # by descriptor: the name lies in the app's own directory, where it could be another file's by now
            os.fchown(stream.fileno(), pwd.getpwnam(app.user).pw_uid, -1)
            stream.write(deploy_key.rstrip("\n") + "\n")
        yield {**base, "GIT_SSH_COMMAND": f"{options} -o IdentitiesOnly=yes -i {path}"}
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _run(app: App, words: list[str], environment: dict[str, str] | None = None) -> tuple[int, str]:
    return run_as(
        app.user,
        ["git", "-C", app.paths["repo"], *words],
        cwd=app.paths["root"],
        timeout=FETCH_TIMEOUT,
        environment=environment,
    )


def _must(app: App, words: list[str], environment: dict[str, str] | None = None) -> str:
    code, output = _run(app, words, environment)
    if code:
        raise ReleaseError(f"fetch: `git {' '.join(words)}` ended with {code}:\n{tail(output)}")
    return output


def resolve(app: App, version: str, deploy_key: str, *, fetch: bool = True) -> str:
    """Bring the mirror up to date and return the commit that ``version`` names now.

    :param version: branch, tag or commit; the remote's default branch when empty.
    :param fetch: ask the remote; else only look into the mirror.
    """
    address = app.app["source"]["git"]
    if fetch:
        if not os.path.exists(os.path.join(app.paths["repo"], "HEAD")):
            _must(app, ["init", "--quiet", "--bare", "."])
        # what a fetch left that was killed; the lock of the app keeps every other away
        run_as(app.user, ["find", ".", "-name", "*.lock", "-delete"], cwd=app.paths["repo"], timeout=FETCH_TIMEOUT)
        with _ssh(app, deploy_key) as environment:
            # the address is given each time: a changed one counts at once
            words = ["fetch", "--quiet", "--prune", "--force", "--no-auto-gc", "--", address]
            refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", "+HEAD:refs/flaskhost/default"]
            _must(app, [*words, *refs], environment)
    # a branch first: it is what `main` means where a tag of that name exists too
    names = (
        [f"refs/heads/{version}", f"refs/tags/{version}", version]
        if version not in ("", "HEAD")
        else ["refs/flaskhost/default"]
    )
    for name in names:
        code, output = _run(app, ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"])
        if code == 0:
            return output.split()[-1]
    raise ReleaseError(
        f"fetch: {address} has no branch, tag or commit {version!r}. Is it pushed? "
        "Give `-e flask_version=` or `source.version` a name that `git ls-remote` shows."
    )


def bring(app: App, commit: str, deploy_key: str, *, fetch: bool = True) -> str:
    """Have a commit in the mirror that was resolved on another host, or by another fetch.

    :raises ReleaseError: the remote has it no more.
    """
    look = ["cat-file", "-e", f"{commit}^{{commit}}"]
    if _run(app, look)[0] and fetch:
        resolve(app, "", deploy_key)
    if _run(app, look)[0]:
        raise ReleaseError(
            f"fetch: {app.app['source']['git']} has no commit {commit[:12]}, which all hosts were to get. Was the branch rewritten "
            "just now? Run the same again."
        )
    return commit


def export(app: App, commit: str, subdir: str, target: str) -> None:
    """Write the tree of a commit, or of a folder in it, into ``target``."""
    tree = f"{commit}:{subdir.strip('/')}" if subdir.strip("/") else commit
    # the names are arguments, never part of what the shell reads; the file's name is one that no repository has
    script = 'set -e; git -C "$1" archive --format=tar -o "$4" "$2"; tar -xf "$4" -C "$3"; rm "$4"'
    code, output = run_as(
        app.user,
        ["/bin/sh", "-c", script, "export", app.paths["repo"], tree, target, f"{target}/.flaskhost-export.tar"],
        cwd=target,
        timeout=FETCH_TIMEOUT,
    )
    if code:
        raise ReleaseError(f"fetch: `git archive {tree}` ended with {code}:\n{tail(output)}")
