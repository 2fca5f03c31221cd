# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible has packed for the hosts is there for the next run, unless anything in it has changed: real runs, of a collection made for it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import pytest

from tests.support.stack import ROOT

MODULE = """
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.acme.tools.plugins.module_utils.words import WORD

try:
    from ansible_collections.acme.tools.plugins.module_utils.more import WORD
except ImportError:
    pass

module = AnsibleModule(argument_spec={})
import sys
module.exit_json(msg="one " + WORD, begins="flaskhost_kept_bytecode" in sys.modules)
"""
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Say
      acme.tools.say:
      register: said
    - name: Tell
      ansible.builtin.debug:
        var: said.msg
    - name: Say it again
      acme.tools.say:
      register: again
    - name: Tell about the second time
      ansible.builtin.debug:
        var: again.begins
"""
SETTINGS = f"""
[defaults]
collections_path = {{0}}:{ROOT / ".ansible/collections"}
callbacks_enabled = flaskhost.stack.packed_modules
"""


class Place:
    """A folder with a play, a collection with one module, and settings that have the callback keep what is packed."""

    def __init__(self, folder: Path) -> None:
        self.kept = folder / ".ansible/flaskhost/modules"
        self.tools = folder / "ansible_collections/acme/tools/plugins"
        self.second_keeps = False
        self._folder = folder

    def make(self) -> None:
        """Write all of it."""
        for kind, name, text in (("modules", "say", MODULE), ("module_utils", "words", 'WORD = "two"\n')):
            (self.tools / kind).mkdir(parents=True)
            (self.tools / kind / f"{name}.py").write_text(text)
        (self._folder / "play.yml").write_text(PLAY)
        (self._folder / "ansible.cfg").write_text(SETTINGS.format(self._folder))

    def change(self, kind: str, name: str, former: str, new: str) -> None:
        """Another text of the same length, by somebody who puts back the file's times."""
        path = self.tools / kind / f"{name}.py"
        times = path.stat()
        path.write_text(path.read_text().replace(former, new))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def run(self, *books: str, **settings: str) -> tuple[str, bool, str]:
        """What the module said, whether it had been packed before, and what Ansible warned of."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        environment |= {"HOME": str(self._folder), "ANSIBLE_DEBUG": "1", "ANSIBLE_NOCOLOR": "1", **settings}
        # this machine is the host here, and keeps nothing
        environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
        words = ["-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"]
        done = subprocess.run(
            [Path(sys.executable).with_name("ansible-playbook"), *words, *(books or ["play.yml"])],
            # as people of many systems have it: their group may write what they make
            cwd=self._folder, env=environment, umask=0o002, capture_output=True, text=True, check=True,
        )  # fmt: skip
        said = [line for line in done.stdout.splitlines() if '"said.msg":' in line][-1].split('"')[3]
        self.second_keeps = '"again.begins": true' in done.stdout
        used, made = ("ANSIBALLZ: using cached module" in done.stdout, "ANSIBALLZ: Creating module" in done.stdout)
        assert used or made
        return said, not made, " ".join(done.stderr.split())

    def beginnings(self) -> list[str]:
        """What each module that is kept has keep its bytecode before it does anything else."""
        program = "import sys; sys.path.insert(0, sys.argv[1]); import flaskhost_kept_bytecode as kept; kept.begin = print; import ansible"
        said = []
        for number, path in enumerate(sorted(self.kept.glob("*/ansible_collections.acme*"))):
            archive = self._folder / f"{number}.zip"
            archive.write_bytes(b64decode(pickle.loads(path.read_bytes()).zip_data))
            done = subprocess.run(
                [sys.executable, "-I", "-c", program, archive], capture_output=True, text=True, check=False
            )
            said.append(done.stdout.strip().replace(str(archive), "itself") or done.stderr.splitlines()[-1])
        return sorted(said)

    def packed(self) -> list[str]:
        """What is kept, without the index."""
        return sorted(path.name for path in self.kept.glob("*/*") if path.name != "index.json")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """After its first run."""
    place = Place(tmp_path_factory.mktemp("packed"))
    place.make()
    assert place.run() == ("one two", False, "")
    assert len(place.packed()) == 1
    return place


def test_the_next_run_uses_it_until_something_in_it_changes(place: Place) -> None:
    first = place.packed()
    assert place.run() == ("one two", True, "")
    assert place.packed() == first
    place.change("module_utils", "words", "two", "six")
    assert place.run() == ("one six", False, "")
    assert len(place.packed()) == 1
    assert place.packed() != first, "the former one is gone"
    # what it would have taken had it been there
    (place.tools / "module_utils/more.py").write_text('WORD = "ten"\n')
    assert place.run() == ("one ten", False, "")
    place.change("modules", "say", "one ", "six ")
    # several at once, which get it at the beginning
    assert place.run("play.yml", "play.yml")[::2] == ("six ten", "")
    assert place.run() == ("six ten", True, "")


def test_what_is_damaged_is_packed_anew(place: Place) -> None:
    (index,) = place.kept.glob("*/index.json")
    (packed,) = place.packed()
    (index.parent / packed).write_bytes((index.parent / packed).read_bytes()[:1000])
    assert place.run()[1:] == (False, "")
    index.write_text('{"ansible')
    assert place.run()[1:] == (False, "")
    assert place.run()[1:] == (True, "")


def test_module_utils_of_ones_own_count(place: Place) -> None:
    own = place.kept.parents[1] / "plugins/module_utils"
    own.mkdir(parents=True)
    assert place.run()[1:] == (False, "")
    own.rmdir()
    assert place.run()[1:] == (True, "")


def test_what_cannot_be_kept_is_said_once(place: Place) -> None:
    (index,) = place.kept.glob("*/index.json")
    index.rename(index.with_name("former.json"))
    index.mkdir()
    _said, used, warned = place.run()
    assert not used
    assert warned.count("packed_modules: nothing is kept for the next run: ") == 1
    index.rmdir()
    assert place.run()[1:] == (False, "")
    assert place.run()[1:] == (True, "")


def test_a_directory_where_others_may_write_is_not_used(place: Place, tmp_path: Path) -> None:
    place.kept.chmod(0o770)
    _said, used, warned = place.run()
    assert not used
    assert f"packed_modules: {place.kept} is not used, because it may be written to by others" in warned
    place.kept.chmod(0o755)
    assert place.run()[1:] == (True, "")
    (tmp_path / "file").touch()
    _said, used, warned = place.run(FLASKHOST_PACKED_MODULES=str(tmp_path / "file"))
    assert not used
    assert f"packed_modules: {tmp_path}/file cannot be used: " in warned


def test_versions_that_nobody_uses_any_longer_go(place: Place) -> None:
    former, others = place.kept / "former", place.kept / "others"
    for folder in (former, others):
        folder.mkdir()
    (former / "index.json").touch()
    os.utime(former, (0, 0))
    os.utime(others, (0, 0))
    place.change("modules", "say", "six ", "one ")
    place.run()
    assert (former.exists(), others.exists()) == (False, True)


def test_a_packed_module_keeps_its_bytecode_unless_that_is_turned_off(place: Place) -> None:
    assert place.beginnings() == ["itself"]
    place.change("modules", "say", "one ", "two ")
    assert place.run()[1:] == (False, "")
    assert place.second_keeps, "also in the run that has packed it"
    assert place.run(FLASKHOST_KEPT_BYTECODE="false")[1:] == (False, "")
    assert not place.second_keeps
    assert place.beginnings() == ["ModuleNotFoundError: No module named 'flaskhost_kept_bytecode'", "itself"]
