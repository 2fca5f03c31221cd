# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible packs for the hosts, kept from run to run; see DOCUMENTATION."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ansible import constants as C
from ansible.executor import module_common
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__
from ansible_collections.flaskhost.stack.plugins.plugin_utils._packed import Store
from ansible_collections.flaskhost.stack.plugins.plugin_utils._packed_bytecode import VERSION, keeping_bytecode

DOCUMENTATION = """
name: packed_modules
type: aggregate
short_description: keeps modules as Ansible packs them from run to run
version_added: "0.1.0"
description:
  - For each module that a run uses, Ansible reads the module and the forty files that it imports, looks for what these import, and packs
    all of it for the hosts. That takes 0.13 s of the control node's processor for each module, in each run anew.
  - With this callback, what was packed is there for the next run. Before it is used, every file in it is compared with its source, and
    the names beside these with those that were there, so a module that has changed, or anything that it imports, is packed anew.
  - Nothing is kept or used where you have C(module_utils) of your own outside of collections, which may take the place of Ansible's.
  - What is kept belongs to one installation of Ansible and Python, and is removed when a month has passed since its last use. With a version
    of Ansible that packs in another way than 2.21 does, nothing is kept.
requirements:
  - named in C(callbacks_enabled) of ansible.cfg
options:
  directory:
    description:
      - Where packed modules are kept, about 0.2 MB each; it may be removed at any time. What is in it is run on the hosts, with root's rights
        where C(become) says so, so it is made for its owner alone, and one that others may write to is not used, with a warning.
    type: path
    default: ~/.ansible/flaskhost/modules
    env:
      - name: FLASKHOST_PACKED_MODULES
    ini:
      - section: callback_packed_modules
        key: directory
  bytecode:
    description:
      - Whether Python on a host keeps what it compiles of these modules in C(/var/cache/flaskhost-bytecode), for root alone, some 2 MB for each
        version of Python; it may be removed at any time. Without it, Python compiles some sixty files for each task, twice.
      - Before it is used, it is compared with its source. It is written in check mode and by playbooks that change nothing as well, and on
        the control node by modules that run there as root. Where Python is told to write no bytecode, nothing is kept.
    type: bool
    default: true
    env:
      - name: FLASKHOST_KEPT_BYTECODE
    ini:
      - section: callback_packed_modules
        key: bytecode
author:
  - The flaskhost founders (@flaskhost)
"""


class CallbackModule(CallbackBase):
    """Gives a run what former runs have packed, and keeps what it packs itself."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "flaskhost.stack.packed_modules"
    CALLBACK_NEEDS_ENABLED = True

    _store: Store | None = None
    _known: frozenset[str] = frozenset()
    _begun = False

    def v2_playbook_on_start(self, playbook: object) -> None:
        """Give the run what is kept and true; once, however many playbooks it has."""
        if not self._begun:
            self._begun = True
            folder = self._own_directory()
            if folder:
                self._store = Store(folder, keeping_bytecode) if self.get_option("bytecode") else Store(folder)
                self._use(self._store.give)

    def v2_playbook_on_task_start(self, task: object, is_conditional: bool) -> None:
        """Keep what the tasks before have packed, which this one may use again."""
        self._keep()

    def v2_playbook_on_handler_task_start(self, task: object) -> None:
        """As for tasks."""
        self._keep()

    def v2_playbook_on_stats(self, stats: object) -> None:
        """Keep what the last task has packed."""
        self._keep()

    def _keep(self) -> None:
        """Keep what is new since the last look."""
        if self._store:
            self._use(partial(self._store.keep, known=self._known))

    def _use(self, action: Callable[[Path], set[str]]) -> None:
        """Give or keep, and know the names of that from here on; where that fails, no more of it in this run."""
        try:
            self._known |= action(_place_of_this_run())
        except OSError as error:
            self._store = None
            self._display.warning(f"packed_modules: nothing is kept for the next run: {error}")

    def _own_directory(self) -> Path | None:
        """That of this installation, which nobody else may write to; none where it cannot be had."""
        top = Path(self.get_option("directory"))
        packer = Path(module_common.__file__)
        made_by = f"{__version__} {sys.version} {packer}".encode() + packer.read_bytes()
        if self.get_option("bytecode"):
            made_by += VERSION
        folder = top / hashlib.sha256(made_by).hexdigest()[:12]
        try:
            top.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            states = {path: path.stat() for path in (top, folder)}
        except OSError as error:
            self._display.warning(f"packed_modules: {top} cannot be used: {error.strerror}. Name another directory.")
            return None
        for path, state in states.items():
            if state.st_uid != os.geteuid() or state.st_mode & 0o022:
                why = "belongs to somebody else" if state.st_uid != os.geteuid() else "may be written to by others"
                self._display.warning(
                    f"packed_modules: {path} is not used, because it {why}, and what is in it would be run on the hosts. "
                    "Remove it, or name another directory."
                )
                return None
        return folder


def _place_of_this_run() -> Path:
    """Where Ansible looks for what it has packed in this run already."""
    return Path(C.DEFAULT_LOCAL_TMP) / "ansiballz_cache"
