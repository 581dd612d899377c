"""What the rules of ``make compose-check`` take for exact, dead, secret or unpinned: pure functions."""

from __future__ import annotations

import pytest

from stack.compose_check.builds import unpinned
from stack.compose_check.context import is_sent
from stack.compose_check.dockerfile import parse_dockerfile
from stack.compose_check.images import why_gone, why_not_exact
from stack.compose_check.plaintext import looks_generated, shows_a_secret
from stack.compose_check.project import documented_variables, split_image
from stack.compose_check.tools import programs
from stack.compose_check.variables import container_section

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("redis", ("redis", "", "")),
        ("redis:8.2.1", ("redis", "8.2.1", "")),
        ("host:5000/a/b", ("host:5000/a/b", "", "")),
        ("host:5000/a/b:1.2.3", ("host:5000/a/b", "1.2.3", "")),
        (f"a/b:1.2.3@{DIGEST}", ("a/b", "1.2.3", DIGEST)),
        (f"a/b@{DIGEST}", ("a/b", "", DIGEST)),
    ],
)
def test_an_image_is_split(image: str, parts: tuple[str, str, str]) -> None:
    assert split_image(image) == parts


@pytest.mark.parametrize(
    "image",
    [
        "redis:8.2.1", "redis:8.2.1-alpine", "grafana/grafana:12.2.0", "prom/prometheus:v3.7.3", "postgres:18.1",
        "postgres:18.1-bookworm", "clickhouse/clickhouse-server:25.8.11.66", "maven:3.9.11-eclipse-temurin-17",
        "minio/minio:RELEASE.2025-09-07T16-13-09Z", f"redis@{DIGEST}", f"redis:latest@{DIGEST}",
    ],
)  # fmt: skip
def test_an_exact_image(image: str) -> None:
    assert why_not_exact(image) is None


@pytest.mark.parametrize(
    "image",
    [
        "redis", "redis:latest", "redis:8", "redis:8.2", "redis:alpine", "postgres:18", "postgres:18-bookworm",
        "python:3.11-slim", "redis@sha256:12", "grafana/grafana:main", "minio:RELEASE", "redis:", "redis:8.2.x",
    ],
)  # fmt: skip
def test_an_image_that_can_change(image: str) -> None:
    assert why_not_exact(image)


@pytest.mark.parametrize(
    "image",
    [
        "bitnami/kafka:4.0.0", "bitnamilegacy/kafka:4.0.0", "provectuslabs/kafka-ui:v0.7.2", "minio/minio:RELEASE.x",
        "docker.io/minio/mc:1", "quay.io/minio/minio:1", "wurstmeister/kafka:2.13", "openjdk:17.0.2",
        "confluentinc/ksqldb-server:0.29.0",
    ],
)  # fmt: skip
def test_a_repository_that_is_gone(image: str) -> None:
    assert why_gone(image)


@pytest.mark.parametrize(
    "image",
    ["apache/kafka:4.3.1", "quay.io/jupyter/base-notebook:1", "ghcr.io/kafbat/kafka-ui:v1", "confluentinc/cp-kafka:8"],
)
def test_a_repository_that_lives(image: str) -> None:
    assert why_gone(image) is None


@pytest.mark.parametrize(
    "text",
    [
        "4f1c2b9d8e7a60514f1c2b9d8e7a6051",
        "key=4f1c2b9d8e7a60514f1c2b9d8e7a6051",
        "dGhpcyBpcyBhIHNlY3JldCB3aXRoIDMyIGJ5dGVz",
    ],
)
def test_what_looks_generated(text: str) -> None:
    assert looks_generated(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "http://127.0.0.1:8080/api/v2/monitor/health", "/opt/venv/lib/python3.11/site-packages/pyspark/bin/spark",
        "airflow.secrets.local_filesystem.LocalFilesystemBackend", "org.apache.spark.deploy.master.Master",
        "--storage.tsdb.retention.time=7d", "software.amazon.awssdk.auth.credentials.ProfileCredentialsProvider",
    ],
)  # fmt: skip
def test_what_does_not_look_generated(text: str) -> None:
    assert not looks_generated(text)


@pytest.mark.parametrize(
    "line",
    [
        "redis-server --requirepass hunter2", "redis-cli -a hunter2 ping", "client --password=hunter2",
        "client --password hunter2", 'client --password "$(cat /run/secrets/x)"', "psql postgresql://me:hunter2@db/etar",
        "client --secret-key abc", "client --token=abc",
    ],
)  # fmt: skip
def test_a_command_line_that_shows_a_secret(line: str) -> None:
    assert shows_a_secret(line)


@pytest.mark.parametrize(
    "line",
    [
        "redis-server --aclfile /run/secrets/redis_users.acl", "client --password-file /run/secrets/x", "grep -a -q x",
        "client --password=/run/secrets/x", "pg_isready --username=postgres", "etar connect apply --yes",
    ],
)  # fmt: skip
def test_a_command_line_that_shows_none(line: str) -> None:
    assert not shows_a_secret(line)


@pytest.mark.parametrize(
    "command",
    [
        "pip install httpx", "pip install --no-cache httpx>=0.28", "pip install uv==0.13.8 httpx",
        "npm install left-pad", "python -m pip install -U pip", "apt-get install -y jq",
        "go install example.org/x@latest", "curl -fsSL https://example.org/x -o x", "pip install 'httpx'",
    ],
)  # fmt: skip
def test_an_install_line_that_is_not_pinned(command: str) -> None:
    assert list(unpinned(command))


@pytest.mark.parametrize(
    "command",
    [
        "pip install --require-hashes -r requirements.txt", "pip install --no-cache-dir uv==0.13.8 && python -m venv x",
        "apt-get update && apt-get install --yes --no-install-recommends jq && rm -rf /var/lib/apt/lists/*",
        'go install -ldflags "-s -w" example.org/x@v1.2.3', "pip install --no-deps --editable /opt/etar",
        "curl -fsSL https://example.org/x -o x && echo abc x | sha256sum --check", "npm install left-pad@1.3.0",
    ],
)  # fmt: skip
def test_an_install_line_that_is_pinned(command: str) -> None:
    assert list(unpinned(command)) == []


@pytest.mark.parametrize(
    ("test", "called"),
    [
        (("CMD", "pg_isready", "-U", "x"), ["pg_isready"]),
        (("CMD-SHELL", "curl -f http://x || exit 1"), ["curl", "exit"]),
        (("CMD-SHELL", "A=1 redis-cli ping | grep -q PONG"), ["redis-cli", "grep"]),
        (("CMD", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/80"), ["exec"]),
        (("CMD-SHELL", "test \"$(wget -q -O - x)\" = 'a; b'"), ["test", "wget"]),
        ((), []),
    ],
)
def test_the_programs_of_a_health_check(test: tuple[str, ...], called: list[str]) -> None:
    assert programs(test) == called


def test_a_dockerfile_is_taken_apart() -> None:
    parsed = parse_dockerfile(
        "ARG VERSION=3.11.14\n"
        "FROM --platform=linux/amd64 python:${VERSION}-slim AS base\n"
        "# why\n"
        "RUN one && \\\n"
        "    # between\n"
        "    two\n"
        "USER 0\n"
        "FROM base\n"
        'CMD ["etar"]\n'
    )
    assert [stage.base for stage in parsed.stages] == ["python:3.11.14-slim", "base"]
    first, last = parsed.stages
    assert [(one.line, one.keyword, one.text) for one in first.instructions] == [
        (4, "RUN", "one && two"),
        (7, "USER", "0"),
    ]
    assert parsed.stage(None) is last
    assert parsed.stage("base") is first
    assert parsed.stage("none") is None
    assert parsed.lineage(last) == (last, first)


def test_a_stage_called_like_its_base_does_not_stand_on_itself() -> None:
    parsed = parse_dockerfile("FROM python AS python\n")
    assert parsed.lineage(parsed.stages[0]) == parsed.stages


def test_variables_of_an_example() -> None:
    example = "# --- Kafka\nA_B=1\n# C_D=2\n# --- Containers, beside the above\n# what\nE_F=\n\n# --- Native\nG_H=3\n"
    assert documented_variables(example) == {"A_B": "1", "C_D": "2", "E_F": "", "G_H": "3"}
    assert documented_variables(container_section(example)) == {"E_F": ""}
    assert container_section("A_B=1\n") == ""


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("cli", True), ("cli/main.py", True), ("cli/__pycache__/main.pyc", False), ("connect/plugins", False),
        ("connect/plugins/a.jar", False), ("connect/sink.json", True), (".env", False), ("secrets/x", False),
        ("clip", False), ("docs/cli", False),
    ],
)  # fmt: skip
def test_what_a_build_is_sent(path: str, sent: bool) -> None:
    assert is_sent(path, ("*", "!cli", "!connect", "connect/plugins", "**/__pycache__")) is sent


def test_a_build_without_patterns_is_sent_everything() -> None:
    assert is_sent("secrets/x", ())
    assert not is_sent("a/b/c.pyc", ("**/*.pyc",))
