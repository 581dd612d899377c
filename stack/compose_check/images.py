"""Which images may be used: exact versions, of repositories that live, that do not run as root."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stack.compose_check.findings import Finding
from stack.compose_check.project import COMPOSE_FILE, Project, split_image

GONE = {
    r"bitnami(legacy|charts)?/.*": "Bitnami took its free images away in August 2025",
    r"provectuslabs/kafka-ui": "nothing was released since 2024; it lives on as ghcr.io/kafbat/kafka-ui",
    r"((docker|quay)\.io/)?minio/(minio|mc)": "MinIO publishes no images since October 2025; build its Go module",
    r"wurstmeister/.*": "withdrawn by its author",
    r"(confluentinc|cp-)?.*ksqldb-(server|cli)": "nothing but maintenance since 2023",
    r"(library/)?openjdk": "withdrawn; eclipse-temurin, or a distribution's package, takes its place",
    r"(library/)?adoptopenjdk": "withdrawn; eclipse-temurin takes its place",
    r"yandex/clickhouse-.*": "renamed to clickhouse/clickhouse-server in 2021",
    r"puckel/docker-airflow": "ended with Airflow 1.10; apache/airflow is the official one",
    r"bde2020/.*": "unmaintained since 2022",
    r"landoop/.*": "renamed to lensesio in 2019",
    r"k8s\.gcr\.io/.*": "frozen in 2023; registry.k8s.io takes its place",
    r"jupyter/.*": "moved to quay.io/jupyter",
    r"(library/)?centos": "ended in 2024",
}
"""Repositories that no longer exist or no longer get releases, and what happened to them."""

TWO_NUMBERS = {
    "postgres": "PostgreSQL's releases have two numbers, as 17.6",
}
"""Images whose exact version has only two numbers; every other one has three, or a date."""

_EXACT = re.compile(r"v?\d+\.\d+\.\d+([.-][\w.+-]+)*|RELEASE\.\d{4}-\d{2}-\d{2}T[\d-]+Z")
_EXACT_TWO = re.compile(r"v?\d+\.\d+([.-][\w.+-]+)*")


def why_not_exact(image: str) -> str | None:
    """What keeps an image's name from meaning one image only, or None."""
    repository, tag, digest = split_image(image)
    if digest:
        return None if re.fullmatch(r"sha256:[0-9a-f]{64}", digest) else f"{digest!r} is not a digest"
    if not tag:
        return "it has no tag, which means whatever is newest"
    short = repository.removeprefix("docker.io/").removeprefix("library/")
    if (_EXACT_TWO if short in TWO_NUMBERS else _EXACT).fullmatch(tag):
        return None
    return f"the tag {tag!r} moves from one release to the next"


def why_gone(image: str) -> str | None:
    """What became of the image's repository, or None for one that lives."""
    repository = split_image(image)[0]
    return next((why for pattern, why in GONE.items() if re.fullmatch(pattern, repository)), None)


def images_are_pinned(project: Project) -> Iterator[Finding]:
    for service in project.services:
        if not service.is_built and (why := why_not_exact(service.image)):
            yield Finding(
                COMPOSE_FILE,
                service.name,
                "image-pinned",
                f"the image {service.image!r} can change: {why}",
                "name an exact version",
            )
    for path, dockerfile in project.dockerfiles.items():
        for number, stage in enumerate(dockerfile.stages):
            if stage.base == "scratch" or stage.base in {earlier.name for earlier in dockerfile.stages[:number]}:
                continue
            if why := why_not_exact(stage.base):
                yield Finding(
                    path,
                    f"stage {stage.name}",
                    "image-pinned",
                    f"the base {stage.base!r} can change: {why}",
                    "name an exact version",
                )


def images_exist(project: Project) -> Iterator[Finding]:
    used = [(COMPOSE_FILE, service.name, service.image) for service in project.services if not service.is_built]
    used += [
        (path, f"stage {stage.name}", stage.base)
        for path, dockerfile in project.dockerfiles.items()
        for stage in dockerfile.stages
    ]
    for file, where, image in used:
        if why := why_gone(image):
            yield Finding(file, where, "image-alive", f"{split_image(image)[0]}: {why}", "use what took its place")
