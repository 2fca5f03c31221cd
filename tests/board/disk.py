# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk of a virtual board of arm64: the image of such a box, with Debian's kernel, as it would lie on a memory card."""

from __future__ import annotations

import gzip
import shutil
import stat
import tarfile
from collections.abc import Iterable
from pathlib import Path

from boxlib import emulation
from boxlib.image import Recipe, ensure
from boxlib.system import need, run

SUITE, ARCH = "bookworm", "arm64"
DISK_MB = 4096
# what the first steps of the kernel need, in this order: the rest is loaded from the disk
MODULES = (
    "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk", "failover", "net_failover", "virtio_net",
    "crc16", "mbcache", "jbd2", "crc32c_generic", "libcrc32c", "ext4",
)  # fmt: skip
INIT = """\
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /disk
/bin/busybox mount -t devtmpfs none /dev
for module in /modules/*; do /bin/busybox insmod "$module"; done
until [ -b /dev/vda ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 -o noatime /dev/vda /disk
/bin/busybox mount -o move /dev /disk/dev
exec /bin/busybox switch_root /disk /lib/systemd/systemd
"""
# of a board that was just set up: a user with a key who may use sudo, the network, host keys. Run in the tree, under emulation
FIRST_BOOT = """\
set -eu
rm -rf /etc/systemd/system/service.d /.dockerenv
find /etc/systemd/system -maxdepth 1 -lname /dev/null -delete
ln -s /dev/null /etc/systemd/system/getty@tty1.service
ssh-keygen -A
systemd-machine-id-setup
passwd -q -l root
useradd -m -s /bin/bash -U -G sudo pi
echo 'pi ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/90-first-user
chmod 440 /etc/sudoers.d/90-first-user
install -d -m 700 -o pi -g pi /home/pi/.ssh
printf '%s\\n' "$1" > /home/pi/.ssh/authorized_keys
chown pi:pi /home/pi/.ssh/authorized_keys
echo pi > /etc/hostname
printf '127.0.0.1 localhost\\n127.0.1.1 pi\\n::1 localhost\\n' > /etc/hosts
rm -f /etc/resolv.conf
echo 'nameserver 10.0.2.3' > /etc/resolv.conf
echo '/dev/vda / ext4 noatime 0 0' > /etc/fstab
printf '[Match]\\nName=e*\\n[Network]\\nAddress=10.0.2.15/24\\nGateway=10.0.2.2\\n' > /etc/systemd/network/10-first.network
systemctl --quiet enable systemd-networkd.service
systemctl --quiet enable ssh.service
touch -d @0 /var/lib/apt/lists
"""


def make(build: Path, public_key: str) -> tuple[Path, Path, Path]:
    """Kernel, initial file system and disk of a board that lets the user ``pi`` in with that key."""
    need("mmdebstrap", ["mmdebstrap", "debian-archive-keyring"], "Install mmdebstrap.")
    need("depmod", ["kmod"], "Install kmod.")
    emulation.ready(ARCH)
    tree, parts, disk = build / "tree", build / "kernel", build / "disk"
    for path in (tree, parts):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    _unpack_image(build, tree)
    _unpack_kernel(build, parts)
    kernel = next((parts / "boot").glob("vmlinuz-*"))
    version = kernel.name.removeprefix("vmlinuz-")
    modules = {path.stem: path for path in (parts / "lib/modules" / version).rglob("*.ko")}
    initial = build / "initrd"
    initial.write_bytes(
        gzip.compress(archive((parts / "bin/busybox").read_bytes(), [modules[name] for name in MODULES]), 1)
    )
    shutil.move(parts / "lib/modules" / version, tree / "usr/lib/modules" / version)
    run("depmod", "-b", tree / "usr", version)
    run("chroot", tree, "/bin/sh", "-c", FIRST_BOOT, "first-boot", public_key)
    disk.unlink(missing_ok=True)
    run("mke2fs", "-q", "-t", "ext4", "-d", tree, disk, f"{DISK_MB}M")
    shutil.rmtree(tree)
    return kernel, initial, disk


def _unpack_image(build: Path, tree: Path) -> None:
    """The files of the box image."""
    image = ensure(Recipe.wanted(SUITE, None, like_ubuntu=False, arch=ARCH))
    container = run("docker", "create", image).stdout.strip()
    try:
        run("docker", "export", "--output", build / "image.tar", container)
    finally:
        run("docker", "rm", container)
    run("tar", "--numeric-owner", "--xattrs", "-xpf", build / "image.tar", "-C", tree)
    (build / "image.tar").unlink()
    (tree / "usr/lib/modules").mkdir(exist_ok=True)


def _unpack_kernel(build: Path, parts: Path) -> None:
    """Debian's kernel for boards, and busybox, without installing them."""
    archive = build / "kernel.tar"
    run(
        "mmdebstrap", "--quiet", "--variant=extract", f"--architectures={ARCH}",
        "--include=linux-image-arm64,busybox-static", SUITE, archive,
    )  # fmt: skip
    with tarfile.open(archive) as opened:
        wanted = [entry for entry in opened if entry.name.startswith(("./boot/", "./lib/modules/", "./bin/busybox"))]
        opened.extractall(parts, wanted, filter="tar")
    archive.unlink()


def archive(busybox: bytes, modules: Iterable[Path]) -> bytes:
    """An initial file system, in the form the kernel reads ("newc" of cpio)."""
    files = [(f"modules/{number:02}-{path.name}", path.read_bytes()) for number, path in enumerate(modules)]
    entries = [
        *((name, stat.S_IFDIR | 0o755, b"") for name in ("bin", "modules")),
        ("init", stat.S_IFREG | 0o755, INIT.encode()),
        ("bin/busybox", stat.S_IFREG | 0o755, busybox),
        *((name, stat.S_IFREG | 0o644, content) for name, content in files),
        ("TRAILER!!!", 0, b""),
    ]
    return b"".join(_entry(number, *entry) for number, entry in enumerate(entries, 1))


def _entry(number: int, name: str, mode: int, content: bytes) -> bytes:
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return b"".join(part + b"\0" * (-len(part) % 4) for part in (head, content))
