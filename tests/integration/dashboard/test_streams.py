"""Reports of many streams: each by its own model, which may change, be at fault, or come while the API runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from etar.clients import report_store_connection
from etar.ledger import State
from etar.minute import MINUTE as MINUTE_LONG
from etar.minute import MinuteWindow
from etar.report import PublishedReport
from etar.settings import ReportStoreSettings
from tests.integration.dashboard.ledger_rows import keep_minutes
from tests.integration.dashboard.serving import RunningApi, serving
from tests.stream_folders import define
from tests.unit.dashboard.samples import MINUTE, a_report, an_entry

SALES = """
from pydantic import Field
from etar.report import MinuteReport

class Report(MinuteReport):
    sold: int = 0
    revenue: str = "0.00"
"""
CHANGED = SALES.replace("sold: int = 0", "sales: dict[str, int] = Field(default_factory=dict)")

Write = Callable[[str, str], str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("streams")


@pytest.fixture(scope="module")
def api(report_store: ReportStoreSettings, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A report API of the module's own, with streams that lie outside this repository."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ETAR_STREAMS_FOLDERS", f"streams:{folder}")
        with serving(report_store, tmp_path_factory.mktemp("api") / "api.log") as running:
            yield running


@pytest.fixture
def write(folder: Path, stream: str) -> Iterator[Write]:
    """``write(report, "")`` gives the test's stream this ``report.py``; further ones are named by their ending."""
    made: list[Path] = []

    def write(report: str, ending: str) -> str:
        name = f"{stream}{ending}"
        define(folder, name, **{"report.py": report})
        made.append(folder / name)
        return name

    yield write
    for each in made:
        (each / "report.py").write_text(SALES)  # nothing at fault is left for other tests


def a_sale(stream: str, window: MinuteWindow = MINUTE, **body: object) -> dict[str, object]:
    envelope: dict[str, object] = {
        "stream": stream,
        "minute": str(window),
        "total_events": 9,
        "rows_read": 10,
        "source_object": "s3a://x",
    }
    return envelope | (body or {"sold": 3, "revenue": "12.50"})


def post(api: RunningApi, body: dict[str, object]) -> httpx.Response:
    return api.writer.post("/report", json=body)


def read(api: RunningApi, stream: str, **parameters: str | int) -> httpx.Response:
    return api.reader.get("/report", params={"stream": stream, **parameters})


def test_each_stream_is_told_by_its_name_and_has_its_own_model(api: RunningApi, write: Write) -> None:
    sales, other = write(SALES, ""), write(CHANGED, "_other")

    assert post(api, a_sale(sales)).status_code == 201
    assert post(api, a_sale(other, sales={"north": 2}, revenue="1.00")).status_code == 201
    refused = post(api, a_sale(other))
    assert refused.status_code == 422
    assert {tuple(part["loc"]) for part in refused.json()["errors"]} >= {("body", "sales")}


def test_without_a_name_it_is_a_report_of_the_first_stream(api: RunningApi) -> None:
    body = a_report(MINUTE).model_dump(mode="json")
    del body["stream"]

    answer = post(api, body)
    assert answer.is_success
    assert answer.json()["stream"] == "user_interactions"


def test_a_stream_that_nobody_knows_is_refused_with_those_that_are_known(api: RunningApi, write: Write) -> None:
    known = write(SALES, "")

    refused = post(api, a_sale("payments"))
    (part,) = refused.json()["errors"]
    assert (refused.status_code, part["loc"]) == (422, ["body", "stream"])
    assert "'payments' is no stream; known are " in part["msg"]
    assert {known, "user_interactions"} <= set(part["msg"].rsplit(" are ", 1)[1].split(", "))


@pytest.mark.parametrize("field", ["sold", "rows_read", "source_object"])
def test_what_is_left_out_has_not_its_default(api: RunningApi, write: Write, field: str) -> None:
    body = a_sale(write(SALES, ""))
    del body[field]

    refused = post(api, body)
    assert refused.status_code == 422
    assert refused.json()["errors"] == [{"loc": ["body", field], "msg": "Field required", "type": "missing"}]


def test_an_old_report_of_a_changed_model_is_served_as_it_was(api: RunningApi, write: Write) -> None:
    stream = write(SALES, "")
    old = post(api, a_sale(stream)).json()
    write(CHANGED, "")

    assert read(api, stream).json() == old
    assert api.reader.get("/reports", params={"stream": stream}).json() == [old]
    assert PublishedReport(**old).body == {"sold": 3, "revenue": "12.50"}

    new = post(api, a_sale(stream, sales={"north": 3}, revenue="12.50"))
    assert (new.status_code, new.json()["revision"]) == (201, 2)
    assert read(api, stream).json() == new.json()
    assert read(api, stream, minute=str(MINUTE), revision=1).json() == old


def test_a_field_that_a_model_has_got_since_is_not_put_into_what_was_posted(api: RunningApi, write: Write) -> None:
    stream = write(SALES, "")
    old = post(api, a_sale(stream)).json()
    write(f"{SALES}    returned: int = 0\n", "")

    assert read(api, stream).json() == old


def test_answers_are_in_the_order_of_the_model(api: RunningApi, stream: str) -> None:
    turned = dict(reversed(a_report(MINUTE).model_dump(mode="json").items()))
    answer = post(api, turned)

    assert list(answer.json()) == [
        *("schema_version", "stream", "minute", "total_events", "total_errors", "event_types", "unique_users"),
        *("rows_read", "source_object", "revision", "published_at", "error_rate"),
    ]
    assert list(answer.json()["event_types"]) == ["view", "click", "add_to_cart", "checkout", "purchase", "search"]
    assert read(api, "user_interactions", minute=str(MINUTE)).text == answer.text


def test_a_folder_at_fault_keeps_its_stream_from_posting_and_no_other(api: RunningApi, write: Write) -> None:
    stream = write(SALES, "")
    old = post(api, a_sale(stream)).json()
    well = write(SALES, "_well")
    write("def f(:\n", "")

    answer = post(api, a_sale(stream, MINUTE.next))
    assert answer.status_code == 503
    assert f"stream {stream}" in answer.json()["detail"]
    assert "SyntaxError" in answer.json()["detail"]
    assert read(api, stream).json() == old
    assert post(api, a_sale(well)).status_code == 201

    write(SALES, "")
    assert post(api, a_sale(stream, MINUTE.next)).status_code == 201


def test_the_streams_are_listed_with_their_newest_minute_and_their_fault(api: RunningApi, write: Write) -> None:
    sales, silent, faulty = write(SALES, ""), write(SALES, "_silent"), write("def f(:", "_faulty")
    for window in (MINUTE.next, MINUTE):
        post(api, a_sale(sales, window))

    listed = {each["name"]: each for each in api.reader.get("/streams").json()}
    assert list(listed) == sorted(listed)
    assert listed[sales] == {
        "name": sales,
        "title": sales.replace("_", " ").capitalize(),
        "newest_minute": "2025-11-21T10:32:00Z",
        "audited_through": None,
        "lost": 0,
        "failed": 0,
        "first_failed": None,
        "fault": None,
        "windows": None,
    }
    assert (listed[silent]["newest_minute"], listed[silent]["fault"]) == (None, None)
    assert "SyntaxError" in listed[faulty]["fault"]
    assert listed["user_interactions"]["title"] == "User interactions"


def test_a_stream_is_listed_with_what_the_audit_and_the_ledger_say_of_it(
    api: RunningApi, report_store: ReportStoreSettings, write: Write
) -> None:
    stream, other = write(SALES, ""), write(SALES, "_other")
    closed = [(stream, 0, MINUTE, 0), (stream, 0, MINUTE.next, 3), (stream, 2, MINUTE, 4), (other, 2, MINUTE.next, 0)]
    with report_store_connection(report_store) as connection:
        for name, partition, minute, lost in closed:
            connection.execute(
                'INSERT INTO audited_offsets (stream, "partition", minute, first_offset, end_offset, "rows", '
                "dead_letters, no_record, lost) VALUES (%s, %s, %s, 0, 9, %s, 0, 0, %s)",
                (name, partition, minute.start, 9 - lost, lost),
            )
        connection.execute(
            "UPDATE audited_offsets SET lost_accepted_at = now() WHERE stream = %s AND lost = 3", (stream,)
        )
    now = MinuteWindow.containing(datetime.now(UTC)).start
    states = {10_140: State.FAILED, 10_070: State.FAILED, 9: State.REPORTED, 8: State.FAILED}  # a week is 10,080
    failed = {age: MinuteWindow(now - age * MINUTE_LONG) for age in states}
    keep_minutes(
        report_store,
        *(
            an_entry(failed[age], stream=stream, state=state, error="it did" if state is State.FAILED else None)
            for age, state in states.items()
        ),
    )

    listed = {each["name"]: each for each in api.reader.get("/streams").json()}
    told = {name: listed[stream][name] for name in ("audited_through", "lost", "failed", "first_failed")}
    assert told == {
        "audited_through": "2025-11-21T10:32:00Z",  # of the partition that is least far
        "lost": 4,
        "failed": 2,
        "first_failed": f"{failed[10_070].start:%Y-%m-%dT%H:%M:%SZ}",
    }
    assert listed[other]["audited_through"] == "2025-11-21T10:33:00Z"
    assert (listed[other]["lost"], listed[other]["failed"], listed[other]["first_failed"]) == (0, 0, None)


def test_a_stream_whose_folder_is_gone_is_listed_with_the_reports_it_has(
    api: RunningApi, write: Write, folder: Path
) -> None:
    stream = write(SALES, "")
    old = post(api, a_sale(stream)).json()
    (folder / stream).rename(folder / f".{stream}")

    listed = {each["name"]: each for each in api.reader.get("/streams").json()}
    (folder / f".{stream}").rename(folder / stream)
    assert listed[stream]["newest_minute"] == "2025-11-21T10:31:00Z"
    assert "has no folder" in listed[stream]["fault"]
    assert read(api, stream).json() == old


def test_a_model_that_fails_on_what_it_is_given_is_at_fault_and_reading_goes_on(api: RunningApi, write: Write) -> None:
    stream = write(SALES, "")
    old = post(api, a_sale(stream)).json()
    write(SALES.replace("Field\n", "Field, computed_field\n") + PER_SALE, "")

    answer = post(api, a_sale(stream, sold=3, revenue="0"))
    assert answer.status_code == 503
    assert f"the model of stream {stream}" in answer.json()["detail"]
    assert "KeyError: 3" in answer.json()["detail"]
    assert read(api, stream).json() == old


def test_a_select_says_what_its_reports_have(api: RunningApi, stream: str, folder: Path) -> None:
    define(folder, stream, **{"report.sql": "SELECT sum(amount) AS revenue FROM events"})

    made = post(api, a_sale(stream, revenue="0.60", tops={"x": ["0.10", None]}))
    assert made.status_code == 201
    assert list(read(api, stream).json()) == [
        *("schema_version", "stream", "minute", "total_events"),
        *("tops", "revenue"),  # as PostgreSQL has them: no model knows better
        *("rows_read", "source_object", "revision", "published_at"),
    ]
    assert read(api, stream).json() == made.json()
    for name, value in {"revision": 1, "published_at": "now", "schema_version": 2}.items():
        assert post(api, a_sale(stream) | {name: value}).status_code == 422


PER_SALE = """
    @computed_field
    def price(self) -> str:
        return {0: "0.00"}[self.sold]
"""


def test_openapi_has_one_shape_a_stream_and_an_example_of_each(api: RunningApi, write: Write) -> None:
    sales, faulty = write(SALES, ""), write("def f(:", "_faulty")

    document = api.stranger.get("/openapi.json").json()
    body = document["paths"]["/report"]["post"]["requestBody"]["content"]["application/json"]
    mapping = body["schema"]["discriminator"]["mapping"]
    assert {each["$ref"] for each in body["schema"]["oneOf"]} == set(mapping.values())
    assert faulty not in mapping
    assert body["examples"][sales]["value"]["sold"] == 0
    for name, fields in {"user_interactions": {"event_types"}, sales: {"sold", "revenue"}}.items():
        shape = document["components"]["schemas"][mapping[name].rsplit("/", 1)[1]]
        assert fields <= shape["properties"].keys()
        assert {*fields, "minute"} <= set(shape["required"])
        assert "stream" not in shape["required"]
        assert shape["additionalProperties"] is False
    assert references(document) <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


def references(part: object) -> set[str]:
    """Every ``$ref`` of a document."""
    if isinstance(part, list):
        return set[str]().union(*map(references, part))
    if not isinstance(part, dict):
        return set()
    own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
    return own.union(*map(references, part.values()))
