"""Which tables the native sink can fill."""

from __future__ import annotations

import pytest

from etar.records.column_types import OutOfRangeError, UnsupportedTableError
from etar.records.table import Column, TableLayout
from tests.unit.records.events import DESCRIBED, LAYOUT, METADATA


def test_computed_and_metadata_columns_are_not_filled_from_the_event() -> None:
    names = [column.name for column in LAYOUT.fields]
    assert "event_minute" not in names
    assert not METADATA.names & set(names)
    assert len(names) == len(DESCRIBED) - 5


@pytest.mark.parametrize(
    ("declared", "arrow", "nullable"),
    [
        ("String", "string", False),
        ("LowCardinality(Nullable(String))", "string", True),
        ("UUID", "fixed_size_binary[16]", False),
        ("Nullable(Int64)", "int64", True),
        ("UInt8", "uint8", False),
        ("Float64", "double", False),
        ("Bool", "bool", False),
        ("DateTime64(3, 'UTC')", "timestamp[ms, tz=UTC]", False),
        ("DateTime64(6)", "timestamp[us, tz=UTC]", False),
    ],
)
def test_a_supported_type_has_an_arrow_type(declared: str, arrow: str, nullable: bool) -> None:
    column = Column.parse("c", declared)
    assert (str(column.arrow_type), column.nullable) == (arrow, nullable)


@pytest.mark.parametrize("declared", ["IPv4", "Array(IPv4)", "DateTime64(3, 'Asia/Tokyo')", "Int128"])
def test_an_unsupported_type_is_refused_by_name(declared: str) -> None:
    with pytest.raises(UnsupportedTableError, match="column 'price' has the type"):
        Column.parse("price", declared)


def test_a_column_of_such_a_type_is_left_to_its_default_and_costs_no_other() -> None:
    layout = TableLayout.of(
        [*DESCRIBED, ("hosts", "Array(IPv4)", "")], database="etar", table="user_interactions", metadata=METADATA
    )
    assert layout.fields == LAYOUT.fields
    assert [reason.split(",")[0] for reason in layout.unfilled] == ["column 'hosts' has the type Array(IPv4)"]


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ([row for row in DESCRIBED if row[0] != "event_time"], "needs a column 'event_time'"),
        ([row if row[0] != "event_time" else ("event_time", "Int64", "") for row in DESCRIBED], "needs a column"),
        ([row if row[0] != "_offset" else ("_offset", "Int128", "") for row in DESCRIBED], "column '_offset' has"),
        ([row for row in DESCRIBED if row[0] not in ("_offset", "_topic")], "lacks the metadata columns _offset, _top"),
    ],
)
def test_a_table_without_what_every_stream_has_is_refused(described: list[tuple[str, str, str]], message: str) -> None:
    with pytest.raises(UnsupportedTableError, match=message):
        TableLayout.of(described, database="etar", table="t", metadata=METADATA)


@pytest.mark.parametrize(
    ("declared", "low", "high"),
    [("Int8", -128, 127), ("UInt8", 0, 255), ("Int64", -(2**63), 2**63 - 1), ("UInt64", 0, 2**64 - 1)],
)
def test_an_integer_fits_up_to_its_types_ends(declared: str, low: int, high: int) -> None:
    convert = Column.parse("n", declared).converter(None)
    assert [convert(low), convert(high)] == [low, high]
    for beyond in (low - 1, high + 1):
        with pytest.raises(OutOfRangeError, match=f"{beyond} does not fit {declared}"):
            convert(beyond)
