"""The tasks of ``etar_reconcile``: the steps of the pipelines for a batch of minutes, one after the other.

A minute that fails is written down and does not stop the others, nor does a stream of which nothing can be done; the
run fails at its end, and the next one finds the minutes again. The functions' docstrings are what the Airflow UI shows,
as Markdown, of the tasks: one paragraph each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

from etar.errors import PermanentError, TransientError
from etar.extracts import Extract
from etar.ledger import Ledger, Stage, StageCost, SupersededError
from etar.minute import MinuteWindow
from etar.pipeline.affected import Affected, affected, batch, named, span
from etar.pipeline.extract import extract_minute
from etar.pipeline.facts import read_facts, unreported_arrivals
from etar.pipeline.lost_rows import have_put_back, lost_rows
from etar.pipeline.tasks import connections
from etar.processor_time import processor_seconds
from etar.report import MinuteReport, PublishedReport
from etar.settings import KafkaSettings, ObjectStoreSettings, PipelineSettings, ReconcileSettings, get_settings
from etar.streams import DEFAULT_STREAM, Stream, catalogue, stream_named

if TYPE_CHECKING:
    import psycopg

    from etar.pipeline.settle import Offsets
    from etar.pipeline.tasks.minute import DagRun

_LOG = logging.getLogger(__name__)
_LOOK_BACK = timedelta(days=30)
"""After an outage of up to so long, each minute is found that left the table meanwhile."""


class BatchFailedError(PermanentError):
    """Minutes of the batch could not be reported. The next run finds them again; repeating this one would not help."""


class BatchUnfinishedError(TransientError):
    """Minutes of the batch could not be reported this time."""


@dataclass
class Failures:
    """What failed of a batch, and why: minutes, and streams of which nothing could be done."""

    reasons: dict[str, str] = field(default_factory=dict)
    transient: bool = False

    def add(self, what: object, step: str, error: Exception) -> str:
        """Write the error to the log, and return it as one line."""
        reason = f"{type(error).__name__}: {error}"
        _LOG.warning("%s: failed in %s: %s", what, step, reason)
        self.reasons[str(what)] = f"{step}: {reason}"
        self.transient |= not isinstance(error, PermanentError)
        return reason

    def join(self, stream: str, of_minutes: Failures) -> None:
        """Take over what failed of one stream's minutes."""
        self.reasons |= {f"{stream} {minute}": reason for minute, reason in of_minutes.reasons.items()}
        self.transient |= of_minutes.transient

    @contextmanager
    def kept_to(self, stream: str, step: str) -> Iterator[None]:
        """What fails here is this stream's, and stops no other."""
        try:
            yield
        except Exception as error:
            self.add(f"stream {stream}", step, error)

    def __str__(self) -> str:
        return "; ".join(f"{what}: {reason}" for what, reason in self.reasons.items())


def find(dag_run: DagRun, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Compare ledger, reports and table of every stream that is switched on, and choose the minutes to report again:
    those that a person named in the parameters `minutes` and `stream`, otherwise a bounded batch, which the streams
    share, of those whose report is missing, failed, stale, or not what the table holds. A minute that the table has
    lost rows of is left as it is, and the auditor is asked to put them back. Returns each with its stream and cause,
    and what could not be looked at; without any minute, the rest of the run is skipped."""
    now, pipeline, policy = _now(), get_settings(PipelineSettings), get_settings(ReconcileSettings)
    failures = Failures()
    with connections.warehouse() as warehouse:
        if asked_for := (params or {}).get("minutes"):
            stream = stream_named((params or {}).get("stream") or DEFAULT_STREAM)
            looked_at = [stream.name]
            chosen = {stream.name: named(asked_for, now=now, pipeline=pipeline, limit=policy.batch_minutes)}
        else:
            looked_at = [stream.name for stream in catalogue().on]
            found: dict[str, list[Affected]] = {}
            for name in looked_at:
                with failures.kept_to(name, "find"):
                    found[name] = _affected_of(stream_named(name), dag_run, warehouse, now=now)
            turn = int(now.timestamp() // 60)
            chosen = batch(found, policy.batch_minutes, complete_before=now - pipeline.horizon, turn=turn)
        whole: dict[str, list[Affected]] = {}
        for name, minutes in chosen.items():
            with failures.kept_to(name, "find"):
                whole[name] = _leave_lost_of(stream_named(name), minutes, dag_run, warehouse)
    items = [{"stream": name, **each.as_xcom()} for name, minutes in whole.items() for each in minutes]
    for each in items:
        _LOG.info("%(stream)s %(minute)s: %(cause)s, %(detail)s", each)
    if items:
        return {"minutes": items, "failures": failures.reasons}
    if failures.transient and len(failures.reasons) == len(looked_at):
        raise BatchUnfinishedError(str(failures))
    if failures.reasons:
        # The run after this one looks again, in a minute: another try is not worth its process.
        raise BatchFailedError(f"{failures}. No other minute has to be reported again")
    return {}


def extract(found: Mapping[str, Any], dag_run: DagRun) -> dict[str, Any]:
    """Copy the rows of each minute that is settled from the warehouse into its Parquet object. Returns the extracts,
    what failed, and the arguments of the analysis."""
    store = connections.object_store()
    failures = Failures()
    items: list[dict[str, Any]] = []
    arguments: list[str] = []
    with connections.warehouse() as warehouse:
        for name, minutes in _by_stream(found["minutes"]):
            _LOG.info("stream %s, %d minutes", name, len(minutes))
            with failures.kept_to(name, Stage.EXTRACT):
                stream, these = stream_named(name), [Affected.from_xcom(each) for each in minutes]
                extracts, of_minutes = _extract_of(stream, these, dag_run, warehouse, store)
                failures.join(name, of_minutes)
                items += [{"stream": name, **each.as_xcom()} for each in extracts]
                arguments += chain.from_iterable(each.analysis_arguments(name) for each in extracts)
    if failures.reasons and not items:
        raise BatchUnfinishedError(f"no minute of the batch could be extracted: {failures}")
    return {"extracts": items, "failures": found["failures"] | failures.reasons, "arguments": arguments}


def before_analysis(context: Any) -> None:
    """Write down that the analysis begins; skip it if no minute of the batch has rows."""
    from airflow.sdk.exceptions import AirflowSkipException

    items = [each for each in context["ti"].xcom_pull(task_ids="extract")["extracts"] if each["rows"]]
    if not items:
        raise AirflowSkipException("no minute of the batch has rows: nothing to analyse")
    for name, extracts in _by_stream(items):
        with _ledger(stream_named(name), context["dag_run"]) as ledger:
            for each in extracts:
                ledger.began(MinuteWindow.parse(each["minute"]), Stage.ANALYSE)


def report(
    extracted: Mapping[str, Any] | None,
    dag_run: DagRun,
    outlet_events: Any,
    analysed: Mapping[str, Any] | None = None,
    ti: Any = None,
) -> dict[str, str]:
    """Post the analysis of each minute, or the zeros of an empty one, to the report API, and tell Airflow of each
    revision. What the analysis took is divided among the minutes by their rows. Returns what has failed on the way,
    which the next task fails with: Airflow forgets what a task that fails has told. Without any, that is skipped."""
    if extracted is None:
        raise BatchFailedError("nothing was extracted; the log of the task `extract` says why")
    from etar.pipeline.tasks import announce  # with Airflow's SDK, which a task's process has anyway

    began, store, api = datetime.now(UTC), connections.object_store(), connections.report_api()
    failures = Failures()
    rows = sum(each["rows"] for each in extracted["extracts"])
    cpu_of_a_row = analysed["cpu_seconds"] / rows if analysed and rows else None
    for name, extracts in _by_stream(extracted["extracts"]):
        _LOG.info("stream %s, %d minutes", name, len(extracts))
        with failures.kept_to(name, Stage.REPORT):
            these = [Extract.model_validate(each) for each in extracts]
            published, of_minutes = _report_of(
                stream_named(name), these, dag_run, store, api, cpu_of_a_row=cpu_of_a_row
            )
            failures.join(name, of_minutes)
            for each in published:
                announce.announce(each, outlet_events, began=began)
    if failures.transient and not _last_try(ti):
        raise BatchUnfinishedError(str(failures))
    return {**failures.reasons, **extracted["failures"]}


def conclude(failures: Mapping[str, str]) -> None:
    """Fail, as something of the batch has failed; its log says what. Everything else is reported."""
    raise BatchFailedError(f"{Failures(dict(failures))}. The next run finds these minutes again")


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
        window, began = each.window, processor_seconds()
        held = offsets.held_at(window.end + grace)
        if missing := behind(held, committed):
            _LOG.info("%s: left for a later run: the sink is %d records behind it", window, sum(missing.values()))
            continue
        if window.start <= kept_from():
            _LOG.info("%s: left as it is: its rows have left the table", window)
            continue
        ledger.began(window, Stage.SETTLE)
        ledger.settled(window, held, StageCost(cpu_seconds=processor_seconds() - began))
        began = processor_seconds()
        ledger.began(window, Stage.EXTRACT)
        try:
            extracted = extract(window)
        except Exception as error:
            ledger.failed(window, Stage.EXTRACT, failures.add(window, Stage.EXTRACT, error))
        else:
            ledger.extracted(window, extracted, StageCost.of_extract(extracted, processor_seconds() - began))
            extracts.append(extracted)
            _LOG.info("%s: %s, %d rows in %s", window, each.cause, extracted.rows, extracted.source or "no object")
    return extracts, failures


def report_batch(
    extracts: Iterable[Extract],
    *,
    ledger: Ledger,
    report_of: Callable[[MinuteWindow, int], MinuteReport],
    publish: Callable[[MinuteReport], PublishedReport],
    cpu_of_a_row: float | None = None,
) -> tuple[list[PublishedReport], Failures]:
    """Publish each minute whose analysis is one of its extract.

    Args:
        cpu_of_a_row: seconds of a core that the batch's analysis took of each; None where that is not known.

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
                cpu = None if cpu_of_a_row is None else cpu_of_a_row * each.rows
                ledger.analysed(window, StageCost.of_extract(each, cpu))
            stage = Stage.REPORT
            began = processor_seconds()
            ledger.began(window, stage)
            published = publish(made)
            ledger.reported(window, published, StageCost.of_report(made, processor_seconds() - began))
        except SupersededError as error:
            _LOG.info("%s: left to the run that has taken it over: %s", window, error)
        except Exception as error:
            ledger.failed(window, stage, failures.add(window, stage, error))
        else:
            reported.append(published)
            _LOG.info(summary(published))
    return reported, failures


def _affected_of(stream: Stream, dag_run: DagRun, warehouse: Any, *, now: datetime) -> list[Affected]:
    """The stream's minutes that have to be reported again; those that nobody can report any more are given up."""
    pipeline = get_settings(PipelineSettings)
    first, end = span(now, pipeline)
    with connections.ledger_connection() as connection:
        ledger = _ledger_on(connection, stream, dag_run)
        facts = read_facts(first, end, stream=stream, connection=connection, warehouse=warehouse)
        found = affected(facts, now=now, pipeline=pipeline, policy=get_settings(ReconcileSettings))
        look_back = MinuteWindow.containing(now - _LOOK_BACK)
        give_up_gone(unreported_arrivals(connection, stream, look_back, first), ledger=ledger)
    _LOG.info("%s: %d of the %d minutes from %s are affected", stream.name, len(found), len(facts), first)
    return found


def _leave_lost_of(stream: Stream, found: Sequence[Affected], dag_run: DagRun, warehouse: Any) -> list[Affected]:
    store, bucket = connections.object_store, get_settings(ObjectStoreSettings).bucket
    with connections.ledger_connection() as connection:
        return leave_lost(
            found,
            stream=stream,
            ledger=_ledger_on(connection, stream, dag_run),
            connection=connection,
            lost=lambda window: lost_rows(
                window, stream=stream, connection=connection, warehouse=warehouse, store=store, bucket=bucket
            ),
            low=partial(_low, stream),
        )


def _extract_of(
    stream: Stream, found: Sequence[Affected], dag_run: DagRun, warehouse: Any, store: Any
) -> tuple[list[Extract], Failures]:
    from etar.kafka.offsets import TopicOffsets

    pipeline, bucket = get_settings(PipelineSettings), get_settings(ObjectStoreSettings).bucket

    def extract_one(window: MinuteWindow) -> Extract:
        return extract_minute(
            window,
            stream=stream,
            warehouse=warehouse,
            store=store,
            bucket=bucket,
            grace=pipeline.grace,
            retention=pipeline.retention,
            now=_now,
        )

    with (
        TopicOffsets.connect(stream.topic, settings=get_settings(KafkaSettings)) as offsets,
        _ledger(stream, dag_run) as ledger,
    ):
        return extract_batch(
            found,
            offsets=offsets,
            group=stream.sink_group,
            grace=pipeline.grace,
            kept_from=lambda: _now() - pipeline.retention,
            ledger=ledger,
            extract=extract_one,
        )


def _report_of(
    stream: Stream, extracts: Sequence[Extract], dag_run: DagRun, store: Any, api: Any, *, cpu_of_a_row: float | None
) -> tuple[list[PublishedReport], Failures]:
    from etar.pipeline.publish import publish, report_of

    bucket = get_settings(ObjectStoreSettings).bucket
    with _ledger(stream, dag_run) as ledger:
        return report_batch(
            extracts,
            ledger=ledger,
            report_of=lambda window, rows: report_of(window, rows=rows, stream=stream, store=store, bucket=bucket),
            publish=lambda made: publish(made, http=api),
            cpu_of_a_row=cpu_of_a_row,
        )


def _last_try(ti: Any) -> bool:
    return ti is not None and ti.try_number > ti.max_tries


def _by_stream(items: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """What travels between the tasks, a stream's minutes together, as :func:`find` has put them."""
    for name, of_stream in groupby(items, key=lambda each: str(each["stream"])):
        yield name, list(of_stream)


@contextmanager
def _ledger(stream: Stream, dag_run: DagRun) -> Iterator[Ledger]:
    with connections.ledger_connection() as connection:
        yield _ledger_on(connection, stream, dag_run)


def _ledger_on(connection: psycopg.Connection[Any], stream: Stream, dag_run: DagRun) -> Ledger:
    return Ledger(connection, stream=stream, run_id=f"{dag_run.dag_id}/{dag_run.run_id}")


def _low(stream: Stream) -> dict[int, int]:
    from etar.kafka.offsets import first_held  # only where rows are lost

    return first_held(stream)


def _now() -> datetime:
    return datetime.now(UTC)
