"""Real parts for the tests: each fixture starts one part of the native stack, on a free port, in a temporary folder."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings
from pydantic import SecretStr

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
from stack.lifecycle import is_ready
from stack.parts import Part, Stack, part_named, parts_of, steps_of
from stack.parts.base import answers
from stack.waiting import wait_until
from tests.kept_parts import is_kept, kept_stack, start_kept_part
from tests.ports import free_ports
from tests.stopping import stop
from tests.stream_folders import FOLDERS

# Hypothesis tries the same examples at every run; with `pytest --hypothesis-profile=default` it looks for new ones.
settings.load_profile("ci")

# The whole of a test's machine is its own: nothing here reads or writes ./.etar.
_START_SECONDS = 240
"""Within a test's own limit, which would not say what it waited for; many times what a start takes."""


class PartError(Exception):
    """A part did not start; the message says how, and ends with its log."""


class PartEndedError(PartError):
    """It ended instead of answering."""


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


@contextmanager
def new_stack(variables: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """A stack's settings, on free ports unless ``variables`` say which, and its folder; none of its parts runs."""
    with temporary_folder() as folder:
        layout = Layout.at(folder)
        layout.create()
        environment = stack_environment() | {"ETAR_STREAMS_FOLDERS": FOLDERS} | dict(variables or {})
        yield Stack(layout, prepare_settings(layout.settings_file, environment, datetime.now(UTC)))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kept-parts", action="store_true", help="use the parts that an earlier run left, and leave them")


def pytest_configure(config: pytest.Config) -> None:
    """Airflow is told where its folder and our plugin are before it is imported, as a test's module may do when it is
    collected: it would look into the home folder of whoever runs the tests, and not find the plugin."""
    closing = ExitStack()
    home = closing.enter_context(temporary_folder())
    environment = closing.enter_context(pytest.MonkeyPatch.context())
    environment.setenv("AIRFLOW_HOME", str(home))
    environment.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    environment.setenv("AIRFLOW__CORE__PLUGINS_FOLDER", str(REPOSITORY / "plugins"))
    config.add_cleanup(closing.close)


@pytest.fixture(scope="session")
def parts_stack(pytestconfig: pytest.Config) -> Iterator[Stack]:
    """Settings and folder that the single parts below share; their variables are this process's until the end."""
    with ExitStack() as closing, pytest.MonkeyPatch.context() as environment:
        if pytestconfig.option.kept_parts:
            stack = kept_stack(stack_environment() | {"ETAR_STREAMS_FOLDERS": FOLDERS})
        else:
            stack = closing.enter_context(new_stack())
        # Of all parts and not of those that run by now: what a test finds must not depend on the tests before it.
        for kind in (
            KafkaSettings,
            RegistrySettings,
            WarehouseSettings,
            ObjectStoreSettings,
            ReportStoreSettings,
        ):
            for name, value in stack.settings.starting_with(kind.PREFIX).items():
                environment.setenv(name, value)
        for name, value in stack.settings.starting_with("ETAR_STREAMS").items():
            environment.setenv(name, value)
        get_settings.cache_clear()
        yield stack


@pytest.fixture
def own_stack() -> Iterator[Stack]:
    """One of the test's own, whose parts it may start, stop and kill."""
    with new_stack() as stack:
        yield stack


@pytest.fixture(autouse=True)
def settings_read_anew() -> Iterator[None]:
    """What a test changed of the environment is undone by then, and must not live on in the settings read from it."""
    yield
    get_settings.cache_clear()


@contextmanager
def running_part(name: str, stack: Stack) -> Iterator[int]:
    """One part of the stack as the supervisor would start it, with its step done; yields its process id."""
    if is_kept(stack):
        pid = start_kept_part(name, stack, timeout=_START_SECONDS)
        _do_steps(name, stack)
        yield pid
        return
    part = part_named(name, stack)
    process = _started(part, stack)
    try:
        _do_steps(name, stack)
        yield process.pid
    finally:
        stop(process, name, part.stop_seconds, signal.Signals[f"SIG{part.stop_signal}"])


def _do_steps(name: str, stack: Stack) -> None:
    """What is to be done once of this part alone: of a Kafka that is one node, say."""
    here = {each.name for each in parts_of(stack)}
    for step in steps_of(stack):
        if here.intersection(step.needs) == {name} and step.name != "airflow-database":
            step.action(stack)


def _started(part: Part, stack: Stack) -> subprocess.Popen[bytes]:
    """The part's process once it answers. One that ends instead is started a second time, and the summary says so.

    Raises:
        PartError: it ended twice, or does not answer; with the end of its log.
    """
    try:
        return _start(part, stack)
    except PartEndedError as error:
        warnings.warn(f"started once more: {error}", stacklevel=2)
        return _start(part, stack)


def _start(part: Part, stack: Stack) -> subprocess.Popen[bytes]:
    log = stack.layout.log(part.name)
    with log.open("ab") as out:
        command = [sys.executable, "-m", "stack.launch", str(stack.layout.root), part.name]
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=stack.base_environment, stdout=out, stderr=subprocess.STDOUT
        )

    def is_up() -> bool:
        if process.poll() is not None:
            raise PartEndedError(f"{part.name} ended with {process.returncode}. {_end_of(log)}")
        return is_ready(part, stack)

    try:
        wait_until(is_up, timeout=_START_SECONDS, what=f"{part.name} to answer")
    except BaseException as error:
        stop(process, part.name, part.stop_seconds)
        if isinstance(error, TimeoutError):
            raise PartError(f"{error}; every test that needs it fails with this. {_end_of(log)}") from error
        raise
    return process


def _end_of(log: Path) -> str:
    return f"The end of {log}:\n{log.read_text(errors='replace')[-3000:]}"


@contextmanager
def running_server(command: list[str], environment: dict[str, str], log: Path, *, answers_at: str) -> Iterator[None]:
    """A web server of this repository with settings of the test's own, from when ``answers_at`` gives a success."""
    with running_program([sys.executable, "-m", *command], environment, log, answers_at=answers_at):
        yield


@contextmanager
def running_program(command: list[str], environment: dict[str, str], log: Path, *, answers_at: str) -> Iterator[None]:
    """Any program that serves, from when ``answers_at`` gives a success."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=os.environ | environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        return answers(answers_at, timeout=10)

    try:
        wait_until(is_up, timeout=_START_SECONDS, what=f"{answers_at} to answer ({log})")
        yield
    finally:
        stop(process, command[0], seconds=20)


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """The folder that Airflow is imported with, which it keeps for as long as the process runs."""
    return Path(os.environ["AIRFLOW_HOME"])


@pytest.fixture(scope="session")
def kafka(parts_stack: Stack) -> Iterator[KafkaSettings]:
    """Apache Kafka with the topic ``user_interactions``; auto-creation is off, so make your own topics."""
    with running_part("kafka", parts_stack):
        yield get_settings(KafkaSettings)


@pytest.fixture(scope="session")
def registry(parts_stack: Stack) -> Iterator[RegistrySettings]:
    """Schema registry with the compatibility that the set-up gives it."""
    with running_part("registry", parts_stack):
        yield get_settings(RegistrySettings)


@pytest.fixture(scope="session")
def warehouse(parts_stack: Stack) -> Iterator[WarehouseSettings]:
    """chDB behind the HTTP front, with the tables of ``sql/clickhouse`` in database ``etar``."""
    with running_part("warehouse", parts_stack):
        yield get_settings(WarehouseSettings)


@pytest.fixture(scope="session")
def object_store(parts_stack: Stack) -> Iterator[ObjectStoreSettings]:
    """versitygw with the bucket."""
    with running_part("s3", parts_stack):
        yield get_settings(ObjectStoreSettings)


@pytest.fixture(scope="session")
def report_store(parts_stack: Stack) -> Iterator[ReportStoreSettings]:
    """PostgreSQL with the tables of ``sql/postgres`` in database ``etar``."""
    with running_part("postgres", parts_stack):
        yield get_settings(ReportStoreSettings)


@pytest.fixture(scope="session")
def report_api(report_store: ReportStoreSettings, parts_stack: Stack) -> Iterator[Stack]:
    """The report API on the session's report store; yields the stack whose settings say where and with which tokens."""
    with running_part("report-api", parts_stack):
        yield parts_stack


@pytest.fixture
def empty_store(report_store: ReportStoreSettings, parts_stack: Stack) -> ReportStoreSettings:
    """A report store without a report: the shared one has minutes of other tests that are newer than any of today."""
    name, password = f"empty_{secrets.token_hex(8)}", secrets.token_hex(16)
    from etar.bootstrap.migrations import apply_postgres, read_migrations
    from stack.parts.postgres import create_database

    create_database(parts_stack, name, password)
    store = report_store.model_copy(update={"database": name, "user": name, "password": SecretStr(password)})
    apply_postgres(store, read_migrations(REPOSITORY / "sql" / "postgres"))
    return store
