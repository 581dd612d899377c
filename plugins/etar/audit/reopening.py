"""Minutes that were closed, to be looked at again: what was exact then is not any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etar.audit.marks import LOSS_ACCEPTED, Marks
from etar.audit.placement import Repair
from etar.minute import MinuteWindow
from etar.streams import Stream

if TYPE_CHECKING:
    import psycopg


def reopen(
    connection: psycopg.Connection[Any], stream: Stream, suspect_from: Mapping[int, int], *, wait_seconds: float = 120.0
) -> None:
    """Take each partition's mark back, so that the next audit looks at every record from these offsets on. A loss that
    a person has taken note of stays one.

    Args:
        connection: put into autocommit mode.
        suspect_from: ``{partition: offset}``.

    Raises:
        AuditBusyError: another audit took longer than ``wait_seconds``.
    """
    # Under the audit's lock: one at work would go on closing above a minute that is open again.
    with Marks(connection, stream).held(wait_seconds), connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE audit_repairs AS loss SET reason = %s FROM audited_offsets AS closed "
            'WHERE closed.stream = %s AND closed."partition" = %s AND closed.end_offset > %s '
            "AND closed.lost_accepted_at IS NOT NULL AND loss.repair = %s AND loss.stream = closed.stream "
            'AND loss."partition" = closed."partition" AND loss.first_offset >= closed.first_offset '
            "AND loss.first_offset < closed.end_offset",
            [
                (LOSS_ACCEPTED, stream.name, partition, offset, Repair.LOST.value)
                for partition, offset in suspect_from.items()
            ],
        )
        cursor.executemany(
            'DELETE FROM audited_offsets WHERE stream = %s AND "partition" = %s AND end_offset > %s',
            [(stream.name, partition, offset) for partition, offset in suspect_from.items()],
        )


def held_from(
    connection: psycopg.Connection[Any], stream: Stream, suspect_from: Mapping[int, int], low: Mapping[int, int]
) -> dict[int, int]:
    """Where to open the audit for these suspects: at the first closed minute from there on that Kafka holds whole.

    Below, nobody can put anything back, and an audit would take rows that have expired for lost. Partitions in which
    there is none are left out.

    Args:
        low: first offset that Kafka still holds, by partition.
    """
    found = {}
    with connection.transaction():
        for partition, offset in suspect_from.items():
            ((first,),) = connection.execute(
                'SELECT min(first_offset) FROM audited_offsets WHERE stream = %s AND "partition" = %s '
                "AND end_offset > %s AND first_offset >= %s",
                (stream.name, partition, offset, low[partition]),
            ).fetchall()
            if first is not None:
                found[partition] = max(first, offset)
    return found


def closed_up_to(connection: psycopg.Connection[Any], stream: Stream) -> dict[int, MinuteWindow]:
    """The newest arrival minute that is closed, by partition."""
    rows = connection.execute(
        'SELECT "partition", max(minute) FROM audited_offsets WHERE stream = %s GROUP BY "partition"', (stream.name,)
    ).fetchall()
    return {partition: MinuteWindow(minute) for partition, minute in rows}
