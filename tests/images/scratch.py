"""Builds a stage of a Dockerfile without a container engine: each instruction in a scratch root of this machine.

``unshare --mount python -m tests.images.scratch DOCKERFILE STAGE DEBIAN FOLDER [COMMAND…]`` runs the stage's RUN, COPY,
ENV, WORKDIR and USER lines, those of the stages it needs before them, and then the command in what came of it. What it
mounts is gone when it ends.

In place of ``python:…-bookworm`` it takes a fresh Debian 12 with Debian's Python (the folder DEBIAN); in place of
images that bring a compiler, a layer over this machine with its own. An image that is neither cannot be built here.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from stack.compose_check.context import ignore_patterns, is_sent
from stack.compose_check.dockerfile import Dockerfile, Instruction, Stage, parse_dockerfile
from stack.layout import REPOSITORY

TOOLCHAINS = {"golang": {"GOBIN": "/go/bin"}, "maven": {}}
"""Images whose place this machine takes, and what must be said so that it writes where the image would."""

CHROOT = shutil.which("chroot") or "/usr/sbin/chroot"
"""By its whole path: a program is looked for on the PATH that it is given, and an image's may be short."""

WAY_OUT = ("PIP_CERT", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT", "SSL_CERT_FILE", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
"""Variables that say how this machine reaches package registries; a real build has its own way."""


class CannotBuildError(Exception):
    """A stage cannot be built here; the message says why."""


@dataclass
class Root:
    """The files of a stage and what its instructions have set so far."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0"

    def at(self, path: str) -> Path:
        return self.folder / str(Path("/", self.workdir, path)).lstrip("/")

    @property
    def home(self) -> str:
        """Home of the user, as an engine takes it from the image's own list of users."""
        known = [line.split(":") for line in (self.folder / "etc/passwd").read_text().splitlines()]
        return next((one[5] for one in known if self.user in (one[0], one[2])), "/")

    def run(self, line: str) -> None:
        carried = {name: os.environ[name] for name in WAY_OUT if name in os.environ}
        default = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": self.home}
        command = [CHROOT, f"--userspec={self.user}", str(self.folder), "sh", "-c", f"cd {self.workdir} && {line}"]
        done = subprocess.run(
            command,
            env=carried | default | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(done.stdout[-4000:], flush=True)
        if done.returncode:
            raise CannotBuildError(f"ended with {done.returncode}: {line}")


@dataclass
class Builder:
    dockerfile: Dockerfile
    debian: Path
    folder: Path
    roots: dict[str, Root] = field(default_factory=dict)

    def build(self, stage: Stage) -> Root:
        """The root of a stage, with those it copies from built before it."""
        if stage.name not in self.roots:
            root = self._begin(stage)
            self.roots[stage.name] = root
            for instruction in stage.instructions:
                self._do(root, instruction)
        return self.roots[stage.name]

    def _begin(self, stage: Stage) -> Root:
        folder = self.folder / stage.name
        earlier = next((one for one in self.dockerfile.stages if one.name == stage.base and one is not stage), None)
        image = stage.base.partition(":")[0]
        if earlier:
            before = self.build(earlier)
            _copy_root(before.folder, folder)
            root = Root(folder, dict(before.environment), before.workdir, before.user)
        elif image == "python":
            _copy_root(self.debian, folder)
            root = Root(folder)
        elif image in TOOLCHAINS:
            _layer_over_machine(folder, self.folder / f"{stage.name}.layer")
            tools = {"PATH": os.environ["PATH"]}
            root = Root(folder, tools | TOOLCHAINS[image])
        else:
            raise CannotBuildError(f"{stage.base} is not Debian with what this machine has")
        for kernel in ("proc", "dev", "sys"):
            (folder / kernel).mkdir(exist_ok=True)
            subprocess.run(["mount", "--rbind", f"/{kernel}", str(folder / kernel)], check=True)
        return root

    def _do(self, root: Root, instruction: Instruction) -> None:
        began = time.monotonic()
        match instruction.keyword:
            case "RUN":
                print(f"--- line {instruction.line}: RUN {instruction.text}", flush=True)
                root.run(instruction.text)
                print(f"    {time.monotonic() - began:.0f} s", flush=True)
            case "COPY":
                self._copy(root, instruction.text.split())
            case "ENV":
                for word in shlex.split(instruction.text):
                    name, _, value = word.partition("=")
                    root.environment[name] = value
            case "WORKDIR":
                root.workdir = str(Path(root.workdir, instruction.text))
                root.at(".").mkdir(parents=True, exist_ok=True)
            case "USER":
                root.user = instruction.text
            case "ADD":
                raise CannotBuildError(f"nothing can be fetched here: ADD {instruction.text.split()[-2]}")

    def _copy(self, root: Root, words: list[str]) -> None:
        origin = next((word.removeprefix("--from=") for word in words if word.startswith("--from=")), None)
        *sources, target = (word for word in words if not word.startswith("--"))
        stage = self.dockerfile.stage(origin) if origin else None
        for source in sources:
            there = self.build(stage).at(source) if stage else REPOSITORY / source
            into = root.at(target)
            if len(sources) > 1 or target.endswith("/"):
                into = into if there.is_dir() else into / there.name
            into.parent.mkdir(parents=True, exist_ok=True)
            if stage:
                subprocess.run(["cp", "-a", "-T", str(there), str(into)], check=True)
            else:
                _copy_context(there, into)


def _copy_root(source: Path, target: Path) -> None:
    """A root again, without what is mounted in it."""
    subprocess.run(["cp", "-a", "-x", "-T", str(source), str(target)], check=True)


def _layer_over_machine(folder: Path, layer: Path) -> None:
    (layer / "upper").mkdir(parents=True)
    (layer / "work").mkdir()
    folder.mkdir()
    options = f"lowerdir=/,upperdir={layer / 'upper'},workdir={layer / 'work'}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(folder)], check=True)


def _copy_context(source: Path, target: Path) -> None:
    """A file or folder of the repository, as far as .dockerignore lets a build have it."""
    patterns = ignore_patterns(REPOSITORY)

    def left_out(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if not is_sent(str(Path(folder, name).relative_to(REPOSITORY)), patterns)]

    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=left_out, dirs_exist_ok=True)
    elif is_sent(str(source.relative_to(REPOSITORY)), patterns):
        shutil.copy(source, target)
    else:
        raise CannotBuildError(f".dockerignore leaves {source.name} out")


def main(path: str, target: str, debian: str, folder: str, *command: str) -> int:
    dockerfile = parse_dockerfile((REPOSITORY / path).read_text())
    stage = dockerfile.stage(target)
    try:
        if stage is None:
            raise CannotBuildError(f"there is no stage {target}")
        root = Builder(dockerfile, Path(debian), Path(folder)).build(stage)
        for line in command:
            print(f"--- {line}", flush=True)
            root.run(line)
    except CannotBuildError as error:
        print(f"{path}: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
