"""What a container may write in memory: each folder by the user that runs there, and libraries where Java runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from stack.compose_check.builds import user_of
from stack.compose_check.findings import Finding
from stack.compose_check.project import COMPOSE_FILE, Project, Service
from stack.compose_check.tools import base_of

UIDS: Mapping[str, str] = {
    "apache/kafka": "1000",
    "clickhouse/clickhouse-server": "101",
    "grafana/grafana": "472",
    "postgres": "999",
}
"""The number of the user that an image of others runs as here: as its Dockerfile says."""

RUN_JAVA = frozenset(
    {"apache/kafka", "confluentinc/cp-kafka-connect", "confluentinc/cp-schema-registry", "ghcr.io/kafbat/kafka-ui"}
)
"""Images of others in which Java runs; in our own it runs where a Dockerfile installs it."""

_TMP = "/tmp"  # noqa: S108  a container's
_INSTALLS_JAVA = re.compile(r"\b(?:openjdk|temurin)-\d+")


def folders_belong_to_who_writes(project: Project) -> Iterator[Finding]:
    """An engine gives a tmpfs to root, with the mode of the image's folder of that name, which is rarely open to all.

    ``mode=`` does not help everywhere: runc 1.1 passes it over where the folder exists, as it does from a container's
    second start on. /tmp is there with mode 1777 in every image.
    """
    for service in project.services:
        uid = _uid(project, service)
        for folder, options in _tmpfs(service):
            if folder != _TMP and (not uid or f"uid={uid}" not in options):
                yield Finding(
                    COMPOSE_FILE,
                    service.name,
                    "tmpfs-owner",
                    f"{folder} is not given to its user, who cannot write there as long as it is root's",
                    f"write {folder}:uid={uid or '…, with the number in UIDS of stack/compose_check/tmpfs.py'}",
                )


def java_may_load_libraries(project: Project) -> Iterator[Finding]:
    """Some Java libraries (zstd, RocksDB, Snappy) are machine code that they unpack into /tmp and load from there."""
    for service in project.services:
        if _runs_java(project, service) and "exec" not in dict(_tmpfs(service)).get(_TMP, ()):
            yield Finding(
                COMPOSE_FILE,
                service.name,
                "tmpfs-exec",
                "Java runs there and cannot load what it unpacks into /tmp: a tmpfs is noexec unless it says otherwise",
                "write /tmp:exec",
            )


def _tmpfs(service: Service) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Folder and options of each tmpfs."""
    for written in service.config.get("tmpfs") or ():
        folder, _, options = str(written).partition(":")
        yield folder, tuple(options.split(","))


def _uid(project: Project, service: Service) -> str:
    user = user_of(project, service)
    return user if user.isdigit() else UIDS.get(base_of(project, service), "")


def _runs_java(project: Project, service: Service) -> bool:
    runs = (run for stage in project.stages_of(service) for run in stage.of("RUN"))
    installed = any(_INSTALLS_JAVA.search(run.text) for run in runs)
    return installed or base_of(project, service) in RUN_JAVA
