# SPDX-License-Identifier: GPL-3.0-or-later
"""What the docker host counts of a box, all its processes together."""

from __future__ import annotations

import subprocess
from pathlib import Path

from boxlib import boxes, plan

# version 1, and version 2 with either driver of docker
_GROUPS = (
    "/sys/fs/cgroup/{controller}/docker/{id}",
    "/sys/fs/cgroup/system.slice/docker-{id}.scope",
    "/sys/fs/cgroup/docker/{id}",
)


def group(name: str, controller: str, file: str) -> Path:
    """The control group of a box that has a file.

    :param name: name of the box.
    :param controller: version 1 has a tree for each.
    """
    container = plan.container_name(boxes.CLONE, name)
    shown = subprocess.run(
        ["docker", "inspect", "--format", "{{.Id}}", container], capture_output=True, text=True, check=True
    )
    places = [Path(place.format(controller=controller, id=shown.stdout.strip())) for place in _GROUPS]
    return next(place for place in places if (place / file).exists())


def processor_seconds(name: str) -> float:
    """Seconds that the processes of a box have had a processor, since it started."""
    try:
        return int((group(name, "cpuacct", "cpuacct.usage") / "cpuacct.usage").read_text()) / 1e9
    except StopIteration:
        lines = (group(name, "", "cpu.stat") / "cpu.stat").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("usage_usec ")) / 1e6
