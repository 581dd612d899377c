"""A fresh Debian 12, made with Debian's own bootstrap program, to run the Dockerfiles' lines in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import temporary_folder

OF_THIS_MACHINE = ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")
"""How this machine reaches package registries; a real build has its own way."""


def mirror() -> str:
    """Where this machine gets Debian 12 from."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = [line.split()[0] for line in listed.splitlines() if line.split()[1:] == ["bookworm", "main"]]
    assert found, "this machine's package sources name no Debian 12"
    return found[0]


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    with temporary_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def debian(scratch: Path) -> Path:
    """The root of a minimal Debian 12 with Debian's Python 3.11 where the official Python image has its own."""
    if os.geteuid() != 0:
        pytest.skip("a scratch root needs root: chroot, mount")
    package = scratch / "package"
    package.mkdir()
    subprocess.run(["apt-get", "download", "-qq", "debootstrap"], cwd=package, check=True)
    subprocess.run(["dpkg", "--extract", str(next(package.glob("*.deb"))), str(package)], check=True)
    root = scratch / "debian"
    packages = "ca-certificates,python3-venv,python3-pip"
    bootstrap = [str(package / "usr/sbin/debootstrap"), "--variant=minbase", f"--include={packages}", "bookworm"]
    done = subprocess.run(
        ["sh", *bootstrap, str(root), mirror()],
        env=os.environ | {"DEBOOTSTRAP_DIR": str(package / "usr/share/debootstrap")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    for name in OF_THIS_MACHINE:
        if Path("/", name).exists():
            (root / name).unlink(missing_ok=True)
            shutil.copy(Path("/", name), root / name)
    for folder in ("etc/apt/sources.list.d", "etc/apt/apt.conf.d"):
        for file in Path("/", folder).iterdir():
            if file.name.startswith(("debian", "99")):
                shutil.copy(file, root / folder / file.name)
    if list((root / "etc/apt/sources.list.d").iterdir()):
        (root / "etc/apt/sources.list").unlink()  # debootstrap's own, which knows no security updates
    # As in the official image: `python` and `pip` in /usr/local/bin, free to install.
    (root / "usr/lib/python3.11/EXTERNALLY-MANAGED").unlink()
    for name, program in {"python": "python3.11", "pip": "pip3"}.items():
        (root / "usr/local/bin" / name).symlink_to(f"/usr/bin/{program}")
    return root
