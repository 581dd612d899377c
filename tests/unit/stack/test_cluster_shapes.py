"""Celery and a Spark cluster: which parts they add, what they change for Airflow, and what they keep to themselves."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from etar.settings import PipelineSettings
from stack.configuration import SettingsError, make_settings
from stack.layout import REPOSITORY, Layout
from stack.parts import Stack, celery, part_named, parts_of, spark

ON_CELERY = {"airflow-worker-1", "airflow-worker-2", "redis"}
ON_A_CLUSTER = {"spark-master", "spark-worker"}

IN_CONTAINERS = {
    "spark.authenticate.secret": "added from a file when a container starts",
    "spark.deploy.recoveryDirectory": "on a volume",
    "spark.driver.bindAddress": "natively everything is on loopback",
    "spark.driver.host": "natively everything is on loopback",
    "spark.driver.extraJavaOptions": "the class archive is made by stack/setup.sh",
    "spark.executor.extraJavaOptions": "the class archive is made by stack/setup.sh",
    "spark.driver.memory": "within the limits of the containers",
    "spark.executor.memory": "within the limits of the containers",
    "spark.executor.cores": "a worker of containers may have room for several executors",
    "spark.hadoop.fs.s3a.aws.credentials.provider": "no secret is in any environment there",
    "spark.hadoop.fs.s3a.endpoint": "MinIO",
}
"""What Spark is told in containers otherwise than natively, and why."""


def stack_of(folder: Path, **shape: str) -> Stack:
    environment = {f"ETAR_STACK_{name}": value for name, value in shape.items()}
    return Stack(Layout.at(folder), make_settings(environment, {}, datetime(2026, 11, 21, tzinfo=UTC)))


@pytest.fixture
def plain(tmp_path: Path) -> Stack:
    return stack_of(tmp_path / "plain")


@pytest.fixture
def on_celery(tmp_path: Path) -> Stack:
    return stack_of(tmp_path / "celery", EXECUTOR="celery")


@pytest.fixture
def on_a_cluster(tmp_path: Path) -> Stack:
    return stack_of(tmp_path / "cluster", SPARK="standalone")


def names(stack: Stack) -> set[str]:
    return {part.name for part in parts_of(stack)}


def test_each_shape_adds_its_parts_and_no_others(plain: Stack, on_celery: Stack, on_a_cluster: Stack) -> None:
    assert names(on_celery) - names(plain) == ON_CELERY
    assert names(on_a_cluster) - names(plain) == ON_A_CLUSTER
    assert names(plain) - names(on_celery) == set()
    # Drivers come and go there, one for each analysis.
    assert names(plain) - names(on_a_cluster) == {"spark"}


def test_celery_is_known_to_airflow_only_where_it_runs(plain: Stack, on_celery: Stack) -> None:
    scheduler = part_named("airflow-scheduler", plain)
    assert scheduler.environment(plain)["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert not [name for name in scheduler.environment(plain) if "CELERY" in name]
    seen = scheduler.environment(on_celery)
    assert seen["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert on_celery.settings["ETAR_STACK_REDIS_PASSWORD"] in seen["AIRFLOW__CELERY__BROKER_URL"]
    assert seen == part_named("airflow-worker-1", on_celery).environment(on_celery)


def test_workers_have_room_for_all_that_may_run_at_once(on_celery: Stack) -> None:
    seen = part_named("airflow-scheduler", on_celery).environment(on_celery)
    assert int(seen["AIRFLOW__CORE__PARALLELISM"]) == 2 * celery.CONCURRENCY


def test_a_message_comes_back_only_after_any_task_has_ended(on_celery: Stack) -> None:
    seen = part_named("airflow-worker-1", on_celery).environment(on_celery)
    longest = PipelineSettings(start_date=datetime(2026, 11, 21, tzinfo=UTC)).settle_timeout_seconds
    assert int(seen["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"]) > 10 * longest


def test_publishing_gives_up_before_it_is_interrupted(on_celery: Stack) -> None:
    seen = part_named("airflow-scheduler", on_celery).environment(on_celery)
    policy = json.loads(seen["AIRFLOW__CELERY__EXTRA_CELERY_CONFIG"])["task_publish_retry_policy"]
    waits = [
        min(policy["interval_start"] + number * policy["interval_step"], policy["interval_max"])
        for number in range(policy["max_retries"])
    ]
    assert 8 < sum(waits) < float(seen["AIRFLOW__CELERY__OPERATION_TIMEOUT"])


def test_without_redis_the_start_is_refused_and_says_what_to_install(
    plain: Stack, on_celery: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match=r"apt-get install .*redis-server"):
        part_named("redis", on_celery).require(on_celery)
    assert "redis" not in names(plain)


def test_the_password_of_redis_is_in_a_private_file_only(on_celery: Stack) -> None:
    redis = part_named("redis", on_celery)
    assert redis.prepare is not None
    redis.prepare(on_celery)
    file = Path(redis.command(on_celery)[-1])
    assert file.stat().st_mode & 0o777 == 0o600
    assert f"requirepass {on_celery.settings['ETAR_STACK_REDIS_PASSWORD']}\n" in file.read_text()


def connection_to_spark(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        part_named("airflow-scheduler", stack).environment(stack)["AIRFLOW_CONN_ETAR_SPARK"]
    )
    return found


def test_where_the_analysis_runs(plain: Stack, on_a_cluster: Stack, tmp_path: Path) -> None:
    each_its_own = stack_of(tmp_path / "local", SPARK="local")
    for stack, master in ((each_its_own, "local[2]"), (on_a_cluster, "spark://127.0.0.1:7077")):
        connection = connection_to_spark(stack)
        assert (connection["conn_type"], connection["host"]) == ("spark", master)
    connection = connection_to_spark(plain)
    assert (connection["conn_type"], connection["host"], connection["port"]) == ("http", "127.0.0.1", 8085)


def test_the_spark_that_stays_runs_for_who_has_its_token(plain: Stack, on_a_cluster: Stack) -> None:
    token = plain.settings["ETAR_STACK_SPARK_TOKEN"]
    assert connection_to_spark(plain)["password"] == token
    server = part_named("spark", plain)
    assert token in server.environment(plain).values()
    assert token not in " ".join(server.command(plain))
    assert on_a_cluster.settings["ETAR_STACK_SPARK_TOKEN"] not in json.dumps(connection_to_spark(on_a_cluster))


def test_the_secret_of_the_cluster_is_in_private_files_only(plain: Stack, on_a_cluster: Stack) -> None:
    secret = on_a_cluster.settings["ETAR_STACK_SPARK_SECRET"]
    master = part_named("spark-master", plain)
    assert master.prepare is not None
    master.prepare(on_a_cluster)
    command = master.command(on_a_cluster)
    files = [Path(command[command.index("--properties-file") + 1]), spark.properties_file(on_a_cluster)]
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o600
        assert f"spark.authenticate.secret {secret}\n" in file.read_text()
    assert "spark.authenticate" not in spark.properties_file(plain).read_text()
    for part in ON_A_CLUSTER:
        assert secret not in "\n".join(part_named(part, on_a_cluster).environment(on_a_cluster).values())


def test_the_master_does_not_know_the_credentials_of_s3(on_a_cluster: Stack) -> None:
    known = "\n".join(part_named("spark-master", on_a_cluster).environment(on_a_cluster).values())
    _, secret = spark.credentials(on_a_cluster)
    assert secret not in known
    assert secret in part_named("spark-worker", on_a_cluster).environment(on_a_cluster).values()


def read_properties(text: str) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))


def test_spark_is_told_the_same_in_containers_but_for_what_the_table_says(on_a_cluster: Stack) -> None:
    contained = read_properties((REPOSITORY / "docker" / "spark" / "spark.properties").read_text())
    master = part_named("spark-master", on_a_cluster)
    assert master.prepare is not None
    master.prepare(on_a_cluster)
    command = master.command(on_a_cluster)
    files = [Path(command[command.index("--properties-file") + 1]), spark.properties_file(on_a_cluster)]
    text = "".join(file.read_text() for file in files)
    native = read_properties(text.replace(str(spark.JARS), "/opt/spark-jars").replace(str(REPOSITORY), "/opt/etar"))
    assert {name for name in native | contained if native.get(name) != contained.get(name)} == set(IN_CONTAINERS)
