"""The producer's service with ETAR_DEMO_RATE=0: it stays up, sends nothing and says so."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.layout import REPOSITORY


@pytest.fixture
def producer() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    return services["producer"]


def as_in_the_container(line: str, rate: str, programs: Path) -> subprocess.CompletedProcess[str]:
    """A shell line of the file, with Compose's escaped dollars, among programs that only say how they were called."""
    for name in ("etar", "sleep"):
        program = programs / name
        program.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        program.chmod(0o755)
    environment = {"ETAR_DEMO_RATE": rate, "PATH": f"{programs}:/usr/bin:/bin"}
    return subprocess.run(
        ["sh", "-c", line.replace("$$", "$")], env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def test_a_rate_of_nothing_is_an_idle_and_healthy_container(producer: dict[str, Any], tmp_path: Path) -> None:
    started = as_in_the_container(producer["command"][-1], "0", tmp_path)
    assert started.stdout == "no demo traffic: ETAR_DEMO_RATE is 0\nsleep infinity\n"
    assert as_in_the_container(producer["healthcheck"]["test"][-1], "0", tmp_path).returncode == 0


def test_any_other_rate_is_sent_and_needs_a_connection_to_be_healthy(producer: dict[str, Any], tmp_path: Path) -> None:
    started = as_in_the_container(producer["command"][-1], "50", tmp_path)
    assert started.stdout.startswith("etar produce --rate 50 --workers 1 ")
    # A table without connections: this machine's own may well have one to a Kafka.
    nowhere = producer["healthcheck"]["test"][-1].replace("/proc/net/tcp", "/dev/null")
    assert as_in_the_container(nowhere, "50", tmp_path).returncode == 1
