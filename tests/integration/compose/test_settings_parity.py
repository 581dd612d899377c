"""The settings objects that the native stack's parts read load in containers too, from what Compose gives each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from etar.settings import (
    AlertRuleSettings,
    AlertSettings,
    Concern,
    ConnectSettings,
    DashboardAddress,
    DashboardSettings,
    DeadLetterSettings,
    EventTimeSettings,
    KafkaSettings,
    ObjectStoreSettings,
    PipelineSettings,
    ReconcileSettings,
    RegistrySettings,
    ReportApiSettings,
    ReportReadSettings,
    ReportStoreSettings,
    StreamJobSettings,
    WarehouseAddress,
    WarehouseSettings,
)
from stack.compose_check.project import Project, Service
from stack.configuration import make_settings
from stack.container_secrets import make_secrets
from stack.layout import Layout
from stack.parts import Stack, part_named
from stack.settings_table import FILE, render

NEEDS: Mapping[str, tuple[type[Concern], ...]] = {
    "topics": (KafkaSettings,),
    "compatibility": (RegistrySettings,),
    "tables": (WarehouseSettings, EventTimeSettings),
    "report-store": (ReportStoreSettings,),
    "connector": (ConnectSettings, WarehouseAddress),
    "connect-watch": (ConnectSettings,),
    "producer": (KafkaSettings, RegistrySettings),
    "report-api": (
        ReportApiSettings, ReportStoreSettings, KafkaSettings, RegistrySettings, WarehouseSettings,
        ObjectStoreSettings, PipelineSettings, ReconcileSettings, AlertRuleSettings,
    ),
    "dashboard": (ReportReadSettings, DashboardSettings),
    "alerts": (
        AlertSettings, KafkaSettings, ReportStoreSettings, ReportReadSettings, PipelineSettings, ReconcileSettings,
    ),
    "airflow-api-server": (PipelineSettings, DashboardAddress),
    # What parses DAGs reads when they begin and how many minutes at once.
    "airflow-scheduler": (PipelineSettings,),
    "airflow-dag-processor": (PipelineSettings,),
    "airflow-triggerer": (PipelineSettings,),
    "airflow-worker": (
        KafkaSettings, RegistrySettings, WarehouseSettings, ObjectStoreSettings, ReportStoreSettings,
        PipelineSettings, ReconcileSettings, DashboardAddress,
    ),
    "stream-job": (
        KafkaSettings, RegistrySettings, WarehouseSettings, ReportStoreSettings, EventTimeSettings, StreamJobSettings,
    ),
    "etar": (
        KafkaSettings, RegistrySettings, WarehouseSettings, ObjectStoreSettings, ReportStoreSettings,
        ReportReadSettings, PipelineSettings, ReconcileSettings, DeadLetterSettings, ConnectSettings,
        AlertSettings,
    ),
}  # fmt: skip
"""The settings that each service of our own reads."""

LOADS = [(name, kind) for name, kinds in NEEDS.items() for kind in kinds]


def named(project: Project, name: str) -> Service:
    return next(service for service in project.services if service.name == name)


@pytest.fixture(scope="module")
def made_secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compose") / "secrets"
    make_secrets(folder, lambda _: None)
    return folder


@pytest.fixture
def as_in(project: Project, made_secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts this process where a service's container would be: its environment and its /run/secrets, given back."""

    def enter(service: Service) -> Path:
        for variable in {variable for _, kind in LOADS for variable in kind.variables().values()}:
            monkeypatch.delenv(variable, raising=False)
        for variable, value in service.environment.items():
            monkeypatch.setenv(variable, value)
        mounted = tmp_path / "run-secrets"
        mounted.mkdir()
        for file, secret in service.secret_files.items():
            (mounted / file).write_bytes((made_secrets / secret).read_bytes())
        return mounted

    return enter


@pytest.mark.parametrize(("name", "kind"), LOADS, ids=lambda value: getattr(value, "__name__", value))
def test_settings_load_from_what_a_service_is_given(project: Project, as_in, name: str, kind: type[Concern]) -> None:
    service = named(project, name)
    loaded = kind.read(as_in(service))
    for field, variable in kind.variables().items():
        if value := service.environment.get(variable):
            assert str(getattr(loaded, field)).casefold() in (value.casefold(), str(float_or(value)))
    if kind is DashboardAddress:
        return  # for browsers, which reach the port that is published
    for address in ("host", "url", "endpoint_url", "bootstrap_servers"):
        assert "127.0.0.1" not in getattr(loaded, address, ""), (
            f"{name} would look for {kind.__name__} in its container"
        )


def float_or(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def test_a_service_of_ours_that_reads_settings_is_in_the_table(project: Project) -> None:
    given = {s.name for s in project.services if any(name.startswith("ETAR_") for name in s.environment)}
    # It only migrates Airflow's database; its settings come with what all Airflow processes are given.
    assert given - set(NEEDS) == {"airflow-database"}
    assert set(NEEDS) <= given


def test_a_service_is_given_no_secret_of_etar_that_it_does_not_read(project: Project) -> None:
    for name, kinds in NEEDS.items():
        read = {variable.lower() for kind in kinds for variable in kind.variables().values()}
        given = {file for file in named(project, name).secret_files if file.startswith("etar_")}
        assert given <= read, f"{name} is given {given - read}"


def test_a_missing_secret_is_named(project: Project, as_in) -> None:
    mounted = as_in(named(project, "tables"))
    kind: type[Concern] = WarehouseSettings
    (mounted / "etar_warehouse_password").unlink()
    with pytest.raises(ValidationError, match="password"):
        kind.read(mounted)


def option(variable: str) -> str:
    """An option of Airflow's without the ending that says that a command prints its value."""
    return variable.removesuffix("_CMD")


AIRFLOW_ONLY_NATIVELY = {
    "AIRFLOW__API__HOST": "a container's port is reached from other containers",
    "AIRFLOW__API__PORT": "8080 is Airflow's own; Compose publishes it",
}


def airflow_options(variables: Mapping[str, str]) -> set[str]:
    return {option(variable) for variable in variables if variable.startswith("AIRFLOW__")}


def test_every_airflow_option_of_the_native_stack_is_set_in_containers(project: Project, tmp_path: Path) -> None:
    settings = make_settings({"ETAR_STACK_EXECUTOR": "celery"}, {}, datetime(2026, 11, 21, tzinfo=UTC))
    stack = Stack(Layout.at(tmp_path), settings)
    native = part_named("airflow-scheduler", stack).environment(stack)
    contained = airflow_options(named(project, "airflow-worker").environment)
    assert airflow_options(native) - contained <= set(AIRFLOW_ONLY_NATIVELY)


def test_airflow_knows_every_option_that_containers_set(project: Project) -> None:
    from airflow.configuration import conf
    from airflow.providers_manager import ProvidersManager

    ProvidersManager().initialize_providers_configuration()
    for service in project.services:
        for name in airflow_options(service.environment):
            _, section, key = (part.lower() for part in name.split("__", 2))
            known = conf.configuration_description.get(section, {}).get("options", {})
            assert key in known, f"{service.name}: Airflow has no option {name}"


def test_the_table_of_settings_is_current(project: Project) -> None:
    assert FILE.read_text() == render(project), "run .venv/bin/python -m stack.settings_table"
