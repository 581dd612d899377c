"""Records of every stream of this repository, by the columns that its table has in the engine: read side by side they
come to what each of them comes to by itself."""

from __future__ import annotations

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etar.records.decode import Decoder
from etar.stream_folder.checks.statements import layout, read_statements
from etar.stream_folder.engine import own_database
from etar.streams import RecordFormat, Stream, catalogue
from tests.avro_records import BOUNDS, Readers, batch_of, decided

STREAMS = [stream for stream in catalogue().streams.values() if stream.record is RecordFormat.AVRO]


@pytest.mark.parametrize("stream", STREAMS, ids=[stream.name for stream in STREAMS])
def test_records_of_a_stream(stream: Stream) -> None:
    migrations, faults = read_statements(stream)
    assert faults == []
    with own_database() as database:
        for migration in migrations:
            for statement in migration.statements:
                database.run(statement)
        columns = layout(stream, database.describe(stream.table))
    schema = json.loads(stream.schema_text or "")
    readers = Readers({7: schema}, columns)

    @settings(max_examples=20)
    @given(st.integers(0, 1 << 32))
    def come_to_the_same(seed: int) -> None:
        decided(Decoder(columns, BOUNDS), columns, batch_of({7: schema}, Random(seed)), readers)

    come_to_the_same()
