# SPDX-License-Identifier: GPL-3.0-or-later
"""Notes when each task begins and how it ended, one line of JSON per event; `make bench` reads it.

A plain append per event, a few microseconds each; a callback that prints would cost more.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: bench_tasks
type: notification
short_description: writes the times of tasks to the file BENCH_TASKS
description: One line of JSON per event, with the time it happened (seconds since the epoch).
requirements: [enabled by ANSIBLE_CALLBACKS_ENABLED]
"""


class CallbackModule(CallbackBase):
    """Events: start, task, result (of one host, or of one item of a loop), end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "bench_tasks"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._stream = open(os.environ["BENCH_TASKS"], "a", encoding="utf-8")  # noqa: SIM115 (open for the whole run)

    def _note(self, event: str, **more: Any) -> None:
        self._stream.write(json.dumps({"event": event, "time": time.time(), **more}) + "\n")
        self._stream.flush()

    def _result(self, result: Any, state: str, item: bool = False) -> None:
        changed = bool(result.result.get("changed"))
        # a loop reports each item, and then itself once more
        summary = bool(result.task.loop) and not item
        self._note("result", id=result.task._uuid, state=state, changed=changed, summary=summary)

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._note("start")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._note("task", id=task._uuid, name=task.get_name(), action=task.action)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self.v2_playbook_on_task_start(task, False)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._result(result, "ok")

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._result(result, "skipped")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._result(result, "ignored" if ignore_errors else "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._result(result, "unreachable")

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._result(result, "ok", item=True)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._note("end", hosts={host: stats.summarize(host) for host in stats.processed})
