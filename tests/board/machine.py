# SPDX-License-Identifier: GPL-3.0-or-later
"""A virtual board: qemu with the processor and the memory of a small Raspberry Pi. It is translated, so a tenth as fast as a box."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from boxlib.system import need

from tests.board import disk

MEMORY_MB, CORES = 512, 2
# of this machine alone; its ports 22 and 80 are the board's
ADDRESS = "127.88.0.1"
BOOT_SECONDS = 600
_MIB = 1024  # KiB


@dataclass(frozen=True)
class Memory:
    """What of its memory a board has taken at most, in MiB, as its kernel tells."""

    total: float
    # services and apps: what no file can bring back
    programs: float
    # the same, the kernel's own, and files that cannot go at the moment
    taken: float
    # of that compressed, in memory too
    swapped: float
    # processes that were ended for want of memory
    killed: int

    @classmethod
    def read(cls, log: str) -> Memory:
        """From the lines that :data:`WATCH` writes."""
        looks: list[dict[str, int]] = []
        for line in log.splitlines():
            name, _, value = line.replace(":", " ").partition(" ")
            if name == "MemTotal":
                looks.append({})
            if looks and value.split():
                looks[-1][name] = int(value.split()[0])
        whole = [look for look in looks if len(look) == len(_NAMES)]
        swapped = [look["SwapTotal"] - look["SwapFree"] for look in whole]
        return cls(
            whole[-1]["MemTotal"] / _MIB,
            max(look["AnonPages"] + look["Shmem"] + gone for look, gone in zip(whole, swapped, strict=True)) / _MIB,
            max(look["MemTotal"] - look["MemAvailable"] for look in whole) / _MIB,
            max(swapped) / _MIB,
            whole[-1]["oom_kill"],
        )

    def __str__(self) -> str:
        return (
            f"{self.programs:.0f} MiB of services and the app at most, {self.taken:.0f} of {self.total:.0f} MiB taken with the "
            f"kernel's own, {self.swapped:.0f} MiB compressed, {self.killed} processes ended for want of memory"
        )


_NAMES = ("MemTotal", "MemAvailable", "AnonPages", "Shmem", "SwapTotal", "SwapFree", "oom_kill")
# in the order of /proc/meminfo; a look takes a twentieth of a second there
WATCH = (
    "while sleep 1; do grep -hE '^(MemTotal|MemAvailable|AnonPages|Shmem|SwapTotal|SwapFree|oom_kill)[: ]' "
    "/proc/meminfo /proc/vmstat; done"
)
_LOG = "/run/board-memory"


class Board:
    """The running board, in a ``with`` block.

    :param build: directory for its disk, its key and its console.
    """

    def __init__(self, build: Path) -> None:
        self._build = build
        self.key, self.known_hosts = build / "id_ed25519", build / "known_hosts"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Board:
        need("qemu-system-aarch64", ["qemu-system-arm"], "Install qemu for arm64 machines.")
        self._build.mkdir(parents=True, exist_ok=True)
        self.known_hosts.unlink(missing_ok=True)
        if not self.key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        kernel, initial, card = disk.make(self._build, self.key.with_suffix(".pub").read_text().strip())
        ports = ",".join(f"hostfwd=tcp:{ADDRESS}:{port}-:{port}" for port in (22, 80))
        self._process = subprocess.Popen(
            [
                "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a53", "-smp", str(CORES), "-m", str(MEMORY_MB),
                "-accel", "tcg,thread=multi", "-nodefaults", "-display", "none",
                "-serial", f"file:{self._build / 'console'}",
                "-kernel", kernel, "-initrd", initial, "-append", "console=ttyAMA0",
                "-drive", f"file={card},format=raw,if=none,id=card,cache=unsafe",
                "-device", "virtio-blk-pci,drive=card",
                "-netdev", f"user,id=net,ipv6=off,{ports}", "-device", "virtio-net-pci,netdev=net,romfile=",
            ],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            self.wait()
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def run(self, command: str, user: str = "pi") -> subprocess.CompletedProcess[str]:
        """A shell command as root, over ssh."""
        return subprocess.run(
            [
                "ssh", "-i", self.key, "-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "StrictHostKeyChecking=accept-new",
                "-o", "BatchMode=yes", "-o", "ConnectTimeout=30", f"{user}@{ADDRESS}", f"sudo sh -c {_quoted(command)}",
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def wait(self, user: str = "pi") -> None:
        """Until it has booted and lets us in."""
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline:
            if self._process and self._process.poll() is not None:
                break
            state = self.run("systemctl is-system-running --wait", user).stdout.strip()
            if state in ("running", "degraded"):
                return
            time.sleep(2)
        console = (self._build / "console").read_text(errors="replace")
        raise TimeoutError("The board is not up.\n" + "\n".join(console.splitlines()[-30:]))

    def watch(self) -> None:
        """Have the board look at its memory from now on, until it boots again."""
        command = (
            f"systemd-run --quiet --unit=board-memory --property=StandardOutput=append:{_LOG} sh -c {_quoted(WATCH)}"
        )
        done = self.run(command)
        if done.returncode:
            raise OSError(done.stderr)

    def memory(self) -> Memory:
        """What it has taken since."""
        # whether site.yml has made the admin depends on how far it came
        logs = (self.run(f"cat {_LOG}", user).stdout for user in ("ops", "pi"))
        return Memory.read(next(log for log in logs if log))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
