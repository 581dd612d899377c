"""Everything the containers mount or copy is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stack.compose_check.context import ignore_patterns, is_sent
from stack.compose_check.dockerfile import Dockerfile
from stack.compose_check.findings import Finding
from stack.compose_check.project import COMPOSE_FILE, Json, Project, Service

NEVER_IN_A_BUILD = (".git", ".venv", ".build", ".etar", ".env", "secrets")
"""What must not reach an image: a build sends everything that .dockerignore does not name."""


def mounted_files_exist(project: Project, made_secrets: frozenset[str]) -> Iterator[Finding]:
    """``made_secrets``: the names of the files that ``make secrets`` writes into ``secrets/``."""
    for service in project.services:
        for volume in service.config.get("volumes") or ():
            if volume["type"] == "bind":
                yield from _mounted(project, service, str(volume["source"]))
    for kind in ("configs", "secrets"):
        for name, one in (project.config.get(kind) or {}).items():
            yield from _named(project, kind, name, one, made_secrets)


def _mounted(project: Project, service: Service, source: str) -> Iterator[Finding]:
    path = project.relative(source)
    if path is None:
        yield Finding(
            COMPOSE_FILE,
            service.name,
            "mount-inside",
            f"{source} of the host is mounted, which is not this repository's",
            "use a named volume",
        )
    elif not Path(source).exists():
        yield Finding(
            COMPOSE_FILE,
            service.name,
            "mounted-file",
            f"{path} is mounted and does not exist: the engine would make an empty folder of it",
            "mend the path, or add the file",
        )


def _named(project: Project, kind: str, name: str, one: Json, made_secrets: frozenset[str]) -> Iterator[Finding]:
    source = one.get("file")
    if source is None:
        if kind == "secrets" or "content" not in one:
            yield Finding(COMPOSE_FILE, name, "mounted-file", f"{kind}.{name} is not a file", "give it a file")
        return
    path = project.relative(str(source))
    made = kind == "secrets" and path is not None and path.parent.name == "secrets" and path.name in made_secrets
    if not made and (kind == "secrets" or not Path(source).exists()):
        what = "`make secrets` does not make it" if kind == "secrets" else "it does not exist"
        yield Finding(
            COMPOSE_FILE, name, "mounted-file", f"{kind}.{name} is {path or source}, and {what}", "mend one of the two"
        )


def builds_find_their_files(project: Project) -> Iterator[Finding]:
    for service in project.services:
        if not service.is_built:
            continue
        found = project.dockerfile_of(service)
        build = service.config["build"]
        if found is None:
            yield Finding(
                COMPOSE_FILE,
                service.name,
                "build-file",
                f"its Dockerfile {build.get('dockerfile', 'Dockerfile')} does not exist",
                "mend the path",
            )
            continue
        path, dockerfile = found
        if dockerfile.stage(build.get("target")) is None:
            yield Finding(
                COMPOSE_FILE,
                service.name,
                "build-file",
                f"{path} has no stage {build.get('target')!r}",
                f"name one of {', '.join(stage.name for stage in dockerfile.stages)}",
            )
    for path, dockerfile in project.dockerfiles.items():
        yield from _copied(project, path, dockerfile)


def _copied(project: Project, path: str, dockerfile: Dockerfile) -> Iterator[Finding]:
    patterns = ignore_patterns(project.root)
    for number, stage in enumerate(dockerfile.stages):
        earlier = {one.name for one in dockerfile.stages[:number]}
        for instruction in stage.of("COPY"):
            words = instruction.text.split()
            origin = next((word.removeprefix("--from=") for word in words if word.startswith("--from=")), None)
            if origin is not None:
                if origin not in earlier and ":" not in origin:
                    yield Finding(
                        path,
                        f"line {instruction.line}",
                        "copied-file",
                        f"there is no stage {origin!r} before it",
                        "mend it",
                    )
                continue
            for source in [word for word in words if not word.startswith("--")][:-1]:
                if source == ".":
                    continue
                found = [str(one.relative_to(project.root)) for one in project.root.glob(source.rstrip("/"))]
                if not any(is_sent(one, patterns) for one in found):
                    yield Finding(
                        path,
                        f"line {instruction.line}",
                        "copied-file",
                        f"{source} is copied, and " + (".dockerignore leaves it out" if found else "does not exist"),
                        "mend one of the two",
                    )


def builds_leave_out_private_files(project: Project) -> Iterator[Finding]:
    patterns = ignore_patterns(project.root)
    for name in NEVER_IN_A_BUILD:
        if is_sent(name, patterns) or is_sent(f"{name}/file", patterns):
            yield Finding(
                ".dockerignore",
                name,
                "private-file",
                "a build would send it, and an image could keep it",
                "leave it out",
            )
