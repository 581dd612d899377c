"""ClickHouse's own Java clients against the front: the requests that the official Kafka Connect sink makes.

What is real: both generations of the client, V1 (the sink's default) and V2, in the release that sink 1.5.0 has in its
jar and in the newest, and the front with its engine. What is not: the sink itself, which no package registry has. Its
calls were taken from its source (ClickHouseHelperClient, ClickHouseWriter) and from a trial of the real one: the same
statements, formats, settings and default compression; not its batching, its conversion of records or its retries.
"""

from __future__ import annotations

import json
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import py4j.protocol
import pytest
from py4j.java_gateway import JavaGateway
from py4j.protocol import Py4JJavaError

from tests.integration.chdb_http.conftest import Front
from tests.integration.chdb_http.java_clients import DEFAULT, V1, V2, Compression, JavaClient, code_of, java_gateway
from tests.unit.records.events import CONNECTOR

FAILS_LATE = "SELECT number, throwIf(number = 200000) FROM numbers(300000)"

PLAIN, NATIVE = Compression(answers=False), Compression(requests=True)
VARIANTS: dict[str, tuple[Callable[..., JavaClient], Compression]] = {
    "V1 as the sink has it": (V1, DEFAULT),
    "V1 plain": (V1, PLAIN),
    "V1 native both ways": (V1, NATIVE),
    "V2 as the sink has it": (V2, DEFAULT),
    "V2 plain": (V2, PLAIN),
    "V2 native both ways": (V2, NATIVE),
    # V2 only: V1 takes every answer for gzip then, errors and empty ones too, and the sink never asks for it.
    "V2 http both ways": (V2, Compression(requests=True, http=True)),
}


@pytest.fixture(scope="module", params=["clickhouse-client-of-sink", "clickhouse-client"])
def gateway(request: pytest.FixtureRequest) -> Iterator[JavaGateway]:
    with java_gateway(request.param) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def errors_as_py4j_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """PySpark, where another test of this process has used it, has every gateway's errors described by its own Java."""
    monkeypatch.setattr("py4j.java_gateway.get_return_value", py4j.protocol.get_return_value)


@pytest.fixture(params=list(VARIANTS))
def connect(request: pytest.FixtureRequest, gateway: JavaGateway, front: Front) -> Callable[..., JavaClient]:
    """Makes a client of one generation, with one way to compress; its password may be given."""
    kind, compression = VARIANTS[request.param]
    return partial(kind, gateway, front.url, compression)


@pytest.fixture(params=[V1, V2])
def client(request: pytest.FixtureRequest, gateway: JavaGateway, front: Front) -> JavaClient:
    """As the sink makes it."""
    return request.param(gateway, front.url)


def row_binary(*numbers: int, text: bytes = b"ab") -> bytes:
    return b"".join(struct.pack("<Q", number) + bytes([len(text)]) + text for number in numbers)


def stored(front: Front) -> str:
    return front.value("SELECT groupArray(number) FROM (SELECT number FROM etar.t ORDER BY number)")


@pytest.mark.usefixtures("table")
def test_what_the_sink_asks_when_it_starts(client: JavaClient) -> None:
    assert client.ping()
    assert client.query("SELECT 1 FORMAT TabSeparated") == b"1\n"
    assert client.query("SELECT VERSION()", "TabSeparated").startswith(b"2")
    count = (
        "select database, table, count(*) as col_count from system.columns where database = 'etar' "
        "group by database, table"
    )
    names = b"\x08database\x05table\tcol_count\x06String\x06String\x06UInt64"
    tables = client.query(count, "RowBinaryWithNamesAndTypes")
    assert tables == b"\x03" + names + b"\x04etar\x01t" + struct.pack("<Q", 2)
    described = client.query("DESCRIBE TABLE `etar`.`t`", "JSONEachRow", describe_include_subcolumns="1")
    columns = [json.loads(line) for line in described.splitlines()]
    assert [(c["name"], c["type"], c["default_type"], c["is_subcolumn"]) for c in columns] == [
        ("number", "UInt64", "", 0),
        ("text", "String", "", 0),
        ("text.size", "UInt64", "", 1),
    ]
    if isinstance(client, V2):
        assert client.column_names("t") == ["number", "text"]


@pytest.mark.usefixtures("table")
def test_rows_go_in_and_come_out(front: Front, connect: Callable[..., JavaClient]) -> None:
    client = connect()
    rows = row_binary(*range(1000))
    assert client.insert(rows) == 1000
    assert client.query("SELECT * FROM t ORDER BY number", "RowBinary") == rows
    assert client.query("SELECT * FROM t WHERE number > 5000", "RowBinary") == b""
    for format_ in ("RowBinaryWithNamesAndTypes", "JSONEachRow", "TabSeparated"):
        assert client.insert(client.query("SELECT * FROM t WHERE number = 7 LIMIT 1", format_), format_) == 1
    with_defaults = b"".join(b"\0" + row[:8] + b"\0" + row[8:] for row in (row_binary(7), row_binary(8)))
    assert client.insert(with_defaults, "RowBinaryWithDefaults") == 2
    assert front.value("SELECT count(), countIf(number = 7), uniqExact(text) FROM etar.t") == "1005\t5\t1"


@pytest.mark.usefixtures("table")
def test_the_data_of_an_insert_may_begin_with_any_byte(front: Front, client: JavaClient) -> None:
    """V1 sends ``INSERT … FORMAT RowBinary`` and the rows as one body."""
    firsts = sorted({0x0A, 0x0A0A, 0x09, 0x20, 0x2020, 0x0D, 0x0A0D, 0x0D0A, 0x0C, 0x22, 0x27, 0x3B, 0x60, 0x2D2D, 0})
    for first in firsts:
        assert client.insert(row_binary(first)) == 1
    assert client.insert(b"") == 0
    assert stored(front) == str(firsts).replace(" ", "")


def test_settings_reach_the_engine(front: Front, client: JavaClient) -> None:
    settings = "non_replicated_deduplication_window = 100"
    create = f"(number UInt64, text String) ENGINE = MergeTree ORDER BY number PARTITION BY number SETTINGS {settings}"
    assert front.ask(f"CREATE TABLE etar.t {create}").status == 200
    try:
        rows = row_binary(*range(10))
        with pytest.raises(Py4JJavaError) as refused:
            client.insert(rows, max_partitions_per_insert_block="9")
        assert code_of(refused.value) == 252
        assert stored(front) == "[]"
        for token in ("topic-0-1-10", "topic-0-1-10", "topic-1-1-10"):
            client.insert(rows, max_partitions_per_insert_block="10", insert_deduplication_token=token)
        assert front.value("SELECT count() FROM etar.t") == "20"
    finally:
        front.ask("DROP TABLE etar.t SYNC")


@pytest.mark.usefixtures("table")
def test_errors_reach_java_with_their_code(front: Front, connect: Callable[..., JavaClient]) -> None:
    client = connect()
    refused: list[tuple[int, Callable[[], Any]]] = [
        (395, lambda: client.query("SELECT throwIf(1)")),
        (60, lambda: client.query("SELECT * FROM nope")),
        (115, lambda: client.query("SELECT 1", no_such_setting="1")),
        (33, lambda: client.insert(row_binary(1, 2, 3)[:-1])),
        (497, lambda: client.query("SELECT * FROM file('/etc/passwd', 'LineAsString')")),
        (516, lambda: connect(password="wrong").query("SELECT 1")),
    ]
    for code, call in refused:
        with pytest.raises(Py4JJavaError) as error:
            call()
        assert code_of(error.value) == code, error.value
    assert stored(front) == "[]"
    assert client.query("SELECT 1", "TabSeparated") == b"1\n"


def test_a_result_that_fails_on_the_way_is_an_error(connect: Callable[..., JavaClient], tmp_path: Path) -> None:
    client = connect()
    with pytest.raises(Py4JJavaError):
        client.save(FAILS_LATE, "RowBinary", tmp_path / "rows")


@pytest.mark.usefixtures("table")
def test_a_source_that_fails_on_the_way_inserts_nothing(
    front: Front, connect: Callable[..., JavaClient], gateway: JavaGateway
) -> None:
    failing = gateway.jvm.java.io.FileInputStream("/dev/null")
    failing.close()
    rows = gateway.jvm.java.io.ByteArrayInputStream(row_binary(*range(100_000)))
    client = connect()
    with pytest.raises(Py4JJavaError):
        client.insert(gateway.jvm.java.io.SequenceInputStream(rows, failing))
    assert stored(front) == "[]"


@pytest.mark.usefixtures("table")
def test_the_sinks_client_waits_for_as_long_as_the_connectors_file_says(front: Front, gateway: JavaGateway) -> None:
    """Its own half a minute is too short for a backlog of many minutes (docs/kafka-connect.md)."""
    properties = json.loads(CONNECTOR.read_text())["config"]["jdbcConnectionProperties"]
    patient = V1(gateway, front.url, properties=properties)
    assert patient.socket_timeout_ms() == 600_000
    impatient = V1(gateway, front.url, properties="?socket_timeout=500")
    with ThreadPoolExecutor() as pool:
        front.process.send_signal(signal.SIGSTOP)
        try:
            waiting = pool.submit(patient.insert, row_binary(2))
            with pytest.raises(Py4JJavaError, match="timed out"):
                impatient.insert(row_binary(1))
            assert not waiting.done()
        finally:
            front.process.send_signal(signal.SIGCONT)
        assert waiting.result(60) == 1
    assert "2" in stored(front)


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("connect", ["V1 as the sink has it", "V2 native both ways"], indirect=True)
def test_large_bodies_in_bounded_memory(
    front: Front, connect: Callable[..., JavaClient], gateway: JavaGateway, tmp_path: Path
) -> None:
    client = connect()
    sent, received = tmp_path / "sent", tmp_path / "received"
    one = row_binary(7, text=b"x" * 91)  # 100 bytes
    sent.write_bytes(one * 300_000)
    peak, done = [front.memory()], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            peak.append(front.memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert client.insert(gateway.jvm.java.io.FileInputStream(str(sent))) == 300_000
        assert client.save("SELECT * FROM t", "RowBinary", received) == len(one) * 300_000
    finally:
        done.set()
        watcher.join()
    assert received.read_bytes() == sent.read_bytes()
    assert max(peak) - peak[0] < 400 << 20
