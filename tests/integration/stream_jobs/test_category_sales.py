from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from etar.clients import report_store_connection
from etar.job_progress import JobProgress, job_name
from etar.minute import MinuteWindow
from stack.waiting import wait_until
from tests.integration.stream_jobs.conftest import RunningJob, counts, encoded, sale
from tests.integration.topics import delete_topics, make_topic

pytestmark = pytest.mark.timeout(600)

MINUTE = timedelta(minutes=1)
LAST_MS = timedelta(milliseconds=59_999)


def minute_ago(minutes: int) -> datetime:
    return MinuteWindow.containing(datetime.now(UTC) - minutes * MINUTE).start


def store_report(job: RunningJob, minute: datetime, sales: dict[str, str], transactions: dict[str, int]) -> None:
    content = json.dumps({"sales_by_category": sales, "transactions_by_category": transactions})
    with report_store_connection(job.store) as connection:
        connection.execute(
            "INSERT INTO reports (stream, minute, revision, content) SELECT 'transactions', %s, count(*) + 1, %s "
            "FROM reports WHERE minute = %s",
            (minute, content, minute),
        )


def progress_of(job: RunningJob) -> JobProgress | None:
    """What the job last told."""
    with report_store_connection(job.store) as connection:
        name = job_name(job.stream.name, job.part.name)
        found = connection.execute("SELECT progress FROM stream_job_progress WHERE job = %s", (name,)).fetchone()
    return JobProgress.model_validate(found[0]) if found else None


def test_windows_are_exact_at_their_edges_and_late_sales_are_left_to_the_report(job: RunningJob) -> None:
    before, window = minute_ago(10), minute_ago(9)
    twice = encoded(sale(window, "20.10"))
    job.send(
        encoded(sale(before + LAST_MS, "999.99")),
        twice,
        twice,
        encoded(sale(window + LAST_MS, "10.01")),
        encoded(sale(window + timedelta(seconds=30), "33.33", "Fashion")),
        encoded(sale(window + MINUTE, "10.00")),
        # None of these is a row of the table.
        encoded(sale(window, '"1,450.50"')),
        encoded(sale(window, "9.99")),
        encoded(sale(window, "10.001")),
        encoded(sale(window)) + b" and more",
        encoded(sale(window, user_id=None)),
        encoded(sale(window)).replace(b'"amount"', b'"amount": 11.00, "amount"'),
        None,
        b"",
    )
    job.start()
    job.wait_until_counted(5)

    assert counts(job, before) == {"Home": (Decimal("999.99"), 1)}
    assert counts(job, window) == {"Home": (Decimal("30.11"), 2), "Fashion": (Decimal("33.33"), 1)}
    assert counts(job, window + MINUTE) == {"Home": (Decimal("10.00"), 1)}

    # The watermark moves behind the window: by one batch, and the next one drops by it.
    for number in (1, 2):
        job.send(encoded(sale(window + 5 * MINUTE)))
        job.wait_until_counted(5 + number)
    job.send(twice, *(encoded(sale(window + timedelta(seconds=at), "50.00", "Grocery")) for at in (1, 2, 59)))
    job.send(encoded(sale(window + 6 * MINUTE)))
    job.wait_until_counted(8)
    assert counts(job, window) == {"Home": (Decimal("30.11"), 2), "Fashion": (Decimal("33.33"), 1)}

    store_report(job, window, {"Home": "30.11", "Grocery": "150.00"}, {"Home": 2, "Grocery": 3})

    assert counts(job, window) == {
        "Home": (Decimal("30.11"), 2),
        "Grocery": (Decimal("150.00"), 3),
        "Fashion": (Decimal("0.00"), 0),
    }
    final = "final, revision, streamed_sales, streamed_count"
    with report_store_connection(job.store) as connection:
        kept = connection.execute(
            f"SELECT category, {final} FROM category_sales WHERE window_start = %s ORDER BY 1".encode(), (window,)
        ).fetchall()
    assert kept == [
        ("Fashion", True, 1, Decimal("33.33"), 1),
        ("Grocery", True, 1, Decimal("0.00"), 0),
        ("Home", True, 1, Decimal("30.11"), 2),
    ]


def test_a_window_that_is_final_keeps_the_reports_numbers(job: RunningJob) -> None:
    window = minute_ago(3)
    job.send(encoded(sale(window, "10.00")))
    job.start()
    job.wait_until_counted(1)
    store_report(job, window, {"Home": "70.00"}, {"Home": 7})
    job.send(encoded(sale(window, "20.00")), encoded(sale(window + MINUTE)))
    job.wait_until_counted(8)

    assert counts(job, window) == {"Home": (Decimal("70.00"), 7)}
    assert job.rows("streamed_sales, streamed_count")[0][:2] == (Decimal("30.00"), 2)

    store_report(job, window, {"Home": "30.00"}, {"Home": 2})
    assert counts(job, window) == {"Home": (Decimal("30.00"), 2)}

    # What its metrics are made of.
    wait_until(lambda: progress_of(job) is not None, timeout=60, what="the job to tell of its progress")
    told = progress_of(job)
    assert told is not None
    assert (told.behind, told.state_rows > 0, told.duration_ms.trigger > 0) == (0, True, True)


def test_a_batch_that_spark_repeats_changes_nothing_byte_for_byte(job: RunningJob) -> None:
    window = minute_ago(4)
    job.send(*(encoded(sale(window + timedelta(seconds=at), f"{10 + at}.05")) for at in range(20)))
    job.start()
    job.wait_until_counted(20)
    job.send(encoded(sale(window, "11.11", "Fashion")))
    job.wait_until_counted(21)
    job.wait_until_noted()
    assert job.end() == 0, job.log.read_text()
    before = job.rows()
    number = job.forget_newest_commit()

    job.start()
    job.wait_until_said(f"batch {number} of {job.stream.name}/{job.part.name} was stored before")
    assert job.rows() == before

    job.send(encoded(sale(window, "22.22", "Fashion")))
    job.wait_until_counted(22)
    assert counts(job, window)["Fashion"] == (Decimal("33.33"), 2)


def test_a_topic_that_was_made_anew_is_told_and_what_to_do(job: RunningJob) -> None:
    former, window = minute_ago(4), minute_ago(2)
    job.send(encoded(sale(former)))
    job.start()
    job.wait_until_counted(1)
    delete_topics(job.kafka, [job.stream.topic])
    make_topic(job.kafka, job.stream.topic, 3)
    before = job.rows()

    assert job.wait_for_its_end() == 1
    job.send(encoded(sale(window)))
    job.start()
    assert job.wait_for_its_end() == 1
    assert job.log.read_text().count(f"etar topic begin-anew --stream {job.stream.name}") >= 2
    assert job.rows() == before

    with report_store_connection(job.store) as connection:  # as that command leaves it
        connection.execute(
            "INSERT INTO former_logs (log, stream, topic_id, begun_by, moved_at, finished_at) "
            "VALUES (%s, %s, 'old', 'test', now(), now())",
            (job.stream.former_log(1), job.stream.name),
        )
    job.send(encoded(sale(window, category="Fashion")))
    job.start()
    job.wait_until_counted(3)
    one = (Decimal("10.00"), 1)
    assert job.windows() == {(former, "Home"): one, (window, "Home"): one, (window, "Fashion"): one}


def test_records_that_kafka_lost_are_told_and_what_to_do(job: RunningJob) -> None:
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient

    window = minute_ago(2)
    job.send(encoded(sale(window)))
    job.start()
    job.wait_until_counted(1)
    job.end()
    job.send(encoded(sale(window)), encoded(sale(window)))
    with AdminClient({"bootstrap.servers": job.kafka.bootstrap_servers, "log_level": 2}) as admin:
        for future in admin.delete_records([TopicPartition(job.stream.topic, 0, 2)]).values():
            future.result(30)

    job.start()
    assert job.wait_for_its_end() == 1
    assert f"etar stream forget-checkpoint {job.stream.name} {job.part.name}" in job.log.read_text()
