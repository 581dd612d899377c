"""What is installed twice, natively and in containers, is the same version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from stack.compose_check.findings import Finding
from stack.compose_check.project import COMPOSE_FILE, Project, split_image

FOLLOWS_POM = {"apache/kafka": "kafka.version"}
"""Images whose version is a property of stack/pom.xml."""

FOLLOWS_LOCK = {"apache/airflow": "apache-airflow", "apache/spark": "pyspark", "spark": "pyspark"}
"""Images whose version is a package's in requirements.txt."""


def versions_agree(project: Project) -> Iterator[Finding]:
    pom = (project.root / "stack" / "pom.xml").read_text()
    lock = (project.root / "requirements.txt").read_text()
    for file, where, image in _images(project):
        repository, tag, _ = split_image(image)
        if repository in FOLLOWS_POM:
            name = FOLLOWS_POM[repository]
            found = re.search(rf"<{re.escape(name)}>([^<]+)<", pom)
            native, source = found[1] if found else "", f"{name} of stack/pom.xml"
        elif repository in FOLLOWS_LOCK:
            found = re.search(rf"^{FOLLOWS_LOCK[repository]}(?:\[[^\]]*\])?==(\S+)", lock, re.MULTILINE)
            native, source = found[1] if found else "", f"{FOLLOWS_LOCK[repository]} of requirements.txt"
        elif repository == "python":
            native, source = _python(project.root), "requires-python of pyproject.toml"
        else:
            continue
        if not re.match(rf"{re.escape(native)}(?![\d])", tag):
            yield Finding(
                file,
                where,
                "same-version",
                f"{image} is not {native}, which is {source}",
                "take the same version in both",
            )


def _images(project: Project) -> Iterator[tuple[str, str, str]]:
    for service in project.services:
        if not service.is_built:
            yield COMPOSE_FILE, service.name, service.image
    for path, dockerfile in project.dockerfiles.items():
        for stage in dockerfile.stages:
            yield path, f"stage {stage.name}", stage.base


def _python(root: Path) -> str:
    found = re.search(r'requires-python = ">=(\d+\.\d+)', (root / "pyproject.toml").read_text())
    return found[1] if found else ""
