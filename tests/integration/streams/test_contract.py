"""The contract suite itself: it passes for a folder that a person has just made, and names what a broken one does
wrong."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

from etar.settings import StreamSettings
from etar.stream_folder.propose import Wishes, propose
from etar.stream_folder.sample import Sample
from etar.stream_folder.scaffold import write_folder
from stack.layout import REPOSITORY
from tests.unit.streams.test_new import AT, offered

CODE = """
from etar.report import MinuteReport

class Report(MinuteReport):
    sum_of_amount: str = "0.00"

def transform(events):
    from pyspark.sql import functions as F
    unique = events.dropDuplicates(["sale_id"])
    made = {rows}.agg(
        F.count("*").alias("total_events"),
        F.coalesce(F.sum("amount"), F.lit(0)).cast("decimal(28,2)").cast("string").alias("sum_of_amount"),
    ).crossJoin(events.agg(F.count("*").alias("rows_read")))
    return {made}
"""
SOUND = {"rows": "unique", "made": "made"}
TRAFFIC = """
from datetime import UTC, datetime

class Traffic:
    def __init__(self, *, seed, worker, rate):
        self._ids = iter(range(10**6))

    def next(self, at):
        sold_at = datetime.fromtimestamp(at / 1000, UTC)
        return {{"sale_id": f"s{{next(self._ids)}}", "sold_at": sold_at, "amount": {amount}}}
"""
PAGE = """
from etar.page import Metric

METRICS, CHARTS = (Metric("refunds", "Refunds"),), ()
"""


def of_code(sound: Path, name: str, **parts: str) -> None:
    """A copy of the sound folder under another name, with a report in Python."""
    own = sound.parent / name
    shutil.copytree(sound, own)
    for file in ("stream.toml", "sql/0001_table.sql"):
        (own / file).write_text((own / file).read_text().replace("sales", name))
    (own / "report.sql").unlink()
    (own / "report.py").write_text(CODE.format(**(SOUND | parts)))


def with_traffic(stream: Path, *, amount: str = "12.5") -> None:
    (stream / "traffic.py").write_text(TRAFFIC.format(amount=amount))
    with (stream / "stream.toml").open("a") as out:
        out.write("[traffic]\n")


def failures(folder: Path, *options: str) -> list[str]:
    """The tests of the suite that failed, as ``module, test, stream``."""
    environment = os.environ | {"ETAR_STREAMS_FOLDERS": str(folder)}
    command = [sys.executable, "-m", "pytest", "tests/streams", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert re.search(r"\d+ passed", done.stdout), done.stdout + done.stderr
    found = re.findall(r"^(?:FAILED|ERROR) tests/streams/(\w+)\.py::(\w+)\[(\w+)\]", done.stdout, re.MULTILINE)
    assert bool(found) == bool(done.returncode), done.stdout
    return sorted(", ".join(each) for each in found)


def test_the_suite_passes_for_what_is_sound_and_names_what_is_broken(tmp_path: Path) -> None:
    sales = tuple({"sale_id": f"s{n}", "sold_at": AT, "amount": Decimal("12.50")} for n in range(3))
    where = StreamSettings(streams_folders=str(tmp_path / "streams"))
    sound = write_folder(propose("sales", Sample(sales), Wishes(), offered), where).folder
    of_code(sound, "by_code")
    of_code(sound, "drops_a_row", rows="unique.where(\"sale_id != 's1'\")")
    of_code(sound, "makes_two_rows", made="made.union(made)")
    of_code(sound, "counts_twice", rows="events")
    with_traffic(sound.parent / "by_code")
    of_code(sound, "sends_no_number")
    with_traffic(sound.parent / "sends_no_number", amount="'much'")
    of_code(sound, "shows_nothing")
    (sound.parent / "shows_nothing" / "page.py").write_text(PAGE)

    assert failures(sound.parent) == [
        "test_report, test_a_minute_without_events_has_a_report, makes_two_rows",
        "test_report, test_an_event_that_was_sent_twice_counts_once, counts_twice",
        "test_report, test_an_event_that_was_sent_twice_counts_once, makes_two_rows",
        "test_report, test_the_report_does_not_depend_on_the_order_of_rows, makes_two_rows",
        "test_report, test_the_report_of_the_samples_is_the_golden_one, drops_a_row",
        "test_report, test_the_report_of_the_samples_is_the_golden_one, makes_two_rows",
        "test_static, test_made_up_events_become_rows, sends_no_number",
        "test_static, test_the_folder_breaks_no_rule, shows_nothing",
    ]
