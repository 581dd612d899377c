"""A stream with all five places, and a pipeline that is run by hand, on a clock that the test chooses."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

import httpx
import psycopg
import pyarrow.parquet as pq

from etar.clients import object_store_client
from etar.extracts import Extract
from etar.ledger import Ledger, Stage
from etar.minute import MINUTE, MinuteWindow
from etar.pipeline.extract import extract_minute
from etar.report import MinuteReport, PublishedReport
from etar.settings import ObjectStoreSettings
from etar.verify import account
from etar.verify.compare import Verification
from tests.integration.audit.conftest import World, milliseconds
from tests.integration.connect.conftest import client_of
from tests.interactions import Outcomes, Report


@dataclass(kw_only=True)
class AccountedWorld(World):
    """All arrives within :attr:`minute`, in the midst of which it is :attr:`now`."""

    objects: ObjectStoreSettings
    api: httpx.Client
    books: psycopg.Connection[Any]

    @property
    def now(self) -> datetime:
        return self.minute.start + timedelta(seconds=31)

    @property
    def later(self) -> datetime:
        """When what has arrived is settled, and its reports are due."""
        return self.now + 3 * MINUTE

    def earlier(self, back: int) -> MinuteWindow:
        return MinuteWindow(self.minute.start - back * MINUTE)

    def good_of(self, back: int, count: int, *, first: int = 0) -> list[bytes]:
        """Good events of an earlier minute."""
        middle = milliseconds(self.earlier(back).start) + 30_000
        return self.good(count, first=first, event_time=middle)

    def take_in(self, count: int, *, back: int, first: int = 0) -> list[bytes]:
        """Good events of an earlier minute arrive, and the sink stores them."""
        values = self.good_of(back, count, first=first)
        self.send(values)
        self.sink()
        return values

    def run_pipeline(self, *windows: MinuteWindow) -> None:
        """Extract and report, with the numbers taken from the Parquet object itself, and written to the ledger."""
        ledger = Ledger(self.books, stream=self.stream, run_id="by hand", now=lambda: self.now)
        store = object_store_client(self.objects)
        with closing(client_of(self.warehouse)) as warehouse:
            for window in windows:
                ledger.began(window, Stage.SETTLE)
                extract = extract_minute(
                    window,
                    stream=self.stream,
                    warehouse=warehouse,
                    store=store,
                    bucket=self.objects.bucket,
                    grace=timedelta(seconds=2),
                    retention=timedelta(hours=26),
                    now=lambda: self.now,
                )
                ledger.extracted(window, extract)
                report = self.report_of(window, extract)
                content = report.model_dump_json()
                headers = {"Content-Type": "application/json"}
                answer = self.api.post("/report", content=content, headers=headers).raise_for_status()
                ledger.reported(window, PublishedReport.model_validate_json(answer.content))

    def parquet(self, window: MinuteWindow) -> bytes:
        """The minute's extract."""
        store = object_store_client(self.objects)
        content: bytes = store.get_object(Bucket=self.objects.bucket, Key=self.stream.extract_key(window))[
            "Body"
        ].read()
        return content

    def report_of(self, window: MinuteWindow, extract: Extract) -> MinuteReport:
        """What Spark would make of it, of which every event is a purchase of one user that succeeded."""
        unique = 0
        if extract.rows:
            unique = len(pq.read_table(BytesIO(self.parquet(window)))["event_id"].unique())
        return Report(
            stream=self.stream.name,
            minute=window.start,
            total_events=unique,
            total_errors=0,
            event_types={"purchase": Outcomes(success=unique)},
            unique_users=min(unique, 1),
            rows_read=extract.rows,
            source_object=extract.source,
        )

    def report(self, *backs: int) -> None:
        """Of earlier minutes."""
        self.run_pipeline(*(self.earlier(back) for back in backs))

    def verify(self, **arguments: Any) -> Verification:
        """Over the last three minutes and this one, as someone would who comes three minutes later."""
        given = {"now": lambda: self.later, **arguments}
        return account.verify(self.earlier(3), self.minute.next, stream=self.stream, **given)
