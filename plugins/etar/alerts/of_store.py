"""What the report store says of the minutes: a number each for every stream, by few and cheap questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from etar.alerts.jobs import job_states
from etar.alerts.numbers import Sample
from etar.job_progress import NEWEST, told
from etar.ledger import FAILED_TOLD_FOR
from etar.minute import MinuteWindow
from etar.settings import PipelineSettings, ReconcileSettings
from etar.streams import Stream

if TYPE_CHECKING:
    import psycopg

_LEAVING = timedelta(minutes=5)
"""The oldest minutes of the table are left alone: those that are missing there cannot be reported any more."""

# Each line is a look into an index, or into the rows of a bounded time. The audit is as far as its slowest partition.
_MINUTES = """
    SELECT asked.stream,
        (SELECT max(minute) FROM reports WHERE reports.stream = asked.stream),
        (SELECT count(*) FROM minutes
            WHERE minutes.stream = asked.stream AND minute >= %(first)s AND minute < %(due)s),
        (SELECT count(*) FROM minutes
            WHERE minutes.stream = asked.stream AND state = 'failed' AND minute >= %(failed_since)s),
        (SELECT coalesce(sum(dead_letters)::float8 / nullif(sum(received + dead_letters), 0), 0)::float8 FROM minutes
            WHERE minutes.stream = asked.stream AND state = 'reported' AND minute >= %(recently)s
            HAVING count(*) > 0),
        (
            WITH RECURSIVE known AS (
                SELECT min("partition") AS number FROM audited_offsets WHERE stream = asked.stream
                UNION ALL
                SELECT (
                    SELECT min("partition") FROM audited_offsets
                    WHERE stream = asked.stream AND "partition" > known.number
                ) FROM known WHERE known.number IS NOT NULL
            )
            SELECT min((
                SELECT max(minute) FROM audited_offsets WHERE stream = asked.stream AND "partition" = known.number
            )) FROM known WHERE known.number IS NOT NULL
        )
    FROM unnest(%(streams)s::text[]) AS asked(stream)
"""

# Lost, and in one of report and ledger and not in the other. Minutes at work are not in the state `reported`.
_DIFFERENCE = """
    SELECT asked.stream,
        (SELECT coalesce(sum(lost), 0)::bigint FROM audited_offsets AS closed
            WHERE closed.stream IN (SELECT logs_of(asked.stream)) AND lost > 0 AND lost_accepted_at IS NULL),
        (SELECT coalesce(sum(greatest(
                abs(minutes.received - coalesce(report.rows_read, 0)),
                abs(minutes.unique_events - coalesce(report.total_events, 0)))), 0)::bigint
            FROM minutes LEFT JOIN LATERAL (
                SELECT (content ->> 'rows_read')::bigint AS rows_read,
                       (content ->> 'total_events')::bigint AS total_events
                FROM reports WHERE reports.stream = minutes.stream AND reports.minute = minutes.minute
                ORDER BY revision DESC LIMIT 1
            ) AS report ON true
            WHERE minutes.stream = asked.stream AND state = 'reported' AND minute >= %(hour)s)
    FROM unnest(%(streams)s::text[]) AS asked(stream)
"""

# Letters of the last day, by the auditor's count, without those that a person has decided on.
_LETTERS = """
    SELECT asked.stream, coalesce(sum(day.letters - decided.letters), 0)::bigint
    FROM unnest(%(streams)s::text[], %(topics)s::text[]) AS asked(stream, topic)
    LEFT JOIN LATERAL (
        SELECT "partition", min(first_offset) AS first, max(end_offset) AS "end", sum(dead_letters) AS letters
        FROM audited_offsets
        WHERE audited_offsets.stream = asked.stream AND minute >= %(day)s AND dead_letters > 0
        GROUP BY "partition"
    ) AS day ON true
    LEFT JOIN LATERAL (
        SELECT count(*) AS letters FROM dead_letter_states AS letter
        WHERE letter.topic = asked.topic AND letter."partition" = day."partition"
          AND letter."offset" >= day.first AND letter."offset" < day."end"
    ) AS decided ON true
    GROUP BY asked.stream
"""


def numbers_of_store(
    connection: psycopg.Connection[Any],
    *,
    streams: Sequence[Stream],
    now: datetime,
    pipeline: PipelineSettings,
    policy: ReconcileSettings,
) -> Iterator[Sample]:
    """The numbers of every stream that is on, and of their jobs. What the store knows nothing of has none.

    Raises:
        psycopg.Error: the store is away.
    """
    from psycopg.rows import dict_row

    began = MinuteWindow.first_at_or_after(max(pipeline.start_date, now - pipeline.retention + _LEAVING)).start
    # The minutes that a run must have begun by now: as etar_reconcile counts them.
    due = max(MinuteWindow.containing(now - policy.allowance).start, began)
    bound = {
        "streams": [stream.name for stream in streams],
        "topics": [stream.topic for stream in streams],
        "first": began,
        "due": due,
        "recently": now - timedelta(minutes=12),
        "hour": now - timedelta(hours=1),
        "day": now - timedelta(days=1),
        "failed_since": now - FAILED_TOLD_FOR,
    }
    expected = (due - began) // timedelta(minutes=1)
    for stream, newest, taken, given_up, bad, audited in connection.execute(_MINUTES.encode(), bound):
        of = {"stream": stream}
        # Of a stream without a report, since the first minute that must have one.
        reported_to = MinuteWindow(newest).end if newest else pipeline.start_date
        yield Sample("etar_report_age_seconds", of, max(0.0, (now - reported_to).total_seconds()))
        yield Sample("etar_minutes_missing", of, float(max(0, expected - taken)))
        yield Sample("etar_minutes_given_up", of, float(given_up))
        if bad is not None:
            yield Sample("etar_bad_record_ratio", of, bad)
        if audited is not None:
            yield Sample("etar_audit_age_seconds", of, (now - MinuteWindow(audited).end).total_seconds())
    for stream, lost, unlike in connection.execute(_DIFFERENCE.encode(), bound):
        yield Sample("etar_difference_records", {"stream": stream}, float(lost + unlike))
    for stream, letters in connection.execute(_LETTERS.encode(), bound):
        yield Sample("etar_dead_letters_open", {"stream": stream}, float(max(0, letters)))
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(NEWEST.encode()).fetchall()
    for state in job_states(streams, told(rows)):
        yield from state.samples
