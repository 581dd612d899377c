"""Whether a minute's extract has a row, read by ranges of an object."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError
from pydantic import SecretStr

from etar.minute import MinuteWindow
from etar.settings import ObjectStoreSettings
from etar.trace import objects
from etar.trace.facts import FoundRow, RecordId
from etar.trace.objects import ObjectUnreadableError, found_object

WINDOW = MinuteWindow.parse("2026-11-21T10:31Z")
SETTINGS = ObjectStoreSettings(access_key_id="x", secret_access_key=SecretStr("y"))
ROWS_A_GROUP = 10_000


def extract(rows: int) -> bytes:
    """Two partitions, in groups of rows; each record came a millisecond after the one before."""
    places = [(number * 2 // rows, number) for number in range(rows)]
    table = pa.table(
        {
            "event_id": pa.array([number.to_bytes(16, "big") for number in range(rows)], pa.binary(16)),
            "_partition": pa.array([partition for partition, _ in places], pa.int32()),
            "_offset": pa.array([offset for _, offset in places], pa.int64()),
            "_timestamp": pa.array([at(offset) for _, offset in places], pa.timestamp("ms", "UTC")),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=ROWS_A_GROUP)
    return sink.getvalue()


def at(offset: int) -> datetime:
    return WINDOW.start + timedelta(milliseconds=offset)


def row(partition: int, offset: int, appended: datetime) -> FoundRow:
    return FoundRow(RecordId("clicks", partition, offset), appended, appended, WINDOW, ())


class Store:
    """What a boto3 client does of it. ``fetched``: bytes that were read."""

    def __init__(self, content: bytes | None, code: str = "NoSuchKey") -> None:
        self.content, self.code, self.fetched, self.etag = content, code, 0, '"one"'

    def get_object(self, *, Bucket: str, Key: str, Range: str | None = None) -> dict[str, Any]:
        if self.content is None:
            raise ClientError({"Error": {"Code": self.code}}, "GetObject")
        part = self.content
        if Range is not None:
            first, _, last = Range.removeprefix("bytes=").partition("-")
            part = self.content[int(first) : int(last) + 1]
            self.fetched += len(part)
        modified = datetime(2026, 11, 21, 10, 32, 4, tzinfo=UTC)
        return {"Body": io.BytesIO(part), "ContentLength": len(part), "ETag": self.etag, "LastModified": modified}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store(extract(8 * ROWS_A_GROUP))
    monkeypatch.setattr(objects, "object_store_client", lambda _: store)
    return store


def test_each_row_is_looked_for_by_its_place_and_by_when_it_came(store: Store) -> None:
    there, second = row(0, 7, at(7)), row(1, 79_999, at(79_999))
    other_log, other_partition, beyond = row(0, 8, at(9)), row(1, 7, at(7)), row(0, 10**9, at(7))

    found = found_object(SETTINGS, "key", [there, second, other_log, other_partition, beyond])

    assert found is not None
    assert (found.etag, found.modified_at.second) == ("one", 4)
    assert list(found.holds.values()) == [True, True, False, False, False]


def test_of_a_large_object_a_fraction_is_read(store: Store) -> None:
    found_object(SETTINGS, "key", [row(0, 7, at(7))])

    assert 0 < store.fetched < len(store.content or b"") / 4


def test_no_object_is_none_and_a_key_that_is_not_known_is_not(store: Store) -> None:
    store.content = None
    assert found_object(SETTINGS, "key", []) is None
    store.code = "InvalidAccessKeyId"
    with pytest.raises(ObjectUnreadableError, match="InvalidAccessKeyId"):
        found_object(SETTINGS, "key", [])


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", extract(10)[:-20]])
def test_what_is_no_whole_parquet_is_unreadable(store: Store, content: bytes) -> None:
    store.content = content
    with pytest.raises(ObjectUnreadableError, match="not whole Parquet"):
        found_object(SETTINGS, "key", [row(0, 7, at(7))])


def test_an_object_that_is_written_over_meanwhile_is_not_mixed_with_the_new_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.get_object

    def written_over(**asked: Any) -> dict[str, Any]:
        answer = first(**asked)
        store.etag = '"two"'
        return answer

    monkeypatch.setattr(store, "get_object", written_over)
    with pytest.raises(ObjectUnreadableError, match="written anew"):
        found_object(SETTINGS, "key", [row(0, 7, at(7))])
