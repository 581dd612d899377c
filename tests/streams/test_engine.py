"""Level 1: the folder's table in the engine takes the good samples, and gives back what the intake wrote. chDB, in
this process."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from time import time
from typing import Any

import pyarrow as pa
import pytest

from etar.dead_letters import DeadLetter
from etar.event_times import EventTimeBounds
from etar.records.record import Record, Row
from etar.records.table import TableLayout
from etar.records.typed_batches import RECORD_COLUMNS, TypedBatches
from etar.records.warehouse import rows_to_arrow
from etar.settings import EventTimeSettings, RegistrySettings, get_settings
from etar.stream_folder.checks.samples import expected_rows
from etar.stream_folder.engine import Database
from etar.stream_folder.examples import Bench, Example, read_examples
from etar.stream_folder.table import quoted
from etar.streams import Stream


@pytest.fixture
def rows(stream: Stream, columns: TableLayout) -> list[Row]:
    bench = Bench(stream, columns, EventTimeBounds.of(get_settings(EventTimeSettings)))
    outcomes = [bench.outcome(example, offset=number) for number, example in enumerate(expected_rows(stream))]
    assert all(isinstance(outcome, Row) for outcome in outcomes)
    return [outcome for outcome in outcomes if isinstance(outcome, Row)]


def test_the_table_gives_back_what_the_intake_wrote(
    stream: Stream, made: Database, columns: TableLayout, rows: list[Row], tmp_path: Path
) -> None:
    # Kept in memory: a sample may be of long ago, and the table drops what is older than its TTL.
    made.run(f"CREATE TABLE kept AS {stream.table} ENGINE = Memory")
    insert(made, "kept", columns, rows, tmp_path)

    stored = made.rows("SELECT * FROM kept ORDER BY _offset")
    described = [name for name, _, default in made.describe("kept") if not default]
    assert len(stored) == len(rows)
    for got, example in zip(stored, expected_rows(stream), strict=True):
        assert example.row is not None
        row = dict(zip(described, got, strict=True))
        for name, wanted in example.row.items():
            assert _alike(row[name], wanted), f"{name}: stored {row[name]!r}, wanted {wanted!r}"


def test_a_minute_is_a_partition_and_a_record_is_there_once(
    stream: Stream, made: Database, columns: TableLayout, rows: list[Row], tmp_path: Path
) -> None:
    minute_ms = int(time()) // 60 * 60_000
    edges = [minute_ms - 1, minute_ms, minute_ms + 59_999, minute_ms + 60_000]
    ticks = 10 ** ((columns.time.precision or 3) - 3)
    at_edges = [
        Row(rows[0].record._replace(offset=number), _with_time(rows[0].values, columns, edge * ticks))
        for number, edge in enumerate(edges)
    ]

    insert(made, stream.table, columns, at_edges, tmp_path)
    insert(made, stream.table, columns, at_edges[::-1], tmp_path)

    of_minutes = made.rows(
        f"SELECT toUnixTimestamp(event_minute) * 1000 AS ms, count() FROM {stream.table} FINAL GROUP BY ms ORDER BY ms"
    )
    assert of_minutes == [[minute_ms - 60_000, 1], [minute_ms, 2], [minute_ms + 60_000, 1]]
    [[partitions]] = made.rows(
        f"SELECT uniqExact(partition) FROM system.parts WHERE database = currentDatabase() AND table = '{stream.table}'"
    )
    assert partitions == 3


def test_a_job_is_given_the_rows_that_the_sink_stores_and_no_others(
    stream: Stream, made: Database, columns: TableLayout
) -> None:
    if not stream.jobs:
        pytest.skip("the stream has no jobs")
    bounds = EventTimeBounds.of(get_settings(EventTimeSettings))
    bench = Bench(stream, columns, bounds)
    examples = [
        each for _, each in read_examples(stream.file("samples.jsonl").read_text()) if isinstance(each, Example)
    ]
    outcomes = [bench.outcome(example, offset=number) for number, example in enumerate(examples)]
    names = tuple(column.name for column in columns.fields)
    described = tuple(made.describe(stream.table))
    typed = TypedBatches(stream, "", described, bounds, get_settings(RegistrySettings), names)

    given = list(typed([_as_spark_has_them([_record(each) for each in outcomes])]))

    stored = columns.table_of_rows([each for each in outcomes if isinstance(each, Row)])
    assert 0 < stored.num_rows < len(outcomes)
    assert pa.Table.from_batches(given).equals(stored.select(names).cast(typed.schema))


def _record(outcome: Row | DeadLetter) -> Record:
    if isinstance(outcome, Row):
        return outcome.record
    appended_ms = round(outcome.appended.timestamp() * 1000)
    return Record(outcome.topic, outcome.partition, outcome.offset, appended_ms, outcome.key, outcome.value)


def _as_spark_has_them(records: list[Record]) -> pa.RecordBatch:
    header = pa.struct([("key", pa.string()), ("value", pa.binary())])
    kinds = (pa.string(), pa.int32(), pa.int64(), pa.int64(), pa.binary(), pa.list_(header))
    rows = [(each.topic, each.partition, each.offset, each.appended_ms, each.value, None) for each in records]
    arrays = [pa.array(values, kind) for values, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    return pa.record_batch(arrays, RECORD_COLUMNS)


def insert(made: Database, table: str, columns: TableLayout, rows: list[Row], folder: Path) -> None:
    """As the sink does: in Arrow, by the columns' names."""
    arrow = rows_to_arrow(columns, rows)
    file = folder / f"{table}.arrow"
    with pa.OSFile(str(file), "wb") as out, pa.ipc.new_file(out, arrow.schema) as writer:
        writer.write_table(arrow)
    names = ", ".join(map(quoted, arrow.column_names))
    types = {name: declared for name, declared, _ in made.describe(table)}
    structure = ", ".join(f"{quoted(name)} {types[name]}" for name in arrow.column_names)
    escaped = structure.replace("\\", "\\\\").replace("'", "\\'")
    made.run(f"INSERT INTO {table} ({names}) SELECT {names} FROM file('{file}', Arrow, '{escaped}')")


def _with_time(values: tuple[Any, ...], columns: TableLayout, ticks: int) -> tuple[Any, ...]:
    return (*values[: columns.time_index], ticks, *values[columns.time_index + 1 :])


def _alike(stored: Any, wanted: Any) -> bool:
    """What the engine writes as JSON, and what a sample says: instants and numbers are texts in either."""
    if isinstance(wanted, list):
        return isinstance(stored, list) and len(stored) == len(wanted) and all(map(_alike, stored, wanted))
    if isinstance(wanted, dict):
        return (
            isinstance(stored, dict)
            and stored.keys() == wanted.keys()
            and all(_alike(stored[key], value) for key, value in wanted.items())
        )
    if isinstance(wanted, bool) or wanted is None:
        return stored is wanted
    if isinstance(wanted, int | Decimal):
        return Decimal(str(stored)) == wanted
    return str(stored) == wanted or _as_instant(str(stored)) == wanted or _as_number(stored) == _as_number(wanted)


def _as_instant(text: str) -> str:
    return f"{text.replace(' ', 'T', 1)}Z"


def _as_number(value: Any) -> Decimal | str:
    try:
        return Decimal(str(value))
    except ArithmeticError:
        return json.dumps(value)
