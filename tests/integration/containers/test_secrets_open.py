"""The files that ``make secrets`` makes open the doors they are for: the programs that the containers run take them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
import yaml

from etar.clients import object_store_client
from etar.settings import ObjectStoreSettings, ReportStoreSettings
from stack.class_archives import ROWS, write_events
from stack.container_secrets import make_secrets
from stack.layout import BUILD, REPOSITORY
from stack.parts import Stack, spark
from stack.parts.object_store import spark_credentials
from stack.parts.postgres import binary
from stack.waiting import wait_until
from tests.ports import free_ports


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installation") / "secrets"
    make_secrets(folder, lambda _: None)
    return folder


def _redis_server() -> str:
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("needs redis-server (Debian 12: apt-get install --no-install-recommends redis-server)")
    return found


@pytest.fixture
def broker(secrets: Path, tmp_path: Path) -> Iterator[int]:
    """Redis with the arguments of the compose file; yields its port."""
    port = free_ports(1)[0]
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(tmp_path), "--appendonly", "yes", "--save", ""]
    server = subprocess.Popen(
        [_redis_server(), "--aclfile", str(secrets / "redis_users.acl"), *options], stdout=subprocess.DEVNULL
    )
    try:
        yield port
    finally:
        server.terminate()
        server.wait(20)


def test_redis_takes_airflows_url_and_nobody_else(broker: int, secrets: Path) -> None:
    url = (secrets / "airflow_broker_url").read_text().replace("@redis:6379/", f"@127.0.0.1:{broker}/")

    def is_up() -> bool:
        try:
            return bool(redis.Redis.from_url(url).ping())
        except redis.ConnectionError:
            return False

    wait_until(is_up, timeout=30, what="Redis to answer")
    with redis.Redis.from_url(url) as airflow:
        airflow.lpush("celery", "message")
        assert airflow.brpop(["celery"], timeout=5)
        with pytest.raises(redis.exceptions.NoPermissionError):
            airflow.config_get("*")
    with redis.Redis(port=broker) as nobody, pytest.raises(redis.exceptions.AuthenticationError):
        nobody.ping()
    # What the container's health check takes for a server that is there.
    answer = subprocess.run(["redis-cli", "-p", str(broker), "ping"], capture_output=True, text=True, check=False)
    assert "NOAUTH" in answer.stdout + answer.stderr


def test_postgres_has_a_database_and_an_owner_for_each(
    report_store: ReportStoreSettings, parts_stack: Stack, secrets: Path, tmp_path: Path
) -> None:
    # Other names: the session's server has these databases already.
    script = (REPOSITORY / "docker" / "postgres" / "databases.sql").read_text().replace("/run/secrets", str(secrets))
    script = re.sub(r"\b(ROLE|DATABASE|OWNER) (\w+)", r"\1 container_\2", script)
    (tmp_path / "databases.sql").write_text(script)
    where = ["--host=127.0.0.1", f"--port={report_store.port}", "--username=postgres", "--set=ON_ERROR_STOP=1"]
    subprocess.run(
        [binary("psql"), *where, "--file", str(tmp_path / "databases.sql")],
        env=os.environ | {"PGPASSWORD": parts_stack.settings["ETAR_STACK_POSTGRES_PASSWORD"]},
        check=True,
        timeout=60,
    )
    url = (secrets / "airflow_database_url").read_text()
    found = re.fullmatch(r"postgresql\+psycopg2://airflow:(\w+)@postgres:5432/airflow", url)
    assert found
    passwords = {"airflow": found[1], "etar": (secrets / "etar_report_store_password").read_text()}
    for name, password in passwords.items():
        user = f"container_{name}"
        with psycopg.connect(
            host="127.0.0.1", port=report_store.port, user=user, dbname=user, password=password
        ) as connection:
            connection.execute("CREATE TABLE mine (n int)")


def test_airflow_reads_options_and_connections_from_files(secrets: Path, tmp_path: Path) -> None:
    """With the variables of the compose file, in a process of its own: it reads them when it is imported."""
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    worker = compose["services"]["airflow-worker"]["environment"]
    ours = {
        name: str(value).replace("/run/secrets", str(secrets))
        for name, value in worker.items()
        if name.endswith("_CMD") or name.startswith("AIRFLOW__SECRETS__")
    }
    program = """
import json
from airflow.sdk.configuration import conf
from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded
options = ["api_auth/jwt_secret", "api/secret_key", "celery/broker_url", "celery/result_backend", "core/fernet_key",
           "database/sql_alchemy_conn"]
backend = ensure_secrets_backend_loaded()[0]
names = ["etar_warehouse", "etar_s3", "etar_spark", "etar_ledger", "etar_api"]
print(json.dumps({
    "options": {option: conf.get(*option.split("/")) for option in options},
    "connections": {name: backend.get_connection(name).get_uri() for name in names},
}))
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=clean | ours | {"AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["options"] == {
        "api_auth/jwt_secret": (secrets / "airflow_jwt_secret").read_text(),
        "api/secret_key": (secrets / "airflow_secret_key").read_text(),
        "celery/broker_url": (secrets / "airflow_broker_url").read_text(),
        "celery/result_backend": (secrets / "airflow_result_backend").read_text(),
        "core/fernet_key": (secrets / "airflow_fernet_key").read_text(),
        "database/sql_alchemy_conn": (secrets / "airflow_database_url").read_text(),
    }
    assert "spark-master" in found["connections"]["etar_spark"]
    assert (secrets / "etar_api_write_token").read_text() in found["connections"]["etar_api"]


def test_spark_reads_and_writes_as_its_own_user_with_the_containers_properties(
    object_store: ObjectStoreSettings, parts_stack: Stack, tmp_path: Path
) -> None:
    events = tmp_path / "events.parquet"
    write_events(events)
    client = object_store_client(object_store)
    client.upload_file(str(events), object_store.bucket, "extracts/containers/minute.parquet")
    secrets, image = tmp_path / "secrets", tmp_path / "image"
    secrets.mkdir()
    (secrets / "spark_s3_secret").write_text(spark_credentials(parts_stack)[1])
    make_secrets(secrets, lambda _: None)
    shutil.copytree(REPOSITORY / "docker" / "spark", image)
    properties = (image / "spark.properties").read_text()
    for in_container, here in {
        "/opt/spark-jars": str(BUILD / "jars" / "spark"),
        "/opt/etar": str(REPOSITORY),
        "http://minio:9000": object_store.endpoint_url,
    }.items():
        assert in_container in properties
        properties = properties.replace(in_container, here)
    (image / "spark.properties").write_text(properties)
    environment = {
        variable: value for variable, value in os.environ.items() if not variable.startswith(("AWS_", "ETAR_"))
    }
    subprocess.run(
        [
            str(image / "with-properties.sh"), str(spark.spark_home() / "bin" / "spark-submit"),
            "--master", "local[2]",
            "--properties-file", str(tmp_path / "spark.properties"),
            str(REPOSITORY / "spark_apps" / "minute_report.py"),
            "--stream", "user_interactions",
            "--minute", "2026-01-01T00:00Z",
            "--source", f"s3a://{object_store.bucket}/extracts/containers/minute.parquet",
            "--result", f"s3a://{object_store.bucket}/results/containers/minute.json",
        ],
        env=environment
        | spark.home_environment()
        | {
            "AWS_SHARED_CREDENTIALS_FILE": str(secrets / "spark_s3_credentials"),
            "PYSPARK_PYTHON": sys.executable,
            "SECRETS": str(secrets),
            "SPARK_PROPERTIES": str(tmp_path / "spark.properties"),
        },
        check=True,
        timeout=240,
    )  # fmt: skip
    assert (tmp_path / "spark.properties").stat().st_mode & 0o077 == 0
    answer = client.get_object(Bucket=object_store.bucket, Key="results/containers/minute.json")
    assert json.loads(answer["Body"].read())["total_events"] == ROWS
