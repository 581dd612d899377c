"""Health checks call programs that their image has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from stack.compose_check.findings import Finding
from stack.compose_check.project import COMPOSE_FILE, Project, Service

_EVERYWHERE = frozenset({"sh", "bash", "test", "[", "exit", "true", "cat", "grep", "export", "set", "exec"})

TOOLS: Mapping[str, frozenset[str]] = {
    "apache/kafka": frozenset({"/opt/kafka/bin/kafka-broker-api-versions.sh", "/opt/kafka/bin/kafka-topics.sh", "nc"}),
    "confluentinc/cp-schema-registry": frozenset({"curl", "/usr/bin/ub"}),
    "confluentinc/cp-kafka-connect": frozenset({"curl", "/usr/bin/ub"}),
    "clickhouse/clickhouse-server": frozenset({"clickhouse-client", "clickhouse", "wget"}),
    "postgres": frozenset({"pg_isready", "psql"}),
    "redis": frozenset({"redis-cli"}),
    "prom/prometheus": frozenset({"wget", "promtool"}),
    "danielqsj/kafka-exporter": frozenset({"wget"}),
    "grafana/grafana": frozenset({"curl", "wget"}),
    "ghcr.io/kafbat/kafka-ui": frozenset({"wget"}),
    # the official Python image, and what our own Dockerfiles put on it
    "python": frozenset({"python", "python3", "airflow", "celery", "etar", "java"}),
}
"""What health checks may call, by the image's repository: as its Dockerfile or its documentation says."""


def health_tools_exist(project: Project) -> Iterator[Finding]:
    for service in project.services:
        base = base_of(project, service)
        known = TOOLS.get(base, frozenset())
        for program in programs(service.health_test):
            if program not in _EVERYWHERE | known:
                yield Finding(
                    COMPOSE_FILE,
                    service.name,
                    "health-tool",
                    f"its health check calls {program}, and {base} is not known to have it",
                    "call one that it has; what you know it to have goes into TOOLS of stack/compose_check/tools.py",
                )


def base_of(project: Project, service: Service) -> str:
    """The repository whose files the service's container has: its image's, or that of what we build its image on."""
    stages = project.stages_of(service)
    return re.split("[:@]", stages[-1].base)[0] if stages else service.repository


def programs(test: tuple[str, ...]) -> list[str]:
    """The programs that a health check calls: in a shell line, the first word of each command."""
    if test[:1] == ("CMD",):
        line = test[1:]
        # A shell's own line follows -c; anything else is the program and its arguments.
        if line[:1] and line[0].rpartition("/")[2] in ("sh", "bash") and "-c" in line[1:2] + line[2:3]:
            return _in_shell(line[-1])
        return [line[0]] if line else []
    return _in_shell(" ".join(test[1:])) if test[:1] == ("CMD-SHELL",) else []


def _in_shell(line: str) -> list[str]:
    """The first word of every command of a shell line, without assignments before it."""
    quoteless = re.sub(r"'[^']*'|\"[^\"$]*\"", "''", line)
    commands = re.split(r"&&|\|\||[;|]|\$\(|\bif\b|\bthen\b|\belse\b|!", quoteless)
    words = (re.sub(r"^\s*(?:\w+=\S*\s+)*", "", command).split() for command in commands)
    return [first[0].strip("()\"'") for first in words if first and not re.fullmatch(r"\w+=.*", first[0])]
