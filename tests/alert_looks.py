"""Looks at alerts as the part `alerts` has them, at numbers that a test gives, on a real report store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from etar.alerts.asking import Answers
from etar.alerts.keeping import Keeper
from etar.alerts.numbers import Sample
from etar.alerts.rules import AlertRule, read_rules, rules_of
from etar.alerts.states import Silence
from etar.alerts.targets import Message, Sending
from etar.alerts.watch import Watch
from etar.clients import report_store_connection
from etar.settings import ReportStoreSettings
from etar.streams import Stream
from stack.waiting import wait_until

RIDES = Stream("rides")
OF_RIDES: Mapping[str, str] = {"stream": "rides"}


def rules(*, given_up: str = "0s") -> tuple[AlertRule, ...]:
    """Two rules, one of the store's numbers and one of whether it is there."""
    texts = {
        "summary": "{{ $value }} minutes of {{ $labels.stream }} were given up",
        "description": "press `etar status`",
    }
    away = {"summary": "The store is away", "description": "press `etar logs postgres`"}
    critical = {"severity": "critical"}
    return rules_of(
        {
            "groups": [
                {
                    "rules": [
                        {
                            "alert": "MinutesGivenUp",
                            "expr": "etar_minutes_given_up > 0",
                            "for": given_up,
                            "labels": critical,
                            "annotations": texts,
                        },
                        {
                            "alert": "ReportStoreAway",
                            "expr": "etar_report_store_up < 1",
                            "labels": critical,
                            "annotations": away,
                        },
                    ]
                }
            ]
        }
    )


class Looks:
    """One process's looks: its memory, and its connection to the store. ``given_up`` is what the ledger would say."""

    def __init__(
        self,
        store: ReportStoreSettings,
        *,
        told: Sequence[str] = (),
        rules: Sequence[AlertRule] = rules(),
        send: Callable[[Sequence[Message]], Sending] = Sending,
        store_seconds: float = 10.0,
        now: datetime | None = None,
    ) -> None:
        self.now = now or datetime.now(UTC)
        self.given_up = 0.0
        self.watch = Watch(
            Keeper(store, seconds=store_seconds),
            rules=rules,
            streams=[RIDES],
            numbers_of_store=self._numbers,
            ask=lambda _: Answers(()),
            told=told,
            send=send,
            clock=lambda: self.now,
        )

    def look(self, given_up: float | None = None, *, after: float = 5) -> None:
        """A look, and the end of what it sends."""
        self.given_up = self.given_up if given_up is None else given_up
        self.now += timedelta(seconds=after)
        self.watch.look()
        wait_until(self._sent, timeout=120, what="what is sent to have come to its end", interval=0.05)

    def _sent(self) -> bool:
        self.watch.glance()
        return not self.watch.sends

    def _numbers(self, *_: Any) -> Iterable[Sample]:
        return [Sample("etar_minutes_given_up", OF_RIDES, self.given_up)]


def looked(
    store: ReportStoreSettings,
    streams: Sequence[Stream],
    *samples: Sample,
    problems: Sequence[str] = (),
    at: datetime | None = None,
) -> None:
    """Have looked at these numbers by etar's own rules, once now and once some minutes ago: what holds fires."""
    now = at or datetime.now(UTC)
    clock = [now]
    watch = Watch(
        Keeper(store),
        rules=read_rules(),
        streams=streams,
        numbers_of_store=lambda *_: [],
        ask=lambda _: Answers(samples, tuple(problems)),
        told=["team"],
        send=_nobody,
        clock=lambda: clock[0],
    )
    for back in range(8, -1, -1):
        clock[0] = now - timedelta(seconds=50 * back)
        watch.look()
    watch.close()


def a_silence(alert: str, *, stream: str | None = None, now: datetime | None = None) -> Silence:
    """For two hours from now on."""
    begun = now or datetime.now(UTC)
    return Silence(alert=alert, stream=stream, begun_at=begun, until=begun + timedelta(hours=2), why="known", by="me")


def grow_old(store: ReportStoreSettings, seconds: float) -> None:
    """As if the newest look had been so much earlier."""
    with report_store_connection(store) as connection:
        connection.execute("UPDATE alert_look SET looked_at = looked_at - make_interval(secs => %s)", (seconds,))


class _Nobody(Sending):
    """Tells nobody, and comes to no end."""

    def __init__(self) -> None:
        pass

    def outcomes(self, *, wait_seconds: float = 0.0) -> None:
        return None

    def end(self) -> None:
        pass


def _nobody(_: Sequence[Message]) -> Sending:
    return _Nobody()
