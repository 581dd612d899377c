"""Streams of a user's own folders, sent by the command to a real Kafka and a real registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from etar.settings import RegistrySettings
from producer.account import Account
from producer.encoding import Encoding, header_of
from tests.integration.producer.conftest import Run, Topic
from tests.unit.producer.folders import JSON_SCHEMA, JSON_TOML, avro_schema, payments, rides, stream_in, write_stream
from tests.unit.producer.test_made_up import SHELF, TRAFFIC

Start = Callable[..., Run]
ID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
START = "2026-01-05T10:31Z"  # past, so that it is not waited for


def registered(registry: RegistrySettings, topic: Topic) -> dict[str, Any]:
    """What the registry has of the topic's values: id, schema and kind."""
    url = f"{registry.url}/subjects/{topic.name}-value/versions/latest"
    answer: dict[str, Any] = httpx.get(url, timeout=30).raise_for_status().json()
    return answer


def account_of(run: Run) -> Account:
    printed = run.finish()
    assert printed, run.stderr.read_text()
    return Account.model_validate_json(printed)


def test_made_up_traffic_of_a_folder_is_what_kafka_holds(
    topic: Topic, start: Start, registry: RegistrySettings, tmp_path: Path
) -> None:
    folders, log = tmp_path / "streams", tmp_path / "log"
    stream = payments(folders, traffic=TRAFFIC, shelf=SHELF)
    run = start(
        *("--stream", "payments", "--topic", topic.name, "--rate", "500", "--for", "2s", "--seed", "3"),
        *("--start", START, "--duplicates", "0.1", "--event-log", str(log)),
        ETAR_STREAMS_FOLDERS=str(folders),
    )
    account = account_of(run)

    assert run.process.returncode == 0, run.stderr.read_text()
    assert (account.ok, account.acknowledged, account.topic) == (True, 1000, topic.name)
    found = registered(registry, topic)
    assert json.loads(found["schema"]) == avro_schema()
    encoding = Encoding(stream, header_of(found["id"]))
    records = topic.records()
    assert len(records) == 1000
    assert {message.key() for message in records} == {b"c1"}
    assert all(message.value().startswith(encoding.header) for message in records)
    events = [encoding.event_of(message.value()) for message in records]
    assert {event["amount"] for event in events} == {Decimal("12.50")}
    assert len(events) - len({event["payment"] for event in events}) == account.duplicates > 50
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    by_place = {(line["partition"], line["offset"]): line["payment"] for line in logged}
    assert by_place == {
        (message.partition(), message.offset()): str(event["payment"])
        for message, event in zip(records, events, strict=True)
    }


@pytest.mark.parametrize("form", ["avro", "json", "json-registered"])
def test_a_file_is_sent_by_the_schema_but_for_its_bad_lines(  # noqa: PLR0917  pytest passes by name
    form: str, topic: Topic, start: Start, registry: RegistrySettings, tmp_path: Path, kafka: object
) -> None:
    folders, file = tmp_path / "streams", tmp_path / "mine.csv"
    if form == "avro":
        stream = payments(folders)
        file.write_text(
            "at,amount,method,customer\n2026-01-05T10:31:05Z,0.10,card,a\n2026-01-05T10:31:06Z,0.105,card,b\n"
        )
    else:
        stream = rides(folders, form=form)
        file.write_text("at,fare,kind\n2026-01-05T10:31:05Z,0.10,solo\n2026-01-05T10:31:06Z,cheap,solo\n")
    arguments = ("--stream", stream.name, "--topic", topic.name, "--input", str(file))
    away = {"ETAR_REGISTRY_URL": "http://127.0.0.1:1/"} if form == "json" else {}  # plain JSON has no use for it
    accounts = []
    for _ in range(2):
        run = start(*arguments, ETAR_STREAMS_FOLDERS=str(folders), **away)
        accounts.append(account_of(run))
        assert run.process.returncode in (1, 3), run.stderr.read_text()

    # Too old for a report, so that the run is no success; what it sent is in Kafka all the same.
    assert [(each.ok, each.acknowledged, each.counts.rejected) for each in accounts] == [(True, 1, 1)] * 2
    assert accounts[0].first_minute == "2026-01-05T10:31Z"
    assert accounts[0].reject_file == tmp_path / "mine.csv.rejects.jsonl"
    [reject] = [json.loads(line) for line in accounts[0].reject_file.read_text().splitlines()]
    assert (reject["line"], reject["raw"][-5:]) == (3, file.read_text().splitlines()[2][-5:])
    assert reject["reason"].startswith("amount is '0.105', not a decimal" if form == "avro" else "fare is 'cheap', not")
    one, other = topic.records()
    assert one.value() == other.value()
    if form == "json":
        event = json.loads(one.value(), parse_float=Decimal)
    else:
        found = registered(registry, topic)
        assert found.get("schemaType", "AVRO") == ("AVRO" if form == "avro" else "JSON")
        event = Encoding(stream, header_of(found["id"])).event_of(one.value())
    assert str(event["amount" if form == "avro" else "fare"]) == "0.10"
    assert UUID(str(event["payment" if form == "avro" else "ride"]))


RAISING = TRAFFIC.replace(
    "        return {", "        if at % 1000 > 500:\n            raise KeyError('till')\n        return {"
)
LACKING = TRAFFIC.replace('"customer": "c1", ', "").replace("        return {", "        return {'customer': None} | {")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (RAISING, r"traffic:Traffic made no event: KeyError: 'till' (traffic.py, line 13)"),
        (LACKING, "traffic:Traffic made no event of the stream's schema: TypeError: must be string on field customer"),
        ("x = 1", "Traffic of"),
    ],
)
def test_a_class_that_fails_is_said_and_what_was_sent_is_accounted_for(
    code: str, said: str, topic: Topic, start: Start, tmp_path: Path
) -> None:
    folders, file = tmp_path / "streams", tmp_path / "account.json"
    payments(folders, traffic=code, shelf=SHELF)
    run = start(
        *("--stream", "payments", "--topic", topic.name, "--rate", "100", "--start", START, "--workers", "1"),
        *("--account", str(file)),
        ETAR_STREAMS_FOLDERS=str(folders),
    )
    account = account_of(run)

    assert run.process.returncode == 1
    assert not account.ok
    assert "stream payments: " in account.errors[0]
    assert said in account.errors[0]
    assert said in run.stderr.read_text()
    assert "Traceback" not in run.stderr.read_text()
    assert account.acknowledged == account.generated == sum(topic.end_offsets().values())
    assert (account.generated > 0) == (code == RAISING)
    assert Account.read(file) == account


def test_what_cannot_be_sent_at_all_is_said_at_once(topic: Topic, start: Start, tmp_path: Path) -> None:
    folders = tmp_path / "streams"
    payments(folders)
    write_stream(folders, "broken", JSON_TOML, JSON_SCHEMA | {"properties": {}})
    for name, said in (
        ("payments", "stream payments has no made-up traffic"),
        ("nobody", "there is no stream 'nobody'"),
        ("broken", "names 'ride', which schema.json does not have"),
    ):
        run = start("--stream", name, "--for", "1s", ETAR_STREAMS_FOLDERS=str(folders))
        assert run.finish() == ""
        assert run.process.returncode == 2
        assert said in run.stderr.read_text()
        assert "Traceback" not in run.stderr.read_text()


def test_a_schema_that_the_registry_refuses_names_the_folders_file(
    topic: Topic, start: Start, registry: RegistrySettings, tmp_path: Path
) -> None:
    folders = tmp_path / "streams"
    stream = payments(folders, traffic=TRAFFIC, shelf=SHELF)
    other = avro_schema() | {"fields": [{"name": "payment", "type": "int"}]}
    url = f"{registry.url}/subjects/{topic.name}-value/versions"
    httpx.post(url, json={"schema": json.dumps(other)}, timeout=30).raise_for_status()

    run = start(*("--stream", "payments", "--topic", topic.name, "--for", "1s"), ETAR_STREAMS_FOLDERS=str(folders))

    assert run.finish() == ""
    assert run.process.returncode == 2
    assert f"does not take {stream.folder}/schema.avsc under {topic.name}-value: incompatible schema" in (
        run.stderr.read_text()
    )


def test_a_stream_that_is_like_another_has_its_own_topic_and_the_others_traffic(
    topic: Topic, start: Start, tmp_path: Path
) -> None:
    folders = tmp_path / "streams"
    payments(folders, traffic=TRAFFIC, shelf=SHELF)
    (folders / "refunds").mkdir()
    (folders / "refunds" / "stream.toml").write_text(
        f'[stream]\nname = "refunds"\nlike = "payments"\n[topic]\nname = "{topic.name}"\n'
    )
    assert stream_in(folders, "refunds").topic == topic.name
    run = start("--stream", "refunds", "--rate", "100", "--for", "1s", ETAR_STREAMS_FOLDERS=str(folders))
    assert account_of(run).acknowledged == 100 == sum(topic.end_offsets().values())
