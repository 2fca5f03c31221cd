# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a database's client program, with its login in a file in memory: in no argument, on no disk, gone with the program."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping

from ansible_collections.flaskhost.stack.plugins.module_utils._releases import ReleaseError
from ansible_collections.flaskhost.stack.plugins.module_utils._run import tail

PATH = "/usr/local/bin:/usr/bin:/bin"
# stands in words and variables for the name of the file with the login
LOGIN = "{login}"


class Client:
    """How to run the programs of one engine.

    :param login: text of the file with the login.
    :param variables: environment of the programs, beside PATH and LANG.
    :param timeout: seconds after which a program is killed.
    """

    def __init__(self, login: str, variables: Mapping[str, str], timeout: float) -> None:
        self._login = login
        self._variables = variables
        self._timeout = timeout

    def ask(self, words: list[str], query: str) -> list[str]:
        """The lines of the answer to a query on standard input."""
        with self._running(words, subprocess.PIPE) as process:
            out: bytes = process.communicate(query.encode())[0]
        return out.decode("utf-8", "replace").splitlines()

    def pour(self, words: list[str], target: gzip.GzipFile) -> None:
        """Write what a program prints into a file."""
        with self._running(words, subprocess.PIPE) as process:
            assert process.stdin
            assert process.stdout
            process.stdin.close()
            shutil.copyfileobj(process.stdout, target, 2**20)

    def load(self, words: list[str], statements: Iterable[bytes]) -> None:
        """Feed statements to a program that stops at the first that fails."""
        with self._running(words, subprocess.DEVNULL) as process:
            assert process.stdin
            with contextlib.suppress(BrokenPipeError):
                for statement in statements:
                    process.stdin.write(statement)
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()

    def stream(self, words: list[str], other: Client, others_words: list[str], first: bytes = b"") -> None:
        """Have a program of `other` read what one of ours prints, after some statements of the caller's."""
        with self._running(words, subprocess.PIPE) as process:
            out, feed = process.stdout, process.stdin
            assert out
            assert feed
            feed.close()
            other.load(others_words, itertools.chain([first], iter(lambda: out.read(2**20), b"")))

    @contextlib.contextmanager
    def _running(self, words: list[str], output: int) -> Iterator[subprocess.Popen[bytes]]:
        """The program.

        :raises ReleaseError: it failed; with its words, which hold no secret, and the end of what it said.
        """
        handle = os.memfd_create("flaskhost-login")
        with os.fdopen(handle, "wb") as stream, tempfile.TemporaryFile() as errors:
            # anybody may write into a new one, which is why the programs would not read it
            os.fchmod(handle, 0o600)
            stream.write(self._login.encode())
            stream.flush()
            login = f"/proc/self/fd/{handle}"
            process = subprocess.Popen(
                [word.replace(LOGIN, login) for word in words],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=errors,
                pass_fds=[handle],
                env={
                    "PATH": PATH,
                    "LANG": "C.UTF-8",
                    **{name: value.replace(LOGIN, login) for name, value in self._variables.items()},
                },
                start_new_session=True,
            )
            late = threading.Timer(self._timeout, process.kill)
            late.start()
            try:
                with process:
                    yield process
            except BaseException:
                process.kill()
                raise
            finally:
                late.cancel()
            if process.returncode:
                errors.seek(0)
                said = tail(errors.read().decode("utf-8", "replace").strip())
                shown = " ".join([os.path.basename(words[0]), *(word for word in words[1:] if LOGIN not in word)])
                why = f"was killed after {self._timeout:g} s" if process.returncode < 0 else "failed"
                raise ReleaseError(f"`{shown}` {why}:\n{said}")


def program(package: str, *names: str) -> str:
    """The first of these programs that is on the host.

    :raises ReleaseError: there is none; with what brings it.
    """
    for name in names:
        found = shutil.which(name, path=PATH)
        if found:
            return found
    raise ReleaseError(
        f"{' or '.join(names)} is needed for `snapshot: true` and is not on this host; site.yml installs it "
        f"(by hand: apt install {package})"
    )
