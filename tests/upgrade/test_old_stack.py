"""A stack's folder that the code before streams were folders made, started with today's code.

``stack-ae3175a.tar.xz`` was made by that commit on 2026-11-29: two minutes of events at 20 a second, 2 % of them sent
twice and 1 % bad. What it stores was given ten years to expire (``MODIFY TTL``, ``retention.ms=-1``,
``ETAR_PIPELINE_RETENTION_HOURS=87600``); logs and what each start makes anew were left out. ``answers.json`` is what
its report API answered. The secrets in it are of no other stack.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.repair import Airflow
from cli.reports import api_client
from etar.clients import warehouse_client
from etar.minute import MinuteWindow
from etar.settings import ReportReadSettings, WarehouseSettings
from tests.e2e.conftest import Etar, started_stack
from tests.e2e.reports import wait_for_report

HERE = Path(__file__).parent
ANSWERS = json.loads((HERE / "answers.json").read_text())
FIRST, LAST = (MinuteWindow.parse(ANSWERS[name]) for name in ("first", "last"))
OLD = ("--from", str(FIRST), "--to", str(LAST.next))

pytestmark = pytest.mark.timeout(900)


_XATTR = "SCHILY.xattr."


def unpack(folder: Path) -> None:
    """With the extended attributes, in which the S3 server keeps what it knows of a bucket or an object."""
    with tarfile.open(HERE / "stack-ae3175a.tar.xz") as archive:
        archive.extractall(folder, filter="tar")
        for member in archive:
            for name, value in member.pax_headers.items():
                if name.startswith(_XATTR):
                    attribute = value.encode("utf-8", "surrogateescape")
                    os.setxattr(folder / member.name, name.removeprefix(_XATTR), attribute)


@pytest.fixture(scope="module")
def etar() -> Iterator[Etar]:
    with started_stack({}, prepare=unpack) as etar:
        yield etar


def answered(etar: Etar, path: str) -> str:
    with api_client(etar.stack.settings.of(ReportReadSettings)) as client:
        return client.get(path, params={"from": str(FIRST), "to": str(LAST.next)}).raise_for_status().text


def test_every_answer_is_what_it_was_also_after_the_reconciling_run_and_the_audit(etar: Etar) -> None:
    assert answered(etar, "/reports") == ANSWERS["reports"]
    with Airflow(etar.stack) as airflow:
        assert airflow.run("etar_audit", {}) == "success"
        assert airflow.run("etar_reconcile", {}) == "success"
    assert answered(etar, "/reports") == ANSWERS["reports"]
    assert answered(etar, "/minutes") == ANSWERS["minutes"]


def test_the_account_of_the_old_minutes_is_exact(etar: Etar) -> None:
    account = etar.exact_account(*OLD)
    assert [minute["revision"] for minute in account["minutes"]] == ANSWERS["revisions"]
    assert account["totals"]["records"] == ANSWERS["records"] > 0
    assert account["totals"]["bad"] == ANSWERS["bad"] > 0


def test_no_table_was_made_anew(etar: Etar) -> None:
    """What was applied under a name without the stream's folder is known by its text, and written down under its name
    now."""
    with warehouse_client(etar.stack.settings.of(WarehouseSettings)) as client:
        rows = client.query("SELECT name, checksum, applied_at FROM schema_migrations FINAL").result_rows
    checksums = {name: checksum for name, checksum, _ in rows}
    assert {name: checksums[name] for name in ANSWERS["migrations"]} == ANSWERS["migrations"]
    assert checksums["user_interactions/0001_table.sql"] == checksums["0001_user_interactions.sql"]


def test_new_events_are_reported_beside_the_old_ones(etar: Etar) -> None:
    etar.run("produce", "--rate", "20", "--for", "5s", "--seed", "2", "--account", str(etar.folder / "new.json"))
    account = json.loads((etar.folder / "new.json").read_text())
    for minute in {account["first_minute"], account["last_minute"]}:
        window = MinuteWindow.parse(minute)
        assert wait_for_report(etar, window)["total_events"] > 0
    assert answered(etar, "/reports") == ANSWERS["reports"]
