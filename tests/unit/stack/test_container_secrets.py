"""The containers' secrets: made once, never changed, never shown, and saying the same in each program's form."""

from __future__ import annotations

import ast
import hashlib
import json
import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from etar import settings
from etar.settings import PipelineSettings, WarehouseSettings, get_settings
from stack import airflow_connections, container_secrets
from stack.container_secrets import DRAWN, FOLLOWING, make_secrets
from stack.layout import REPOSITORY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_secrets(tmp_path / "secrets", lambda _: None)
    return tmp_path / "secrets"


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_every_secret_of_the_compose_file_is_made_and_nothing_else(folder: Path) -> None:
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    mounted = {secret["file"].removeprefix("secrets/") for secret in compose["secrets"].values()}
    # What others only follow from, and what a person types, is mounted nowhere.
    for_no_container = {"airflow_admin_password", "redis_password", "spark_secret"}
    assert set(contents(folder)) == mounted | for_no_container
    assert not mounted & for_no_container


def test_a_second_run_changes_nothing(folder: Path) -> None:
    before = contents(folder)
    make_secrets(folder, lambda _: None)
    assert contents(folder) == before


def test_one_that_is_missing_is_made_and_the_others_stay(folder: Path) -> None:
    before = contents(folder)
    (folder / "minio_root_password").unlink()
    make_secrets(folder, lambda _: None)
    after = contents(folder)
    assert {name for name in before if before[name] != after[name]} == {"minio_root_password"}


def test_two_installations_share_no_secret(folder: Path, tmp_path: Path) -> None:
    make_secrets(tmp_path / "other", lambda _: None)
    same = {name for name, text in contents(tmp_path / "other").items() if text == contents(folder)[name]}
    assert same <= {"etar_pipeline_start_date", "etar_alerts_targets"}


def test_a_file_that_no_longer_follows_from_the_others_is_named_and_left_alone(folder: Path) -> None:
    (folder / "redis_password").unlink()
    said: list[str] = []
    before = contents(folder)
    make_secrets(folder, said.append)
    assert [line.split(" ")[0] for line in said if "delete it" in line] == [
        str(folder / name) for name in ("redis_users.acl", "airflow_broker_url")
    ]
    assert contents(folder)["redis_users.acl"] == before["redis_users.acl"]


def test_the_folder_is_its_owners_alone_and_any_container_can_read_what_it_is_given(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o444}


def test_a_folder_that_was_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir(mode=0o755)
    make_secrets(tmp_path / "secrets", lambda _: None)
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_names_are_printed_and_no_secret(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stack.container_secrets", str(tmp_path / "secrets")]
    said = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    made = contents(tmp_path / "secrets")
    assert all(f"secrets/{name}\n" in said for name in made)
    assert not [name for name, text in made.items() if text and text in said]


def test_it_runs_on_an_old_python_with_nothing_installed() -> None:
    assert imported(container_secrets) == {airflow_connections.__name__}
    assert imported(airflow_connections) == set()


def imported(module: ModuleType) -> set[str]:
    """What a module that an old Python can read imports and does not come with Python."""
    tree = ast.parse(Path(str(module.__file__)).read_text(), feature_version=(3, 9))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.Import)]
    names = {
        f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
        for node in nodes
        for alias in node.names
    }
    return {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}


def test_etars_settings_read_the_files_and_the_environment_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ETAR_WAREHOUSE_PASSWORD", "ETAR_PIPELINE_START_DATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(settings, "SECRETS_FOLDER", folder)
    read = get_settings.__wrapped__
    assert read(WarehouseSettings).password.get_secret_value() == (folder / "etar_warehouse_password").read_text()
    assert read(PipelineSettings).start_date.second == 0
    monkeypatch.setenv("ETAR_WAREHOUSE_PASSWORD", "given")
    assert read(WarehouseSettings).password.get_secret_value() == "given"


def test_clickhouse_and_redis_are_told_hashes_only(folder: Path) -> None:
    made = contents(folder)
    for file, password in (
        ("clickhouse_users.xml", "etar_warehouse_password"),
        ("clickhouse_reader.xml", "reader_warehouse_password"),
        ("redis_users.acl", "redis_password"),
    ):
        assert hashlib.sha256(made[password].encode()).hexdigest() in made[file]
        assert made[password] not in made[file]


def test_connections_name_services_of_the_compose_file(folder: Path) -> None:
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    connections = json.loads((folder / "airflow_connections.json").read_text())
    hosts = {name: connection.get("host") for name, connection in connections.items()}
    assert {name: hosts[name] for name in ("etar_warehouse", "etar_ledger", "etar_api")} == {
        "etar_warehouse": "clickhouse",
        "etar_ledger": "postgres",
        "etar_api": "report-api",
    }
    named = {*(host for host in hosts.values() if host and "://" not in host), "spark-master", "minio"}
    assert named <= set(services)
    assert hosts["etar_spark"] == "spark://spark-master:7077"


def test_no_file_is_made_twice() -> None:
    assert not set(DRAWN) & set(FOLLOWING)
