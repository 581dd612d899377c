"""The ledger on the session's PostgreSQL, with a clock that tests turn, and a stream of each test's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from etar.clients import report_store_connection
from etar.ledger import Ledger, LedgerEntry, between, revisions
from etar.minute import MinuteWindow
from etar.settings import ReportStoreSettings
from etar.streams import Stream

WINDOW = MinuteWindow(datetime(2026, 11, 21, 10, 31, tzinfo=UTC))


class Clock:
    """Each look at it is a second after the one before."""

    def __init__(self) -> None:
        self.now = WINDOW.end

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@dataclass(frozen=True)
class Book:
    """The ledger of one stream, and what a reader sees in it of ``WINDOW``."""

    connection: psycopg.Connection[Any]
    stream: Stream
    clock: Clock

    def written_by(self, run_id: str) -> Ledger:
        return Ledger(self.connection, stream=self.stream, run_id=run_id, now=self.clock)

    def entry(self) -> LedgerEntry:
        (found,) = between(self.connection, self.stream, WINDOW, WINDOW.next)
        return found

    def history(self) -> list[LedgerEntry]:
        return revisions(self.connection, self.stream, WINDOW)


@pytest.fixture
def connection(report_store: ReportStoreSettings) -> Iterator[psycopg.Connection[Any]]:
    with report_store_connection(report_store) as connection:
        yield connection


@pytest.fixture
def book(connection: psycopg.Connection[Any]) -> Book:
    """A stream of the test's own: the store is shared."""
    return Book(connection, Stream(f"stream-{uuid4().hex}"), Clock())


@pytest.fixture
def ledger(book: Book) -> Ledger:
    return book.written_by("etar_pipeline/one")
