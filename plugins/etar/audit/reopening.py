"""Minutes that were closed, to be looked at again: what was exact then is not any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etar.audit.marks import Marks
from etar.streams import Stream

if TYPE_CHECKING:
    import psycopg


def reopen(
    connection: psycopg.Connection[Any], stream: Stream, suspect_from: Mapping[int, int], *, wait_seconds: float = 120.0
) -> None:
    """Take each partition's mark back, so that the next audit looks at every record from these offsets on.

    Args:
        connection: put into autocommit mode.
        suspect_from: ``{partition: offset}``.

    Raises:
        AuditBusyError: another audit took longer than ``wait_seconds``.
    """
    # Under the audit's lock: one at work would go on closing above a minute that is open again.
    with Marks(connection, stream).held(wait_seconds), connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            'DELETE FROM audited_offsets WHERE stream = %s AND "partition" = %s AND end_offset > %s',
            [(stream.name, partition, offset) for partition, offset in suspect_from.items()],
        )
