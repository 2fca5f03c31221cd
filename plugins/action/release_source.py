# SPDX-License-Identifier: GPL-3.0-or-later
"""Send a local source tree along with the call, where the app has one."""

from __future__ import annotations

import base64
import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.flaskhost.stack.plugins.plugin_utils._tree import TreeError, pack

# a small archive travels inside of the call; a larger one as a file of its own
_INLINE_BYTES = 4 * 2**20


class ActionModule(ActionBase):
    """Action part of ``flaskhost.stack.release_source``."""

    TRANSFERS_FILES = True
    _VALID_ARGS = frozenset(
        [
            *["app", "version", "stamp", "token", "config", "who", "canary", "reuse_commit", "deploy_key"],
            *["commit", "release", "decide", "ids"],
        ]
    )

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the control node's part, then have the module do the host's."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        source = arguments["app"]["source"]
        if source["kind"] == "path" and not arguments.get("reuse_commit"):
            path = os.path.join(source["path"], source.get("subdir") or "")
            version, decided = arguments.get("version") or source.get("version") or "", arguments.get("commit") or ""
            try:
                packed = pack(path, decided if version and decided else version)
            except TreeError as error:
                raise AnsibleActionFail(f"fetch: {error}") from error
            if packed.commit != (decided or packed.commit):
                raise AnsibleActionFail(
                    f"fetch: {path} has changed since this deploy began, and all hosts get the same. Run it again."
                )
            arguments["commit"] = packed.commit
            if arguments.get("decide"):
                pass
            elif len(packed.archive) <= _INLINE_BYTES:
                arguments["archive"] = base64.b64encode(packed.archive).decode()
            elif not self._task.check_mode:
                arguments["archive_file"] = self._send(packed.archive)
        try:
            result: dict[str, Any] = self._execute_module(
                module_name="flaskhost.stack.release_source", module_args=arguments, task_vars=task_vars
            )
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        result.pop("invocation", None)
        return result

    def _send(self, archive: bytes) -> str:
        folder = self._make_tmp_path()
        remote: str = self._connection._shell.join_path(folder, "source.tar.gz")
        self._transfer_data(remote, archive)
        return remote
