"""kill -9 before, in and after every outside write of every step, on the real parts: what a reader sees then, and what
is there once the minute has been run to its end. After one write is before the next: a killed process leaves nothing
but what it has written outside, so that both are one boundary.

The step runs in a forked process that sends itself SIGKILL at the boundary. No scenario (``tests/scenarios``) can take
its place: that kills from outside, at no chosen line, and hardly ever between two writes.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import IO, Any

import psycopg
import pyarrow.parquet as pq
import pytest
import requests
from airflow.providers.http.hooks.http import HttpHook

from etar import ledger
from etar.ledger import Ledger, State
from etar.pipeline.tasks import connections
from tests.integration.pipeline.world import ROWS, Minute, Record, Run


def oracle(records: tuple[Record, ...], deadline: datetime) -> dict[str, Any]:
    """What the ledger must say of a minute, from its records alone."""
    places = {p: [record.offset for record in records if record.partition == p] for p in (0, 1)}
    events = {record.event for record in records}
    return {
        "received": len(records),
        "unique_events": len(events),
        "duplicates": len(records) - len(events),
        "late_events": sum(record.arrived >= deadline for record in records),
        "dead_letters": 3,
        "offsets": {p: {"first": min(o), "last": max(o), "rows": len(o)} for p, o in places.items()},
    }


pytestmark = pytest.mark.usefixtures("kafka", "warehouse_connection", "ledger_connection", "policy", "connected")


# -- boundaries


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: Any, name: str) -> Callable[[], None]:
    return lambda: setattr(owner, name, die)


def after(owner: Any, name: str) -> Callable[[], None]:
    whole = getattr(owner, name)

    def done_then_die(*args: Any, **kwargs: Any) -> None:
        whole(*args, **kwargs)
        die()

    return lambda: setattr(owner, name, done_then_die)


class Store:
    """The real S3 client, whose ``name`` is killed before, in the middle of, or after its work."""

    def __init__(self, client: Any, name: str, when: str) -> None:
        self._client, self._name, self._when = client, name, when

    def __getattr__(self, name: str) -> Any:
        whole = getattr(self._client, name)
        if name != self._name:
            return whole

        def killed(**kwargs: Any) -> None:
            if self._when == "before":
                die()
            if self._when == "in":
                kwargs["Body"] = HalfABody(kwargs["Body"])
            whole(**kwargs)
            die()

        return killed


class HalfABody:
    """A body whose reader is killed half-way through the last of its readings (the first makes the checksum)."""

    def __init__(self, body: IO[bytes]) -> None:
        self._body = body
        size = body.seek(0, io.SEEK_END)
        body.seek(0)
        self._left = size + size // 2

    def read(self, size: int = -1) -> bytes:
        chunk = self._body.read(size)
        self._left -= len(chunk)
        if self._left < 0:
            die()
        return chunk

    def seek(self, *where: int) -> int:
        return self._body.seek(*where)

    def tell(self) -> int:
        return self._body.tell()


def store(name: str, when: str) -> Callable[[], None]:
    def sabotage() -> None:
        made = connections.object_store
        connections.object_store = lambda: Store(made(), name, when)

    return sabotage


def statement(text: str, when: str) -> Callable[[], None]:
    """Before or after this statement of the ledger's, and so inside its transaction."""
    whole = psycopg.Connection.execute

    def execute(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        if query != text.encode():
            return whole(self, query, *args, **kwargs)
        if when == "before":
            die()
        whole(self, query, *args, **kwargs)
        return die()

    return lambda: setattr(psycopg.Connection, "execute", execute)


BOUNDARIES: dict[str, tuple[str, Callable[[], None]]] = {
    "before the minute is opened": ("settle", before(Ledger, "began")),
    "after the minute is opened": ("settle", after(Ledger, "began")),
    "after settled": ("settle", after(Ledger, "settled")),
    "before the extract begins": ("extract", before(Ledger, "began")),
    "after the extract begins": ("extract", after(Ledger, "began")),
    "in the object": ("extract", store("put_object", "in")),
    "after the object": ("extract", store("put_object", "after")),
    "after extracted": ("extract", after(Ledger, "extracted")),
    "before the analysis begins": ("analyse", before(Ledger, "began")),
    "after the analysis begins": ("analyse", after(Ledger, "began")),
    "in the result": ("analyse", store("put_object", "in")),
    "after the result": ("analyse", store("put_object", "after")),
    "after analysed": ("analyse", after(Ledger, "analysed")),
    "before the report begins": ("report", before(Ledger, "began")),
    "after the report begins": ("report", after(Ledger, "began")),
    "in the post, whose answer nobody waits for": ("report", after(requests.adapters.HTTPAdapter, "send")),
    "after the post": ("report", after(HttpHook, "run")),
    "in reported, before the row": ("report", statement(ledger._REPORT, "before")),
    "in reported, after the row": ("report", statement(ledger._REPORT, "after")),
    "in reported, after the revision": ("report", statement(ledger._KEEP_REVISION, "after")),
    "in reported, before the commit": ("report", statement(ledger._KEEP_UNWRITTEN_REVISIONS, "after")),
    "after reported": ("report", after(Ledger, "reported")),
}


def killed(minute: Minute, step: str, sabotage: Callable[[], None]) -> None:
    """Run the step in a process of its own until the boundary kills it."""

    def run() -> None:
        sabotage()
        getattr(minute, step)()

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL, f"{step} did not come to its boundary: it ended with {process.exitcode}"


def run_until(minute: Minute, step: str) -> None:
    """The steps before ``step``."""
    for name in ("settle", "extract", "analyse", "report"):
        if name == step:
            return
        getattr(minute, name)()


def assert_a_report_is_behind_the_ledger(minute: Minute) -> None:
    """The ledger never calls a minute reported that readers find no such report of."""
    entry, published = minute.entry(), minute.published()
    if entry is not None and entry.state is State.REPORTED:
        assert published is not None
        assert (entry.revision, entry.received, entry.unique_events) == (
            published["revision"],
            published["rows_read"],
            published["total_events"],
        )


def assert_exact(minute: Minute, *versions: tuple[Record, ...]) -> None:
    """The account is the oracle's, with one revision for each of ``versions`` of the minute's records."""
    entry, history, published = minute.entry(), minute.ledger.history(minute.window), minute.published()
    assert entry is not None
    assert published is not None
    assert entry.state is State.REPORTED
    assert entry.revision == published["revision"] == len(versions)
    assert history[-1] == entry
    for found, records in zip(history, versions, strict=True):
        expected = oracle(records, minute.window.end + timedelta(seconds=2))
        assert found.model_dump(include=set(expected)) == expected
    assert (published["rows_read"], published["total_events"]) == (entry.received, entry.unique_events)
    assert pq.read_metadata(io.BytesIO(minute.stored() or b"")).num_rows == entry.received
    head = minute.s3.head_object(Bucket=minute.bucket, Key=entry.object_key)
    assert (head["ContentLength"], head["ETag"]) == (entry.object_size, f'"{entry.object_etag}"')


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_first_report_killed_and_tried_again(minute: Minute, boundary: str) -> None:
    step, sabotage = BOUNDARIES[boundary]
    run_until(minute, step)
    killed(minute, step, sabotage)
    seen = minute.stored(), minute.published()
    assert_a_report_is_behind_the_ledger(minute)
    minute.run_from(step)
    assert seen[0] in (None, minute.stored())
    assert seen[1] in (None, minute.published())
    assert_exact(minute, minute.records)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_second_revision_killed_and_run_by_another_run(minute: Minute, boundary: str) -> None:
    """Late events have come; the run that takes them dies for good, and etar_reconcile takes the minute instead."""
    minute.run_from("settle")
    old = minute.stored(), minute.published()
    first = minute.records
    minute.arrive(Record(ROWS + n, event=n % 4 + ROWS, arrived=minute.window.end + timedelta(hours=n)) for n in (1, 2))

    step, sabotage = BOUNDARIES[boundary]
    run_until(minute, step)
    killed(minute, step, sabotage)
    seen = minute.stored(), minute.published()
    assert_a_report_is_behind_the_ledger(minute)
    minute.run = Run(minute.window, run_id="of-another", dag_id="etar_reconcile")
    minute.run_from("settle")
    assert seen[0] in (old[0], minute.stored())
    assert seen[1] in (old[1], minute.published())
    assert_exact(minute, first, minute.records)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_minute_whose_rows_became_dead_letters_killed_around_the_removal_of_its_object(
    minute: Minute, when: str
) -> None:
    minute.run_from("settle")
    old = minute.stored(), minute.published()
    minute.lose_all(known_reason=True)

    run_until(minute, "extract")
    killed(minute, "extract", store("delete_object", when))
    assert minute.stored() == (old[0] if when == "before" else None)
    assert minute.published() == old[1]
    assert_a_report_is_behind_the_ledger(minute)
    minute.run_from("extract")
    entry, published = minute.entry(), minute.published()
    assert entry is not None
    assert published is not None
    assert minute.stored() is None
    assert (entry.state, entry.received, entry.object_key, entry.offsets) == (State.REPORTED, 0, None, {})
    assert (published["total_events"], published["revision"], entry.revision) == (0, 2, 2)
