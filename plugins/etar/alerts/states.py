"""From what the rules say at each look to when an alert begins, when it ends, and what is told. Pure.

A rule that holds makes its alert *pending*, and *firing* once it has held for the rule's ``for``. Where a number is not
known, a firing alert stays as it is: nobody knows that it is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID, uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from etar.alerts.numbers import key
from etar.alerts.rules import Verdict

Key: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""An alert's name and labels."""

UNSEEN = timedelta(seconds=60)
"""A look that comes later than this after the one before says nothing of the time between them."""


class AlertState(StrEnum):
    """How an alert stands, the worst first. Of numbers that are not known there is nothing to say, and not that all is
    well."""

    FIRING = "firing"
    PENDING = "pending"
    NO_DATA = "no data"
    WELL = "well"


class Alert(BaseModel):
    """How a rule stands for one series."""

    model_config = ConfigDict(frozen=True)

    alert: str = Field(description="Name of the rule")
    labels: dict[str, str] = Field(description="Of the series: none of the system, `stream`, or `stream` and `part`")
    state: AlertState
    since: AwareDatetime = Field(description="Begin of that state; of a firing one, when its condition began to hold")
    told_at: AwareDatetime | None = Field(default=None, description="When its start went out to the targets")
    value: float | None = Field(default=None, description="Of the rule's metric, while its condition holds")
    severity: str
    summary: str
    description: str = Field(description="What to press")
    expr: str

    @property
    def key(self) -> Key:
        return self.alert, key(self.labels)

    @property
    def stream(self) -> str | None:
        return self.labels.get("stream")

    def __str__(self) -> str:
        value = "" if self.value is None else f" ({self.expr}: {self.value:g})"
        return f"{self.alert}{f' of {self.of}' if self.labels else ''}: {self.summary}{value}"

    @property
    def of(self) -> str:
        """Its labels in words."""
        return " / ".join(self.labels.values())


class Silence(BaseModel):
    """A person's word that an alert is not to be told of for a while. Of no ``stream``: whatever stream it is of."""

    model_config = ConfigDict(frozen=True)

    alert: str
    stream: str | None
    begun_at: AwareDatetime
    until: AwareDatetime
    why: str
    by: str

    def holds_of(self, alert: Alert, now: datetime) -> bool:
        named = self.alert == alert.alert and self.stream in (None, alert.stream)
        return named and self.begun_at <= now < self.until


class Kind(StrEnum):
    """What a notice tells."""

    START = "start"
    END = "end"


@dataclass(frozen=True)
class Notice:
    """What is to be told to every target, once."""

    kind: Kind
    alert: Alert
    """As it was when it fired; of an end, too."""
    at: datetime
    ended: str = ""
    """Of an end: how it came about."""
    id: UUID = field(default_factory=uuid4)

    @property
    def title(self) -> str:
        said = "over: " if self.kind is Kind.END else ""
        return f"etar: {said}{self.alert.alert}" + (f" of {self.alert.of}" if self.alert.labels else "")

    @property
    def body(self) -> str:
        """What is wrong, since when, and what to press."""
        alert = self.alert
        if self.kind is Kind.END:
            lasted = _lasted(self.at - alert.since)
            return f"{self.ended}\nIt was: {alert.summary}.\nFrom {_utc(alert.since)} to {_utc(self.at)} ({lasted})."
        value = "" if alert.value is None else f"; it is {alert.value:g}"
        return (
            f"{alert.summary}.\nSince {_utc(alert.since)} ({alert.expr}{value}). Severity: {alert.severity}.\n"
            f"What to do: {alert.description}"
        )


@dataclass(frozen=True)
class Step:
    """What a look comes to: how each alert stands now, and what is to be told."""

    alerts: Mapping[Key, Alert]
    notices: tuple[Notice, ...]


def advance(
    before: Mapping[Key, Alert],
    verdicts: Iterable[Verdict],
    silences: Iterable[Silence],
    now: datetime,
    *,
    looked_at: datetime | None,
) -> Step:
    """How the alerts stand after a look.

    Args:
        before: how they stood after the look before, at ``looked_at``; None: there was none.
    """
    unseen = looked_at is None or now - looked_at > UNSEEN
    alerts: dict[Key, Alert] = {}
    notices: list[Notice] = []
    silenced = tuple(silences)
    for verdict in verdicts:
        previous = before.get((verdict.rule.alert, key(verdict.labels)))
        alert = _after(previous, verdict, now, unseen=unseen)
        quiet = any(each.holds_of(alert, now) for each in silenced)
        if alert.state is AlertState.FIRING and alert.told_at is None and not quiet:
            alert = alert.model_copy(update={"told_at": now})
            notices.append(Notice(Kind.START, alert, now))
        # Whoever was told of the start is told of the end, also while it is silenced: they wait for it.
        if previous and previous.told_at and alert.state is not AlertState.FIRING:
            notices.append(Notice(Kind.END, previous, now, "It holds no more."))
        alerts[alert.key] = alert
    for gone in before.keys() - alerts.keys():
        if before[gone].told_at:
            notices.append(
                Notice(Kind.END, before[gone], now, "It is not looked at any more: the rule or stream is off.")
            )
    return Step(alerts, tuple(notices))


def merged(loaded: Mapping[Key, Alert], memory: Mapping[Key, Alert]) -> dict[Key, Alert]:
    """What goes on where the store is back that was away when the process began: what was seen without it, and beside
    that what the store knows. A firing alert that is stored was told of by an earlier process."""
    live = (AlertState.FIRING, AlertState.PENDING)
    seen = {k: each for k, each in memory.items() if each.state in live and not (k in loaded and loaded[k].told_at)}
    return {**memory, **loaded, **seen}


def _after(previous: Alert | None, verdict: Verdict, now: datetime, *, unseen: bool) -> Alert:
    state, since, told_at = _state(previous, verdict, now, unseen=unseen)
    rule, value = verdict.rule, verdict.value
    if state in (AlertState.WELL, AlertState.NO_DATA):
        value = None
    if previous and value is None and state is AlertState.FIRING:
        # What it was when it was last known says more than that it is not known now.
        return previous
    return Alert(
        alert=rule.alert,
        labels=dict(verdict.labels),
        state=state,
        since=since,
        told_at=told_at,
        value=value,
        severity=rule.labels.get("severity", ""),
        summary=rule.summary(verdict.labels, value),
        description=rule.description(verdict.labels, value),
        expr=rule.expr,
    )


def _state(
    previous: Alert | None, verdict: Verdict, now: datetime, *, unseen: bool
) -> tuple[AlertState, datetime, datetime | None]:
    was = previous.state if previous else None
    since = previous.since if previous else now
    if was is AlertState.FIRING and verdict.holds is not False:
        return AlertState.FIRING, since, previous.told_at if previous else None
    if verdict.holds:
        if was is not AlertState.PENDING or unseen:
            since = now
        held = now - since >= verdict.rule.patience
        return (AlertState.FIRING if held else AlertState.PENDING), since, None
    state = AlertState.NO_DATA if verdict.holds is None else AlertState.WELL
    return state, since if was is state else now, None


def _utc(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def _lasted(time: timedelta) -> str:
    minutes, seconds = divmod(int(time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
