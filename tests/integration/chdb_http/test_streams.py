"""Results on their way: bounded memory, errors after the first bytes, clients that go away, limits."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import urllib3

from stack.chdb_http.errors import FrontError
from stack.chdb_http.framing import BodyDecoder
from tests.integration.chdb_http.conftest import AUTHORIZATION, eventually

FAILS_LATE = "SELECT number, throwIf(number = 3000000) FROM numbers(4000000) FORMAT RowBinary"
ENDLESS = "SELECT sum(cityHash64(number)) FROM numbers(1000000000000)"


def running(front, mark: str) -> int:
    sql = f"SELECT count() FROM system.processes WHERE query LIKE '%{mark}%' AND query NOT LIKE '%system.processes%'"
    return int(front.value(sql))


def test_seven_million_rows_as_parquet_in_bounded_memory(front, tmp_path):
    columns = "number, toString(number) AS s, cityHash64(number) AS h, toDateTime64(number, 3) AS t"
    client = front.client()
    client.raw_stream(f"SELECT {columns} FROM numbers(1000000)", fmt="Parquet").read()
    peak, target = [front.memory()], tmp_path / "rows.parquet"
    with target.open("wb") as file:
        for chunk in client.raw_stream(f"SELECT {columns} FROM numbers(7000000)", fmt="Parquet").stream(1 << 20):
            file.write(chunk)
            peak.append(front.memory())
    assert pq.ParquetFile(target).metadata.num_rows == 7_000_000
    assert max(peak) - peak[0] < 400 << 20


def test_a_slow_reader_slows_the_query_down(front):
    before = front.memory()
    answer = front.ask("SELECT number FROM numbers(100000000000) FORMAT RowBinary", stream=True)
    assert len(answer.read(8 << 20)) == 8 << 20
    time.sleep(1)  # time in which a query without a brake would fill the memory
    assert front.memory() - before < 200 << 20
    answer.close()


def test_an_error_after_the_first_bytes_breaks_the_stream(front, tmp_path):
    stream = front.client().raw_stream(FAILS_LATE.removesuffix(" FORMAT RowBinary"), fmt="RowBinary")
    with pytest.raises(urllib3.exceptions.ProtocolError), (tmp_path / "rows").open("wb") as file:
        file.writelines(stream.stream(1 << 20))


def test_the_error_itself_is_in_a_trailer(front):
    body = FAILS_LATE.encode()
    head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {AUTHORIZATION['Authorization']}\r\n"
    received = bytearray()
    with socket.create_connection(("127.0.0.1", front.port)) as connection:
        connection.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        while chunk := connection.recv(1 << 20):  # the server closes the connection
            received += chunk
    headers = received.partition(b"\r\n\r\n")[0].lower()
    tag = headers.partition(b"x-clickhouse-exception-tag: ")[2].partition(b"\r\n")[0]
    trailer = bytes(received).rpartition(b"\r\n__exception__\r\n" + tag + b"\r\nCode: 395.")[2]
    assert len(tag) == 16
    assert trailer.rstrip().endswith(b" " + tag + b"\r\n__exception__")
    assert not received.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("encoding", ["lz4", "zstd", "gzip"])
def test_a_broken_stream_is_no_whole_frame_either(front, encoding):
    """A reader that stops at the end of its frame, as a Java client does, would take the result for complete."""
    headers = AUTHORIZATION | {"Accept-Encoding": encoding}
    answer = front.ask(FAILS_LATE, headers=headers, stream=True, enable_http_compression=1)
    decoder, received = BodyDecoder(encoding), bytearray()

    def receive() -> None:
        for chunk in answer.stream(1 << 20, decode_content=False):
            received.extend(b"".join(decoder.feed(chunk)))

    with pytest.raises(urllib3.exceptions.ProtocolError):
        receive()
    assert b"__exception__" in received[-1000:]
    with pytest.raises(FrontError, match="ends inside"):
        decoder.close()


@pytest.mark.parametrize("params", [{"wait_end_of_query": 1}, {"wait_end_of_query": "true"}])
def test_waiting_for_the_end_gives_a_clean_error(front, params):
    answer = front.ask(FAILS_LATE, **params)
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (500, "395")
    whole = front.ask("SELECT number FROM numbers(3000000) FORMAT RowBinary", **params)
    assert (len(whole.data), whole.headers["Content-Length"]) == (24_000_000, "24000000")


@pytest.mark.parametrize(
    ("mark", "sql", "first_bytes"),
    [
        ("before_1st_byte", f"{ENDLESS} WHERE 'before_1st_byte' != ''", False),
        ("while_streaming", "SELECT number, 'while_streaming' FROM numbers(1000000000000) FORMAT RowBinary", True),
        (
            "insert_select",
            "INSERT INTO etar.t SELECT sum(cityHash64(number)), 'insert_select' FROM numbers(1000000000000)",
            False,
        ),
    ],
)
def test_the_query_of_a_client_that_goes_away_stops(front, table, mark, sql, first_bytes):
    head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {AUTHORIZATION['Authorization']}\r\n"
    with socket.create_connection(("127.0.0.1", front.port)) as connection:
        connection.sendall(f"{head}Content-Length: {len(sql)}\r\n\r\n{sql}".encode())
        eventually(lambda: running(front, mark))
        if first_bytes:
            assert connection.recv(1 << 16)
        else:
            assert running(front, mark) == 1
    eventually(lambda: not running(front, mark))


def test_an_insert_whose_client_goes_away_stops(front):
    """Who gave it up sends it again: with both under way each takes twice as long, and more and more of them come."""
    partitions = 400
    front.ask("CREATE TABLE etar.p (number UInt64) ENGINE = MergeTree ORDER BY number PARTITION BY number")
    try:
        sql = "INSERT INTO etar.p SETTINGS max_partitions_per_insert_block = 0 FORMAT RowBinary\n"
        body = sql.encode() + b"".join(number.to_bytes(8, "little") for number in range(partitions))
        head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {AUTHORIZATION['Authorization']}\r\n"
        with socket.create_connection(("127.0.0.1", front.port)) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            eventually(lambda: running(front, "etar.p"))
        eventually(lambda: not running(front, "etar.p"))
        assert int(front.value("SELECT count() FROM etar.p")) < partitions
    finally:
        front.ask("DROP TABLE etar.p SYNC")


def test_runaway_queries_are_stopped(start_front):
    front = start_front("--max-execution-time", "2", "--max-memory-usage", str(200 << 20))
    slow = front.ask(ENDLESS)
    assert (slow.status, slow.headers["X-ClickHouse-Exception-Code"]) == (408, "159")
    greedy = front.ask("SELECT groupArray(number) FROM numbers(1000000000)")
    assert greedy.headers["X-ClickHouse-Exception-Code"] == "241"
    for setting, within in (("max_execution_time", "1"), ("max_memory_usage", str(100 << 20))):
        for value in ("0", "99999999999"):
            assert front.ask("SELECT 1", **{setting: value}).headers["X-ClickHouse-Exception-Code"] == "452"
            inline = front.ask(f"SELECT 1 SETTINGS {setting} = {value}")
            assert inline.headers["X-ClickHouse-Exception-Code"] == "452"
        assert front.ask("SELECT 1", **{setting: within}).status == 200
    assert front.value("SELECT 1") == "1"


def test_more_queries_than_allowed_wait_and_then_are_refused(start_front):
    front = start_front("--max-concurrent-queries", "2", "--queue-seconds", "2")
    with ThreadPoolExecutor(6) as pool:
        short = list(pool.map(lambda _: front.ask("SELECT sleep(0.2)").status, range(6)))
        assert short == [200] * 6
        long = "SELECT sleepEachRow(1) FROM numbers(8) SETTINGS max_block_size = 1"
        busy = [pool.submit(front.ask, long) for _ in range(2)]
        # The log shows a request at its end only; with both places taken, a third one fails after its two seconds.
        refused = eventually(lambda: (answer := front.ask("SELECT 1")).status == 503 and answer)
        assert refused.headers["X-ClickHouse-Exception-Code"] == "202"
        assert front.is_up()
        assert [f.result().status for f in busy] == [200, 200]
    assert front.value("SELECT 1") == "1"


def test_requests_run_in_parallel(front):
    started = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        assert {a.status for a in pool.map(lambda _: front.ask("SELECT sleep(3)"), range(4))} == {200}
    assert time.monotonic() - started < 9


def test_many_requests_leave_nothing_behind(front):
    def descriptors() -> int:
        return len(list(Path(f"/proc/{front.process.pid}/fd").iterdir()))

    def ask(times: int) -> None:
        for _ in range(times):
            front.ask("SELECT number FROM numbers(100000)")
            front.ask("SELEC")

    # For its first stack trace the engine opens every library it has loaded, and for each new thread three files of
    # /proc, all for good: some fifty descriptors, and a few more now and then. One left by each request makes 200.
    ask(20)
    before = descriptors()
    ask(200)
    assert descriptors() < before + 100
