"""How services run: health, order, restarts, limits, logs, and what the host can reach."""

from __future__ import annotations

from collections.abc import Iterator

from stack.compose_check.findings import Finding
from stack.compose_check.project import COMPOSE_FILE, Project, Service

PUBLISHED = {
    "airflow-api-server": "Airflow's UI",
    "dashboard": "the dashboard",
    "report-api": "the report API",
    "grafana": "Grafana's UI",
    "kafka-ui": "Kafka UI",
}
"""Who may have a port on the host: what a person opens in a browser, and the report API."""

MEMORY_BUDGET = 14 * 1024**3
"""What all services of the default profile may take together: a laptop of 16 GB, less 2 GB for its own system."""

_LOOPBACK = ("127.0.0.1", "::1")


def _finding(service: Service, rule: str, wrong: str, remedy: str) -> Finding:
    return Finding(COMPOSE_FILE, service.name, rule, wrong, remedy)


def services_have_health_checks(project: Project) -> Iterator[Finding]:
    for service in project.services:
        if service.is_job:
            continue
        test = service.health_test
        if not test or test[0] == "NONE" or (service.config.get("healthcheck") or {}).get("disable"):
            yield _finding(
                service, "health-check", "it keeps running and has no health check", "give it one that asks the service"
            )
        elif test[0] not in ("CMD", "CMD-SHELL"):
            yield _finding(service, "health-check", f"its test begins with {test[0]!r}", "begin with CMD or CMD-SHELL")


def order_follows_health(project: Project) -> Iterator[Finding]:
    by_name = {service.name: service for service in project.services}
    awaited: set[str] = set()
    for service in project.services:
        for name, wanted in (service.config.get("depends_on") or {}).items():
            awaited.add(name)
            expected = "service_completed_successfully" if by_name[name].is_job else "service_healthy"
            if (condition := wanted["condition"]) != expected:
                kind = "a one-shot job" if by_name[name].is_job else "a service that keeps running"
                yield _finding(
                    service, "start-order", f"it waits for {name}, {kind}, by {condition}", f"wait by {expected}"
                )
    for service in project.services:
        if service.is_job and service.is_default and service.name not in awaited:
            yield _finding(
                service,
                "start-order",
                "nothing waits for this one-shot job, so its failure goes unnoticed",
                "let what needs its work depend on it with service_completed_successfully",
            )


def services_restart_and_stop(project: Project) -> Iterator[Finding]:
    for service in project.services:
        if "restart" not in service.config:
            yield _finding(
                service,
                "restart",
                "it does not say what happens when it ends",
                'set restart: unless-stopped, or "no" or on-failure for a one-shot job',
            )
        if not service.is_job and "stop_grace_period" not in service.config:
            yield _finding(
                service,
                "stop-grace",
                "it is killed ten seconds after it is asked to stop, whatever it is doing",
                "set stop_grace_period to what it needs to finish",
            )


def logs_rotate(project: Project) -> Iterator[Finding]:
    for service in project.services:
        logging = service.config.get("logging") or {}
        options = logging.get("options") or {}
        if logging.get("driver") not in ("json-file", "local") or not {"max-size", "max-file"} <= set(options):
            yield _finding(
                service,
                "log-rotation",
                "its log grows until the disk is full",
                "set logging: driver json-file or local with max-size and max-file",
            )


def memory_limit(service: Service) -> int:
    """Bytes that one container of the service may take; 0 when nothing limits it."""
    limits = ((service.config.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    return int(limits.get("memory") or service.config.get("mem_limit") or 0)


def memory_fits(project: Project) -> Iterator[Finding]:
    for service in project.services:
        if not memory_limit(service):
            yield _finding(service, "memory", "nothing limits its memory", "set deploy.resources.limits.memory")
    # One-shot jobs have ended by the time that everything runs.
    lasting = [service for service in project.services if service.is_default and not service.is_job]
    total = sum(memory_limit(service) * _replicas(service) for service in lasting)
    if total > MEMORY_BUDGET:
        yield Finding(
            COMPOSE_FILE,
            "",
            "memory-sum",
            f"the default profile may take {total / 1024**3:.1f} GiB, more than the {MEMORY_BUDGET / 1024**3:.0f} GiB "
            "that a laptop of 16 GB can give",
            "lower a limit",
        )


def _replicas(service: Service) -> int:
    return int((service.config.get("deploy") or {}).get("replicas") or service.config.get("scale") or 1)


def ports_are_private(project: Project) -> Iterator[Finding]:
    for service in project.services:
        for port in service.config.get("ports") or ():
            shown = f"{port.get('published', 'a random port')}:{port['target']}"
            if port.get("host_ip") not in _LOOPBACK:
                yield _finding(
                    service,
                    "port-private",
                    f"port {shown} is open to the network",
                    f"publish it on loopback: 127.0.0.1:{shown}",
                )
            if service.name not in PUBLISHED:
                yield _finding(
                    service,
                    "port-allowed",
                    f"port {shown} is published, and only {', '.join(sorted(PUBLISHED))} may be",
                    "leave it to the containers' own network",
                )
        if service.config.get("network_mode") == "host":
            yield _finding(service, "port-private", "it has the host's network", "remove network_mode: host")


def workers_scale(project: Project) -> Iterator[Finding]:
    """``--scale SERVICE=3`` works only where neither the name nor a port of the host is fixed."""
    for service in project.services:
        if "container_name" in service.config:
            yield _finding(
                service, "scales", "container_name keeps it from having a second container", "remove container_name"
            )
