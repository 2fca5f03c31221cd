# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup public_keys: files, and private keys that have none beside them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.flaskhost.stack.plugins.lookup.public_keys import LookupModule


def _pair(path: Path, passphrase: str = "") -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "me", "-f", str(path)], check=True)
    return path.with_name(path.name + ".pub").read_text().strip()


def test_files_in_their_order_each_key_once(tmp_path: Path) -> None:
    first, second = _pair(tmp_path / "a"), _pair(tmp_path / "b")
    (tmp_path / "both.pub").write_text(f"# mine\n{second}\n\n{first}\n")
    files = [str(tmp_path / name) for name in ("b.pub", "none.pub", "both.pub")]
    assert LookupModule().run(files) == [second, first]


def test_a_private_key_without_its_public_file_tells_it(tmp_path: Path) -> None:
    public = _pair(tmp_path / "cloud.pem")
    (tmp_path / "cloud.pem.pub").unlink()
    told = LookupModule().run([str(tmp_path / "cloud.pem.pub")])
    assert [key.split()[:2] for key in told] == [public.split()[:2]]


def test_one_with_a_passphrase_is_passed_over(tmp_path: Path) -> None:
    _pair(tmp_path / "locked", passphrase="long enough")
    (tmp_path / "locked.pub").unlink()
    assert LookupModule().run([str(tmp_path / "locked.pub"), ".pub", ""]) == []


def test_home_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    public = _pair(tmp_path / "id")
    assert LookupModule().run(["~/id.pub"]) == [public]
