# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures: what was there is noted before it is changed, and comes back when a measure is off."""

from __future__ import annotations

import getpass
import grp
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flaskhost.stack.plugins.module_utils import _measures
from ansible_collections.flaskhost.stack.plugins.module_utils._fileset import apply_fileset
from ansible_collections.flaskhost.stack.plugins.module_utils._measures import (
    Memory,
    Settings,
    edited,
    file_entries,
    live_keys,
    sysctl_text,
)

ROOT = Path(__file__).resolve().parents[2]
OWN = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}
WHEEL = {"match": r"^auth\s+required", "line": "auth required wheel", "after": "^auth sufficient"}


class Host:
    """A host's files below a temporary directory."""

    def __init__(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.base = base
        for name, path in {
            "PROC_SYS": "proc",
            "SYSCTL_FILE": "sysctl.conf",
            "FSTAB": "fstab",
            "MOUNTS": "mounts",
        }.items():
            monkeypatch.setattr(_measures, name, str(base / path))
        self.file("mounts", "tmpfs /dev/shm tmpfs rw,nosuid 0 0\n")
        self.remounted: list[tuple[str, str]] = []
        monkeypatch.setattr(_measures, "_set_mount", self._remount)

    def _remount(self, path: str, option: str) -> None:
        self.remounted.append((path, option))
        self.file("mounts", f"tmpfs {path} tmpfs rw,nosuid,{option} 0 0\n")

    def file(self, name: str, text: str) -> Path:
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def text(self, name: str) -> str:
        return (self.base / name).read_text()

    def run(self, *measures: dict[str, Any], check: bool = False) -> Settings:
        """What the module does."""
        memory = Memory(str(self.base / "memory.json"))
        entries = [{**OWN, **entry} for entry in file_entries(list(measures), memory)]
        if not check:
            memory.write()
        apply_fileset(entries, [], check=check)
        settings = Settings(memory, check)
        settings.apply(list(measures))
        if not check:
            memory.close()
        return settings


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def measure(enabled: bool = True, **parts: Any) -> dict[str, Any]:
    return {"name": "one", "enabled": enabled, **parts}


@pytest.mark.parametrize(
    ("text", "wanted", "after", "former"),
    [
        ("a\nauth sufficient\nb\n", "auth required wheel", "a\nauth sufficient\nauth required wheel\nb\n", None),
        ("a\n", "auth required wheel", "a\nauth required wheel\n", None),
        ("auth  required other\n", "auth required wheel", "auth required wheel\n", "auth  required other"),
        ("auth required x\nauth required y\n", "auth required wheel", "auth required wheel\n", "auth required x"),
        ("a\nauth required wheel\n", None, "a\n", "auth required wheel"),
        ("a\n", None, "a\n", None),
    ],
)
def test_a_line_of_a_file_of_others(text: str, wanted: str | None, after: str, former: str | None) -> None:
    assert edited(text, WHEEL, wanted) == (after, former)


def test_the_file_for_the_next_boot_has_what_is_on_and_forgives_what_is_refused() -> None:
    text = sysctl_text([measure(sysctl={"net.ipv4.conf.*.rp_filter": 2, "a.b": 1}), measure(False, sysctl={"c.d": 1})])
    assert text.splitlines()[1:] == [
        "# one",
        "-net.ipv4.conf.all.rp_filter = 2",
        "-net.ipv4.conf.default.rp_filter = 2",
        "-net.ipv4.conf.*.rp_filter = 2",
        "-a.b = 1",
    ]


def test_a_star_is_every_interface_there_is(host: Host) -> None:
    for name in ("all", "default", "eth0", "eth0.5"):
        host.file(f"proc/net/ipv4/conf/{name}/rp_filter", "0\n")
    keys = live_keys("net.ipv4.conf.*.rp_filter")
    assert keys == [f"net.ipv4.conf.{name}.rp_filter" for name in ("all", "default", "eth0/5", "eth0")]
    assert host.run(measure(sysctl={"net.ipv4.conf.*.rp_filter": 2})).changed == [f"{key}: 0 -> 2" for key in keys]
    assert host.text("proc/net/ipv4/conf/eth0.5/rp_filter") == "2\n"


def test_a_setting_of_the_kernel_comes_back(host: Host) -> None:
    host.file("proc/kernel/x", "7\n")
    on, off = measure(sysctl={"kernel.x": 1, "kernel.unknown": 1}), measure(False, sysctl={"kernel.x": 1})
    assert host.run(on, check=True).changed == ["kernel.x: 7 -> 1"]
    assert host.text("proc/kernel/x") == "7\n"
    assert host.run(on).changed == ["kernel.x: 7 -> 1"]
    assert host.run(on).changed == []
    assert host.run(off).changed == ["kernel.x: 1 -> 7"]
    assert not (host.base / "sysctl.conf").exists()
    assert host.run(off).changed == []


def test_what_somebody_else_set_meanwhile_stays(host: Host) -> None:
    host.file("proc/kernel/x", "7\n")
    host.run(measure(sysctl={"kernel.x": 1}))
    host.file("proc/kernel/x", "5\n")
    assert host.run(measure(False, sysctl={"kernel.x": 1})).changed == []
    assert host.text("proc/kernel/x") == "5\n"


def test_what_the_kernel_refuses_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.file("proc/kernel/x", "7\n")

    def refuse(key: str, value: str) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(_measures, "_set_sysctl", refuse)
    settings = host.run(measure(sysctl={"kernel.x": 1}))
    assert (settings.changed, settings.refused) == ([], ["one: kernel.x stays 7 (Read-only file system)"])


def test_what_the_kernel_changes_along_with_another_setting_comes_back_too(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As accept_redirects does, which the kernel sets to the contrary of ip_forward."""
    host.file("proc/net/ip_forward", "1\n")
    host.file("proc/net/accept", "0\n")
    real = _measures._set_sysctl

    def kernel(key: str, value: str) -> None:
        real(key, value)
        if key == "net.ip_forward":
            real("net.accept", str(1 - int(value)))

    monkeypatch.setattr(_measures, "_set_sysctl", kernel)
    sysctl = {"net.ip_forward": 0, "net.accept": 0}
    host.run(measure(sysctl=sysctl))
    assert (host.text("proc/net/ip_forward"), host.text("proc/net/accept")) == ("0\n", "0\n")
    host.file("proc/net/ip_forward", "0\n")
    assert host.run(measure(sysctl=sysctl)).changed == []
    host.run(measure(False, sysctl=sysctl))
    assert (host.text("proc/net/ip_forward"), host.text("proc/net/accept")) == ("1\n", "0\n")


def test_modes_come_back_and_nothing_is_made(host: Host) -> None:
    path = host.file("crontab", "x")
    path.chmod(0o644)
    modes = {str(path): "0600", str(host.base / "none"): "0600"}
    assert host.run(measure(modes=modes)).changed == [f"{path}: 0644 -> 0600"]
    assert host.run(measure(modes=modes)).changed == []
    assert host.run(measure(False, modes=modes)).changed == [f"{path}: 0600 -> 0644"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_file_and_what_stood_in_its_place(host: Host) -> None:
    issue = host.file("issue", "Debian\n")
    files = [{"path": str(host.base / name), "content": "private\n", "mode": "0600"} for name in ("issue", "new")]
    host.run(measure(files=files))
    assert (host.text("issue"), host.text("new")) == ("private\n", "private\n")
    host.run(measure(files=files))
    for _time in range(2):
        host.run(measure(False, files=files))
        assert issue.read_text() == "Debian\n"
        assert not (host.base / "new").exists()


def test_a_file_that_somebody_wrote_anew_stays(host: Host) -> None:
    issue = host.file("issue", "Debian\n")
    files = [{"path": str(issue), "content": "private\n", "mode": "0600"}]
    host.run(measure(files=files))
    host.file("issue", "mine\n")
    host.run(measure(False, files=files))
    assert issue.read_text() == "mine\n"


def test_lines_come_back(host: Host) -> None:
    login = host.file("login.defs", "UMASK 022\nA 1\n")
    lines = [
        {"path": str(login), "match": "^UMASK ", "line": "UMASK 027"},
        {"path": str(login), "match": "^B ", "line": "B 2"},
    ]
    host.run(measure(lines=lines))
    assert login.read_text() == "UMASK 027\nA 1\nB 2\n"
    host.run(measure(lines=lines))
    host.run(measure(False, lines=lines))
    assert login.read_text() == "UMASK 022\nA 1\n"


def test_a_line_that_was_there_already_stays(host: Host) -> None:
    login = host.file("login.defs", "UMASK 027\n")
    lines = [{"path": str(login), "match": "^UMASK ", "line": "UMASK 027"}]
    host.run(measure(lines=lines))
    host.run(measure(False, lines=lines))
    assert login.read_text() == "UMASK 027\n"


def test_a_mount_option_lasts_and_comes_back(host: Host) -> None:
    fstab = host.file("fstab", "/dev/sda1 / ext4 defaults 0 1\n")
    on, off = measure(mounts={"/dev/shm": "noexec"}), measure(False, mounts={"/dev/shm": "noexec"})
    assert host.run(on).changed == ["/dev/shm: exec -> noexec"]
    line = "tmpfs /dev/shm tmpfs defaults,nosuid,nodev,noexec 0 0\n"
    assert fstab.read_text() == f"/dev/sda1 / ext4 defaults 0 1\n{line}"
    assert host.run(on).changed == []
    assert fstab.read_text().count(line) == 1
    assert host.run(off).changed == ["/dev/shm: noexec -> exec"]
    assert fstab.read_text() == "/dev/sda1 / ext4 defaults 0 1\n"
    assert host.remounted == [("/dev/shm", "noexec"), ("/dev/shm", "exec")]


def test_fstab_is_left_alone_where_the_host_does_it_by_itself(host: Host) -> None:
    fstab = host.file("fstab", "# none\n")
    host.file("mounts", "shm /dev/shm tmpfs rw,noexec 0 0\n")
    assert host.run(measure(mounts={"/dev/shm": "noexec"})).changed == []
    assert fstab.read_text() == "# none\n"


def test_a_run_that_died_still_knows_what_was_there(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.file("proc/kernel/x", "7\n")
    on, off = measure(sysctl={"kernel.x": 1}), measure(False, sysctl={"kernel.x": 1})
    host.run(on)
    monkeypatch.setattr(Memory, "close", lambda self: None)
    host.file("proc/kernel/x", "1\n")
    host.run(off)
    assert Memory(str(host.base / "memory.json")).of("sysctl")["kernel.x"] == {"was": "7", "set": "1"}


# --- the role


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / "roles" / "hardening" / path).read_text())


SPECS = read("meta/argument_specs.yml")["argument_specs"]["main"]["options"]
SWITCHES = {name for name, option in SPECS.items() if option["type"] == "bool"}
VARS = [read(f"vars/main/{path.name}") for path in sorted((ROOT / "roles/hardening/vars/main").iterdir())]
LISTS = {key: value for one in VARS for key, value in one.items() if key != "__hardening_routers"}
MEASURES = [one for value in LISTS.values() for one in value]


def test_each_switch_turns_one_measure_on() -> None:
    used = sorted(one["enabled"].strip("{} ") for one in MEASURES)
    assert used == sorted(SWITCHES)


def test_all_lists_of_measures_are_applied() -> None:
    tasks = (ROOT / "roles/hardening/tasks/main.yml").read_text()
    assert all(name in tasks for name in LISTS)


def test_what_a_pi_boots_from_is_on_no_list() -> None:
    modules = [
        name for one in MEASURES for entry in one.get("files", []) for name in entry.get("vars", {}).get("modules", [])
    ]
    assert len(modules) > 10
    assert not {"vfat", "fat", "usb-storage", "uas", "squashfs", "overlay", "udf"} & set(modules)


def test_each_switch_has_reason_and_reference() -> None:
    for name in SWITCHES:
        what, *why, reference = SPECS[name]["description"]
        assert what, name
        assert why, name
        assert reference.startswith(("CIS ", "Lynis ")), name


def test_the_table_is_up_to_date() -> None:
    words = [sys.executable, str(ROOT / "scripts" / "measures"), "--stdout"]
    made = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert (ROOT / "docs" / "measures.md").read_text() == made, "run scripts/measures and commit docs/measures.md"
    assert all(f"`{name}`" in made for name in SWITCHES)
