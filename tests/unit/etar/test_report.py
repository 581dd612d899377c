"""Envelope and body: what every report says, whatever a stream's own model makes of the rest."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import Field, ValidationError, computed_field

from etar.minute import MinuteWindow
from etar.report import Count, MinuteReport, PublishedReport

MINUTE = datetime(2025, 8, 9, 10, 30, tzinfo=UTC)
WINDOW = MinuteWindow(MINUTE)
VALID: dict[str, Any] = {
    "stream": "sales",
    "minute": "2025-08-09T10:30:00Z",
    "total_events": 10,
    "rows_read": 12,
    "source_object": "s3a://etar/extracts/sales/2025-08-09_10-30.parquet",
    "sold": 7,
    "shops": {"north": 3},
}


class Sales(MinuteReport):
    sold: Count = 0
    shops: dict[str, int] = Field(default_factory=dict)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def share(self) -> float:
        return self.sold / self.total_events if self.total_events else 0.0


def test_a_report_without_events_is_the_defaults() -> None:
    empty = Sales.empty(WINDOW, stream="sales")
    assert (empty.stream, empty.window, empty.sold, empty.shops) == ("sales", WINDOW, 0, {})
    assert (empty.total_events, empty.rows_read, empty.source_object) == (0, 0, None)


def test_a_row_is_a_report_by_the_names_of_its_columns() -> None:
    row = {"rows_read": 12, "total_events": 10, "sold": 7, "shops": {"north": 3}}
    report = Sales.of_row(row, window=WINDOW, stream="sales", source=VALID["source_object"])
    assert report == Sales.model_validate(VALID)


def test_no_text_of_an_event_makes_a_report_that_cannot_be_stored() -> None:
    class Pages(MinuteReport):
        first: str = ""
        by_page: dict[str, list[str]] = Field(default_factory=dict)

    row = {"rows_read": 1, "total_events": 1, "first": "a\0b", "by_page": {"\0": ["c\0"]}}
    report = Pages.of_row(row, window=WINDOW, stream="sales", source="s3a://x")
    assert (report.first, report.by_page) == ("a\ufffdb", {"\ufffd": ["c\ufffd"]})


@pytest.mark.parametrize(
    ("change", "left_out", "said"),
    [
        pytest.param({}, "sold", r"sold\n  Field required", id="a column that is missing has not its default"),
        pytest.param({}, "rows_read", r"rows_read\n  Field required", id="of the envelope as well"),
        pytest.param({"revenue": 1}, None, r"revenue\n  Extra inputs are not permitted", id="a column more"),
        pytest.param({"sold": 1.5}, None, "valid integer", id="of another type"),
        pytest.param({"rows_read": 9}, None, "total_events 10 is more than rows_read 9", id="what does not add up"),
    ],
)
def test_another_row_is_none(change: dict[str, Any], left_out: str | None, said: str) -> None:
    row = {"rows_read": 12, "total_events": 10, "sold": 7, "shops": {}} | change
    row.pop(left_out or "", None)
    with pytest.raises(ValidationError, match=said):
        Sales.of_row(row, window=WINDOW, stream="sales", source="s3a://x")


def test_as_many_events_as_rows_are_allowed() -> None:
    assert Sales.model_validate(VALID | {"rows_read": 10}).total_events == 10


def test_json_has_the_body_inside_the_envelope_and_takes_a_report_there_and_back() -> None:
    report = Sales.model_validate(VALID)
    assert list(json.loads(report.model_dump_json())) == [
        *("schema_version", "stream", "minute", "total_events"),
        *("sold", "shops"),
        *("rows_read", "source_object", "share"),
    ]
    assert Sales.model_validate_json(report.model_dump_json()) == report


def test_what_is_computed_is_never_believed() -> None:
    assert Sales.model_validate(VALID | {"share": 0.99}).share == pytest.approx(0.7)


def test_a_report_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Sales.model_validate(VALID).total_events = 0


def test_the_headline_of_a_report_that_has_none_is_its_events() -> None:
    assert Sales.model_validate(VALID | {"total_events": 1234, "rows_read": 1234}).headline() == "1,234 events"


def published(**changes: Any) -> PublishedReport:
    return PublishedReport.model_validate(VALID | {"revision": 1, "published_at": MINUTE} | changes)


def test_a_published_report_is_any_body_in_an_envelope_that_is_checked() -> None:
    report = published(shops=["of", "another", {"shape": None}], schema_version=7)
    assert (report.revision, report.total_events, report.window, report.schema_version) == (1, 10, WINDOW, 7)
    assert report.body == {"sold": 7, "shops": ["of", "another", {"shape": None}]}


def test_its_content_is_what_was_posted() -> None:
    posted = Sales.model_validate(VALID).model_dump(mode="json")
    assert published(**posted).content == posted


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"revision": 0}, "revision"),
        ({"total_events": 13}, "more than rows_read 12"),
        ({"minute": "2025-08-09T10:30:01Z"}, "not the start of a minute"),
        ({"rows_read": None}, "rows_read"),
        ({"stream": ""}, "stream"),
    ],
)
def test_an_envelope_that_is_none_is_no_published_report(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        published(**change)
