"""``python -m etar.alerts.watch``: evaluates the alert rules every few seconds, and tells of what begins and ends.

A look goes so, and may be killed anywhere:
1. ask the places for the numbers;
2. say of each alert how it stands (:mod:`etar.alerts.states`);
3. write that down, with what is to be told, in one transaction;
4. write down that a notice is being sent; send it; write down that it was sent.

So a state and its notice are there once, whatever is killed. To the outside it is at least once: a notice whose process
was killed between sending and writing that down is sent again, and says that it may be the second time. While the
report store is away, what is told comes from memory, and is written down when the store is back.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any
from uuid import UUID

import psycopg

from etar.alerts.asking import Answers, Seldom, ask_api, ask_kafka
from etar.alerts.keeping import Delivery, Keeper, SecondProcessError, load, note, save
from etar.alerts.numbers import Sample
from etar.alerts.of_store import numbers_of_store
from etar.alerts.rules import AlertRule, RulesError, read_rules
from etar.alerts.silences import silences
from etar.alerts.states import UNSEEN, Alert, Key, Notice, Silence, advance, merged
from etar.alerts.targets import Message, Sending, TargetsError, targets
from etar.settings import (
    AlertSettings,
    KafkaSettings,
    PipelineSettings,
    ReconcileSettings,
    ReportReadSettings,
    ReportStoreSettings,
    get_settings,
)
from etar.streams import Stream, catalogue

GIVEN_UP_AFTER = timedelta(hours=24)
"""Of a target that is away for so long, nobody wants to hear what was then."""

_FIRST_PAUSE = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(minutes=5)
_MOST_AT_ONCE = 50
_STOP_SECONDS = 10.0
_GLANCE_SECONDS = 0.5
"""While something is being sent: the sooner it is written down, the less is sent twice."""

_log = logging.getLogger("etar.alerts")

NumbersOfStore = Callable[[psycopg.Connection[Any], datetime], Iterable[Sample]]


@dataclass
class _Refusal:
    """A target that did not take a message, so often in a row."""

    times: int
    again_at: datetime


class Watch:
    """The alerts of one report store.

    Args:
        ask: the places other than the store.
        told: names of the targets.
        send: begins to send some messages.
    """

    def __init__(
        self,
        keeper: Keeper,
        *,
        rules: Sequence[AlertRule],
        streams: Sequence[Stream],
        numbers_of_store: NumbersOfStore,
        ask: Callable[[datetime], Answers],
        told: Collection[str],
        send: Callable[[Sequence[Message]], Sending] = Sending,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._keeper = keeper
        self._rules = rules
        self._streams = streams
        self._numbers_of_store = numbers_of_store
        self._ask = ask
        self._told = tuple(told)
        self._send = send
        self._clock = clock
        self._alerts: Mapping[Key, Alert] = {}
        self._stored: Mapping[Key, Alert] = {}
        self._loaded = False
        self._looked_at: datetime | None = None
        self._silences: Sequence[Silence] = ()
        self._deliveries: list[Delivery] = []
        self._unsaved_notices: list[Notice] = []
        self._unsaved: dict[tuple[UUID, str], Delivery] = {}
        """Deliveries that are new, or not as the store has them."""
        self._sending: tuple[Sending, Sequence[Delivery]] | None = None
        self._refusals: dict[str, _Refusal] = {}
        self._waits_for = ""

    @property
    def sends(self) -> bool:
        """Whether something is being sent: :meth:`glance` writes down what came of it."""
        return self._sending is not None

    def look(self) -> None:
        """Once at every rule. A place that is away is told of, and no error."""
        now = self._clock()
        answers = self._ask(now)
        self._collect(now)
        try:
            with self._keeper.connected() as connection:
                self._load(connection)
                self._silences = silences(connection, now)
                of_store = self._numbers_of_store(connection, now)
                samples = (*answers.samples, *_up(store=True), *of_store)
                self._advance(samples, now)
                self._save(connection, now, samples, answers.problems)
                self._start_sending(now, partial(note, connection))
        except SecondProcessError:
            self._stand_by(now)
        except psycopg.Error as error:
            self._waiting(f"the report store does not answer: {' '.join(str(error).split())}")
            self._advance((*answers.samples, *_up(store=False)), now)
            self._start_sending(now, lambda _: None)
        else:
            self._waiting("")

    def glance(self) -> None:
        """Write down what came of what was being sent, if that is known."""
        if not self._collect(self._clock()):
            return
        try:
            with self._keeper.connected() as connection:
                self._note_unsaved(connection)
        except (psycopg.Error, SecondProcessError):
            return  # the next look that reaches the store writes it down

    def close(self) -> None:
        """Wait a while for what is being sent. What has not come to its end by then is in doubt, and sent again."""
        if self._sending:
            self._sending[0].outcomes(wait_seconds=_STOP_SECONDS)
            self.glance()
        if self._sending:
            self._sending[0].end()
        self._keeper.close()

    def _load(self, connection: psycopg.Connection[Any]) -> None:
        if self._loaded:
            return
        kept = load(connection)
        self._stored = kept.alerts
        self._alerts = merged(kept.alerts, self._alerts)
        self._deliveries = [*kept.deliveries, *self._deliveries]
        if self._looked_at is None:
            self._looked_at = kept.looked_at
        self._loaded = True
        _log.info("%d rules, told to %s", len(self._rules), ", ".join(self._told) or "nobody: no target is set")

    def _stand_by(self, now: datetime) -> None:
        self._waiting("another process evaluates these alerts")
        if self._looked_at is None or now - self._looked_at <= UNSEEN:
            return  # it may be this process's own connection that was lost, and that PostgreSQL has not missed yet
        self._loaded, self._looked_at = False, None
        self._alerts, self._deliveries, self._unsaved_notices, self._unsaved = {}, [], [], {}

    def _waiting(self, reason: str) -> None:
        if reason and not self._waits_for:
            _log.warning("%s", reason)
        elif self._waits_for and not reason:
            _log.warning("no more: %s", self._waits_for)
        self._waits_for = reason

    def _advance(self, samples: Sequence[Sample], now: datetime) -> None:
        if self._looked_at == now:
            return  # this look had come so far when the store went away
        verdicts = [verdict for rule in self._rules for verdict in rule.verdicts(samples, self._streams)]
        step = advance(self._alerts, verdicts, self._silences, now, looked_at=self._looked_at)
        self._alerts, self._looked_at = step.alerts, now
        for notice in step.notices:
            _log.warning("%s of %s", notice.kind, notice.alert)
            self._unsaved_notices.append(notice)
            for target in self._told:
                delivery = Delivery.of(notice, target)
                self._deliveries.append(delivery)
                self._changed(delivery)

    def _save(
        self, connection: psycopg.Connection[Any], now: datetime, samples: Sequence[Sample], problems: Sequence[str]
    ) -> None:
        save(
            connection,
            looked_at=now,
            alerts=[each for key, each in self._alerts.items() if self._stored.get(key) != each],
            gone=[each for key, each in self._stored.items() if key not in self._alerts],
            notices=self._unsaved_notices,
            deliveries=list(self._unsaved.values()),
            samples=samples,
            problems=problems,
            targets=self._told,
        )
        self._stored = self._alerts
        self._unsaved_notices, self._unsaved = [], {}

    def _note_unsaved(self, connection: psycopg.Connection[Any]) -> None:
        if not self._unsaved_notices:  # else they are written together, by the next look
            note(connection, list(self._unsaved.values()))
            self._unsaved = {}

    def _changed(self, delivery: Delivery) -> None:
        self._unsaved[delivery.notice, delivery.target] = delivery

    def _collect(self, now: datetime) -> bool:
        """See what came of what was being sent; whether anything is known of it."""
        if self._sending is None:
            return False
        sending, under_way = self._sending
        outcomes = sending.outcomes()
        if outcomes is None:
            return False
        self._sending = None
        problems = {(each.id, each.target): each.problem for each in outcomes}
        refusing = {each.target for each in outcomes if each.problem}
        for each in under_way:
            self._changed(each)
            if (each.notice, each.target) in problems:
                self._ended(each, problems[each.notice, each.target], now)
            elif each.target in refusing:
                each.begun_at = None  # it was not its turn
            else:
                self._refused(each, "the process that sends came to no end", now)  # and begun_at stays: it is in doubt
        self._deliveries = [each for each in self._deliveries if each.is_open]
        return True

    def _ended(self, delivery: Delivery, problem: str | None, now: datetime) -> None:
        delivery.begun_at = None
        if problem:
            self._refused(delivery, problem, now)
            return
        delivery.sent_at, delivery.problem = now, None
        self._refusals.pop(delivery.target, None)
        _log.info("told %s: %s", delivery.target, delivery.title)

    def _refused(self, delivery: Delivery, problem: str, now: datetime) -> None:
        before = self._refusals.get(delivery.target)
        times = before.times + 1 if before else 1
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(times - 1, 10))
        self._refusals[delivery.target] = _Refusal(times, now + pause)
        delivery.problem = problem
        _log.warning("%s was not told (%s); tried again in %s: %s", delivery.target, delivery.title, pause, problem)

    def _start_sending(self, now: datetime, note_begun: Callable[[Sequence[Delivery]], None]) -> None:
        if self._sending:
            return
        self._give_up(now)
        due = [
            each
            for each in self._deliveries
            if each.target not in self._refusals or self._refusals[each.target].again_at <= now
        ][:_MOST_AT_ONCE]
        if not due:
            return
        messages = [each.message() for each in due]
        for each in due:
            each.begun_at = now
            self._changed(each)
        note_begun(due)
        self._sending = self._send(messages), due

    def _give_up(self, now: datetime) -> None:
        for each in self._deliveries:
            if each.target not in self._told or now - each.at > GIVEN_UP_AFTER:
                each.given_up_at, each.problem = now, each.problem or "there is no such target any more"
                self._changed(each)
                _log.warning("%s is not told any more (%s): %s", each.target, each.title, each.problem)
        self._deliveries = [each for each in self._deliveries if each.is_open]


def _up(*, store: bool) -> tuple[Sample, Sample]:
    return Sample("etar_report_store_up", {}, float(store)), Sample("etar_alerts_up", {}, 1.0)


def watch_of_settings() -> Watch:
    """With everything from the settings.

    Raises:
        pydantic.ValidationError, RulesError, TargetsError: a setting is missing or wrong.
    """
    settings = get_settings(AlertSettings)
    read, kafka = get_settings(ReportReadSettings), get_settings(KafkaSettings)
    streams = catalogue().on
    of_store = partial(
        numbers_of_store,
        streams=streams,
        pipeline=get_settings(PipelineSettings),
        policy=get_settings(ReconcileSettings),
    )
    of_kafka = Seldom(lambda now: ask_kafka(kafka, streams, now))
    return Watch(
        Keeper(get_settings(ReportStoreSettings)),
        rules=read_rules(settings.rules_file),
        streams=streams,
        numbers_of_store=lambda connection, now: of_store(connection, now=now),
        ask=lambda now: ask_api(read) + of_kafka(now),
        told=targets(settings),
    )


def main(arguments: Sequence[str]) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    beat = Path(arguments[0]) if arguments else None
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        watch = watch_of_settings()
    except (RulesError, TargetsError) as error:
        _log.error("%s", error)
        return 1
    pause = get_settings(AlertSettings).look_seconds
    next_look = monotonic()
    while not stop.wait(_GLANCE_SECONDS if watch.sends else max(0.0, next_look - monotonic())):
        watch.glance()
        if monotonic() >= next_look:
            watch.look()
            next_look = monotonic() + pause
            if beat:
                beat.touch()
    watch.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
