"""The tasks of a stream's pipeline: where settings and Airflow's connections meet the plain functions.

Each names its minute from the run's data interval, writes what it does to the ledger, and returns keys and counts for
XCom. The methods' docstrings are what the Airflow UI shows, as Markdown, of the tasks: one paragraph each.
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
from etar.ledger import Ledger, Stage
from etar.minute import MinuteWindow, NotOneMinuteError
from etar.pipeline.tasks import connections
from etar.settings import KafkaSettings, ObjectStoreSettings, PipelineSettings, get_settings
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
    """The steps of one stream's minutes. Airflow names and documents a task after its method."""

    stream: Stream

    def settle(self, dag_run: DagRun) -> dict[str, int]:
        """Wait until the sink has committed every offset that Kafka held at the minute's end plus the grace. Returns
        the offset reached for each partition."""
        from etar.kafka.offsets import TopicOffsets
        from etar.kafka.standstill import standstills
        from etar.pipeline.affected import EXPIRY_MARGIN
        from etar.pipeline.extract import require_kept
        from etar.pipeline.settle import require_over, wait_until_settled

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
            ledger.settled(window, reached)
        _LOG.info("%s: settled; the sink has committed %s", window, reached)
        return {str(partition): offset for partition, offset in reached.items()}

    def extract(self, dag_run: DagRun) -> dict[str, Any]:
        """Copy the minute's rows from the warehouse into one Parquet object. Returns the minute, its counts, the
        object's URI (none for an empty minute, which gets no object) and the URI for the analysis."""
        from etar.pipeline.extract import extract_minute, require_kept

        window, policy = self._window(dag_run), get_settings(PipelineSettings)
        require_kept(window, stream=self.stream, retention=policy.retention, now=_now())
        self._require_nothing_lost(window)
        with self._ledger(dag_run) as ledger:
            ledger.began(window, Stage.EXTRACT)
        with connections.warehouse() as warehouse:
            extracted = extract_minute(
                window,
                stream=self.stream,
                warehouse=warehouse,
                store=connections.object_store(),
                bucket=get_settings(ObjectStoreSettings).bucket,
                grace=policy.grace,
                retention=policy.retention,
                now=_now,
            )
        with self._ledger(dag_run) as ledger:
            ledger.extracted(window, extracted)
        _LOG.info("%s: %d rows in %s", window, extracted.rows, extracted.source or "no object")
        return extracted.as_xcom()

    def before_analysis(self, context: Any) -> None:
        """Skip the analysis of an empty minute; else write down that it begins.

        Raises:
            AirflowSkipException: the minute is empty.
            SupersededError: it has been reported from another extract since.
        """
        from airflow.sdk.exceptions import AirflowSkipException

        extracted = context["ti"].xcom_pull(task_ids="extract")
        if not extracted["rows"]:
            raise AirflowSkipException(f"minute {extracted['minute']} has no rows: nothing to analyse")
        window = self._window(context["dag_run"])
        with self._ledger(context["dag_run"]) as ledger:
            ledger.require_current(window, extracted["rows"])
            ledger.began(window, Stage.ANALYSE)

    def after_analysis(self, context: Any, _result: Any = None) -> None:
        """Write down that the analysis is stored."""
        with self._ledger(context["dag_run"]) as ledger:
            ledger.analysed(self._window(context["dag_run"]))

    def report(self, extracted: dict[str, Any], dag_run: DagRun) -> dict[str, Any]:
        """Post the analysis, or the zeros of an empty minute, to the report API. Returns the minute and its
        revision."""
        from etar.pipeline.publish import publish, report_of, summary

        window = self._window(dag_run)
        with self._ledger(dag_run) as ledger:
            ledger.require_current(window, extracted["rows"])
            ledger.began(window, Stage.REPORT)
        made = report_of(
            window,
            rows=extracted["rows"],
            stream=self.stream,
            store=connections.object_store(),
            bucket=get_settings(ObjectStoreSettings).bucket,
        )
        published = publish(made, http=connections.report_api())
        # After the report: killed in between, the task is tried again and finds its own report there, of the same
        # revision.
        with self._ledger(dag_run) as ledger:
            ledger.reported(window, published)
        _LOG.info(summary(published))
        return {"minute": str(window), "revision": published.revision}

    def note_failure(self, context: Any) -> None:
        """Write down that a task has failed for good. A run that has no minute has no row either."""
        try:
            window = self._window(context["dag_run"])
        except NotOneMinuteError:
            return
        if exception := context.get("exception"):
            error = f"{type(exception).__name__}: {exception}"
        else:
            error = "the task's process ended without a word: it was killed, or its machine went away"
        with self._ledger(context["dag_run"]) as ledger:
            ledger.failed(window, Stage(context["ti"].task_id), error)

    def _require_nothing_lost(self, window: MinuteWindow) -> None:
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
                store=connections.object_store,
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
