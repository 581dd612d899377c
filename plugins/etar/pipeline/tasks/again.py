"""The tasks of ``etar_reconcile``: the steps of ``etar_pipeline`` for a batch of minutes, one after the other.

A minute that fails is written down and does not stop the others; the run fails at its end, and the next one finds the
minute again. The functions' docstrings are what the Airflow UI shows, as Markdown, of the tasks: one paragraph each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from etar.errors import PermanentError, TransientError
from etar.extracts import Extract
from etar.ledger import Ledger, Stage, SupersededError
from etar.minute import MinuteWindow
from etar.pipeline.affected import Affected, affected, batch, named, span
from etar.pipeline.extract import extract_minute
from etar.pipeline.facts import read_facts, unreported_arrivals
from etar.pipeline.lost_rows import have_put_back, lost_rows
from etar.pipeline.tasks import connections
from etar.report import MinuteReport, PublishedReport
from etar.settings import KafkaSettings, ObjectStoreSettings, PipelineSettings, ReconcileSettings, get_settings
from etar.streams import USER_INTERACTIONS, Stream

if TYPE_CHECKING:
    import psycopg

    from etar.pipeline.settle import Offsets
    from etar.pipeline.tasks.minute import DagRun

_LOG = logging.getLogger(__name__)
_STREAM = USER_INTERACTIONS
_LOOK_BACK = timedelta(days=30)
"""After an outage of up to so long, each minute is found that left the table meanwhile."""


class BatchFailedError(PermanentError):
    """Minutes of the batch could not be reported. The next run finds them again; repeating this one would not help."""


class BatchUnfinishedError(TransientError):
    """Minutes of the batch could not be reported this time."""


@dataclass
class Failures:
    """The minutes of a batch that failed, and why."""

    of_minutes: dict[str, str] = field(default_factory=dict)
    transient: bool = False

    def add(self, window: MinuteWindow, stage: Stage, error: Exception) -> str:
        """Write the error to the log, and return it as one line."""
        reason = f"{type(error).__name__}: {error}"
        _LOG.warning("%s: failed in %s: %s", window, stage, reason)
        self.of_minutes[str(window)] = f"{stage}: {reason}"
        self.transient |= not isinstance(error, PermanentError)
        return reason

    def __str__(self) -> str:
        return "; ".join(f"{minute}: {reason}" for minute, reason in self.of_minutes.items())


def find(dag_run: DagRun, params: Mapping[str, Any] | None = None) -> list[dict[str, str]]:
    """Compare ledger, reports and table, and choose the minutes to report again: those that a person named in the
    parameter `minutes`, otherwise a bounded batch of those whose report is missing, failed, stale, or not what the
    table holds. A minute that the table has lost rows of is left as it is, and the auditor is asked to put them back.
    Returns each with its cause; without any, the rest of the run is skipped."""
    now, pipeline, policy = _now(), get_settings(PipelineSettings), get_settings(ReconcileSettings)
    with connections.ledger_connection() as connection, connections.warehouse() as warehouse:
        ledger = _ledger(connection, dag_run)
        if asked_for := (params or {}).get("minutes"):
            chosen = named(asked_for, now=now, pipeline=pipeline, limit=policy.batch_minutes)
        else:
            first, end = span(now, pipeline)
            facts = read_facts(first, end, stream=_STREAM, connection=connection, warehouse=warehouse)
            found = affected(facts, now=now, pipeline=pipeline, policy=policy)
            chosen = batch(found, policy.batch_minutes, complete_before=now - pipeline.horizon)
            look_back = MinuteWindow.containing(now - _LOOK_BACK)
            give_up_gone(unreported_arrivals(connection, _STREAM, look_back, first), ledger=ledger)
            _LOG.info(
                "%d of the %d minutes from %s are affected; %d in this batch",
                len(found),
                len(facts),
                first,
                len(chosen),
            )
        store, bucket = connections.object_store, get_settings(ObjectStoreSettings).bucket
        chosen = leave_lost(
            chosen,
            stream=_STREAM,
            ledger=ledger,
            connection=connection,
            lost=lambda window: lost_rows(
                window, stream=_STREAM, connection=connection, warehouse=warehouse, store=store, bucket=bucket
            ),
            low=_low,
        )
    for each in chosen:
        _LOG.info("%s: %s, %s", each.window, each.cause, each.detail)
    return [each.as_xcom() for each in chosen]


def extract(found: Sequence[Mapping[str, str]], dag_run: DagRun) -> dict[str, Any]:
    """Copy the rows of each minute that is settled from the warehouse into its Parquet object. Returns the extracts,
    the minutes that failed, and the arguments of the analysis."""
    from etar.kafka.offsets import TopicOffsets

    pipeline = get_settings(PipelineSettings)
    bucket = get_settings(ObjectStoreSettings).bucket
    store = connections.object_store()
    with (
        TopicOffsets.connect(_STREAM.topic, settings=get_settings(KafkaSettings)) as offsets,
        connections.ledger_connection() as connection,
        connections.warehouse() as warehouse,
    ):

        def extract_one(window: MinuteWindow) -> Extract:
            return extract_minute(
                window,
                stream=_STREAM,
                warehouse=warehouse,
                store=store,
                bucket=bucket,
                grace=pipeline.grace,
                retention=pipeline.retention,
                now=_now,
            )

        extracts, failures = extract_batch(
            [Affected.from_xcom(each) for each in found],
            offsets=offsets,
            group=_STREAM.sink_group,
            grace=pipeline.grace,
            kept_from=lambda: _now() - pipeline.retention,
            ledger=_ledger(connection, dag_run),
            extract=extract_one,
        )
    if failures.of_minutes and not extracts:
        raise BatchUnfinishedError(f"no minute of the batch could be extracted: {failures}")
    return {
        "extracts": [each.as_xcom() for each in extracts],
        "failures": failures.of_minutes,
        "arguments": analysis_arguments(extracts, _STREAM),
    }


def before_analysis(context: Any) -> None:
    """Write down that the analysis begins; skip it if no minute of the batch has rows."""
    from airflow.sdk.exceptions import AirflowSkipException

    extracts = _filled(context["ti"].xcom_pull(task_ids="extract")["extracts"])
    if not extracts:
        raise AirflowSkipException("no minute of the batch has rows: nothing to analyse")
    with connections.ledger_connection() as connection:
        ledger = _ledger(connection, context["dag_run"])
        for each in extracts:
            ledger.began(MinuteWindow.parse(each.minute), Stage.ANALYSE)


def report(extracted: Mapping[str, Any] | None, dag_run: DagRun) -> list[dict[str, Any]]:
    """Post the analysis of each minute, or the zeros of an empty one, to the report API, and fail if any minute of the
    batch has failed on the way. Returns the minutes and their revisions."""
    from etar.pipeline.publish import publish, report_of

    if extracted is None:
        raise BatchFailedError("nothing was extracted; the log of the task `extract` says why")
    bucket = get_settings(ObjectStoreSettings).bucket
    store, api = connections.object_store(), connections.report_api()
    with connections.ledger_connection() as connection:
        published, failures = report_batch(
            [Extract.model_validate(each) for each in extracted["extracts"]],
            ledger=_ledger(connection, dag_run),
            report_of=lambda window, rows: report_of(window, rows=rows, stream=_STREAM, store=store, bucket=bucket),
            publish=lambda made: publish(made, http=api),
        )
    if failures.transient:
        raise BatchUnfinishedError(str(failures))
    failures.of_minutes |= extracted["failures"]
    if failures.of_minutes:
        raise BatchFailedError(f"{failures}. The next run finds these minutes again")
    return [{"minute": str(each.window), "revision": each.revision} for each in published]


def give_up_gone(arrived: Mapping[MinuteWindow, int], *, ledger: Ledger) -> None:
    """Write down, as failed, minutes that have left the table and were never reported: nobody can report them now.

    Args:
        arrived: rows of the table that arrived in each.
    """
    for window, rows in arrived.items():
        error = (
            f"{rows} rows arrived in this minute, and it left the table before it was reported: the pipeline stood "
            "still for longer than the table keeps a minute"
        )
        _LOG.error("%s: %s", window, error)
        ledger.began(window, Stage.SETTLE)
        ledger.failed(window, Stage.SETTLE, error)


def leave_lost(
    found: Iterable[Affected],
    *,
    stream: Stream,
    ledger: Ledger,
    connection: psycopg.Connection[Any],
    lost: Callable[[MinuteWindow], Mapping[int, Sequence[int]]],
    low: Callable[[], Mapping[int, int]],
) -> list[Affected]:
    """The minutes that can be reported again. Of the others the table has lost rows, which the auditor is asked to put
    back; their reports stand until then.

    Args:
        lost: see :func:`etar.pipeline.lost_rows.lost_rows`.
        low: first offset that Kafka still holds, by partition.
    """
    from etar.audit.marks import AuditBusyError

    whole: list[Affected] = []
    missing: dict[int, list[int]] = {}
    for each in found:
        if not (gone := lost(each.window)):
            whole.append(each)
            continue
        _LOG.warning(
            "%s: left as it is: %d rows that it was reported from are neither in the table nor among the dead letters",
            each.window,
            sum(map(len, gone.values())),
        )
        ledger.left(each.window)
        for partition, offsets in gone.items():
            missing[partition] = sorted([*missing.get(partition, ()), *offsets])
    if missing:
        try:
            have_put_back(missing, stream=stream, connection=connection, low=low())
        except AuditBusyError as error:
            _LOG.warning("the next run asks the auditor: %s", error)
    return whole


def extract_batch(
    found: Iterable[Affected],
    *,
    offsets: Offsets,
    group: str,
    grace: timedelta,
    kept_from: Callable[[], datetime],
    ledger: Ledger,
    extract: Callable[[MinuteWindow], Extract],
) -> tuple[list[Extract], Failures]:
    """Extract the minutes that the sink's ``group`` has committed past; the others are left for a later run. So is one
    that the table has meanwhile dropped, or is dropping: it keeps its report, and its row in the ledger.

    Args:
        kept_from: a minute that began by this instant is past the retention.

    Raises:
        psycopg.Error: the ledger cannot be written. What was extracted stays, and may be extracted again.
    """
    from etar.kafka.offsets import behind

    extracts: list[Extract] = []
    failures = Failures()
    committed = offsets.committed(group)
    for each in found:
        window = each.window
        held = offsets.held_at(window.end + grace)
        if missing := behind(held, committed):
            _LOG.info("%s: left for a later run: the sink is %d records behind it", window, sum(missing.values()))
            continue
        if window.start <= kept_from():
            _LOG.info("%s: left as it is: its rows have left the table", window)
            continue
        ledger.began(window, Stage.SETTLE)
        ledger.settled(window, held)
        ledger.began(window, Stage.EXTRACT)
        try:
            extracted = extract(window)
        except Exception as error:
            ledger.failed(window, Stage.EXTRACT, failures.add(window, Stage.EXTRACT, error))
        else:
            ledger.extracted(window, extracted)
            extracts.append(extracted)
            _LOG.info("%s: %s, %d rows in %s", window, each.cause, extracted.rows, extracted.source or "no object")
    return extracts, failures


def report_batch(
    extracts: Iterable[Extract],
    *,
    ledger: Ledger,
    report_of: Callable[[MinuteWindow, int], MinuteReport],
    publish: Callable[[MinuteReport], PublishedReport],
) -> tuple[list[PublishedReport], Failures]:
    """Publish each minute whose analysis is one of its extract.

    Raises:
        psycopg.Error: the ledger cannot be written. What was published stays, and may be published again.
    """
    from etar.pipeline.publish import summary

    reported: list[PublishedReport] = []
    failures = Failures()
    for each in extracts:
        window, stage = MinuteWindow.parse(each.minute), Stage.ANALYSE
        try:
            made = report_of(window, each.rows)
            if each.rows:
                # Only now is it known which of the batch's analyses succeeded.
                ledger.analysed(window)
            stage = Stage.REPORT
            ledger.began(window, stage)
            published = publish(made)
            ledger.reported(window, published)
        except SupersededError as error:
            _LOG.info("%s: left to the run that has taken it over: %s", window, error)
        except Exception as error:
            ledger.failed(window, stage, failures.add(window, stage, error))
        else:
            reported.append(published)
            _LOG.info(summary(published))
    return reported, failures


def analysis_arguments(extracts: Iterable[Extract], stream: Stream) -> list[str]:
    """Arguments of ``spark_apps/minute_report.py`` for the extracts that hold rows."""
    return [
        argument
        for each in extracts
        if each.source
        for argument in (
            *("--stream", stream.name, "--minute", each.minute),
            *("--source", each.source, "--result", each.result),
        )
    ]


def _filled(extracts: Iterable[Mapping[str, Any]]) -> list[Extract]:
    return [extract for extract in map(Extract.model_validate, extracts) if extract.rows]


def _ledger(connection: psycopg.Connection[Any], dag_run: DagRun) -> Ledger:
    return Ledger(connection, stream=_STREAM, run_id=f"{dag_run.dag_id}/{dag_run.run_id}")


def _low() -> dict[int, int]:
    from etar.kafka.offsets import first_held  # only where rows are lost

    return first_held(_STREAM)


def _now() -> datetime:
    return datetime.now(UTC)
