"""``etar bootstrap``: each job makes what is missing, leaves what is there, and says in one line what is wrong."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from pydantic import SecretStr
from typer.testing import CliRunner

from cli.main import app
from etar import settings as settings_module
from etar.bootstrap.places import BootstrapError, create_bucket, create_topic, require_retention
from etar.clients import warehouse_client
from etar.settings import (
    KafkaSettings,
    ObjectStoreSettings,
    RegistrySettings,
    ReportStoreSettings,
    RetentionSettings,
    WarehouseSettings,
    get_settings,
)
from etar.streams import Stream
from stack.parts import Stack
from tests.integration.topics import admin_of, make_topic
from tests.ports import free_ports


@pytest.fixture(autouse=True)
def settings_are_read_anew() -> Iterator[None]:
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def bootstrap(job: str, *, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, ["bootstrap", job])
    assert result.exit_code == exit_code, result.output
    return result.output.strip()


@pytest.fixture
def stream() -> Stream:
    return Stream(f"bootstrap_{uuid.uuid4().hex[:8]}")


def test_a_topic_is_made_once_with_the_brokers_clock(kafka: KafkaSettings, stream: Stream) -> None:
    assert create_topic(stream, kafka)
    # It would be refused with any other clock.
    assert not create_topic(stream, kafka)
    with admin_of(kafka) as admin:
        known = admin.list_topics(stream.topic, timeout=30)
    assert len(known.topics[stream.topic].partitions) == stream.partitions


def test_a_topic_with_the_producers_clock_is_refused_with_the_way_out(kafka: KafkaSettings, stream: Stream) -> None:
    make_topic(kafka, stream.topic, 1, **{"message.timestamp.type": "CreateTime"})
    with pytest.raises(BootstrapError, match=rf"{stream.topic} .*=CreateTime.*--add-config message.timestamp.type="):
        create_topic(stream, kafka)


def test_a_topic_that_drops_records_is_refused_with_the_way_out(kafka: KafkaSettings, stream: Stream) -> None:
    make_topic(kafka, stream.topic, 1, **{"message.timestamp.type": "LogAppendTime", "cleanup.policy": "compact"})
    with pytest.raises(BootstrapError, match=rf"{stream.topic} .*=compact.*--add-config cleanup.policy=delete"):
        create_topic(stream, kafka)


def test_a_topic_that_keeps_records_too_short_is_told_of(
    kafka: KafkaSettings, stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    make_topic(kafka, stream.topic, 1, **{"message.timestamp.type": "LogAppendTime", "retention.ms": "3600000"})
    assert not create_topic(stream, kafka)
    assert [message for message in caplog.messages if "retention.ms=3600000" in message]


def test_more_copies_than_brokers_are_refused(kafka: KafkaSettings, stream: Stream) -> None:
    with pytest.raises(Exception, match="INVALID_REPLICATION_FACTOR"):
        create_topic(stream, kafka, copies=3, in_sync=2)


def test_every_job_may_run_again(
    kafka: KafkaSettings, warehouse: WarehouseSettings, report_store: ReportStoreSettings
) -> None:
    assert bootstrap("topics") == "topic user_interactions: there already"
    assert bootstrap("tables") == "nothing to apply"
    assert bootstrap("report-store") == "nothing to apply"


@pytest.mark.parametrize("hours", [25.99, 26, 26.01])
def test_a_table_that_keeps_minutes_for_less_than_is_believed_is_refused_with_the_way_out(
    warehouse: WarehouseSettings, monkeypatch: pytest.MonkeyPatch, hours: float
) -> None:
    monkeypatch.setenv("ETAR_PIPELINE_RETENTION_HOURS", str(hours))
    if hours <= 26:
        assert bootstrap("tables") == "nothing to apply"
    else:
        assert "keeps a minute for 26 h, and ETAR_PIPELINE_RETENTION_HOURS is 26.01" in bootstrap("tables", exit_code=1)


@pytest.mark.parametrize(
    ("ttl", "accepted"), [("REMOVE TTL", True), ("MODIFY TTL event_minute + INTERVAL 1 DAY", False)]
)
def test_the_ttl_that_counts_is_the_tables_own(
    warehouse: WarehouseSettings, stream: Stream, ttl: str, accepted: bool
) -> None:
    with closing(warehouse_client(warehouse)) as client:
        client.command(f"CREATE TABLE {stream.table} AS user_interactions")
        try:
            client.command(f"ALTER TABLE {stream.table} {ttl}")
            with nullcontext() if accepted else pytest.raises(BootstrapError, match="keeps a minute for 24 h"):
                require_retention(stream, warehouse, RetentionSettings(retention_hours=26))
        finally:
            client.command(f"DROP TABLE {stream.table}")


def test_compatibility_is_set_on_a_registry_that_has_none(registry: RegistrySettings) -> None:
    client = SchemaRegistryClient({"url": registry.url})
    client.set_compatibility(level="NONE")
    assert bootstrap("compatibility") == "compatibility of schemas: BACKWARD"
    assert client.get_compatibility() == "BACKWARD"


def test_a_bucket_is_made_once(object_store: ObjectStoreSettings, parts_stack: Stack) -> None:
    root = SecretStr(parts_stack.settings["ETAR_STACK_S3_ROOT_SECRET"])
    change = {"access_key_id": "etar-root", "secret_access_key": root, "bucket": f"b{uuid.uuid4().hex[:8]}"}
    as_root = object_store.model_copy(update=change)
    assert create_bucket(as_root)
    assert not create_bucket(as_root)


def test_a_place_that_is_away_is_one_line_and_a_failure(
    warehouse: WarehouseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETAR_WAREHOUSE_PORT", str(free_ports(1)[0]))
    said = bootstrap("tables", exit_code=1)
    assert said.startswith("etar: the warehouse: ")
    assert "Traceback" not in said


def test_a_wrong_password_is_the_places_own_answer(
    report_store: ReportStoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ETAR_REPORT_STORE_PASSWORD", "wrong")
    assert "password authentication failed" in bootstrap("report-store", exit_code=1)


def test_a_secret_may_be_a_mounted_file_and_its_absence_is_named(
    report_store: ReportStoreSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ETAR_REPORT_STORE_PASSWORD")
    monkeypatch.setattr(settings_module, "SECRETS_FOLDER", tmp_path)
    assert "ReportStoreSettings: password: Field required" in bootstrap("report-store", exit_code=1)
    (tmp_path / "etar_report_store_password").write_text(report_store.password.get_secret_value())
    get_settings.cache_clear()
    assert bootstrap("report-store") == "nothing to apply"
