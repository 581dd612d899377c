"""Level 0: a folder breaks no rule, and its samples become what they say. Nothing but this process."""

from __future__ import annotations

import pytest

from etar.dead_letters import DeadLetter, Reason
from etar.event_times import EventTimeBounds
from etar.minute import MinuteWindow
from etar.records.codec import Reader
from etar.records.decode import Decoder
from etar.records.formats import codec_of
from etar.records.framing import OWN_SCHEMA, SchemaId
from etar.records.record import Record, Row, Unreadable
from etar.records.table import TableLayout
from etar.settings import EventTimeSettings, get_settings
from etar.stream_folder.check import check_stream
from etar.stream_folder.checks.samples import expected_rows
from etar.stream_folder.examples import FILE_NAME, Bench, Example, read_examples
from etar.streams import Catalogue, Stream
from producer.traffic_faults import SCHEMA_ID, instants, made_up_values, traffic_faults


def test_no_folder_is_left_out(found: Catalogue, request: pytest.FixtureRequest) -> None:
    only = request.config.getoption("--stream", default=None)
    assert [str(fault) for fault in found.faults if only in (None, fault.stream)] == []
    assert only is None or only in found.streams, f"there is no stream {only}"


def test_the_folder_breaks_no_rule(stream: Stream) -> None:
    faults = [*check_stream(stream), *traffic_faults(stream)]
    assert [str(fault) for fault in faults if not fault.is_warning] == []


def test_the_samples_show_what_becomes_a_row_and_what_does_not(stream: Stream) -> None:
    examples = _examples(stream)
    reasons = {example.reason for example in examples}

    assert len(list(expected_rows(stream))) >= 1
    assert reasons >= {Reason.TOO_LATE, Reason.NULL_VALUE}, "late and empty records are of every stream"


def test_a_sample_becomes_the_same_wherever_it_stands(stream: Stream, columns: TableLayout) -> None:
    """The rows do not depend on what was decoded before, nor on the record's place in Kafka."""
    bench = Bench(stream, columns, EventTimeBounds.of(get_settings(EventTimeSettings)))
    examples = _examples(stream)

    forth = [_told(bench.outcome(example, offset=number)) for number, example in enumerate(examples)]
    back = [_told(bench.outcome(example, offset=9_000_000_000)) for example in reversed(examples)]

    assert forth == back[::-1]
    assert [told if isinstance(told, str) else None for told in forth] == [example.reason for example in examples]


def test_made_up_events_become_rows(stream: Stream, columns: TableLayout) -> None:
    if stream.traffic is None:
        pytest.skip("it has no made-up traffic")
    bounds, codec = EventTimeBounds.of(get_settings(EventTimeSettings)), codec_of(stream)
    decoder = Decoder(columns, bounds, codec)
    reader = Bench(stream, columns, bounds).reader
    readers: dict[SchemaId, Reader | Unreadable] = {OWN_SCHEMA if codec.own_schema else SCHEMA_ID: reader}

    for offset, (at, value) in enumerate(zip(instants(stream), made_up_values(stream), strict=True)):
        outcome = decoder.decode(Record(stream.topic, 0, offset, at, None, value), readers)
        assert isinstance(outcome, Row), f"event {offset + 1} is a dead letter: {outcome.reason}, {outcome.detail}"


def test_names_follow_from_its_own_and_are_no_other_streams(stream: Stream, found: Catalogue) -> None:
    window = MinuteWindow.parse("2026-11-21T10:31Z")
    names = [
        {
            each.topic,
            each.dead_letter_topic,
            each.table,
            each.landing_table,
            each.dag_id,
            each.sink_part,
            each.sink_group,
        }
        | {each.extract_key(window), each.result_key(window)}
        for each in found.streams.values()
        if each != stream
    ]

    own = {stream.dag_id, stream.sink_part, stream.sink_group, stream.extract_key(window), stream.result_key(window)}
    assert not any(own & other for other in names)


def _examples(stream: Stream) -> list[Example]:
    assert stream.folder is not None
    read = read_examples((stream.folder / FILE_NAME).read_text(encoding="utf-8"))
    return [example for _, example in read if isinstance(example, Example)]


def _told(outcome: Row | DeadLetter) -> str | tuple[object, ...]:
    return outcome.values if isinstance(outcome, Row) else outcome.reason.value
