"""The report task against the real API on its real store, through Airflow's connections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from etar.clients import report_store_connection
from etar.extracts import Extract
from etar.ledger import Ledger, Stage, SupersededError
from etar.minute import MinuteWindow
from etar.pipeline.publish import ReportRefusedError
from etar.settings import ObjectStoreSettings, ReportStoreSettings
from etar.streams import default_stream
from stack.parts import Stack
from tests.integration.pipeline.world import STEPS, LedgerReader, Run
from tests.interactions import Outcomes, Report
from tests.ports import free_ports

pytestmark = pytest.mark.usefixtures("s3_connection", "ledger_connection", "report_store")


def latest(api: Stack, window: MinuteWindow) -> dict[str, Any]:
    answer = requests.get(
        f"{api.settings['ETAR_API_URL']}/reports",
        params={"from": str(window), "to": str(window.next)},
        headers={"Authorization": f"Bearer {api.settings['ETAR_API_READ_TOKEN']}"},
        timeout=10,
    )
    answer.raise_for_status()
    body = answer.json()
    (report,) = body if isinstance(body, list) else body["reports"]
    return dict(report)


def store_result(s3: Any, store: ObjectStoreSettings, report: Report) -> None:
    key = default_stream().result_key(report.window)
    s3.put_object(Bucket=store.bucket, Key=key, Body=report.model_dump_json().encode())


def analysis(window: MinuteWindow, *, events: int) -> Report:
    return Report(
        minute=window.start,
        total_events=events,
        total_errors=1,
        event_types={"view": Outcomes(success=events - 1, error=1)},
        unique_users=1,
        rows_read=events,
        source_object=f"s3a://etar/{default_stream().extract_key(window)}",
    )


@dataclass(frozen=True)
class ReportTo:
    """A report API that the tasks can reach, and the ledger's row that they find."""

    api: Stack
    store: ReportStoreSettings
    window: MinuteWindow

    def note_extract(self, rows: int) -> None:
        """Write to the ledger what the task ``extract`` would."""
        extract = Extract(
            minute=str(self.window),
            rows=rows,
            late_events=0,
            dead_letters=0,
            offsets={},
            source=None,
            result="",
            object_key=None,
            object_size=None,
            object_etag=None,
        )
        with report_store_connection(self.store) as connection:
            ledger = Ledger(connection, stream=default_stream(), run_id="etar_pipeline/of-a-test")
            ledger.extracted(self.window, extract)


@pytest.fixture
def report_to(
    api: Stack, connect: Callable[..., None], report_store: ReportStoreSettings, window: MinuteWindow
) -> ReportTo:
    connect()
    return ReportTo(api, report_store, window)


def test_three_runs_are_one_revision_and_other_content_is_the_next(
    window: MinuteWindow,
    report_to: ReportTo,
    s3: Any,
    object_store: ObjectStoreSettings,
    ledger: LedgerReader,
) -> None:
    for revision, events in ((1, 4), (2, 5)):
        store_result(s3, object_store, analysis(window, events=events))
        report_to.note_extract(events)
        for _ in range(3):
            reported = STEPS.report(Run(window), events, s3)
            assert (reported.window, reported.revision) == (window, revision)
    published = latest(report_to.api, window)
    assert (published["total_events"], published["revision"]) == (5, 2)
    assert [(each.revision, each.unique_events) for each in ledger.history(window)] == [(1, 4), (2, 5)]
    assert ledger.entry(window) == ledger.history(window)[-1]


def test_an_empty_minute_is_published_as_zeros(window: MinuteWindow, report_to: ReportTo) -> None:
    report_to.note_extract(0)
    for _ in range(3):
        assert STEPS.report(Run(window), 0, None).revision == 1
    published = latest(report_to.api, window)
    assert (published["total_events"], published["source_object"]) == (0, None)


def test_a_report_of_another_extract_than_the_ledgers_is_not_written_to_it(
    window: MinuteWindow, report_to: ReportTo, s3: Any, object_store: ObjectStoreSettings, ledger: LedgerReader
) -> None:
    """Another run has extracted the minute since; it has not analysed it yet."""
    store_result(s3, object_store, analysis(window, events=4))
    report_to.note_extract(5)
    with pytest.raises(SupersededError, match="revision 1 of minute"):
        STEPS.report(Run(window), 4, s3)
    entry = ledger.entry(window)
    assert entry is not None
    assert (entry.state, entry.received, entry.revision) == ("extracted", 5, None)
    assert ledger.history(window) == []


@pytest.mark.parametrize("killed", [False, True])
def test_a_task_that_fails_for_good_fails_its_minute(
    window: MinuteWindow, connect: Callable[..., None], ledger: LedgerReader, killed: bool
) -> None:
    """In the task's own process there is an exception; for a killed task, the scheduler has the DAG processor call."""
    connect(password="not-the-write-token-of-the-api")
    context: dict[str, Any] = {"dag_run": Run(window)}
    with pytest.raises(ReportRefusedError) as refused:
        STEPS.report(Run(window), 0, None)
    STEPS.note_failure(context if killed else context | {"exception": refused.value})
    entry = ledger.entry(window)
    assert entry is not None
    assert entry.state == "failed"
    assert entry.error is not None
    assert entry.error.startswith("the task's process ended" if killed else "ReportRefusedError: the report API")
    assert entry.stages[Stage.REPORT].ended_at is not None


def test_a_wrong_token_is_refused_without_saying_it(
    window: MinuteWindow, connect: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    connect(password="not-the-write-token-of-the-api")
    with pytest.raises(ReportRefusedError, match=r"with 40[13]") as refused:
        STEPS.report(Run(window), 0, None)
    assert "not-the-write-token" not in f"{refused.value} {capfd.readouterr()}"


def test_an_api_that_is_away_is_a_connection_error_to_be_retried(
    window: MinuteWindow, connect: Callable[..., None]
) -> None:
    connect(port=free_ports(1)[0])
    with pytest.raises(requests.ConnectionError):
        STEPS.report(Run(window), 0, None)
