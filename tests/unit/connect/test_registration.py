"""Filling a connector's file, and telling how a connector differs from it without telling a secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connect.registration import Change, changes, shown
from connect.template import ConnectorConfigError, Template
from connect.variables import variables
from etar.settings import ConnectSettings, WarehouseAddress
from etar.streams import RecordFormat, Stream, default_stream
from tests.unit.records.events import CONNECTOR

REFERENCE = "${directory:/run/secrets:etar_warehouse_password}"


def template(config: dict[str, object]) -> Template:
    return Template("sink.json", "sink", config)


def test_every_place_of_the_repositorys_file_is_filled() -> None:
    config = Template.load(CONNECTOR).filled(variables(default_stream()))
    assert "{{" not in json.dumps(config)
    assert config["name"] == default_stream().connector
    assert config["topics"] == default_stream().topic
    assert config["errors.deadletterqueue.topic.name"] == default_stream().dead_letter_topic
    assert config["port"] == "8123"
    assert config["ssl"] == "false"  # as Kafka reads it, not as Python writes it
    assert config["password"] == REFERENCE


def test_what_is_a_streams_own_comes_from_its_folder() -> None:
    """The values that stood in the first stream's own file before there was one for all: a worker has the same."""
    config = Template.load(CONNECTOR).filled(variables(default_stream()))
    assert config["name"] == "user_interactions_sink"
    assert config["topic2TableMap"] == "user_interactions=user_interactions_landing"
    assert config["errors.deadletterqueue.topic.name"] == "user_interactions_dead_letters"
    assert config["value.converter"] == "io.confluent.connect.avro.AvroConverter"
    assert config["transforms.required.fields"] == (
        "event_id,user_id,session_id,event_type,status,event_time,device,country"
    )
    assert config["transforms.columns.include"] == (
        "event_id,user_id,session_id,event_type,status,event_time,product_id,amount,error_code,device,country"
    )

    schema = '{"type": "object", "properties": {"id": {}, "at": {}, "note": {}}, "required": ["id", "at"]}'
    sales = Stream("sales", topic_name="shop.sales", record=RecordFormat.JSON, schema_text=schema)
    config = Template.load(CONNECTOR).filled(variables(sales))
    assert config["name"] == "sales_sink"
    assert config["topic2TableMap"] == "shop.sales=sales_landing"
    assert config["value.converter"] == "org.apache.kafka.connect.json.JsonConverter"
    assert (config["transforms.required.fields"], config["transforms.columns.include"]) == ("id,at", "id,at,note")


def test_no_variable_is_a_secret() -> None:
    known = set(variables(default_stream()))
    of_settings = {f"ETAR_WAREHOUSE_{name}".upper() for name in WarehouseAddress.model_fields} | {
        f"ETAR_CONNECT_{name}".upper() for name in ConnectSettings.model_fields
    }
    assert {name for name in known if not name.startswith("STREAM_")} == of_settings
    assert "ETAR_WAREHOUSE_PASSWORD" not in known


def test_a_secret_in_a_place_is_refused_with_the_way_to_write_it() -> None:
    asked = template({"password": "{{ETAR_WAREHOUSE_PASSWORD}}"})
    with pytest.raises(
        ConnectorConfigError, match=r"sink\.json: password names \{\{ETAR_WAREHOUSE_PASSWORD\}\}"
    ) as refused:
        asked.filled(variables(default_stream()))
    assert "${directory:" in str(refused.value)


@pytest.mark.parametrize("value", ["", "  ", 5, None, ["a"]])
def test_a_value_that_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(ConnectorConfigError, match=r"sink\.json: tasks\.max must be a text"):
        template({"tasks.max": value}).filled({})


def test_several_places_in_one_value_and_braces_that_are_none() -> None:
    asked = template({"a": "{{X}}:{{Y}}", "b": "{X} ${env:X} {{ X }}"})
    assert asked.filled({"X": "1", "Y": "2"}) == {"name": "sink", "a": "1:2", "b": "{X} ${env:X} {{ X }}"}


def test_a_connector_that_is_not_there_differs_in_every_key() -> None:
    assert changes(None, {"b": "2", "a": "1"}) == (Change("a", None, "1"), Change("b", None, "2"))


def test_only_what_differs_is_a_change() -> None:
    current = {"same": "1", "other": "1", "gone": "1"}
    found = changes(current, {"same": "1", "other": "2", "new": "1"})
    assert found == (Change("gone", "1", None), Change("new", None, "1"), Change("other", "1", "2"))
    assert [str(change) for change in found] == ["- gone: 1", "+ new: 1", "- other: 1\n+ other: 2"]
    assert changes(current, current) == ()


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "ssl.key.password",
        "value.converter.basic.auth.user.info",
        "consumer.override.sasl.jaas.config",
        "aws.secret.access.key",
        "api.key",
    ],
)
def test_a_secret_that_someone_wrote_out_is_never_shown_but_a_reference_is(key: str) -> None:
    (change,) = changes({key: "hunter2"}, {key: REFERENCE})
    assert "hunter2" not in str(change)
    assert f"+ {key}: {REFERENCE}" in str(change)


def test_a_secret_beside_a_reference_is_not_shown_either() -> None:
    assert "hunter2" not in shown("password", "hunter2${env:X}")


def test_a_login_in_an_address_is_not_shown() -> None:
    assert shown("value.converter.schema.registry.url", "http://me:hunter2@registry:8081") == (
        "http://(not shown)@registry:8081"
    )
    assert shown("hostname", "warehouse") == "warehouse"


def test_converters_keys_are_no_secrets() -> None:
    assert shown("key.converter", "org.example.Converter") == "org.example.Converter"


def test_a_file_of_another_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sink.json").write_text('{"name": "sink"}')
    with pytest.raises(ConnectorConfigError, match="does not have the form"):
        Template.load(tmp_path / "sink.json")
