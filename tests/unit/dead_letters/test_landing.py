"""The landing table's file against what it has to agree with: the first schema, the table and the settings."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from connect.template import Template
from connect.variables import variables
from etar.bootstrap.migrations import stream_migrations
from etar.records.table import METADATA
from etar.settings import PipelineSettings
from etar.streams import default_stream
from stack.layout import REPOSITORY
from tests.unit.records.events import CONNECTOR

SCHEMA = json.loads((REPOSITORY / "tests/integration/schema/versions/0001_first.avsc").read_text())
FILES = {each.name: each for each in stream_migrations(default_stream())}
TABLE, VIEW = FILES["user_interactions/0003_connect_landing.sql"].statements
_COLUMN = re.compile(r"^    (\w+) (\S+(?: '\w+'\))?)(.*?),?$", re.MULTILINE)
_IN_LANDING = "ALTER TABLE user_interactions_landing"
_DROPPED = re.compile(r"DROP COLUMN (?:IF EXISTS )?(\w+)")
_ADDED = re.compile(r"ADD COLUMN (?:IF NOT EXISTS )?(\w+)")


def columns_of(statement: str) -> dict[str, str]:
    """Type by name of the columns that a sink fills."""
    return {name: kind for name, kind, rest in _COLUMN.findall(statement) if "MATERIALIZED" not in rest}


def test_the_landing_table_has_the_schemas_fields_all_nullable_and_the_place_that_is_not() -> None:
    columns = columns_of(TABLE)
    fields = [field["name"] for field in SCHEMA["fields"]]
    assert list(columns) == [*fields, METADATA.topic, METADATA.partition, METADATA.offset, METADATA.timestamp]
    assert {name: kind.startswith("Nullable(") for name, kind in columns.items()} == {
        name: name in fields for name in columns
    }


def test_only_fields_that_have_a_column_reach_the_connector() -> None:
    """A value of another field that it cannot take, a null for an optional map say, costs all that it was given."""
    landing = dict.fromkeys(columns_of(TABLE))
    for later in (statement for each in FILES.values() for statement in each.statements if _IN_LANDING in statement):
        landing |= dict.fromkeys(_ADDED.findall(later))
        for name in _DROPPED.findall(later):
            landing.pop(name, None)
    place = {METADATA.topic, METADATA.partition, METADATA.offset, METADATA.timestamp}
    config = Template.load(CONNECTOR).filled(variables(default_stream()))
    assert config["transforms.columns.include"].split(",") == [name for name in landing if name not in place]
    assert config["transforms"].split(",")[-2:] == ["columns", "metadata"]  # an event's own `_offset` goes before


def test_the_view_fills_every_column_that_a_sink_fills() -> None:
    selected = VIEW.partition("SELECT\n")[2].partition("\nFROM")[0]
    table = FILES["user_interactions/0001_table.sql"].statements[0]
    assert re.findall(r" AS (\w+),?$", selected, re.MULTILINE) == list(columns_of(table))


def test_the_view_believes_the_event_times_that_the_settings_do() -> None:
    policy = PipelineSettings(start_date=datetime(2026, 1, 1, tzinfo=UTC))
    assert f"happened > appended - {policy.horizon_hours:g} * 3600 * 1000\n" in VIEW
    assert f"happened <= appended + {policy.max_ahead_seconds:g} * 1000\n" in VIEW
