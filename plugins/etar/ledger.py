"""The ledger: one row for each stream and minute, and one for each revision reported, in PostgreSQL.

Its row says what the run that worked on a minute last found. Nothing is decided here: whoever reads a row that is not
as it should be (stale, failed, or unlike the table or the report) has the minute reported again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from etar.errors import PermanentError
from etar.extracts import Extract, OffsetSpan
from etar.minute import MinuteWindow
from etar.report import MinuteReport, PublishedReport
from etar.streams import Stream

if TYPE_CHECKING:
    import psycopg

FAILED_TOLD_FOR = timedelta(days=7)
"""For how long a minute whose newest run failed is told of, by alerts and overview: who was away over a week-end, or a
holiday beside it, still finds it. One that is older has been seen, or nobody will."""


class State(StrEnum):
    """How far a minute is."""

    OPEN = "open"
    SETTLED = "settled"
    EXTRACTED = "extracted"
    ANALYSED = "analysed"
    REPORTED = "reported"
    FAILED = "failed"


class Stage(StrEnum):
    """The steps of a minute, in their order."""

    SETTLE = "settle"
    EXTRACT = "extract"
    ANALYSE = "analyse"
    REPORT = "report"


_BEFORE = {
    Stage.SETTLE: State.OPEN,
    Stage.EXTRACT: State.SETTLED,
    Stage.ANALYSE: State.EXTRACTED,
    Stage.REPORT: State.ANALYSED,
}
_ERROR_CHARACTERS = 2000


class SupersededError(PermanentError):
    """Another run has taken the minute over, or has reported it since; the ledger is about its extract now."""


class StageCost(BaseModel):
    """What a step took. None is what it has none of, or what could not be seen.

    Processor time is that of the step's own process and, of the analysis, of Spark: of the driver, and of executors
    that are in it. What engine, broker and stores do for a step is not among it.
    """

    model_config = ConfigDict(frozen=True)

    rows: int | None = Field(default=None, description="Rows that it wrote or read; of the report: 1")
    bytes: int | None = Field(default=None, description="Bytes of the extract that it wrote or read, or of the report")
    cpu_seconds: float | None = Field(default=None, description="Seconds of a core")

    @classmethod
    def of_extract(cls, extract: Extract, cpu_seconds: float | None) -> Self:
        """Of the step that made it, or that analysed it."""
        return cls(rows=extract.rows, bytes=extract.object_size, cpu_seconds=cpu_seconds)

    @classmethod
    def of_report(cls, report: MinuteReport, cpu_seconds: float) -> Self:
        """Of the step that posted it."""
        return cls(rows=1, bytes=len(report.model_dump_json().encode()), cpu_seconds=cpu_seconds)


def _is_none(value: object) -> bool:
    return value is None


class StageTimes(BaseModel):
    """When a step began, and when it ended; None while it is at work, or when it was killed.

    ``cost`` is None, and then left out of JSON, of a step that has not ended, or that ended before costs were kept.
    """

    model_config = ConfigDict(frozen=True)

    started_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    cost: StageCost | None = Field(default=None, exclude_if=_is_none)


class LedgerEntry(BaseModel):
    """A row of ``minutes``, or of ``minute_revisions``. What is not known (yet) is None.

    Counts are of rows of the extract, but ``unique_events`` are events, and ``dead_letters`` are the bad records that
    arrived in the minute: an event time they have not.
    """

    model_config = ConfigDict(frozen=True)

    stream: str
    minute: Annotated[AwareDatetime, AfterValidator(lambda instant: MinuteWindow(instant).start)]
    state: State
    run_id: str | None = Field(description="Airflow run that wrote last: <dag id>/<run id>")
    received: int | None = Field(description="Rows of the extract")
    duplicates: int | None = Field(description="Rows of the extract whose event was there already")
    unique_events: int | None = Field(description="Events in the report")
    late_events: int | None = Field(description="Rows that arrived after the minute's end and grace")
    dead_letters: int | None = Field(description="Bad records that arrived in the minute")
    offsets: dict[int, OffsetSpan] | None = Field(description="Records of the extract, by partition")
    settled_offsets: dict[int, int] | None = Field(description="By partition, the first offset not waited for")
    object_key: str | None = Field(description="Extract in the object store; null for an empty minute")
    object_size: int | None = Field(description="Its size in bytes")
    object_etag: str | None = Field(description="Its ETag, without quotes")
    stages: dict[Stage, StageTimes] = Field(description="Steps of that run")
    revision: int | None = Field(description="Newest revision reported")
    error: str | None = Field(description="Why the minute failed")
    updated_at: AwareDatetime

    @field_validator("stages")
    @classmethod
    def _in_their_order(cls, stages: dict[Stage, StageTimes]) -> dict[Stage, StageTimes]:
        # PostgreSQL's jsonb keeps an order of its own.
        return {stage: stages[stage] for stage in Stage if stage in stages}

    @property
    def window(self) -> MinuteWindow:
        return MinuteWindow(self.minute)


class MinuteHistory(LedgerEntry):
    """A row of ``minutes`` with the minute's rows of ``minute_revisions``, oldest first."""

    revisions: tuple[LedgerEntry, ...]


_COLUMNS = ", ".join(LedgerEntry.model_fields)
_KEPT = (*LedgerEntry.model_fields, "arrivals")
"""Columns of a row and of its revisions: what the account of a range is made of is no part of an entry."""

# The stages of a row are those of its run: another run's are not mixed with them.
_OWN_STAGES = "CASE WHEN minutes.run_id = excluded.run_id THEN minutes.stages ELSE '{}' END"

# A new attempt knows nothing yet but that the minute has been reported before. What the last attempt found stands in
# minute_revisions if it got so far.
_OPEN = """
    INSERT INTO minutes (stream, minute, state, run_id, stages, updated_at)
    VALUES (%(stream)s, %(minute)s, 'open', %(run_id)s, %(stages)s, %(now)s)
    ON CONFLICT (stream, minute) DO UPDATE SET
        state = excluded.state, run_id = excluded.run_id, stages = excluded.stages, updated_at = excluded.updated_at,
        received = NULL, duplicates = NULL, unique_events = NULL, late_events = NULL, dead_letters = NULL,
        offsets = NULL, arrivals = NULL, settled_offsets = NULL, object_key = NULL, object_size = NULL,
        object_etag = NULL, error = NULL
"""

_BEGIN = f"""
    INSERT INTO minutes (stream, minute, state, run_id, stages, updated_at)
    VALUES (%(stream)s, %(minute)s, %(before)s, %(run_id)s, %(stages)s, %(now)s)
    ON CONFLICT (stream, minute) DO UPDATE SET
        state = CASE WHEN minutes.state = 'failed' THEN excluded.state ELSE minutes.state END,
        run_id = excluded.run_id, stages = (({_OWN_STAGES}) - %(later)s::text[]) || excluded.stages,
        updated_at = excluded.updated_at, error = NULL
"""

# A stage that ends keeps the start that its run has written down.
_END_STAGE = f"""
    ({_OWN_STAGES}) || jsonb_build_object(%(stage)s::text,
        (excluded.stages -> %(stage)s::text) || jsonb_build_object('started_at',
            coalesce(({_OWN_STAGES}) -> %(stage)s::text, excluded.stages -> %(stage)s::text) -> 'started_at'))
"""

# A run that another has taken the minute from must not call it failed; nor does a failure to report it again undo the
# report that stands.
_FAIL = f"""
    INSERT INTO minutes (stream, minute, state, run_id, stages, error, updated_at)
    VALUES (%(stream)s, %(minute)s, 'failed', %(run_id)s, %(stages)s, %(error)s, %(now)s)
    ON CONFLICT (stream, minute) DO UPDATE SET
        state = excluded.state, stages = {_END_STAGE}, error = excluded.error, updated_at = excluded.updated_at
    WHERE minutes.run_id = excluded.run_id AND minutes.state <> 'reported'
"""

# Only where the row is about the extract that the report was made from: its counts stand beside the report's.
_REPORT = """
    UPDATE minutes SET
        state = 'reported', run_id = %(run_id)s, error = NULL, updated_at = %(now)s, revision = %(revision)s,
        unique_events = %(unique_events)s, duplicates = received - %(unique_events)s,
        stages = stages || jsonb_build_object('report',
            (%(stages)s -> 'report') || jsonb_build_object('started_at',
                coalesce(stages -> 'report', %(stages)s -> 'report') -> 'started_at'))
    WHERE stream = %(stream)s AND minute = %(minute)s AND received = %(received)s
"""

_KEEP_REVISION = f"""
    INSERT INTO minute_revisions ({", ".join(_KEPT)})
    SELECT {", ".join(_KEPT)} FROM minutes WHERE stream = %(stream)s AND minute = %(minute)s
    ON CONFLICT (stream, minute, revision) DO UPDATE SET
        {", ".join(f"{column} = excluded.{column}" for column in _KEPT)}
"""

# Revisions whose run was killed after it had published them, and that nobody published again before the next.
_KEEP_UNWRITTEN_REVISIONS = """
    INSERT INTO minute_revisions
        (stream, minute, revision, state, received, unique_events, duplicates, updated_at)
    SELECT
        stream, minute, revision, 'reported', (content ->> 'rows_read')::bigint, (content ->> 'total_events')::bigint,
        (content ->> 'rows_read')::bigint - (content ->> 'total_events')::bigint, published_at
    FROM reports
    WHERE stream = %(stream)s AND minute = %(minute)s AND revision < %(revision)s
    ON CONFLICT (stream, minute, revision) DO NOTHING
"""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Ledger:
    """Writes what one run does. Each call is one transaction, committed on return, and may be repeated freely.

    Args:
        connection: must not be in a transaction; it is put in autocommit mode.
        run_id: ``<dag id>/<Airflow run id>``.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        *,
        stream: Stream,
        run_id: str,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        # Otherwise a query that came before, with no commit after it, would make each write a part of its transaction.
        connection.autocommit = True
        self._connection = connection
        self._stream = stream
        self._run_id = run_id
        self._now = now

    def began(self, window: MinuteWindow, stage: Stage) -> None:
        """A step starts. The first one opens the minute; a later one leaves state and counts as they are."""
        stages = list(Stage)
        later = [str(each) for each in stages[stages.index(stage) + 1 :]]
        statement = _OPEN if stage is Stage.SETTLE else _BEGIN
        bound = self._bound(window, stage, ended=False) | {"before": str(_BEFORE[stage]), "later": later}
        self._connection.execute(statement.encode(), bound)

    def settled(self, window: MinuteWindow, offsets: Mapping[int, int], cost: StageCost | None = None) -> None:
        """The table holds what Kafka held at the minute's end; ``offsets`` are the first ones not waited for."""
        self._end(window, Stage.SETTLE, State.SETTLED, cost, settled_offsets=_json(offsets))

    def extracted(self, window: MinuteWindow, extract: Extract, cost: StageCost | None = None) -> None:
        """The minute's object is what ``extract`` says. How many of its rows are events is open until the report."""
        self._end(
            window,
            Stage.EXTRACT,
            State.EXTRACTED,
            cost,
            received=extract.rows,
            late_events=extract.late_events,
            dead_letters=extract.dead_letters,
            offsets=_json({partition: span.model_dump() for partition, span in extract.offsets.items()}),
            arrivals=None if extract.arrivals is None else _json(extract.arrivals),
            object_key=extract.object_key,
            object_size=extract.object_size,
            object_etag=extract.object_etag,
            unique_events=None,
            duplicates=None,
        )

    def analysed(self, window: MinuteWindow, cost: StageCost | None = None) -> None:
        """The analysis of the minute's extract is stored. An empty minute has none and goes on without."""
        self._end(window, Stage.ANALYSE, State.ANALYSED, cost)

    def reported(self, window: MinuteWindow, published: PublishedReport, cost: StageCost | None = None) -> None:
        """The report API has the report; its revision joins the minute's history.

        Raises:
            SupersededError: the ledger's row is not about the extract of this report. Nothing is written.
        """
        bound = self._bound(window, Stage.REPORT, cost) | {
            "revision": published.revision,
            "received": published.rows_read,
            "unique_events": published.total_events,
        }
        with self._connection.transaction():
            if not self._connection.execute(_REPORT.encode(), bound).rowcount:
                raise SupersededError(
                    f"revision {published.revision} of minute {window} is a report of {published.rows_read} rows, but "
                    "the ledger is not about an extract of so many: another run works on the minute, or has. It, or "
                    "etar_reconcile, reports the minute again"
                )
            self._connection.execute(_KEEP_REVISION.encode(), bound)
            self._connection.execute(_KEEP_UNWRITTEN_REVISIONS.encode(), bound)

    def require_current(self, window: MinuteWindow, rows: int) -> None:
        """See that a step may go on from its run's extract of ``rows`` rows, however long ago that was made.

        Raises:
            SupersededError: the minute has been reported from another extract since.
        """
        found = self._connection.execute(
            "SELECT run_id, revision, received FROM minutes WHERE stream = %s AND minute = %s AND state = 'reported'",
            (self._stream.name, window.start),
        ).fetchone()
        if found and found[2] != rows:
            raise SupersededError(
                f"minute {window} has been reported from {found[2]} rows since (revision {found[1]}, by {found[0]}); "
                f"this run's extract has {rows}. Nothing is left to do. To have this run report the minute anew, clear "
                "its task"
            )

    def at_work(self, window: MinuteWindow) -> Stage:
        """The step that this run has come to: the last that it began; the first, before it began any."""
        found = self._connection.execute(
            "SELECT stages FROM minutes WHERE stream = %s AND minute = %s AND run_id = %s",
            (self._stream.name, window.start, self._run_id),
        ).fetchone()
        begun = [stage for stage in Stage if found and stage in found[0]]
        return begun[-1] if begun else Stage.SETTLE

    def left(self, window: MinuteWindow) -> None:
        """A run has looked at the minute and leaves it as it is: it has had its turn for now."""
        self._connection.execute(
            "UPDATE minutes SET updated_at = %s WHERE stream = %s AND minute = %s",
            (self._now(), self._stream.name, window.start),
        )

    def failed(self, window: MinuteWindow, stage: Stage, error: str) -> None:
        """The run has given the minute up. Nothing is written when another run has taken it over, or when the minute's
        report stands."""
        bound = self._bound(window, stage) | {"error": _printable(error)[:_ERROR_CHARACTERS]}
        self._connection.execute(_FAIL.encode(), bound)

    def _end(self, window: MinuteWindow, stage: Stage, state: State, cost: StageCost | None, **columns: Any) -> None:
        statement = f"""
            INSERT INTO minutes (stream, minute, state, run_id, stages, updated_at{"".join(f", {c}" for c in columns)})
            VALUES (%(stream)s, %(minute)s, %(state)s, %(run_id)s, %(stages)s, %(now)s
                    {"".join(f", %({column})s" for column in columns)})
            ON CONFLICT (stream, minute) DO UPDATE SET
                state = excluded.state, run_id = excluded.run_id, stages = {_END_STAGE},
                updated_at = excluded.updated_at, error = NULL
                {"".join(f", {column} = excluded.{column}" for column in columns)}
        """
        self._connection.execute(statement.encode(), self._bound(window, stage, cost) | {"state": str(state)} | columns)

    def _bound(
        self, window: MinuteWindow, stage: Stage, cost: StageCost | None = None, *, ended: bool = True
    ) -> dict[str, Any]:
        now = self._now()
        times = StageTimes(started_at=now, ended_at=now if ended else None, cost=cost)
        return {
            "stream": self._stream.name,
            "minute": window.start,
            "run_id": self._run_id,
            "stage": str(stage),
            "stages": _json({stage: times.model_dump(mode="json")}),
            "now": now,
        }


def between(
    connection: psycopg.Connection[Any],
    stream: Stream,
    first: MinuteWindow,
    end: MinuteWindow,
    states: Collection[State] = (),
) -> list[LedgerEntry]:
    """The rows of ``[first, end)``, oldest first; only those in one of ``states`` if any are given."""
    statement = f"""
        SELECT {_COLUMNS} FROM minutes
        WHERE stream = %(stream)s AND minute >= %(first)s AND minute < %(end)s
          AND (%(states)s::text[] = '{{}}' OR state = ANY (%(states)s))
        ORDER BY minute
    """
    bound = {"stream": stream.name, "first": first.start, "end": end.start, "states": [str(state) for state in states]}
    return _read(connection, statement, bound)


def revisions(connection: psycopg.Connection[Any], stream: Stream, window: MinuteWindow) -> list[LedgerEntry]:
    """The minute's history: its row at each revision, oldest first."""
    statement = f"""
        SELECT {_COLUMNS} FROM minute_revisions WHERE stream = %(stream)s AND minute = %(minute)s ORDER BY revision
    """
    return _read(connection, statement, {"stream": stream.name, "minute": window.start})


def _read(connection: psycopg.Connection[Any], statement: str, bound: Mapping[str, Any]) -> list[LedgerEntry]:
    from psycopg.rows import dict_row

    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(statement.encode(), bound)
        return [LedgerEntry.model_validate(row) for row in cursor.fetchall()]


def _json(value: Mapping[Any, Any]) -> Any:
    from psycopg.types.json import Jsonb

    return Jsonb({str(key): each for key, each in value.items()})


def _printable(text: str) -> str:
    return text.replace("\x00", "")  # the one character that PostgreSQL's text cannot hold
