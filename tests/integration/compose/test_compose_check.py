"""``make compose-check``: passes over the files as they are, and names each mistake that is made in a copy of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from stack.compose_check.__main__ import check, main
from stack.compose_check.findings import Finding
from stack.compose_check.policy import check_policy
from stack.compose_check.programs import lint_compose, lint_dockerfiles, read_project, validate
from stack.compose_check.project import Project
from stack.layout import REPOSITORY
from tests.integration.compose.conftest import change

COMPOSE = "docker-compose.yml"
EXAMPLE = ".env.example"
DOCKERFILE = "docker/etar.Dockerfile"

REDIS = "    image: redis:8.6.5-alpine\n"
DASHBOARD_PORT = '      - "127.0.0.1:${ETAR_PORT_DASHBOARD'
API_URL = "      ETAR_API_URL: http://report-api:8000\n"


class Mistake(NamedTuple):
    """A change to a copy of the repository, and what should be said of it."""

    name: str
    file: str
    old: str
    new: str
    where: str
    says: str
    told_of: str = COMPOSE


def test_the_files_pass(capsys: pytest.CaptureFixture[str]) -> None:
    code = main([])
    out = capsys.readouterr().out
    assert code == 0, out
    for profile in ("default", "cli", "monitoring", "tools"):
        assert profile in out


def assert_found(found: list[Finding], file: str, where: str, rule: str, says: str) -> None:
    meant = [one for one in found if (one.file, one.rule) == (file, rule) and one.where.startswith(where)]
    assert meant, f"no {rule} of {where} in {file}; found instead: {[str(one) for one in found]}"
    assert any(says in str(one) for one in meant), [str(one) for one in meant]


REFUSED = (
    Mistake("wrong variable", COMPOSE, "${ETAR_PORT_API:?", "${ETAR_PORT_APY:?", "", "ETAR_PORT_APY"),
    Mistake(
        "variable without a value",
        *(COMPOSE, API_URL, "      ETAR_API_URL: http://report-api:${NO_SUCH}\n"),
        *("NO_SUCH", "no value and no default"),
    ),
    Mistake("variable not in the example", EXAMPLE, "ETAR_MEMORY_CLICKHOUSE=2g", "", "", "ETAR_MEMORY_CLICKHOUSE"),
    Mistake(
        "undefined dependency",
        *(COMPOSE, "      kafka: {", "      kafak: {", "", 'depends on undefined service "kafak"'),
    ),
    Mistake(
        "cycle",
        *(COMPOSE, REDIS, REDIS + "    depends_on: {airflow-scheduler: {condition: service_started}}\n", "", "cycle"),
    ),
    Mistake("unknown key", COMPOSE, REDIS, REDIS + "    healthchek: {test: [CMD, true]}\n", "", "healthchek"),
    Mistake("unknown condition", COMPOSE, "{condition: service_healthy}", "{condition: service_well}", "", "condition"),
    Mistake(
        "undefined secret", COMPOSE, "      - redis_users.acl\n", "      - redis_userz.acl\n", "", "redis_userz.acl"
    ),
    Mistake(
        "dependency on another profile's service",
        *(COMPOSE, REDIS, REDIS + "    depends_on: {grafana: {condition: service_healthy}}\n", "", "grafana"),
    ),
)


@pytest.mark.parametrize("mistake", REFUSED, ids=lambda one: one.name.replace(" ", "-"))
def test_compose_refuses(copy: Path, mistake: Mistake) -> None:
    change(copy, mistake.file, mistake.old, mistake.new)
    assert_found(validate(copy), COMPOSE, mistake.where, "compose-config", mistake.says)


BY_RULE: dict[str, tuple[Mistake, ...]] = {
    "image-pinned": (
        Mistake("latest", COMPOSE, REDIS, "    image: redis:latest\n", "redis", "'latest' moves"),
        Mistake("no tag", COMPOSE, REDIS, "    image: redis\n", "redis", "no tag"),
        Mistake("a major version only", COMPOSE, REDIS, "    image: redis:8\n", "redis", "'8' moves"),
        Mistake(
            "a base that moves",
            DOCKERFILE,
            "FROM python:3.11.15-slim-bookworm",
            "FROM python:3.11-slim-bookworm",
            "stage",
            "moves from one release",
            DOCKERFILE,
        ),
    ),
    "image-alive": (
        Mistake("bitnami", COMPOSE, REDIS, "    image: bitnami/redis:8.6.5\n", "redis", "August 2025"),
        Mistake("dead fork", COMPOSE, "ghcr.io/kafbat/kafka-ui", "provectuslabs/kafka-ui", "kafka-ui", "kafbat"),
    ),
    "same-version": (
        Mistake(
            "another Kafka",
            COMPOSE,
            "apache/kafka:4.3.1",
            "apache/kafka:4.1.1",
            "kafka",
            "kafka.version of stack/pom.xml",
        ),
        Mistake(
            "another Python",
            DOCKERFILE,
            "FROM python:3.11.15-slim",
            "FROM python:3.12.9-slim",
            "stage",
            "requires-python",
            DOCKERFILE,
        ),
    ),
    "health-check": (
        Mistake(
            "none",
            COMPOSE,
            "    healthcheck:\n      # Without the password",
            "    x-healthcheck:\n      # Without the password",
            "redis",
            "no health check",
        ),
    ),
    "health-tool": (
        Mistake("missing tool", COMPOSE, "redis-cli -h 127.0.0.1 ping", "curl 127.0.0.1", "redis", "calls curl"),
    ),
    "port-private": (
        Mistake(
            "open to the world",
            COMPOSE,
            DASHBOARD_PORT,
            '      - "${ETAR_PORT_DASHBOARD',
            "dashboard",
            "open to the network",
        ),
    ),
    "port-allowed": (
        Mistake("not a page", COMPOSE, REDIS, REDIS + '    ports: ["127.0.0.1:6379:6379"]\n', "redis", "6379:6379"),
    ),
    "scales": (
        Mistake("fixed name", COMPOSE, REDIS, REDIS + "    container_name: redis\n", "redis", "container_name"),
    ),
    "tmpfs-owner": (
        Mistake(
            "root's",
            *(COMPOSE, "/opt/kafka/config:uid=1000", "/opt/kafka/config", "kafka", "write /opt/kafka/config:uid=1000"),
        ),
        Mistake(
            "by its mode only",
            *(COMPOSE, "/opt/airflow:uid=10001", "/opt/airflow:mode=1777", "airflow-worker", "/opt/airflow:uid=10001"),
        ),
        Mistake("another user's", COMPOSE, "grafana:uid=472", "grafana:uid=473", "grafana", "/var/log/grafana:uid=472"),
        Mistake(
            "unknown user", COMPOSE, 'cpus: "1", pids: 64}}}', "pids: 64}}}\n    tmpfs: [/x]", "kafka-exporter", "UIDS"
        ),
    ),
    "tmpfs-exec": (
        Mistake("image of others", COMPOSE, "- /tmp:exec", "- /tmp", "kafka", "write /tmp:exec"),
        Mistake(
            "image on one of others",
            *(COMPOSE, '    tmpfs: ["/tmp:exec"]\n    secrets', "    secrets", "connect", "write /tmp:exec"),
        ),
        Mistake("our own image", COMPOSE, '["/tmp:exec", ', '["/tmp", ', "spark-worker", "write /tmp:exec"),
    ),
    "plain-secret": (
        Mistake(
            "environment as a list",
            *(
                COMPOSE,
                "    environment:\n      <<: *streams\n" + API_URL,
                '    environment: ["X_TOKEN=${X_TOKEN:-}"]\n    x-environment:\n      <<: *streams\n' + API_URL,
            ),
            *("dashboard", "X_TOKEN"),
        ),
        Mistake(
            "literal token",
            COMPOSE,
            API_URL,
            API_URL + "      ETAR_API_WRITE_TOKEN: hunter2hunter2hunter2\n",
            "dashboard",
            "ETAR_API_WRITE_TOKEN",
        ),
        Mistake(
            "token from the environment",
            COMPOSE,
            API_URL,
            API_URL + "      ETAR_API_WRITE_TOKEN: ${ETAR_API_WRITE_TOKEN}\n",
            "dashboard",
            "ETAR_API_WRITE_TOKEN",
        ),
        Mistake(
            "URL",
            COMPOSE,
            API_URL,
            "      ETAR_API_URL: http://me:hunter2@report-api:8000\n",
            "dashboard",
            "password in its URL",
        ),
        Mistake(
            "argument",
            COMPOSE,
            "      - --aclfile\n",
            "      - --requirepass\n      - hunter2\n      - --aclfile\n",
            "redis",
            "command holds a secret",
        ),
        Mistake(
            "configuration file",
            "docker/connect/worker.properties",
            "group.id=",
            "sasl.password=hunter2\ngroup.id=",
            "line",
            "configuration file",
            "docker/connect/worker.properties",
        ),
    ),
    "mounted-file": (
        Mistake(
            "bind mount",
            COMPOSE,
            "./docker/prometheus/prometheus.yml:",
            "./docker/prometheus/prometheus.yaml:",
            "prometheus",
            "does not exist",
        ),
        Mistake(
            "secret file",
            COMPOSE,
            "{file: secrets/redis_users.acl}",
            "{file: secrets/redis.acl}",
            "redis_users.acl",
            "`make secrets` does not make it",
        ),
    ),
    "mount-inside": (
        Mistake(
            "socket of the engine",
            COMPOSE,
            "      - redis-data:/data",
            "      - /var/run/docker.sock:/var/run/docker.sock",
            "redis",
            "of the host",
        ),
    ),
    "start-order": (
        Mistake(
            "job not awaited",
            COMPOSE,
            "{condition: service_completed_successfully}",
            "{condition: service_started}",
            "airflow-",
            "one-shot job",
        ),
    ),
    "stop-grace": (Mistake("no grace", COMPOSE, "  stop_grace_period: 30s\n", "", "redis", "ten seconds"),),
    "log-rotation": (
        Mistake("no rotation", COMPOSE, '    options: {max-size: 10m, max-file: "3"}\n', "", "redis", "disk is full"),
    ),
    "memory-sum": (
        Mistake("too much", EXAMPLE, "ETAR_MEMORY_CLICKHOUSE=2g", "ETAR_MEMORY_CLICKHOUSE=9g", "", "16 GB"),
    ),
    "not-root": (
        Mistake("not said", COMPOSE, "    user: redis\n", "", "redis", "nothing says"),
        Mistake("root", COMPOSE, "    user: redis\n", "    user: root\n", "redis", "as root"),
        Mistake("image's own", DOCKERFILE, "USER 10001\nCMD", "CMD", "topics", "nothing says"),
    ),
    "variable-used": (
        Mistake(
            "variable of nothing",
            EXAMPLE,
            "ETAR_PORT_GRAFANA=3000",
            "ETAR_PORT_GRAFANA=3000\nETAR_PORT_KIBANA=5601",
            "ETAR_PORT_KIBANA",
            "does not use it",
            EXAMPLE,
        ),
    ),
    "setting-known": (
        Mistake("misspelt setting", COMPOSE, "      ETAR_API_URL:", "      ETAR_API_URI:", "dashboard", "ETAR_API_URI"),
    ),
    "package-pinned": (
        Mistake("pip", DOCKERFILE, "uv==0.13.8", "uv", "line", "pip installs uv", DOCKERFILE),
        Mistake("apt", DOCKERFILE, "--no-install-recommends", "", "line", "more than is asked for", DOCKERFILE),
    ),
    "download-checked": (
        Mistake(
            "archive",
            "docker/connect.Dockerfile",
            "ADD --checksum=sha256:",
            "ADD --x=",
            "line",
            "checksum",
            "docker/connect.Dockerfile",
        ),
    ),
    "copied-file": (
        Mistake(
            "COPY", DOCKERFILE, "COPY requirements.txt", "COPY requirement.txt", "line", "requirement.txt", DOCKERFILE
        ),
        Mistake("COPY of what is left out", ".dockerignore", "!docker\n", "", "line", "leaves it out", DOCKERFILE),
    ),
    "build-file": (
        Mistake("stage", COMPOSE, "target: services", "target: servants", "topics", "'servants'"),
        Mistake(
            "Dockerfile", COMPOSE, "docker/connect.Dockerfile", "docker/conect.Dockerfile", "connect", "does not exist"
        ),
    ),
    "entry-point": (
        Mistake(
            "module",
            COMPOSE,
            "dashboard.api.main:create_app",
            "dashboard.api.mein:create_app",
            "report-api",
            "dashboard.api.mein",
        ),
        Mistake(
            "health check",
            COMPOSE,
            "/opt/etar/docker/worker_healthy.py",
            "/opt/etar/docker/worker_health.py",
            "airflow-worker",
            "worker_health.py",
        ),
        Mistake(
            "renamed entry point",
            *(DOCKERFILE, "/docker/spark/with-properties.sh", "/docker/spark/with-secrets.sh", "spark-master"),
            "there is no file /opt/etar/docker/spark/with-secrets.sh",
        ),
        Mistake(
            "renamed script of a command",
            *(COMPOSE, "/opt/etar/docker/set-up.sh", "/opt/etar/docker/setup.sh", "buckets", "docker/setup.sh"),
        ),
        Mistake(
            "script that is not copied",
            *("docker/minio.Dockerfile", " docker/minio/set-up.sh", "", "buckets", "/opt/etar/docker/set-up.sh"),
        ),
        Mistake(
            "mounted elsewhere",
            *(COMPOSE, ":/etc/etar/schema-registry.properties:", ":/etc/etar/registry.properties:", "registry"),
            "there is no file /etc/etar/schema-registry.properties",
        ),
        Mistake(
            "file of an option",
            *(COMPOSE, "=/etc/etar/log4j2.yaml", "=/etc/etar/log4j.yaml", "connect", "/etc/etar/log4j.yaml"),
        ),
    ),
    "private-file": (
        Mistake("secrets", ".dockerignore", "!cli\n", "!cli\n!secrets\n", "secrets", "leave it out", ".dockerignore"),
    ),
}
"""By the rule of ours that names them."""


def in_the_way(one: Mistake, other: Mistake) -> bool:
    return (one.file, one.old) == (other.file, other.old) or (one.told_of, one.where) == (other.told_of, other.where)


def in_turns(mistakes: Iterable[Mistake]) -> list[list[Mistake]]:
    """In as few copies as can be: one after the other those that change the same text, or of which the same is told."""
    turns: list[list[Mistake]] = []
    for mistake in mistakes:
        turn = next((turn for turn in turns if not any(in_the_way(mistake, one) for one in turn)), None)
        if turn is None:
            turns.append(turn := [])
        turn.append(mistake)
    return turns


@pytest.mark.parametrize(
    ("rule", "mistakes"),
    [
        pytest.param(rule, turn, id=f"{rule}-{'+'.join(one.name for one in turn)}".replace(" ", "-"))
        for rule, mistakes in BY_RULE.items()
        for turn in in_turns(mistakes)
    ],
)
def test_a_rule_of_ours_names_mistakes(copy: Path, rule: str, mistakes: list[Mistake]) -> None:
    for mistake in mistakes:
        change(copy, mistake.file, mistake.old, mistake.new)
    found = check_policy(read_project(copy))
    for mistake in mistakes:
        assert_found(found, mistake.told_of, mistake.where, rule, mistake.says)


def test_a_script_that_may_not_be_executed_is_named(copy: Path) -> None:
    (copy / "docker" / "spark" / "with-properties.sh").chmod(0o644)
    found = check_policy(read_project(copy))
    assert_found(found, COMPOSE, "airflow-worker", "entry-point", "chmod +x docker/spark/with-properties.sh")


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("  cap_drop: [ALL]\n", "", "CL-0006"),
        ('  security_opt: ["no-new-privileges:true"]\n', "", "CL-0003"),
        ("  read_only: true\n", "", "CL-0007"),
        (REDIS, REDIS + "    privileged: true\n", "CL-0002"),
        (REDIS, REDIS + "    network_mode: host\n", "CL-0008"),
        (REDIS, REDIS + '    tmpfs: ["/tmp:exec"]\n', "CL-0022"),
    ],
)
def test_compose_lint_names_a_mistake(copy: Path, old: str, new: str, rule: str) -> None:
    change(copy, COMPOSE, old, new)
    assert_found(lint_compose(copy), COMPOSE, "redis", rule, "compose-lint --explain")


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("uv==0.13.8", "uv", "DL3013"),
        ("    rm -rf /var/lib/apt/lists/*", "    true", "DL3009"),
        ("WORKDIR /opt/etar", "WORKDIR opt/etar", "DL3000"),
        ("apt-get update &&", "sudo apt-get update &&", "DL3004"),
    ],
)
def test_hadolint_names_a_mistake(copy: Path, old: str, new: str, rule: str) -> None:
    change(copy, DOCKERFILE, old, new)
    assert_found(lint_dockerfiles(copy), DOCKERFILE, "line", rule, "")


def test_the_command_says_what_is_wrong_and_ends_with_1(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(copy, COMPOSE, REDIS, "    image: redis:latest\n")
    assert main([str(copy)]) == 1
    assert "docker-compose.yml: redis: [image-pinned] the image 'redis:latest' can change" in capsys.readouterr().out


def test_a_file_that_does_not_hold_together_is_told_once(copy: Path) -> None:
    change(copy, COMPOSE, "      kafka: {", "      kafak: {")
    found = check(copy)
    assert {one.rule for one in found} == {"compose-config"}
    assert len(found) == len(set(found))


def test_every_exception_of_hadolint_has_a_reason_above_it() -> None:
    for file in (*REPOSITORY.glob("docker/*.Dockerfile"), REPOSITORY / "stack/compose_check/hadolint.yaml"):
        lines = file.read_text().splitlines()
        for before, line in zip(["", *lines], lines, strict=False):
            if "hadolint ignore" in line or line.strip().startswith("- DL"):
                assert before.strip().startswith("# "), f"{file.name} passes over {line.strip()!r} without a reason"


def test_every_profile_has_services(project: Project) -> None:
    named = {profile for service in project.services for profile in service.config.get("profiles") or ()}
    assert named == {"cli", "jobs", "monitoring", "tools"}
    assert sum(service.is_default for service in project.services) > 15
