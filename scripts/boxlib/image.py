# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of boxes: Debian built by mmdebstrap from the Debian archive, or any Debian-like image of a registry.

An image is named after the hash of everything it is made from, so a changed recipe makes a new one by itself.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from . import emulation
from .system import Problem, locked, need, run, say, shared_dir

FILES = Path(__file__).parent / "files"
CERTIFICATES = Path("/usr/local/share/ca-certificates")
REPOSITORY = "flaskhost-box"
SUITES = ("bookworm", "trixie", "trixie-mysql")
ARCHS = ("amd64", "arm64")
# what was tried of those under emulation
ARCH_SUITES = ("bookworm", "trixie")
# a host as a fresh install has it, and nothing a role should bring itself
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "libpam-systemd", "udev", "kmod", "procps", "iproute2", "iputils-ping",
    "openssh-server", "sudo", "python3", "python3-apt", "ca-certificates", "curl", "cron", "logrotate", "gpg", "less",
)  # fmt: skip
# under user-mode emulation no unit can be given credentials (it ends with status 243), and none needs any in a box
UNDER_QEMU = "[Service]\nLoadCredential=\nLoadCredentialEncrypted=\nSetCredential=\nImportCredential=\n"
DOCKERFILE = """\
FROM {base}
COPY tree/ /
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {packages} \\
 && /usr/sbin/box-prepare {additions}
ENTRYPOINT []
CMD ["/usr/sbin/box-init"]
"""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What an image is made from: a Debian suite of the archive, or (if `base` is given) an image of a registry."""

    suite: str = "bookworm"
    base: str = ""
    like_ubuntu: bool = False
    # of another processor, which this machine's kernel hands to qemu program by program; empty for its own
    arch: str = ""

    @classmethod
    def wanted(cls, suite: str | None, base: str | None, like_ubuntu: bool, arch: str | None = None) -> Recipe:
        """From the command line, else from FLASKHOST_BOX_IMAGE or FLASKHOST_BOX_SUITE, else Debian bookworm."""
        if arch and arch != own_arch():
            if base or like_ubuntu or (suite or "bookworm") not in ARCH_SUITES:
                raise Problem(f"--arch {arch} goes with --suite {' or '.join(ARCH_SUITES)} only.")
            return cls(suite or "bookworm", "", False, arch)
        if not suite and not base:
            base = os.environ.get("FLASKHOST_BOX_IMAGE", "")
            suite = os.environ.get("FLASKHOST_BOX_SUITE", "bookworm")
        if base:
            return cls("", base, like_ubuntu)
        if suite not in SUITES:
            raise Problem(f"The suite {suite!r} is not one of {', '.join(SUITES)}.")
        return cls(suite, "", like_ubuntu or suite == "trixie-mysql")

    @property
    def additions(self) -> list[str]:
        """Arguments of files/box-prepare."""
        return ["like-ubuntu"] * self.like_ubuntu + ["mysql"] * (self.suite == "trixie-mysql")

    @property
    def packages(self) -> list[str]:
        """Debian packages of the image."""
        return [*PACKAGES, *["needrestart"] * self.like_ubuntu]

    @property
    def title(self) -> str:
        """For people and tags: `bookworm`, `ubuntu-24.04`, `trixie-like-ubuntu`."""
        name = re.sub(r"[^a-z0-9.]+", "-", (self.base or self.suite).lower()).strip("-.")
        name = f"{name}-{self.arch}" if self.arch else name
        return f"{name}-like-ubuntu" if self.like_ubuntu and self.suite != "trixie-mysql" else name

    @property
    def tag(self) -> str:
        """Name of the image, with the hash of all that goes into it."""
        kind = (self.suite, self.base, self.like_ubuntu)
        parts = [repr(kind), repr(self.packages), DOCKERFILE, *([self.arch, UNDER_QEMU] if self.arch else [])]
        parts += [f"{path.name}\n{path.read_text()}" for path in sorted(FILES.iterdir()) + certificates()]
        return f"{REPOSITORY}:{self.title}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:10]}"


def own_arch() -> str:
    """The architecture of this machine, by Debian's name."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def certificates() -> list[Path]:
    """Certificate authorities this machine trusts in addition (a proxy's, say); boxes trust them too."""
    return sorted(CERTIFICATES.glob("*.crt"))


def ensure(recipe: Recipe) -> str:
    """Name of the image, which is built now if this machine does not have it (half a minute)."""
    tag = recipe.tag
    if recipe.arch:
        emulation.ready(recipe.arch)
    if _exists(tag):
        return tag
    with locked(shared_dir() / "image.lock"):
        if _exists(tag):
            return tag  # another run was faster
        say(
            f"Building the image of {recipe.title} boxes, once ({'some five minutes' if recipe.arch else 'about half a minute'}) ..."
        )
        with tempfile.TemporaryDirectory(prefix="flaskhost-image-") as name:
            directory = Path(name)
            directory.chmod(0o755)  # mmdebstrap of an ordinary user reads it under another id
            if recipe.base:
                _build_from_base(recipe, tag, directory)
            else:
                _build_from_archive(recipe, tag, directory)
    return tag


def _exists(tag: str) -> bool:
    return run("docker", "image", "inspect", "--format", "ok", tag, check=False).returncode == 0


def _stage(tree: Path) -> None:
    """Our files at their places in the image."""
    for source, target in [
        (FILES / "box-init", "usr/sbin/box-init"),
        (FILES / "box-prepare", "usr/sbin/box-prepare"),
        *((path, f"usr/local/share/ca-certificates/{path.name}") for path in certificates()),
    ]:
        (tree / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, tree / target)
        (tree / target).chmod(0o644 if target.endswith(".crt") else 0o755)


def _build_from_archive(recipe: Recipe, tag: str, directory: Path) -> None:
    """mmdebstrap with its own default mirror; the tar goes straight into docker."""
    need("mmdebstrap", ["mmdebstrap", "debian-archive-keyring"], _WITHOUT_MMDEBSTRAP)
    _stage(directory / "tree")
    if recipe.arch:
        unit = directory / "tree/etc/systemd/system/service.d/50-qemu.conf"
        unit.parent.mkdir(parents=True)
        unit.write_text(UNDER_QEMU)
        unit.chmod(0o644)
    with tarfile.open(directory / "files.tar", "w") as archive:
        for path in sorted((directory / "tree").rglob("*")):
            if path.is_file():
                archive.add(path, str(path.relative_to(directory / "tree")), filter=_as_root)
    command = [
        "mmdebstrap", "--quiet", "--variant=minbase", "--components=main", f"--include={','.join(recipe.packages)}",
        *([f"--architectures={recipe.arch}"] if recipe.arch else []),
        f"--customize-hook=tar-in {directory}/files.tar /",
        f'--customize-hook=chroot "$1" /usr/sbin/box-prepare {" ".join(recipe.additions)}',
        recipe.suite.removesuffix("-mysql"), "-",
    ]  # fmt: skip
    log = directory / "log"
    with log.open("w") as errors:
        building = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        importing = subprocess.run(
            ["docker", "import", "--change", 'CMD ["/usr/sbin/box-init"]', "-", f"{tag}-unproven"],
            stdin=building.stdout, stdout=subprocess.DEVNULL, stderr=errors, check=False,
        )  # fmt: skip
        if building.stdout:
            building.stdout.close()
        built = building.wait()
    # half a tar may import well: the name that counts is given last
    if built == 0 and importing.returncode == 0:
        run("docker", "tag", f"{tag}-unproven", tag)
    run("docker", "rmi", f"{tag}-unproven", check=False)
    if built or importing.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise Problem(f"The image could not be built:\n{tail}")


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _build_from_base(recipe: Recipe, tag: str, directory: Path) -> None:
    """A small Dockerfile on an image of the registry docker is set up for."""
    _stage(directory / "tree")
    text = DOCKERFILE.format(base=recipe.base, packages=" ".join(recipe.packages), additions=" ".join(recipe.additions))
    (directory / "Dockerfile").write_text(text)
    # docker clients come with BuildKit, without it, or with a broken one
    kit = run("docker", "buildx", "version", check=False).returncode == 0
    run("docker", "build", "--quiet", "--tag", tag, directory, env={"DOCKER_BUILDKIT": str(int(kit))})


_WITHOUT_MMDEBSTRAP = (
    "Install it (Debian and Ubuntu have a package), or let docker fetch an image: "
    "FLASKHOST_BOX_IMAGE=debian:bookworm (or ubuntu:24.04)."
)
