"""Made-up traffic of a stream's own class, and what the producer adds to it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from etar.stream_code import StreamCodeError, load
from etar.streams import Stream, default_stream
from producer.encoding import Encoding, header_of
from producer.kinds import Draft, Kind
from producer.options import Mix
from producer.traffic import NoTrafficError, Traffic, made_up, require_traffic
from tests.unit.producer.drafts import ENCODING, MINUTE
from tests.unit.producer.folders import payments, rides

HEADER = header_of(7)

TRAFFIC = """
from decimal import Decimal
from random import Random
from uuid import UUID
from .shelf import METHODS

class Traffic:
    def __init__(self, *, seed, worker, rate):
        self._random = Random(f"{seed}/{worker}")

    def next(self, at):
        return {
            "payment": UUID(int=self._random.getrandbits(128)), "at": at * 1000, "amount": Decimal("12.50"),
            "method": self._random.choice(METHODS), "customer": "c1", "device": None,
        }
"""
SHELF = 'METHODS = ("card", "cash")\n'


def traffic_of(stream: Stream, *, seed: int = 1, worker: int = 0, **mix: Any) -> Traffic:
    return made_up(stream, Encoding(stream, HEADER), seed=seed, worker=worker, rate=10.0, mix=Mix(**mix))


def drafts(stream: Stream, count: int, **asked: Any) -> list[Draft]:
    traffic = traffic_of(stream, **asked)
    return [traffic.next(MINUTE + number) for number in range(count)]


@pytest.fixture
def shop(tmp_path: Path) -> Stream:
    return payments(tmp_path, traffic=TRAFFIC, shelf=SHELF)


@pytest.mark.parametrize(
    ("worker", "digest"),
    [
        (0, "49866563ea02eae39bde86022280bff889b78100e9b1ebc1457d9c1e0da6c408"),
        (3, "66c1f9075e86e1cc018ff0b400829b6184fce5144201623f765f01340aa63d4a"),
    ],
)
def test_a_seed_makes_the_same_records_in_every_version(worker: int, digest: str) -> None:
    """To the byte: keys, values, kinds and times, as they were before streams were folders."""
    mix = Mix(errors=0.2, late=0.1, late_by=timedelta(seconds=60), duplicates=0.1, malformed=0.1)
    traffic = made_up(default_stream(), ENCODING, seed=5, worker=worker, rate=100.0, mix=mix)
    found = sha256()
    for number in range(3000):
        draft = traffic.next(1_763_717_460_000 + number * 10)
        key, value = ENCODING.key(draft.event), ENCODING.value_of(draft)
        found.update(repr((str(draft.kind), key, value, draft.happened)).encode())
    assert found.hexdigest() == digest


def test_a_folders_class_makes_the_events_and_the_same_seed_the_same(shop: Stream) -> None:
    made = drafts(shop, 200)
    assert made == drafts(shop, 200)
    assert made != drafts(shop, 200, seed=2)
    assert made != drafts(shop, 200, worker=1)
    assert {draft.event["method"] for draft in made} == {"card", "cash"}
    assert [draft.happened for draft in made] == [MINUTE + number for number in range(200)]
    encoding = Encoding(shop, HEADER)
    assert [encoding.event_of(encoding.value_of(draft) or b"")["payment"] for draft in made] == [
        draft.event["payment"] for draft in made
    ]


def test_what_goes_wrong_is_made_for_every_stream(shop: Stream) -> None:
    made = drafts(shop, 10_000, late=0.2, late_by=timedelta(seconds=60), duplicates=0.1, malformed=0.1)
    kinds = Counter(draft.kind for draft in made)
    assert kinds.keys() == {Kind.EVENT, Kind.LATE, Kind.DUPLICATE, *Encoding(shop, HEADER).malformed}
    assert kinds[Kind.DUPLICATE] == pytest.approx(1000, rel=0.2)
    assert kinds[Kind.LATE] == pytest.approx(0.2 * 8000, rel=0.2)
    behind = [MINUTE + number - draft.happened for number, draft in enumerate(made) if draft.kind is Kind.LATE]
    assert 30_000 <= min(behind) < max(behind) <= 60_000


def test_what_happened_within_the_second_that_a_time_says_is_not_late(tmp_path: Path) -> None:
    stream = rides(tmp_path, time_as="unix_s", at={"type": "integer"})

    class Rides:
        def next(self, at: int) -> dict[str, Any]:
            return {"ride": "r", "at": at // 1000, "fare": 1, "kind": "solo"}

    traffic = Traffic(Rides(), Encoding(stream), seed=1)
    assert {traffic.next(MINUTE + number).kind for number in range(0, 3000, 7)} == {Kind.EVENT}
    behind = Traffic(Rides(), Encoding(stream), seed=1, late=1.0, late_by=5000)
    assert {behind.next(MINUTE + number).kind for number in range(0, 3000, 7)} == {Kind.LATE}


def test_a_stream_like_another_shares_its_traffic(shop: Stream) -> None:
    other = replace(shop, name="refunds", like="payments")
    assert [draft.event for draft in drafts(other, 50)] == [draft.event for draft in drafts(shop, 50)]


def test_two_folders_may_have_modules_of_one_name(tmp_path: Path) -> None:
    shelves = ('METHODS = ("card",)\n', 'METHODS = ("cash",)\n')
    streams = [payments(tmp_path / shelf[12:15], traffic=TRAFFIC, shelf=shelf) for shelf in shelves]
    assert [{draft.event["method"] for draft in drafts(stream, 9)} for stream in streams] == [{"card"}, {"cash"}]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"traffic": "def Traffic(:\n"}, r"traffic\.py cannot be imported: SyntaxError: .*line 1"),
        ({"traffic": "import nowhere_at_all\n"}, r"cannot be imported: ModuleNotFoundError: .*\(traffic\.py, line 1\)"),
        ({"traffic": "x = 1\n"}, r"Traffic of .*traffic\.py is missing: the file does not define it"),
        ({"traffic": "Traffic = 5\n"}, "traffic:Traffic is no class"),
        ({"traffic": TRAFFIC}, r"No module named .*shelf"),
        (
            {"traffic": "class Traffic:\n    def __init__(self, **_):\n        raise OSError('shut')\n"},
            r"traffic:Traffic cannot be made: OSError: shut \(traffic\.py, line 3\)",
        ),
    ],
)
def test_code_that_cannot_be_used_says_which_file_and_line(files: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(StreamCodeError, match=f"stream payments: .*{said}"):
        traffic_of(payments(tmp_path, **files))


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    stream = payments(tmp_path)
    with pytest.raises(StreamCodeError, match=r"stream payments has no .*payments/traffic\.py; write it"):
        load(stream, "traffic:Traffic")


def test_what_a_stream_has_not_is_said_before_anything_is_sent(tmp_path: Path, shop: Stream) -> None:
    without = payments(tmp_path / "other")
    with pytest.raises(NoTrafficError, match=r"payments has no made-up traffic: write a class .* or send a file"):
        require_traffic(without, Mix())
    with pytest.raises(NoTrafficError, match="knows no errors: leave --errors out"):
        traffic_of(shop, errors=0.5)
    require_traffic(replace(shop, identity=()), Mix())
    with pytest.raises(NoTrafficError, match="has no duplicates"):
        require_traffic(replace(shop, identity=()), Mix(duplicates=0.1))
