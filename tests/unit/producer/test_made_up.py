"""Made-up traffic of a stream's own class, and what the producer adds to it."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from etar.stream_code import StreamCodeError, load
from etar.streams import Stream, default_stream
from producer.encoding import Encoding, header_of
from producer.kinds import Draft, Kind
from producer.made_up import KINDS, Traffic, made_up, source_of
from producer.options import Mix
from producer.partitions import hashes_of
from producer.traffic import NoTrafficError, require_traffic
from tests.unit.producer.drafts import ENCODING, MINUTE, drafts_of
from tests.unit.producer.folders import payments, rides, stream_in, write_stream

HEADER = header_of(7)
README = Path(__file__).parents[3] / "streams" / "README.md"

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
IN_BLOCKS = """
from decimal import Decimal
import numpy as np
from etar.rows.blocks import Drawn, chance_of
from .shelf import METHODS

AMOUNTS = tuple(Decimal(cents) / 100 for cents in range(100))

class Traffic:
    def __init__(self, *, seed, worker, rate):
        self._chance = chance_of(f"{seed}/{worker}")

    def block(self, instants):
        rows = len(instants)
        drawn = self._chance.random((rows, 4))
        return {
            "payment": (drawn.view(np.uint8).reshape(rows, 32)[:, :16] ^ np.uint8(7)),
            "at": instants * 1000,
            "amount": Drawn(AMOUNTS, (drawn[:, 0] * 100).astype(int)),
            "method": Drawn(METHODS, (drawn[:, 1] * 2).astype(int)),
            "customer": [f"c{number}" for number in (drawn[:, 2] * 3).astype(int)],
            "weight": np.ma.masked_array(drawn[:, 3], drawn[:, 3] < 0.5),
            "device": Drawn((None,), np.zeros(rows, int)),
        }
"""
SHELF = 'METHODS = ("card", "cash")\n'


def traffic_of(stream: Stream, *, seed: int = 1, worker: int = 0, **mix: Any) -> Traffic:
    return made_up(stream, Encoding(stream, HEADER), seed=seed, worker=worker, rate=10.0, mix=Mix(**mix))


def drafts(stream: Stream, count: int, **asked: Any) -> list[Draft]:
    return drafts_of(traffic_of(stream, **asked).block(MINUTE + np.arange(count)), Encoding(stream, HEADER))


@pytest.fixture(params=[TRAFFIC, IN_BLOCKS], ids=["one by one", "in blocks"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Stream:
    return payments(tmp_path, traffic=request.param, shelf=SHELF)


@pytest.mark.parametrize(
    ("worker", "digest"),
    [
        (0, "2601d1991ac096bfa6b16cdc5026e44217d323bf82f0acc351cd477f03be6eac"),
        (3, "ee534000ab578ac38e358939de3e608c713ff27e24585fc3f2b2a1db2cfd6743"),
    ],
)
def test_a_seed_makes_the_same_records_in_every_version(worker: int, digest: str) -> None:
    """To the byte: keys, values, kinds and times, as they have been since traffic is made in blocks."""
    mix = Mix(errors=0.2, late=0.1, late_by=timedelta(seconds=60), duplicates=0.1, malformed=0.1)
    traffic = made_up(default_stream(), ENCODING, seed=5, worker=worker, rate=100.0, mix=mix)
    found = sha256()
    block = traffic.block(1_763_717_460_000 + np.arange(3000) * 10)
    for kind, key, value, happened in zip(block.kinds, block.keys, block.values, block.happened.tolist(), strict=True):
        found.update(repr((str(KINDS[kind]), key, value, happened)).encode())
    assert found.hexdigest() == digest


def test_a_folders_class_makes_the_events_and_the_same_seed_the_same(shop: Stream) -> None:
    made = drafts(shop, 200)
    assert made == drafts(shop, 200)
    assert made != drafts(shop, 200, seed=2)
    assert made != drafts(shop, 200, worker=1)
    assert {draft.event["method"] for draft in made} == {"card", "cash"}
    assert [draft.happened for draft in made] == [MINUTE + number for number in range(200)]
    assert len({draft.event["payment"] for draft in made}) == 200
    assert {draft.event["pieces"] for draft in made} == {1}, "a default"


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

    source = source_of(stream, Rides(), Encoding(stream))
    instants = MINUTE + np.arange(0, 3000, 7)
    block = Traffic(source, Encoding(stream), seed=1).block(instants)
    assert {KINDS[kind] for kind in block.kinds} == {Kind.EVENT}
    block = Traffic(source, Encoding(stream), seed=1, late=1.0, late_by=5000).block(instants)
    assert {KINDS[kind] for kind in block.kinds} == {Kind.LATE}


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
        ({"traffic": "Traffic = 5\n"}, r"Traffic of .*traffic\.py is no class"),
        (
            {"traffic": "class Traffic: ..."},
            r"Traffic of .*traffic\.py makes no events; give it a method block or next",
        ),
        ({"traffic": TRAFFIC}, r"No module named .*shelf"),
        (
            {"traffic": "class Traffic:\n    next = None\n    def __init__(self, **_):\n        raise OSError('no')\n"},
            r"traffic:Traffic cannot be made: OSError: no \(traffic\.py, line 4\)",
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


def test_a_key_has_its_record_however_events_are_made(shop: Stream) -> None:
    encoding = Encoding(shop, HEADER)
    block = traffic_of(shop, duplicates=0.2).block(MINUTE + np.arange(300))
    events = [encoding.event_of(value or b"") for value in block.values]
    assert block.keys == [encoding.key(event) for event in events]
    assert block.hashes.tolist() == hashes_of(block.keys).tolist()
    assert block.happened.tolist() == [encoding.time_of(event) for event in events]


def test_the_class_that_the_documentation_shows_makes_events(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(# my-streams/payments/traffic\.py.*?)```", README.read_text(), re.DOTALL)
    toml = """
[record]
format = "json"
[event]
id = ["payment_id"]
time = "paid_at"
time_as = "iso8601"
[traffic]
"""
    fields: dict[str, Any] = {name: {} for name in ("payment_id", "paid_at", "amount", "currency")}
    write_stream(tmp_path, "payments", toml, {"type": "object", "properties": fields}, traffic=code)
    stream = stream_in(tmp_path, "payments")
    traffic, again = (made_up(stream, Encoding(stream), seed=1, worker=0, rate=1, mix=Mix()) for _ in range(2))
    instants = MINUTE + np.arange(100)
    block = traffic.block(instants)
    assert again.block(instants[:7]).values + again.block(instants[7:]).values == block.values
    assert block.happened.tolist() == instants.tolist()
    events = [json.loads(value or b"") for value in block.values]
    assert len({event["payment_id"] for event in events}) == 100
    assert {event["currency"] for event in events} == {"EUR", "USD", "CHF"}
    assert all(1 <= event["amount"] < 100 for event in events)


def test_events_of_json_are_made_in_blocks_too(tmp_path: Path) -> None:
    class Rides:
        def block(self, instants: np.ndarray[Any, Any]) -> dict[str, Any]:
            rows = len(instants)
            texts = [f"2026-11-21T10:31:00.{at % 1000:03}Z" for at in instants.tolist()]
            ids = np.arange(rows * 16, dtype=np.uint8).reshape(rows, 16)
            return {"ride": ids, "at": texts, "fare": [Decimal("7.10")] * rows, "seats": instants % 3}

    stream = rides(tmp_path)
    block = Traffic(source_of(stream, Rides(), Encoding(stream)), Encoding(stream), seed=1).block(MINUTE + np.arange(5))
    assert block.happened.tolist() == [MINUTE + number for number in range(5)]
    assert block.keys == [None] * 5
    assert block.values[1] == (
        b'{"ride":"10111213-1415-1617-1819-1a1b1c1d1e1f","at":"2026-11-21T10:31:00.001Z","fare":7.10,"seats":%d}'
        % ((MINUTE + 1) % 3)
    )


@pytest.mark.parametrize("bad", [KeyError("till"), None])
def test_what_was_made_before_a_class_failed_is_there(bad: Exception | None, tmp_path: Path) -> None:
    class Failing:
        def next(self, at: int) -> dict[str, Any]:
            if at >= MINUTE + 70:
                if bad:
                    raise bad
                return {}
            return {"ride": str(at), "at": at, "fare": 1, "kind": "solo"}

    stream = rides(tmp_path, time_as="unix_ms", at={"type": "integer"})
    encoding = Encoding(stream)
    for shares in ({}, {"malformed": 0.3, "duplicates": 0.3}):
        traffic = Traffic(source_of(stream, Failing(), encoding), encoding, seed=1, **shares)  # type: ignore[arg-type]
        instants = MINUTE + np.arange(100)
        block = traffic.block(instants)
        made = len(block.values)
        assert made >= 70 if shares else made == 70
        assert {encoding.event_of(value)["ride"] for value in block.values if value and value.endswith(b"}")}
        assert len(block.keys) == len(block.kinds) == len(block.happened) == made
        with pytest.raises(StreamCodeError, match="made no event: KeyError: 'till'" if bad else "KeyError: 'at'"):
            traffic.block(instants[made:])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"at": [1]}, "at has 1 values for 2 events"),
        ({"colour": ["red", "red"]}, "made no event of the stream's schema: colour: no field of the schema"),
        ({"method": ["card", "cheque"]}, "made no event of the stream's schema: ValueError"),
        ({"pieces": ["one", "two"]}, "made no event of the stream's schema: TypeError"),
        ({"customer": None}, "customer is missing"),
        ({"amount": None}, "made no event of the stream's schema: .*amount"),
    ],
)
def test_a_block_that_is_none_of_the_schema_says_why(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    class Blocks:
        def block(self, _instants: object) -> dict[str, Any]:
            made = {
                "payment": np.zeros((2, 16), np.uint8), "at": np.array([MINUTE, MINUTE]), "amount": [Decimal(1)] * 2,
                "method": ["card", "cash"], "customer": ["a", "b"], "device": [None, None],
            }  # fmt: skip
            return {name: column for name, column in (made | change).items() if column is not None}

    stream = payments(tmp_path)
    with pytest.raises(StreamCodeError, match=said):
        source_of(stream, Blocks(), Encoding(stream, HEADER)).block(np.array([MINUTE, MINUTE]))
