# SPDX-License-Identifier: GPL-3.0-or-later
"""The Vagrantfile, read by Vagrant itself in a container: which machines it makes, and that each provider takes it.

Machines are made by hand only (docs/testing.md): there is no VirtualBox here, and Vagrant's docker provider wants a docker of its own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.support.stack import ROOT, box

Vagrant = Callable[..., subprocess.CompletedProcess[str]]

# Vagrant looks for a provider's program before it reads the settings, and these two only for that
PROGRAMS = "cd /usr/local/bin; printf '#!/bin/sh\\necho 7.0.20r163906\\n' | tee VBoxManage > docker; chmod +x VBoxManage docker"
INSTALL = f"apt-get -q update && apt-get -qy install --no-install-recommends vagrant vagrant-libvirt && {PROGRAMS}"


@pytest.fixture(scope="module")
def vagrant() -> Iterator[Vagrant]:
    """``vagrant WORDS`` in a container that has the checkout at the same place, with variables of its environment."""
    image = box("image").splitlines()[-1]
    start = [
        "docker",
        "run",
        "--rm",
        "--detach",
        "--entrypoint=sleep",
        f"--volume={ROOT}:{ROOT}:ro",
        f"--workdir={ROOT}",
    ]
    container = subprocess.run([*start, image, "600"], capture_output=True, text=True, check=True).stdout.strip()
    try:
        made = subprocess.run(
            ["docker", "exec", container, "sh", "-c", INSTALL], capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stderr[-2000:]

        def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
            # the checkout is not to be written to
            given = {"VAGRANT_DOTFILE_PATH": "/tmp/vagrant", "FLASKHOST_VAGRANT_IMAGE": "a-box", **environment}
            options = [f"--env={key}={value}" for key, value in given.items()]
            command = ["docker", "exec", *options, container, "vagrant", *words]
            return subprocess.run(command, capture_output=True, text=True, check=False)

        yield run
    finally:
        subprocess.run(["docker", "rm", "--force", container], capture_output=True, check=False)


@pytest.mark.parametrize("fleet", ["", "1"], ids=["one", "fleet"])
@pytest.mark.parametrize("provider", ["virtualbox", "libvirt", "docker"])
def test_each_provider_takes_it(vagrant: Vagrant, provider: str, fleet: str) -> None:
    told = vagrant("validate", VAGRANT_DEFAULT_PROVIDER=provider, FLASKHOST_FLEET=fleet)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "validated successfully" in told.stdout


@pytest.mark.parametrize(
    ("fleet", "machines"), [("0", ["rehearsal"]), ("1", ["lb1", "web1", "web2", "db1"])], ids=["one", "fleet"]
)
def test_machines_are_the_hosts_of_the_inventory(vagrant: Vagrant, fleet: str, machines: list[str]) -> None:
    told = vagrant("status", "--machine-readable", FLASKHOST_FLEET=fleet, VAGRANT_DEFAULT_PROVIDER="docker")
    lines = [line.split(",") for line in told.stdout.splitlines()]
    assert [line[1] for line in lines if line[2] == "state"] == machines, told.stdout + told.stderr


@pytest.mark.parametrize("memory", ["much", "0", "1.5"])
def test_memory_that_is_none_is_refused_by_name(vagrant: Vagrant, memory: str) -> None:
    told = vagrant("validate", VAGRANT_DEFAULT_PROVIDER="libvirt", FLASKHOST_VAGRANT_MEMORY=memory)
    assert told.returncode != 0
    assert f"FLASKHOST_VAGRANT_MEMORY ({memory}) must be MiB" in told.stdout + told.stderr
