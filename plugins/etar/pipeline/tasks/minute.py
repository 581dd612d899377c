"""The steps of a minute's run: where settings and Airflow's connections meet the plain functions.

Each names its minute from the run's data interval and writes what it does to the ledger.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from etar.errors import PermanentError
from etar.extracts import Extract
from etar.ledger import Ledger, Stage, StageCost
from etar.minute import MinuteWindow, NotOneMinuteError
from etar.pipeline.tasks import connections
from etar.processor_time import processor_seconds
from etar.report import PublishedReport
from etar.settings import DashboardAddress, KafkaSettings, ObjectStoreSettings, PipelineSettings, get_settings
from etar.streams import Stream

_LOG = logging.getLogger(__name__)


class DagRun(Protocol):
    """The part of Airflow's DAG run that the steps use."""

    @property
    def dag_id(self) -> str: ...

    @property
    def run_id(self) -> str: ...

    @property
    def data_interval_start(self) -> datetime | None: ...

    @property
    def data_interval_end(self) -> datetime | None: ...


class LeftOutError(PermanentError):
    """The stream has no minutes: its folder has a fault, or there is none."""


@dataclass(frozen=True)
class LeftOut:
    """What stands in place of the steps of a stream that is left out, and says why where its minutes would be.

    Args:
        name: what the stream's folder is called; it may be no name for a stream.
    """

    name: str
    why: str

    @property
    def dag_id(self) -> str:
        """As if nothing were the matter: with the stream's past runs."""
        return Stream(self.tag).dag_id

    @property
    def tag(self) -> str:
        """The name, as far as Airflow takes it for one."""
        return re.sub(r"[^A-Za-z0-9_.-]", "_", self.name)[:100]

    @property
    def doc(self) -> str:
        """Markdown."""
        reasons = "\n".join(f"- {line}" for line in self.why.splitlines())
        return (
            f"### `{self.tag}` is left out\n\n{reasons}\n\nIts minutes are not reported, what is stored of it stays, "
            "and the other streams go on. When it is mended, this DAG is as it was within two minutes; "
            "`etar_reconcile` reports what is missing then.\n"
        )

    def fault(self) -> None:
        """Say what is wrong, and do nothing: while the stream is left out, this task fails."""
        raise LeftOutError(self.why)


@dataclass(frozen=True)
class MinuteSteps:
    """The steps of one stream's minutes, each of which may be repeated. ``store`` is a boto3 S3 client."""

    stream: Stream

    def say_where(self, dag_run: DagRun) -> None:
        """Write to the log where the minute can be looked at: by a command, where there is no address."""
        window, name = self._window(dag_run), self.stream.name
        of_it = f"{window} --stream {name}"
        bucket = get_settings(ObjectStoreSettings).bucket
        page = get_settings(DashboardAddress).minute_page(name, window)
        _LOG.info("%s: in the dashboard: %s", window, page)
        _LOG.info("%s: row of the ledger: etar minutes %s; report: etar report --minute %s", window, of_it, of_it)
        _LOG.info("%s: extract, if it has rows: s3://%s/%s", window, bucket, self.stream.extract_key(window))

    def settle(self, dag_run: DagRun) -> None:
        """Wait until the sink has committed every offset that Kafka held at the minute's end plus the grace."""
        from etar.kafka.offsets import TopicOffsets
        from etar.kafka.standstill import standstills
        from etar.pipeline.affected import EXPIRY_MARGIN
        from etar.pipeline.extract import require_kept
        from etar.pipeline.settle import require_over, wait_until_settled

        began = processor_seconds()
        window, policy = self._window(dag_run), get_settings(PipelineSettings)
        # Before the minute is opened, which forgets what its row says: a minute that cannot be reported keeps it.
        require_kept(window, stream=self.stream, retention=policy.retention - EXPIRY_MARGIN, now=_now())
        require_over(window, grace=policy.grace, by=_now() + policy.settle_timeout)
        with self._ledger(dag_run) as ledger:
            ledger.began(window, Stage.SETTLE)
        with TopicOffsets.connect(self.stream.topic, settings=get_settings(KafkaSettings)) as offsets:
            reached = wait_until_settled(
                window,
                offsets=offsets,
                stream=self.stream,
                grace=policy.grace,
                timeout=policy.settle_timeout,
                now=_now,
                sleep=time.sleep,
                why_behind=partial(standstills, offsets, self.stream.sink_group),
            )
        with self._ledger(dag_run) as ledger:
            ledger.settled(window, reached, StageCost(cpu_seconds=processor_seconds() - began))
        _LOG.info("%s: settled; the sink has committed %s", window, reached)

    def extract(self, dag_run: DagRun, store: Any) -> Extract:
        """Copy the minute's rows from the warehouse into one Parquet object; an empty minute gets none."""
        from etar.pipeline.extract import extract_minute, require_kept

        began = processor_seconds()
        window, policy = self._window(dag_run), get_settings(PipelineSettings)
        require_kept(window, stream=self.stream, retention=policy.retention, now=_now())
        self._require_nothing_lost(window, store)
        with self._ledger(dag_run) as ledger:
            ledger.began(window, Stage.EXTRACT)
        with connections.warehouse() as warehouse:
            extracted = extract_minute(
                window,
                stream=self.stream,
                warehouse=warehouse,
                store=store,
                bucket=get_settings(ObjectStoreSettings).bucket,
                grace=policy.grace,
                retention=policy.retention,
                now=_now,
            )
        with self._ledger(dag_run) as ledger:
            ledger.extracted(window, extracted, StageCost.of_extract(extracted, processor_seconds() - began))
        _LOG.info("%s: %d rows in %s", window, extracted.rows, extracted.source or "no object")
        return extracted

    def begin_analysis(self, dag_run: DagRun, rows: int) -> None:
        """Write down that the extract of ``rows`` rows is analysed from now on.

        Raises:
            SupersededError: the minute has been reported from another extract since.
        """
        window = self._window(dag_run)
        with self._ledger(dag_run) as ledger:
            ledger.require_current(window, rows)
            ledger.began(window, Stage.ANALYSE)

    def end_analysis(self, dag_run: DagRun, cost: StageCost | None = None) -> None:
        """Write down that the analysis is stored, and what it cost."""
        with self._ledger(dag_run) as ledger:
            ledger.analysed(self._window(dag_run), cost)

    def report(self, dag_run: DagRun, rows: int, store: Any) -> PublishedReport:
        """Post the analysis of the extract of ``rows`` rows, or the zeros of an empty minute, to the report API."""
        from etar.pipeline.publish import publish, report_of, summary

        began = processor_seconds()
        window = self._window(dag_run)
        with self._ledger(dag_run) as ledger:
            ledger.require_current(window, rows)
            ledger.began(window, Stage.REPORT)
        bucket = get_settings(ObjectStoreSettings).bucket
        made = report_of(window, rows=rows, stream=self.stream, store=store, bucket=bucket)
        published = publish(made, http=connections.report_api())
        # After the report: killed in between, the task is tried again and finds its own report there, of the same
        # revision.
        with self._ledger(dag_run) as ledger:
            ledger.reported(window, published, StageCost.of_report(made, processor_seconds() - began))
        _LOG.info(summary(published))
        return published

    def note_failure(self, context: Any) -> None:
        """Write down that a run has failed for good. One that has no minute has no row either."""
        run = context["dag_run"]
        try:
            window = self._window(run)
        except NotOneMinuteError:
            return
        if exception := context.get("exception"):
            error = f"{type(exception).__name__}: {exception}"
        else:
            error = "the task's process ended without a word: it was killed, or its machine went away"
        with self._ledger(run) as ledger:
            ledger.failed(window, ledger.at_work(window), error)

    def _require_nothing_lost(self, window: MinuteWindow, store: Any) -> None:
        """See that the table still has the rows that the minute was reported from, if it was.

        Raises:
            LostRowsError: it has not.
        """
        from etar.pipeline.lost_rows import LostRowsError, have_put_back, lost_rows

        with connections.ledger_connection() as connection, connections.warehouse() as warehouse:
            lost = lost_rows(
                window,
                stream=self.stream,
                connection=connection,
                warehouse=warehouse,
                store=lambda: store,
                bucket=get_settings(ObjectStoreSettings).bucket,
            )
            if not lost:
                return
            from etar.kafka.offsets import first_held  # the client of Kafka is seldom needed

            have_put_back(lost, stream=self.stream, connection=connection, low=first_held(self.stream))
        raise LostRowsError(
            f"{sum(map(len, lost.values()))} rows that minute {window} was reported from are neither in the table nor "
            "among the dead letters now, and it is not reported without them. The auditor has been asked to put them "
            "back; what Kafka no longer has, `etar verify` shows"
        )

    def _window(self, dag_run: DagRun) -> MinuteWindow:
        start, end = dag_run.data_interval_start, dag_run.data_interval_end
        return MinuteWindow.from_data_interval(start, end, dag_id=self.stream.dag_id)

    @contextmanager
    def _ledger(self, dag_run: DagRun) -> Iterator[Ledger]:
        with connections.ledger_connection() as connection:
            yield Ledger(connection, stream=self.stream, run_id=f"{dag_run.dag_id}/{dag_run.run_id}")


def _now() -> datetime:
    return datetime.now(UTC)
