"""What is acknowledged is in the table, whole; what is not complete is not there at all."""

import gzip
import socket
import threading

import lz4.frame
import pytest
import zstandard

from stack.chdb_http.blocks import BlockWriter
from tests.integration.chdb_http.conftest import AUTHORIZATION, eventually

COMPRESS = {"": bytes, "gzip": lambda b: gzip.compress(b, 1), "lz4": lz4.frame.compress, "zstd": zstandard.compress}
INSERT = "INSERT INTO etar.t FORMAT Native"


@pytest.fixture(scope="session")
def block(front) -> bytes:
    """100,000 rows as one block of the Native format."""
    sql = "SELECT number, toString(number) AS text FROM numbers(100000) FORMAT Native"
    return front.ask(sql, max_block_size=100_000, max_threads=1).data


def count(front) -> str:
    return front.value("SELECT count() FROM etar.t")


def encoded(encoding: str) -> dict[str, str]:
    return AUTHORIZATION | {"Content-Encoding": encoding} if encoding else AUTHORIZATION


@pytest.mark.parametrize("encoding", COMPRESS)
def test_forty_blocks_arrive_whole(front, table, block, encoding):
    frame = COMPRESS[encoding](block)
    answer = front.ask(INSERT, body=(frame for _ in range(40)), headers=encoded(encoding))
    assert answer.status == 200, answer.data
    assert '"written_rows":"4000000"' in answer.headers["X-ClickHouse-Summary"]
    assert front.value("SELECT count(), sum(number), uniqExact(text) FROM etar.t") == "4000000\t199998000000\t100000"


@pytest.mark.parametrize("encoding", ["gzip", "lz4", "zstd"])
def test_a_body_that_ends_inside_a_frame_inserts_nothing(front, table, block, encoding):
    frame = COMPRESS[encoding](block)
    answer = front.ask(INSERT, body=frame * 15 + frame[:-5], headers=encoded(encoding))
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (400, "33")
    assert count(front) == "0"


@pytest.mark.parametrize(("broken", "code"), [(lambda b: b[:-5], "33"), (lambda b: b[:-5] + b"wrong", "40")])
def test_a_native_block_that_is_cut_or_wrong_inserts_nothing(front, table, block, broken, code):
    framed = BlockWriter().compress(block)
    answer = front.ask(INSERT, body=framed * 3 + broken(framed), decompress=1)
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (400, code)
    assert count(front) == "0"
    assert front.ask(INSERT, body=framed * 3, decompress=1).status == 200
    assert count(front) == "300000"


@pytest.mark.parametrize("body", ["chunked", "with a length"])
def test_a_client_that_goes_away_in_its_body_inserts_nothing(front, table, block, body):
    before = front.log.read_text().count("POST 499")
    authorization = AUTHORIZATION["Authorization"]
    head = f"POST /?query={INSERT.replace(' ', '+')} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n"
    with socket.create_connection(("127.0.0.1", front.port)) as connection:
        if body == "chunked":
            head += "Transfer-Encoding: chunked\r\n\r\n"
            connection.sendall(head.encode() + b"%x\r\n%b\r\n" % (len(block) * 15, block * 15))
        else:
            head += f"Content-Length: {len(block) * 16}\r\n\r\n"
            connection.sendall(head.encode() + block * 15)
    eventually(lambda: front.log.read_text().count("POST 499") > before)
    assert count(front) == "0"


@pytest.mark.parametrize("sent", ["with a length", "chunked", "packed"])
def test_a_body_that_is_too_large_inserts_nothing(start_front, block, sent):
    front = start_front("--max-body-bytes", str(4 * len(block)), "--database", "etar")
    front.ask("CREATE TABLE etar.t (number UInt64, text String) ENGINE = MergeTree ORDER BY number")
    body = {"with a length": block * 5, "chunked": (block for _ in range(5)), "packed": zstandard.compress(block * 5)}
    answer = front.ask(INSERT, body=body[sent], headers=encoded("zstd" if sent == "packed" else ""))
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (413, "229")
    assert count(front) == "0"
    assert front.ask(INSERT, body=block * 3).status == 200
    assert count(front) == "300000"


@pytest.mark.parametrize(
    ("create", "code"),
    [
        ("CREATE TABLE etar.s (n UInt64) ENGINE = MergeTree ORDER BY n PARTITION BY n", "252"),
        ("CREATE TABLE etar.s (n UInt64, CONSTRAINT c CHECK n < 100) ENGINE = MergeTree ORDER BY n", "469"),
    ],
)
def test_what_the_table_refuses_is_an_error(front, create, code):
    """chDB's own send_insert acknowledges these."""
    assert front.ask(create).status == 200
    try:
        answer = front.ask("INSERT INTO etar.s FORMAT TSV", body=b"".join(b"%d\n" % n for n in range(150)))
        assert answer.headers["X-ClickHouse-Exception-Code"] == code
        assert front.value("SELECT count() FROM etar.s") == "0"
    finally:
        front.ask("DROP TABLE etar.s SYNC")


def test_a_bad_row_inserts_nothing(front, table):
    answer = front.ask("INSERT INTO etar.t FORMAT CSV", body=b'1,"a"\nx,"b"\n')
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (400, "27")
    assert count(front) == "0"


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", b"INSERT INTO etar.t FORMAT CSV\n1,a\n2,b\n"),
        ("INSERT INTO etar.t FORMAT CSV", b"1,a\n2,b\n"),
        ("INSERT INTO etar.t FORMAT CSV\n1,a", b"2,b\n"),
        ("", b"-- x\ninsert into etar.t (text, number) values ('a', 1), ('b', 1 + 1)"),
        ("INSERT INTO etar.t VALUES (1, 'a'),", b"(2, 'b')"),
        ("INSERT INTO etar.t", b"VALUES (1, 'a'), (2, {p:String})"),
        (
            "INSERT INTO etar.t SETTINGS max_threads = 1 FORMAT JSONEachRow",
            b'{"number":1,"text":"a"} {"number":2,"text":"b"}',
        ),
        ("INSERT INTO etar.t SELECT number + 1, ['a', 'b'][number + 1] FROM numbers(2)", b""),
    ],
)
def test_statement_and_data_in_url_and_body(front, table, query, body):
    answer = front.ask(query, body=body, param_p="b")
    assert answer.status == 200, answer.data
    assert (
        front.value("SELECT groupArray((number, text)) FROM (SELECT * FROM etar.t ORDER BY 1)") == "[(1,'a'),(2,'b')]"
    )


def test_inserts_in_bounded_memory(front, table, block):
    front.ask(INSERT, body=block * 20)
    peak, done = [front.memory()], threading.Event()

    def watch():
        while not done.wait(0.02):
            peak.append(front.memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    answer = front.ask(INSERT, body=(block for _ in range(150)))  # 15 million rows, 250 MB
    done.set()
    watcher.join()
    assert answer.status == 200
    assert max(peak) - peak[0] < 400 << 20
