"""Real parts for the tests: each fixture starts one part of the native stack, on a free port, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from hypothesis import settings
from pydantic_settings import BaseSettings

from etar.settings import (
    KafkaSettings,
    ObjectStoreSettings,
    RegistrySettings,
    ReportStoreSettings,
    WarehouseSettings,
    get_settings,
)
from stack.configuration import PORTS, prepare_settings
from stack.layout import REPOSITORY, Layout
from stack.lifecycle import enabled_parts, is_ready
from stack.parts import STEPS, Stack, part_named
from stack.waiting import wait_until
from tests.ports import free_ports

# Hypothesis tries the same examples at every run; with `pytest --hypothesis-profile=default` it looks for new ones.
settings.load_profile("ci")

# The whole of a test's machine is its own: nothing here reads or writes ./.etar.
_Settings = TypeVar("_Settings", bound=BaseSettings)


def stack_environment() -> dict[str, str]:
    """Variables that put a stack on free ports."""
    return {name: str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder with a short name (a Unix socket has to fit) that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="etar-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def parts_stack() -> Iterator[Stack]:
    """Settings and folder that the single parts below share."""
    with temporary_folder() as folder:
        layout = Layout.at(folder)
        layout.create()
        yield Stack(layout, prepare_settings(layout.settings_file, stack_environment(), datetime.now(UTC)))


@contextmanager
def running_part(name: str, stack: Stack) -> Iterator[int]:
    """One part of the stack as the supervisor would start it, with its step done; yields its process id."""
    part = part_named(name)
    log = stack.layout.log(name)
    with log.open("ab") as out:
        command = [sys.executable, "-m", "stack.launch", str(stack.layout.root), name]
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=stack.base_environment, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        wait_until(
            lambda: process.poll() is not None or is_ready(part, stack), timeout=90, what=f"{name} to answer ({log})"
        )
        assert process.poll() is None, f"{name} ended with {process.returncode}:\n{log.read_text()[-3000:]}"
        # What is to be done once of this part alone: of a Kafka that is one node, say.
        here = {each.name for each in enabled_parts(stack)}
        for step in STEPS:
            if here.intersection(step.needs) == {name} and step.name != "airflow-database":
                step.action(stack)
        yield process.pid
    finally:
        if process.poll() is None:
            process.send_signal(getattr(signal, f"SIG{part.stop_signal}"))
            _wait_or_kill(process, part.stop_seconds)


def _wait_or_kill(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def running_server(command: list[str], environment: dict[str, str], log: Path, *, answers_at: str) -> Iterator[None]:
    """A web server of this repository with settings of the test's own, from when ``answers_at`` gives a success."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=REPOSITORY,
            env=os.environ | environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(answers_at, timeout=10).is_success
        except httpx.TransportError:
            return False

    try:
        wait_until(is_up, timeout=60, what=f"{answers_at} to answer ({log})")
        yield
    finally:
        process.terminate()
        _wait_or_kill(process, 20)


def _settings_of(stack: Stack, kind: type[_Settings]) -> _Settings:
    """Put the concern's variables into this process's environment and read them back as the code under test will."""
    prefix = str(kind.model_config["env_prefix"])
    os.environ.update(stack.settings.starting_with(prefix))
    get_settings.cache_clear()
    return get_settings(kind)


@pytest.fixture(scope="session")
def kafka(parts_stack: Stack) -> Iterator[KafkaSettings]:
    """Apache Kafka with the topic ``user_interactions``; auto-creation is off, so make your own topics."""
    with running_part("kafka", parts_stack):
        yield _settings_of(parts_stack, KafkaSettings)


@pytest.fixture(scope="session")
def registry(parts_stack: Stack) -> Iterator[RegistrySettings]:
    """Schema registry with the compatibility that the set-up gives it."""
    with running_part("registry", parts_stack):
        yield _settings_of(parts_stack, RegistrySettings)


@pytest.fixture(scope="session")
def warehouse(parts_stack: Stack) -> Iterator[WarehouseSettings]:
    """chDB behind the HTTP front, with the tables of ``sql/clickhouse`` in database ``etar``."""
    with running_part("warehouse", parts_stack):
        yield _settings_of(parts_stack, WarehouseSettings)


@pytest.fixture(scope="session")
def object_store(parts_stack: Stack) -> Iterator[ObjectStoreSettings]:
    """versitygw with the bucket."""
    with running_part("s3", parts_stack):
        yield _settings_of(parts_stack, ObjectStoreSettings)


@pytest.fixture(scope="session")
def report_store(parts_stack: Stack) -> Iterator[ReportStoreSettings]:
    """PostgreSQL with the tables of ``sql/postgres`` in database ``etar``."""
    with running_part("postgres", parts_stack):
        yield _settings_of(parts_stack, ReportStoreSettings)


@pytest.fixture(scope="session")
def report_api(report_store: ReportStoreSettings, parts_stack: Stack) -> Iterator[Stack]:
    """The report API on the session's report store; yields the stack whose settings say where and with which tokens."""
    with running_part("report-api", parts_stack):
        yield parts_stack
