#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""The few facts this collection needs, in one quick call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_facts
short_description: Gathers the few facts that the roles of this collection need
version_added: "0.1.0"
description:
  - Takes a quarter of the time of C(setup) and adds what that does not know, such as the ssh port in use
    and the names of all installed packages, so that roles need not ask again.
options:
  cloud_init_timeout:
    description: Seconds to wait until cloud-init has finished on a host that is being born; it holds apt's lock and edits sshd.
    type: int
    default: 0
author: ["The flaskhost founders (@flaskhost)"]
attributes:
  check_mode: {support: full, description: Changes nothing.}
"""

EXAMPLES = r"""
- name: Gather what the roles need
  flaskhost.stack.host_facts:
"""

RETURN = r"""
ansible_facts:
  description: Facts, below C(ansible_facts.flaskhost).
  returned: always
  type: dict
  contains:
    flaskhost:
      description: All of them.
      type: dict
      contains:
        os:
          description: C(id), C(like) (list), C(codename), C(version) and C(name) of /etc/os-release.
          type: dict
        arch: {description: Machine name of the kernel, type: str, sample: x86_64}
        memory_mb: {description: RAM in MiB, type: int}
        cpus: {description: Number of processors this host may use, type: int}
        python: {description: Version of the system's python3, type: str, sample: 3.11.2}
        init: {description: Name of process 1, type: str, sample: systemd}
        uv: {description: Version of the uv that the app role installed; empty when there is none, type: str}
        packages: {description: Names of all installed packages, type: list, elements: str}
        ipv6: {description: Whether the kernel speaks IPv6, type: bool}
        cloud_init: {description: "none, running or done", type: str}
        ssh:
          description: C(port) and C(client) of this very connection (0 and empty when it is none), C(socket_activated).
          type: dict
"""

import glob
import os
import platform
import time

from ansible.module_utils.basic import AnsibleModule


def os_release(text: str) -> dict[str, object]:
    """Parse /etc/os-release."""
    pairs = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    plain = {key: value.strip().strip("\"'") for key, value in pairs.items()}
    return {
        "id": plain.get("ID", ""),
        "like": plain.get("ID_LIKE", "").split(),
        "codename": plain.get("VERSION_CODENAME", ""),
        "version": plain.get("VERSION_ID", ""),
        "name": plain.get("PRETTY_NAME", ""),
    }


def memory_mb(meminfo: str) -> int:
    """RAM in MiB from the text of /proc/meminfo."""
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return 0


def ssh_connection(pid: int) -> tuple[int, str]:
    """Port of this host and address of the client of the ssh connection that process ``pid`` belongs to.

    sudo takes SSH_CONNECTION out of the environment, so the parents are asked as well.
    """
    while pid > 1:
        try:
            with open(f"/proc/{pid}/environ", "rb") as handle:
                variables = handle.read().split(b"\0")
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as handle:
                pid = int(handle.read().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            break
        for variable in variables:
            if variable.startswith(b"SSH_CONNECTION="):
                parts = variable.partition(b"=")[2].decode().split()
                return int(parts[3]), parts[0]
    return 0, ""


def cloud_init_state() -> str:
    """Whether cloud-init still works on this host."""
    if not os.path.exists("/usr/bin/cloud-init") or os.path.exists("/etc/cloud/cloud-init.disabled"):
        return "none"
    return "done" if os.path.exists("/run/cloud-init/result.json") else "running"


def uv_version() -> str:
    """Version of the uv below /opt/flaskhost, when it is installed whole."""
    if not os.path.exists("/opt/flaskhost/uv/installed"):
        return ""
    found = glob.glob("/opt/flaskhost/uv/lib/python3*/site-packages/uv-*.dist-info")
    return os.path.basename(found[0])[3 : -len(".dist-info")] if found else ""


def read(path: str) -> str:
    """The text of a file, empty when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except OSError:
        return ""


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={"cloud_init_timeout": {"type": "int", "default": 0}}, supports_check_mode=True
    )
    deadline = time.monotonic() + module.params["cloud_init_timeout"]
    while cloud_init_state() == "running" and time.monotonic() < deadline:
        time.sleep(1)
    packages: list[str] = []
    query = module.get_bin_path("dpkg-query")
    if query:
        lines = module.run_command([query, "-W", "-f", "${db:Status-Status} ${Package}\\n"])[1].splitlines()
        packages = sorted({line.split()[1] for line in lines if line.startswith("installed ")})
    port, client = ssh_connection(os.getpid())
    facts = {
        "os": os_release(read("/etc/os-release")),
        "arch": platform.machine(),
        "memory_mb": memory_mb(read("/proc/meminfo")),
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "init": read("/proc/1/comm").strip(),
        "packages": packages,
        "uv": uv_version(),
        "ipv6": os.path.exists("/proc/net/if_inet6"),
        "cloud_init": cloud_init_state(),
        "ssh": {
            "port": port,
            "client": client,
            "socket_activated": os.path.exists("/run/systemd/units/") and _active(module, "ssh.socket"),
        },
    }
    module.exit_json(changed=False, ansible_facts={"flaskhost": facts})


def _active(module: AnsibleModule, unit: str) -> bool:
    return bool(module.run_command(["systemctl", "is-active", "--quiet", unit])[0] == 0)


if __name__ == "__main__":
    main()
