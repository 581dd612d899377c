"""Starting, stopping, dying."""

import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import urllib3

from tests.integration.chdb_http.conftest import REPOSITORY, Front, eventually


def test_a_directory_in_use_is_named(start_front):
    front = start_front()
    second = Front(front.path, port=1)
    second.log = front.path.with_suffix(".second")
    assert second.launch().wait(30) == 1
    assert f"{front.path} is in use by another process" in second.log.read_text()
    assert front.value("SELECT 1") == "1"


def test_a_directory_that_plain_chdb_holds_is_named(tmp_path):
    hold = (
        "import sys; from chdb.state.sqlitelike import connect; c = connect(sys.argv[1]); print(1, flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "data")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout
        assert holder.stdout.readline()
        second = Front(tmp_path / "data", port=1)
        assert second.launch().wait(30) == 1
        assert "in use by another process" in second.log.read_text()
    finally:
        holder.communicate(b"\n", timeout=30)


def test_tables_of_plain_chdb_are_kept(tmp_path, start_front):
    code = (
        "import sys; from chdb.state.sqlitelike import connect; c = connect(sys.argv[1]);"
        "c.query('CREATE TABLE default.old (a Int8) ENGINE = MergeTree ORDER BY a');"
        "c.query('INSERT INTO default.old VALUES (1)'); c.close()"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "data")], check=True, timeout=60)
    front = start_front()
    assert front.value("SELECT a FROM old") == "1"
    assert front.stop() == 0
    assert front.start().value("SELECT a FROM default.old") == "1"


def test_a_port_in_use_is_an_error(start_front, tmp_path):
    front = start_front()
    second = Front(tmp_path / "other", port=front.port)
    assert second.launch().wait(30) == 1


def test_no_password_no_start(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "stack.chdb_http", "--path", str(tmp_path / "data")],
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 2
    assert b"CHDB_HTTP_PASSWORD" in ended.stderr


def test_the_password_is_not_in_the_arguments(start_front):
    front = start_front()
    assert b"p4ss" not in Path(f"/proc/{front.process.pid}/cmdline").read_bytes()


def test_sigterm_lets_running_queries_end(start_front):
    front = start_front()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(front.ask("SELECT sleep(3), 'last'")))
    asking.start()
    eventually(lambda: int(front.value("SELECT count() FROM system.processes WHERE query LIKE '%last%'")) > 1)
    assert front.stop() == 0
    asking.join()
    assert answers[0].data == b"0\tlast\n"


def test_sigterm_stops_queries_that_take_too_long(start_front):
    front = start_front("--shutdown-seconds", "1")

    answers = []
    sql = "SELECT sum(cityHash64(number)), 'long' FROM numbers(1000000000000)"
    asking = threading.Thread(target=lambda: answers.append(front.ask(sql).status))
    asking.start()
    eventually(lambda: int(front.value("SELECT count() FROM system.processes WHERE query LIKE '%long%'")) > 1)
    started = time.monotonic()
    assert front.stop() == 0
    assert time.monotonic() - started < 25
    asking.join()
    assert answers == [500]


def test_kill_9_loses_no_acknowledged_insert(start_front):
    """Four writers, two kills: each acknowledged insert is there whole, and each insert is whole or absent."""
    front = start_front()
    front.ask("CREATE TABLE w (writer UInt8, batch UInt32, n UInt32) ENGINE = MergeTree ORDER BY (writer, batch)")
    acknowledged: set[tuple[int, int]] = set()
    rows, stop = 2000, threading.Event()

    def more_than(count: int) -> bool:
        return len(acknowledged) > count

    def write(writer: int) -> None:
        for batch in range(1, 1_000_000):
            if stop.is_set():
                return
            body = b"".join(b"%d\t%d\t%d\n" % (writer, batch, n) for n in range(rows))
            try:
                if front.ask("INSERT INTO w FORMAT TSV", body=body).status == 200:
                    acknowledged.add((writer, batch))
            except urllib3.exceptions.HTTPError:
                time.sleep(0.05)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for _ in range(2):
        goal = len(acknowledged) + 60
        eventually(partial(more_than, goal))
        front.stop(signal.SIGKILL)
        front.start()
    stop.set()
    for writer in writers:
        writer.join()
    found = front.value("SELECT writer, batch, count(), uniqExact(n) FROM w GROUP BY writer, batch").split("\n")
    counts = {tuple(map(int, line.split("\t")[:2])): tuple(map(int, line.split("\t")[2:])) for line in found}
    assert acknowledged <= set(counts)
    assert set(counts.values()) == {(rows, rows)}
    assert front.stop() == 0
