"""What becomes of records, good and bad, under the repository's connector on a real worker."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from connect.registration import register as register_connector
from connect.worker import Worker
from etar.settings import ConnectSettings, RegistrySettings
from tests.integration.kafka_connect.conftest import Flow, headers
from tests.integration.schemas import register
from tests.unit.records.events import SCHEMA, encode, event

# Above all that the first test waits for: the parts, the worker, a connector, its records.
pytestmark = pytest.mark.timeout(900)

CLICK = {"type": "record", "name": "Click", "fields": [{"name": "where", "type": "string"}]}
REGISTRY = "value.converter.apicurio.registry.url"
CONVERTER, TRANSFORMATION = "VALUE_CONVERTER", "TRANSFORMATION"


def good(flow: Flow, number: int) -> bytes:
    return encode(recent(number), schema_id=flow.schema_id)


def recent(number: int) -> dict[str, Any]:
    return event(number, event_time=int(datetime.now(UTC).timestamp() * 1000))


def schema_without(name: str) -> Mapping[str, Any]:
    return SCHEMA | {"fields": [field for field in SCHEMA["fields"] if field["name"] != name]}


def test_a_good_record_keeps_its_fields_and_gets_its_place_in_kafka(flow: Flow, worker: Worker) -> None:
    # Headers are passed on as bytes and not looked into.
    flow.produce([good(flow, 0)], headers=[("trace", b'{"a": [1,'), ("raw", b"\xff\xfe")])
    flow.produce([good(flow, 1)])
    assert register_connector(worker, flow.config()).running
    flow.settle()

    written = flow.written()
    expected = {
        name: str(value)
        for name, value in event(1).items()
        if name != "event_time" and value is not None  # a Java date is written otherwise, a null not at all
    }
    assert written[1].items() >= expected.items()
    assert [(row["_topic"], row["_partition"], row["_offset"]) for row in written] == [
        (flow.topic, "0", "0"),
        (flow.topic, "0", "1"),
    ]
    # Both are Connect timestamps and not numbers, which a DateTime64 column of the landing needs.
    assert all(str(datetime.now(UTC).year) in row[name] for row in written for name in ("event_time", "_timestamp"))


def test_only_the_columns_fields_reach_the_sink(flow: Flow, worker: Worker, registry: RegistrySettings) -> None:
    """The official one gives up all that it was given for an optional map that is null, and for an own `_offset`."""
    more = [
        {"name": "tags", "type": ["null", {"type": "map", "values": "string"}], "default": None},
        {"name": "_offset", "type": "string", "default": ""},
    ]
    schema = SCHEMA | {"fields": [*SCHEMA["fields"], *more]}
    identifier = register(registry, f"{flow.topic}-value", json.dumps(schema))
    values = [recent(0) | {"tags": None, "_offset": "mine"}, recent(1) | {"tags": {"a": "b"}, "_offset": "mine"}]
    flow.produce([encode(value, schema=schema, schema_id=identifier) for value in values])
    assert register_connector(worker, flow.config()).running
    flow.settle()

    assert [row["_offset"] for row in flow.written()] == ["0", "1"]
    assert not [row for row in flow.written() if "tags" in row or "mine" in row.values()]
    assert flow.dead_letters(0) == []


def test_each_bad_record_goes_alone_to_the_dead_letters_and_the_group_commits_past_it(
    flow: Flow, worker: Worker, registry: RegistrySettings
) -> None:
    click = register(registry, f"{flow.topic}-click", json.dumps(CLICK))
    text = register(registry, f"{flow.topic}-text", '"string"')
    timeless = schema_without("event_time")
    without_time = register(registry, f"{flow.topic}-timeless", json.dumps(timeless))
    bad = {
        1: (b'{"event_id": "json"}', CONVERTER, "Exception"),
        3: (encode(recent(1), schema_id=999_999), CONVERTER, "Exception"),
        4: (encode({"where": "here"}, schema=CLICK, schema_id=click), TRANSFORMATION, "Field does not exist: event_id"),
        5: (b"\0" + text.to_bytes(4, "big") + b"\x08text", TRANSFORMATION, "copying fields from value to key"),
        7: (good(flow, 2)[:-4], CONVERTER, "Exception"),
        8: (
            encode(recent(3), schema=timeless, schema_id=without_time),
            TRANSFORMATION,
            "Field does not exist: event_time",
        ),
        9: (b"\0\0", CONVERTER, "Exception"),
    }
    values: dict[int, bytes | None] = {offset: value for offset, (value, _, _) in bad.items()}
    values |= {0: good(flow, 10), 2: good(flow, 11), 6: good(flow, 12)}
    flow.produce([values[offset] for offset in sorted(values)])
    assert register_connector(worker, flow.config()).running
    flow.settle()

    assert [row["_offset"] for row in flow.written()] == ["0", "2", "6"]
    letters = flow.dead_letters(len(bad))
    told = {int(headers(letter)["__connect.errors.offset"]): letter for letter in letters}
    assert told.keys() == bad.keys()
    for offset, (value, stage, said) in bad.items():
        described = headers(told[offset])
        assert told[offset].value() == value, offset
        assert told[offset].key() == b"k" * 16
        assert described["__connect.errors.topic"] == flow.topic
        assert described["__connect.errors.partition"] == "0"
        assert described["__connect.errors.connector.name"] == flow.name
        assert described["__connect.errors.stage"] == stage, described
        # An exception without a message has none here either.
        what = described["__connect.errors.exception.class.name"], described.get("__connect.errors.exception.message")
        assert said in str(what)


def test_what_vanishes_without_a_dead_letter(flow: Flow, worker: Worker) -> None:
    """A tombstone: left to the auditor, which files it from Kafka (tests/integration/audit)."""
    flow.produce([None, good(flow, 0), None])
    assert register_connector(worker, flow.config()).running
    flow.settle()

    assert [row["_offset"] for row in flow.written()] == ["1"]
    assert flow.dead_letters(0) == []


def test_what_passes_for_a_row_and_an_empty_value_which_does_not(flow: Flow, worker: Worker) -> None:
    """Bytes after the record's end go unnoticed; the auditor does not see them either (docs/kafka-connect.md)."""
    flow.produce([good(flow, 0) + b"more", b"", good(flow, 1)])
    assert register_connector(worker, flow.config()).running
    flow.settle()

    assert [row["_offset"] for row in flow.written()] == ["0", "2"]
    (letter,) = flow.dead_letters(1)
    assert headers(letter)["__connect.errors.offset"] == "1"
    assert letter.value() in (b"", None)


def test_a_registry_that_goes_away_costs_no_record_under_a_schema_that_the_worker_has(
    flow: Flow, worker: Worker, settings: ConnectSettings
) -> None:
    with relay(settings.registry_url) as url:
        flow.produce([good(flow, 0)])
        # The converter asks again after this time what it knows already: half a minute, if nobody says otherwise.
        asked = {REGISTRY: url, "value.converter.apicurio.registry.check-period-ms": "1"}
        assert register_connector(worker, flow.config(**asked)).running
        flow.settle()
    flow.produce([good(flow, 1), good(flow, 2)])
    flow.settle()

    assert [row["_offset"] for row in flow.written()] == ["0", "1", "2"]
    assert flow.dead_letters(0) == []


def test_under_a_schema_that_nobody_can_be_asked_for_good_records_become_dead_letters(
    flow: Flow, worker: Worker
) -> None:
    """A worker that starts while the registry is away does not wait for it. The auditor decodes them again."""
    values = [good(flow, 0), good(flow, 1)]
    flow.produce(values)
    assert register_connector(worker, flow.config(**{REGISTRY: "http://127.0.0.1:9/apis/registry/v2"})).running
    flow.settle()

    assert flow.written() == []
    letters = flow.dead_letters(2)
    assert [letter.value() for letter in letters] == values
    assert {headers(letter)["__connect.errors.stage"] for letter in letters} == {CONVERTER}


@contextmanager
def relay(to: str) -> Iterator[str]:
    """The URL of a server that passes GET requests on to the one at ``to``; afterwards nobody answers there."""
    target = httpx.URL(to)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = httpx.get(target.join(self.path), timeout=30)
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield str(target.copy_with(port=server.server_port))
        finally:
            server.shutdown()
