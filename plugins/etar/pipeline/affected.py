"""Which minutes have no report, or one that is not what the table holds: those that ``etar_reconcile`` reports again.

Pure: the facts come from ``etar.pipeline.facts``, what is done about them is in ``etar.pipeline.tasks.again``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Self

from etar.errors import PermanentError
from etar.ledger import LedgerEntry, State
from etar.minute import MinuteWindow
from etar.settings import PipelineSettings, ReconcileSettings

EXPIRY_MARGIN = timedelta(minutes=5)
"""The oldest minutes leave the table while a run is at work: those that would are not begun."""

_NEVER = datetime.min.replace(tzinfo=UTC)


class UnreportableMinuteError(PermanentError):
    """A minute that was asked for is not over yet, or is leaving the table."""


class TooManyMinutesError(PermanentError):
    """More minutes were asked for than one run takes: while it lasts, no other minute is reported again."""


class Cause(StrEnum):
    """Why a minute is reported again."""

    MISSING = "missing"
    """No run has taken the minute, or its report is not there."""

    FAILED = "failed"
    """The last run gave the minute up."""

    STALE = "stale"
    """A run has begun the minute and has written nothing for long: it is taken for dead."""

    LATE = "late"
    """The table has rows that came after the report."""

    DISAGREES = "disagrees"
    """Report, ledger and table do not say the same, and it is not late rows."""

    NAMED = "named"
    """A person asked for the minute."""


@dataclass(frozen=True)
class ReportCounts:
    """What the newest report of a minute says of itself."""

    revision: int
    rows_read: int
    total_events: int


@dataclass(frozen=True)
class MinuteFacts:
    """What the three places know of one minute: ledger, report store, warehouse.

    ``rows`` and ``dead_letters`` count records, each once however often it was delivered; the dead letters are those
    that arrived in the minute.
    """

    window: MinuteWindow
    entry: LedgerEntry | None
    report: ReportCounts | None
    rows: int
    dead_letters: int


@dataclass(frozen=True)
class Affected:
    """A minute to be reported again, why, in words, and when a run last wrote to the ledger about it."""

    window: MinuteWindow
    cause: Cause
    detail: str
    tried: datetime | None = None

    def as_xcom(self) -> dict[str, str]:
        return {"minute": str(self.window), "cause": self.cause, "detail": self.detail}

    @classmethod
    def from_xcom(cls, value: Mapping[str, str]) -> Self:
        return cls(MinuteWindow.parse(value["minute"]), Cause(value["cause"]), value["detail"])


def span(now: datetime, pipeline: PipelineSettings) -> tuple[MinuteWindow, MinuteWindow]:
    """The minutes ``[first, end)`` that are over, and stay in the table for a while yet."""
    return _oldest_kept(now, pipeline), MinuteWindow.containing(now)


def has_to_be_reported(window: MinuteWindow, pipeline: PipelineSettings, *, held: bool) -> bool:
    """Every minute from the deployment on; an earlier one if something is known of it (``held``: it has rows, or a row
    of the ledger). Events may be up to a day older than the deployment that they are sent to."""
    return held or window.start >= pipeline.start_date


def affected(
    facts: Iterable[MinuteFacts], *, now: datetime, pipeline: PipelineSettings, policy: ReconcileSettings
) -> list[Affected]:
    """The minutes to report again, oldest first.

    A minute that its own run may still begin (``allowance`` after its end), or that a run is at work on (it wrote to
    the ledger within ``stale``), is left to that run. One that is reported needs no such wait: late rows are found as
    soon as they are there.
    """
    found = [
        _affected(minute, now, policy)
        for minute in facts
        if has_to_be_reported(minute.window, pipeline, held=minute.rows > 0 or minute.entry is not None)
    ]
    return sorted((each for each in found if each), key=lambda each: each.window)


def batch(
    found: Mapping[str, Iterable[Affected]], limit: int, *, complete_before: datetime, turn: int = 0
) -> dict[str, list[Affected]]:
    """At most ``limit`` minutes of all streams together, each stream's oldest first; streams without one are left out.

    Each place goes to the stream that has fewest so far: one with a day's backlog takes what the others leave, and no
    more. Which of a stream's minutes it is: A third of the room is for the newest minutes: late events are mostly of
    these, and their revision is due within two minutes also while an outage's backlog is worked off. Another third is
    for minutes that are past the horizon: no event is taken for them any more, so their next revision is their last,
    and has to come before they leave the table. The rest goes to those least recently tried, the oldest of them first.
    So minutes never tried, which is what an outage leaves, come in their order; and a minute that fails each time, or
    gets late rows each minute, goes to the back of the queue and holds up no other.

    Args:
        found: by stream.
        complete_before: minutes that ended by this instant are past the horizon.
        turn: a number that grows from run to run: of streams with equally many, another comes first each time.
    """
    names = sorted(found)
    first = turn % len(names) if names else 0
    chosen: dict[str, list[Affected]] = {name: [] for name in (*names[first:], *names[:first])}
    left = {name: sorted(found[name], key=lambda each: each.window) for name in chosen}
    third = limit // 3
    _take(third, chosen, {name: minutes[::-1] for name, minutes in left.items()})
    waiting = {
        name: sorted(minutes, key=lambda each: (each.tried or _NEVER, each.window)) for name, minutes in left.items()
    }
    past = {name: [each for each in minutes if each.window.end <= complete_before] for name, minutes in waiting.items()}
    _take(third, chosen, past)
    _take(limit - sum(map(len, chosen.values())), chosen, waiting)
    return {name: sorted(minutes, key=lambda each: each.window) for name, minutes in chosen.items() if minutes}


def _take(room: int, chosen: Mapping[str, list[Affected]], queues: Mapping[str, Iterable[Affected]]) -> None:
    """Move so many minutes from the heads of the queues to what is chosen, each of the stream that has fewest."""
    left = {name: deque(each for each in queue if each not in chosen[name]) for name, queue in queues.items()}
    for _ in range(room):
        waiting = [name for name, queue in left.items() if queue]
        if not waiting:
            return
        name = min(waiting, key=lambda name: len(chosen[name]))
        chosen[name].append(left[name].popleft())


def named(minutes: Iterable[str], *, now: datetime, pipeline: PipelineSettings, limit: int) -> list[Affected]:
    """The minutes that a person asked for, each once, oldest first. They may be from before the deployment.

    Raises:
        NotOneMinuteError: one is not written like a minute.
        TooManyMinutesError: there are more than ``limit``.
        UnreportableMinuteError: one is not over, or leaves the table before it could be read.
    """
    windows = sorted({MinuteWindow.parse(minute) for minute in minutes})
    if len(windows) > limit:
        raise TooManyMinutesError(
            f"{len(windows)} minutes were named, and a run takes at most {limit} (ETAR_RECONCILE_BATCH_MINUTES): name "
            "them in several runs, or create a backfill of the stream's pipeline, which gives way to the newest minute"
        )
    end, oldest = MinuteWindow.containing(now), _oldest_kept(now, pipeline)
    if refused := [str(window) for window in windows if not oldest <= window < end]:
        raise UnreportableMinuteError(
            f"cannot report {', '.join(refused)}: the table gives minutes from {oldest} to {end.previous} now. Name "
            "others; an older minute keeps the report it has"
        )
    return [Affected(window, Cause.NAMED, "asked for") for window in windows]


def _affected(minute: MinuteFacts, now: datetime, policy: ReconcileSettings) -> Affected | None:
    entry = minute.entry
    if entry is None:
        overdue = minute.window.end + policy.allowance <= now
        return Affected(minute.window, Cause.MISSING, "no run has taken it") if overdue else None
    match entry.state:
        case State.REPORTED:
            difference = _difference(minute, entry)
        case State.FAILED:
            difference = Cause.FAILED, f"{entry.run_id}: {entry.error}"
        case _ if entry.updated_at + policy.stale <= now:
            difference = Cause.STALE, f"{entry.state} by {entry.run_id} since {entry.updated_at.isoformat()}"
        case _:
            difference = None
    return Affected(minute.window, *difference, tried=entry.updated_at) if difference else None


def _difference(minute: MinuteFacts, entry: LedgerEntry) -> tuple[Cause, str] | None:
    report = minute.report
    if report is None:
        return Cause.MISSING, f"the ledger has revision {entry.revision}, but there is no report"
    in_ledger = ReportCounts(entry.revision or 0, entry.received or 0, entry.unique_events or 0)
    if report != in_ledger:
        return Cause.DISAGREES, f"the report is {_words(report)}, the ledger says {_words(in_ledger)}"
    if minute.rows > report.rows_read:
        return Cause.LATE, f"{minute.rows - report.rows_read} rows more than the {report.rows_read} reported"
    if minute.rows < report.rows_read:
        return Cause.DISAGREES, f"the table has {minute.rows} rows, the report {report.rows_read}"
    if minute.dead_letters != entry.dead_letters:
        return Cause.DISAGREES, f"there are {minute.dead_letters} dead letters, the ledger says {entry.dead_letters}"
    return None


def _words(counts: ReportCounts) -> str:
    return f"revision {counts.revision} with {counts.total_events} events from {counts.rows_read} rows"


def _oldest_kept(now: datetime, pipeline: PipelineSettings) -> MinuteWindow:
    return MinuteWindow.first_at_or_after(now - pipeline.retention + EXPIRY_MARGIN)
