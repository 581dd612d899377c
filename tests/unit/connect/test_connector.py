"""The one configuration that Kafka Connect and the native sink both read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connect.native_sink.connector import Connector
from connect.template import ConnectorConfigError
from connect.variables import variables
from etar.streams import default_stream
from stack.chdb_http.config import Limits
from tests.unit.records.events import CONNECTOR, METADATA

VARIABLES = variables(default_stream())


@pytest.fixture
def load(tmp_path: Path) -> Callable[[Any], Connector]:
    def written(document: Any) -> Connector:
        path = tmp_path / "sink.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return Connector.load(path, variables=VARIABLES)

    return written


def changed(key: str, value: object) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(CONNECTOR.read_text())
    document["config"][key] = value
    return document


def test_the_repositorys_configuration_is_that_of_its_stream() -> None:
    connector = Connector.load(CONNECTOR, variables=VARIABLES)

    assert connector == Connector(
        name=default_stream().connector,
        topic=default_stream().topic,
        database="etar",
        table=default_stream().table,
        metadata=METADATA,
    )
    assert connector.group == default_stream().sink_group


def test_the_repositorys_configuration_holds_no_secret() -> None:
    config = json.loads(CONNECTOR.read_text())["config"]
    secrets = {key: value for key, value in config.items() if "password" in key or "user" in key.split(".")[-1]}
    assert secrets == {
        "username": "{{ETAR_WAREHOUSE_USER}}",
        "password": "${directory:{{ETAR_CONNECT_SECRETS_FOLDER}}:etar_warehouse_password}",
    }


def test_an_insert_may_take_longer_than_the_clients_half_minute_and_the_group_waits_for_it() -> None:
    """An insert that its client gives up is sent again while the server goes on with it: no commit, ever more parts."""
    config = json.loads(CONNECTOR.read_text())["config"]
    name, _, socket_timeout_ms = config["jdbcConnectionProperties"].removeprefix("?").partition("=")
    assert name == "socket_timeout"
    assert Limits().max_execution_time * 1000 < int(socket_timeout_ms)
    assert int(socket_timeout_ms) < int(config["consumer.override.max.poll.interval.ms"])


def test_the_native_sink_needs_no_landing_before_its_table(load: Callable[[Any], Connector]) -> None:
    assert load(changed("topic2TableMap", "user_interactions=other_landing")).table == "other"


def test_without_a_table_map_the_table_has_the_topics_name(load: Callable[[Any], Connector]) -> None:
    document = changed("topics", "clicks")
    del document["config"]["topic2TableMap"]
    assert load(document).table == "clicks"


def test_the_table_map_may_hold_other_topics(load: Callable[[Any], Connector]) -> None:
    assert load(changed("topic2TableMap", "other=a, user_interactions = b")).table == "b"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "is not JSON"),
        ([], 'does not have the form {"name"'),
        ({"name": "", "config": {}}, 'does not have the form {"name"'),
        (changed("connector.class", "io.example.Sink"), "connector.class must be com.clickhouse"),
        (changed("value.converter", "org.apache.kafka.connect.json.JsonConverter"), "must be an Avro converter"),
        (changed("topics", "a,b"), "must name one topic"),
        (changed("topics", 5), "topics must be a text"),
        (changed("topic2TableMap", "other=a"), "has no table for the topic 'user_interactions'"),
        (changed("transforms.metadata.type", "org.example.Mask"), "no other transform is done"),
        (changed("predicates.tombstone.type", "org.example.IsSunday"), "no other transform is done"),
        (changed("transforms.columns.renames", "user_id:session_id"), "no other transform is done"),
        (changed("transforms", "metadata,more"), "transforms.more.type must be a text"),
        (changed("transforms", "tombstones,required"), "must hold one InsertField transform"),
        (changed("transforms.metadata.offset.field", ""), "transforms.metadata.offset.field must be a text"),
        (changed("database", "{{HOME}}"), "database names {{HOME}}, which is not filled in"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_what_is_not_supported_is_refused_with_its_key(
    load: Callable[[Any], Connector], document: Any, message: str
) -> None:
    with pytest.raises(ConnectorConfigError, match=r"sink\.json") as refused:
        load(document)
    assert message in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConnectorConfigError, match=r"absent\.json cannot be read: No such file"):
        Connector.load(tmp_path / "absent.json", variables={})
