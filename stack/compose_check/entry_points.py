"""Everything that a container starts or is told to read is there."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path, PurePosixPath

from stack.compose_check.context import ignore_patterns, is_sent
from stack.compose_check.dockerfile import Stage
from stack.compose_check.findings import Finding
from stack.compose_check.project import COMPOSE_FILE, Project, Service
from stack.compose_check.tools import programs

_OUR_MODULES = ("cli", "connect", "dashboard", "etar", "producer", "spark_apps", "stack")
_OUR_FILES = re.compile(r"/(?:opt|etc)/etar/[\w./-]+")


def entry_points_exist(project: Project) -> Iterator[Finding]:
    """What our own images start, and their health checks: a module of ours, a script of ours."""
    scripts = tomllib.loads((project.root / "pyproject.toml").read_text())["project"]["scripts"]
    for service in project.services:
        if project.dockerfile_of(service):
            line = _line(project, service)
            for wrong in _missing(project.root, line, service.health_test, frozenset(scripts)):
                yield Finding(COMPOSE_FILE, service.name, "entry-point", wrong, "mend its command")


def our_files_exist(project: Project) -> Iterator[Finding]:
    """Every file below /opt/etar and /etc/etar that a service's command line, health check or environment names."""
    patterns = ignore_patterns(project.root)
    for service in project.services:
        line = _line(project, service)
        started = {*line[:1], *programs(service.health_test)}
        text = " ".join((*line, *service.health_test, *service.environment.values()))
        for path in sorted(set(_OUR_FILES.findall(text))):
            origin = next((one for one in _origins(project, service, path, patterns) if one.exists()), None)
            if origin is None:
                yield Finding(
                    COMPOSE_FILE,
                    service.name,
                    "entry-point",
                    f"there is no file {path}: neither a mount nor a COPY of its Dockerfile puts one there",
                    "mend its name, or copy it",
                )
            elif path in started and not os.access(origin, os.X_OK):
                file = project.relative(str(origin)) or origin
                yield Finding(
                    COMPOSE_FILE,
                    service.name,
                    "entry-point",
                    f"{path} is started, and {file} is not executable",
                    f"chmod +x {file}",
                )


def _origins(project: Project, service: Service, path: str, patterns: tuple[str, ...]) -> Iterator[Path]:
    """Where in the repository a file of a container may come from, be it there or not."""
    for volume in service.config.get("volumes") or ():
        if volume["type"] == "bind" and PurePosixPath(path).is_relative_to(volume["target"]):
            yield Path(volume["source"]) / PurePosixPath(path).relative_to(volume["target"])
    for stage in project.stages_of(service):
        for copy in stage.of("COPY"):
            *sources, target = (word for word in copy.text.split() if not word.startswith("--"))
            for source in () if "--from=" in copy.text else sources:
                there = project.root / source
                into = PurePosixPath(target) / there.name if target.endswith("/") and not there.is_dir() else target
                if PurePosixPath(path).is_relative_to(into):
                    origin = there / PurePosixPath(path).relative_to(into)
                    if is_sent(str(origin.relative_to(project.root)), patterns):
                        yield origin


def _line(project: Project, service: Service) -> tuple[str, ...]:
    """What the container runs: of the service, else of our image."""
    stages = project.stages_of(service)
    return (*_entry(service, "entrypoint", stages), *_entry(service, "command", stages))


def _entry(service: Service, key: str, stages: tuple[Stage, ...]) -> tuple[str, ...]:
    if words := service.words(key):
        return words
    keyword = {"entrypoint": "ENTRYPOINT", "command": "CMD"}[key]
    given = next((stage.of(keyword)[-1].text for stage in stages if stage.of(keyword)), "")
    return tuple(re.findall(r'"((?:[^"\\]|\\.)*)"', given))


def _missing(root: Path, line: tuple[str, ...], health: tuple[str, ...], scripts: frozenset[str]) -> Iterator[str]:
    if not line:
        yield "neither it nor its image says what to start"
    for word, following in pairwise((*line, *health, "")):
        module = following if word == "-m" else word.partition(":")[0] if re.fullmatch(r"[\w.]+:\w+", word) else ""
        if module.split(".")[0] in _OUR_MODULES and not _is_module(root, module):
            yield f"there is no module {module}"
        if re.fullmatch(r"(?!/)[\w./-]+\.py", word) and not (root / word).exists():
            yield f"there is no file {word}"
    if line and line[0].rpartition("/")[2] == "etar" and "etar" not in scripts:
        yield "pyproject.toml has no script called etar"


def _is_module(root: Path, module: str) -> bool:
    parts = module.split(".")
    base = root / "plugins" if parts[0] == "etar" else root
    place = base.joinpath(*parts)
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()
