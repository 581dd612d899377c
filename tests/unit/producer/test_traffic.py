"""What goes wrong on the way, and how it is encoded."""

from __future__ import annotations

import io
import json
from collections import Counter
from functools import cache

import fastavro
import numpy as np
import pytest

from etar.streams import default_stream
from producer.kinds import NO_SUCH_SCHEMA_ID, Draft, Kind
from producer.made_up import KINDS, RecordBlock, Traffic, source_of
from streams.user_interactions.shop import EventFactory
from tests.unit.producer.drafts import ENCODING, drafts_of, shop
from tests.user_events import UserEvent, user_events

START = 1_763_717_460_000
DAY_MS = 24 * 3600 * 1000
SCHEMA = fastavro.parse_schema(json.loads(default_stream().schema_text or ""))
HEADER = ENCODING.header
MALFORMED = ENCODING.malformed


def traffic_with(*, late: float = 0.0, **shares: float) -> Traffic:
    factory = EventFactory(seed=4, shop=shop(), late=late, late_by=60_000)
    return Traffic(source_of(default_stream(), factory, ENCODING), ENCODING, seed=4, **shares)  # type: ignore[arg-type]


def records(count: int, **shares: float) -> RecordBlock:
    return traffic_with(**shares).block(START + np.arange(count))


def drafts(count: int, **shares: float) -> list[Draft]:
    made = drafts_of(records(count, **shares), ENCODING)
    return [draft._replace(event=UserEvent(**draft.event)) for draft in made]


def serialize(event: UserEvent) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, SCHEMA, event._asdict())
    return HEADER + body.getvalue()


def decode(value: bytes) -> tuple[object, bytes]:
    """The event, and what is left after it."""
    assert value.startswith(HEADER)
    body = io.BytesIO(value[5:])
    return fastavro.schemaless_reader(body, SCHEMA, None), body.read()


def an_event() -> UserEvent:
    [event] = user_events(EventFactory(seed=1, shop=shop()).block(np.array([START])))
    return event


def test_the_same_seed_gives_the_same_records() -> None:
    shares = {"late": 0.1, "duplicates": 0.1, "malformed": 0.1}
    assert drafts(2000, **shares) == drafts(2000, **shares)


@pytest.mark.parametrize("size", [1, 3, 100, 1999])
@pytest.mark.parametrize("shares", [{}, {"late": 0.1, "duplicates": 0.2, "malformed": 0.2}, {"duplicates": 1.0}])
def test_however_many_are_asked_for_at_a_time_they_are_the_same(size: int, shares: dict[str, float]) -> None:
    traffic, instants = traffic_with(**shares), START + np.arange(2000) * 3
    parts = [traffic.block(instants[at : at + size]) for at in range(0, 2000, size)]
    whole = traffic_with(**shares).block(instants)
    for name in ("keys", "values", "kinds", "happened"):
        assert [each for part in parts for each in getattr(part, name)] == list(getattr(whole, name))
    assert len(set(whole.kinds.tolist())) == (1 if not shares else 2 if len(shares) == 1 else 3 + len(MALFORMED))


def test_without_shares_every_record_is_an_event_of_its_own() -> None:
    made = drafts(2000)
    assert {draft.kind for draft in made} == {Kind.EVENT}
    assert len({draft.event.event_id for draft in made}) == 2000


@cache
def twenty_thousand(duplicates: float, malformed: float) -> Counter[Kind]:
    return Counter(KINDS[kind] for kind in records(20_000, duplicates=duplicates, malformed=malformed).kinds)


@pytest.mark.parametrize(("duplicates", "malformed"), [(0.1, 0.0), (0.0, 0.2), (0.1, 0.2), (0.5, 0.5), (0.0, 1.0)])
def test_shares_are_of_all_records(duplicates: float, malformed: float) -> None:
    kinds = twenty_thousand(duplicates, malformed)
    assert kinds[Kind.DUPLICATE] / 20_000 == pytest.approx(duplicates, abs=0.01)
    assert sum(kinds[kind] for kind in MALFORMED) / 20_000 == pytest.approx(malformed, abs=0.01)


def test_malformed_kinds_are_equally_many() -> None:
    kinds = twenty_thousand(0.0, 1.0)
    assert kinds.keys() == set(MALFORMED)
    assert all(count == pytest.approx(20_000 / len(MALFORMED), rel=0.1) for count in kinds.values())


def test_a_duplicate_is_an_unchanged_event_of_the_last_second() -> None:
    """Later than that it could be late for its minute, and duplicates are not meant to be late events."""
    sent: list[tuple[int, UserEvent]] = []
    made = drafts(5000, duplicates=0.3, late=0.1)
    for number, draft in enumerate(made):
        at = START + number
        if draft.kind is Kind.DUPLICATE:
            assert draft.event in [event for sent_at, event in sent if sent_at >= at - 1000]
        else:
            sent.append((at, draft.event))
    assert len(sent) < len(made)


@pytest.mark.parametrize("step", [1, 999, 1000, 1001])
def test_a_record_with_nothing_of_the_last_second_before_it_cannot_be_a_duplicate(step: int) -> None:
    block = traffic_with(duplicates=1.0).block(START + np.arange(5) * step)
    kinds = [draft.kind for draft in drafts_of(block, ENCODING)]
    # What is no duplicate may be repeated: at 999 ms, the first by the second, and not by the third.
    assert (
        kinds
        == {
            1: [Kind.EVENT] + [Kind.DUPLICATE] * 4,
            999: [Kind.EVENT, Kind.DUPLICATE] * 2 + [Kind.EVENT],
            1000: [Kind.EVENT, Kind.DUPLICATE] * 2 + [Kind.EVENT],
            1001: [Kind.EVENT] * 5,
        }[step]
    )
    assert len(set(block.values)) == kinds.count(Kind.EVENT)


def test_late_is_what_happened_before_it_is_sent() -> None:
    made = drafts(5000, late=0.3)
    assert {draft.kind for draft in made} == {Kind.EVENT, Kind.LATE}
    for number, draft in enumerate(made):
        assert (draft.kind is Kind.LATE) == (draft.event.event_time < START + number)


def test_faults_do_not_change_the_visits() -> None:
    faulty = [draft.event for draft in drafts(5000, malformed=0.2, duplicates=0.2) if draft.kind is Kind.EVENT]
    clean = {draft.event.event_id: draft.event for draft in drafts(5000)}
    assert all(event._replace(event_time=0) == clean[event.event_id]._replace(event_time=0) for event in faulty)


def test_event_times_that_no_sink_believes_are_a_month_off_or_more() -> None:
    ahead, behind = set(), set()
    for number, draft in enumerate(drafts(5000, malformed=1.0)):
        off = draft.event.event_time - (START + number)
        if draft.kind is Kind.TIME_FAR_AHEAD:
            ahead.add(off > 1000 * 365 * DAY_MS)
            assert off >= 30 * DAY_MS
        elif draft.kind is Kind.TIME_FAR_BEHIND:
            behind.add(off < -20 * 365 * DAY_MS)
            assert off <= -30 * DAY_MS
        else:
            assert off == 0
    assert ahead == behind == {True, False}, "both an absurd and a plausible time of each kind"


@pytest.mark.parametrize("kind", [kind for kind in Kind if not kind.malformed])
def test_events_are_encoded_as_they_are(kind: Kind) -> None:
    assert ENCODING.value_of(Draft(kind, an_event(), START)) == serialize(an_event())


def test_each_malformed_kind_is_malformed_in_its_own_way() -> None:
    event = an_event()
    values = {kind: ENCODING.value_of(Draft(kind, event, START)) for kind in MALFORMED}

    assert values[Kind.NULL_VALUE] is None
    assert values[Kind.EMPTY_VALUE] == b""
    not_avro = values[Kind.NOT_AVRO]
    assert not_avro is not None
    assert not_avro[0] != 0
    unknown = values[Kind.UNKNOWN_SCHEMA_ID]
    assert unknown is not None
    assert unknown[1:5] == NO_SUCH_SCHEMA_ID.to_bytes(4, "big")
    assert unknown[5:] == serialize(event)[5:]
    truncated = values[Kind.TRUNCATED]
    assert truncated is not None
    assert serialize(event).startswith(truncated)
    with pytest.raises((EOFError, IndexError)):
        decode(truncated)
    trailing = values[Kind.TRAILING_BYTES]
    assert trailing is not None
    assert decode(trailing)[1] != b""


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_truncated_event_never_decodes_whatever_its_optional_fields_are(cut: int) -> None:
    for draft in drafts(500, malformed=1.0):
        value = ENCODING.value_of(draft._replace(kind=Kind.TRUNCATED))
        assert value is not None
        with pytest.raises((EOFError, IndexError)):
            decode(value[: len(value) - cut + 1])
