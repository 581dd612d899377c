"""What an extraction leaves: the ledger writes it down, and tasks hand it on."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from etar.offsets import Span


class OffsetSpan(BaseModel):
    """Which records of one partition an extract has: ``rows`` of them, from offset ``first`` to ``last``.

    ``last`` is one of them, as it stands in the ledger and in what the API answers; :attr:`span` is half-open.
    """

    model_config = ConfigDict(frozen=True)

    first: int
    last: int
    rows: int

    @property
    def span(self) -> Span:
        return Span(self.first, self.last + 1)

    def joined(self, other: OffsetSpan) -> OffsetSpan:
        """Both together; they have no record in common."""
        return OffsetSpan(
            first=min(self.first, other.first), last=max(self.last, other.last), rows=self.rows + other.rows
        )


class Extract(BaseModel):
    """What one extraction left, and where its analysis goes: small enough to travel between tasks.

    ``source`` is the s3a URI of the Parquet object; it, ``object_key``, ``object_size`` (bytes) and ``object_etag``
    (without quotes) are None for a minute without rows. ``rows``, ``late_events`` (rows that the broker took at the
    minute's end plus the grace, or later), ``offsets`` (by partition) and ``arrivals`` (rows by minute of arrival and
    partition) are read from that object; ``dead_letters`` counts the bad records that the broker took in the minute.
    ``arrivals`` are for the ledger only: of very late events there may be thousands, and they do not travel.
    """

    model_config = ConfigDict(frozen=True)

    minute: str
    rows: int
    late_events: int
    dead_letters: int
    offsets: dict[int, OffsetSpan]
    arrivals: dict[str, dict[int, int]] | None = Field(default=None, exclude=True)
    source: str | None
    result: str
    object_key: str | None
    object_size: int | None
    object_etag: str | None

    def analysis_arguments(self, stream: str) -> list[str]:
        """Arguments of ``spark_apps/minute_report.py`` for this extract of a stream; none without rows."""
        if self.source is None:
            return []
        place = ["--source", self.source, "--result", self.result]
        return ["--stream", stream, "--minute", self.minute, *place]

    def as_xcom(self) -> dict[str, Any]:
        return self.model_dump(mode="json")
