"""Kafka Connect as a part of the native stack: when it is one, what it needs, and what its workers are told."""

from __future__ import annotations

import json
import re
import stat
import zipfile
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest

from etar.streams import default_stream
from stack.configuration import SettingsError, make_settings
from stack.layout import REPOSITORY, Layout
from stack.parts import Stack, connect, part_named, parts_of, steps_of
from stack.parts.base import Answer
from tests.stream_folders import define

NATIVE_ONLY = {"bootstrap.servers", "listeners", "plugin.path", "rest.advertised.host.name", "rest.advertised.port"}


def stack_of(folder: Path, **shape: str) -> Stack:
    environment = {f"ETAR_STACK_{name}": value for name, value in shape.items()}
    settings = make_settings(environment, {}, datetime(2026, 11, 21, tzinfo=UTC), folder=folder)
    return Stack(Layout.at(folder), settings)


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return stack_of(tmp_path / "stack", SINK="connect")


def test_either_the_native_sink_or_connect(tmp_path: Path, stack: Stack) -> None:
    native = stack_of(tmp_path)
    sinks = {"sink", "connect", "connect-2", "connect-watch"}
    assert {part.name for part in parts_of(native)} & sinks == {"sink"}
    assert {part.name for part in parts_of(stack)} & sinks == {"connect", "connect-2", "connect-watch"}
    assert [[step.name for step in steps_of(each) if step.name == "connector"] for each in (native, stack)] == [
        [],
        ["connector"],
    ]


def jar(path: Path, *entries: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for entry in entries:
            archive.writestr(entry, b"")


def test_the_official_sink_is_known_by_its_class_wherever_its_jar_is(tmp_path: Path) -> None:
    assert not connect.has_sink(tmp_path)
    jar(tmp_path / "other" / "lib" / "other.jar", "org/example/Sink.class")
    (tmp_path / "cut-short.jar").write_bytes(b"PK\x03\x04")
    assert not connect.has_sink(tmp_path)
    jar(tmp_path / "clickhouse" / "lib" / "sink.jar", "com/clickhouse/kafka/connect/ClickHouseSinkConnector.class")
    assert connect.has_sink(tmp_path)


def test_without_the_official_sink_a_start_says_where_it_is_and_where_it_goes(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "PLUGINS", tmp_path)
    monkeypatch.setattr(connect, "_JARS", tmp_path)
    monkeypatch.setattr(connect, "CONVERTER", tmp_path)
    with pytest.raises(SettingsError, match=r"clickhouse-kafka-connect-v1\.5\.0\.zip from the releases of") as refused:
        part_named("connect", stack).require(stack)
    assert f"-d {tmp_path}" in str(refused.value)
    jar(tmp_path / "sink.jar", "com/clickhouse/kafka/connect/ClickHouseSinkConnector.class")
    part_named("connect", stack).require(stack)


@pytest.mark.parametrize("brings", ["", "CREATE TABLE IF NOT EXISTS sales_landing (sale_id String) ENGINE = Null"])
def test_a_stream_that_connect_cannot_fill_refuses_the_start_unless_its_folder_brings_what_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brings: str
) -> None:
    monkeypatch.setattr(connect, "PLUGINS", tmp_path)
    monkeypatch.setattr(connect, "_JARS", tmp_path)
    monkeypatch.setattr(connect, "CONVERTER", tmp_path)
    jar(tmp_path / "sink.jar", "com/clickhouse/kafka/connect/ClickHouseSinkConnector.class")
    folders = tmp_path / "streams"
    (folders / "sales" / "sql").mkdir(parents=True)
    (folders / "sales" / "sql" / "0001_table.sql").write_text(f"CREATE TABLE IF NOT EXISTS sales (x Int8);\n{brings}")
    text = '[stream]\nname = "sales"\n[record]\nformat = "json"\n[event]\nid = ["event_id"]\ntime = "event_time"\n'
    schema = '{"type": "object", "properties": {"event_id": {}, "event_time": {}}}'
    define(folders, "sales", **{"stream.toml": text, "schema.json": schema})
    environment = {"ETAR_STACK_SINK": "connect", "ETAR_STREAMS": "sales", "ETAR_STREAMS_FOLDERS": str(folders)}
    settings = make_settings(environment, {}, datetime(2026, 11, 21, tzinfo=UTC), folder=tmp_path)
    stack = Stack(Layout.at(tmp_path), settings)

    refusal = pytest.raises(SettingsError, match=r"SINK=connect: no landing table .* its records are json, .*;")
    with nullcontext() if brings else refusal:
        part_named("connect", stack).require(stack)


def test_without_connects_jars_a_start_says_how_to_fetch_them(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "_JARS", tmp_path / "absent")
    with pytest.raises(SettingsError, match=r"ETAR_STACK_SINK=connect stack/setup\.sh"):
        part_named("connect", stack).require(stack)


@pytest.mark.parametrize("name", ["connect", "connect-2"])
def test_the_password_is_in_a_private_file_and_nowhere_else(name: str, stack: Stack) -> None:
    part = part_named(name, stack)
    assert part.prepare
    part.prepare(stack)
    password = stack.settings["ETAR_WAREHOUSE_PASSWORD"]
    secret = Path(stack.settings["ETAR_CONNECT_SECRETS_FOLDER"]) / "etar_warehouse_password"
    assert secret.read_text() == password
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stack.layout.root in secret.parents
    assert password not in Path(part.command(stack)[-1]).read_text()
    assert password not in " ".join(part.environment(stack).values())


def test_two_workers_of_one_group_listen_on_loopback_ports_of_their_own(stack: Stack) -> None:
    first, second = (
        connect.worker_properties(stack, stack.settings.port(name), [Path("/plugins")])
        for name in ("CONNECT", "CONNECT_2")
    )
    assert {name for name in first if first[name] != second[name]} == {"listeners", "rest.advertised.port"}
    assert all(each["listeners"].startswith("http://127.0.0.1:") for each in (first, second))
    assert stack.settings["ETAR_CONNECT_URL"] == first["listeners"]


def test_internal_topics_have_a_copy_on_each_of_three_brokers(tmp_path: Path) -> None:
    three = connect.worker_properties(stack_of(tmp_path, SINK="connect", BROKERS="3"), 1, [])
    copies = {name: value for name, value in three.items() if name.endswith("replication.factor")}
    assert len(copies) == 3
    assert set(copies.values()) == {"3"}


def test_a_worker_in_a_container_is_told_the_same_but_for_places(stack: Stack) -> None:
    text = (REPOSITORY / "docker" / "connect" / "worker.properties").read_text()
    contained = dict(re.findall(r"^([\w.]+)=(.*)$", text, re.MULTILINE))
    native = connect.worker_properties(stack, 1, [])
    native["config.providers.directory.param.allowed.paths"] = "/run/secrets"
    assert {n: v for n, v in contained.items() if n not in NATIVE_ONLY} == {
        n: v for n, v in native.items() if n not in NATIVE_ONLY
    }


def test_the_connector_the_second_worker_waits_for_is_the_streams(
    monkeypatch: pytest.MonkeyPatch, stack: Stack
) -> None:
    answer = {"connector": {"state": "RUNNING"}, "tasks": [{"state": "RUNNING"}]}
    asked: list[str] = []

    def get(url: str, **_: object) -> Answer:
        asked.append(url)
        return Answer(200, json.dumps(answer).encode())

    monkeypatch.setattr(connect, "get", get)
    second = part_named("connect-2", stack)
    assert second.ready(stack)
    assert asked == [
        f"http://127.0.0.1:{stack.settings.port('CONNECT_2')}/connectors/{default_stream().connector}/status"
    ]
    answer["tasks"] = [{"state": "RUNNING"}, {"state": "FAILED"}]
    assert not second.ready(stack)
    answer["tasks"] = []
    assert not second.ready(stack)
