"""clickhouse-connect and Airflow's hook, as they are used."""

import datetime as dt
from contextlib import closing

import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from tests.integration.chdb_http.conftest import PASSWORD, USER

COMPRESSION = [False, True, "lz4", "zstd", "gzip"]


@pytest.mark.parametrize("compress", COMPRESSION)
def test_clickhouse_connect(front, table, compress):
    client = front.client(compress=compress, database="etar")
    rows = [[number, f"é\\'{number}\n"] for number in range(1000)]
    assert client.insert("t", rows, column_names=["number", "text"]).written_rows == 1000
    assert client.query("SELECT * FROM t ORDER BY number").result_rows == [tuple(row) for row in rows]
    with client.query_row_block_stream("SELECT * FROM t ORDER BY number") as blocks:
        assert [row for block in blocks for row in block] == [tuple(row) for row in rows]
    arrow = client.query_arrow("SELECT * FROM t ORDER BY number", use_strings=True)
    assert arrow.column("text").to_pylist() == [row[1] for row in rows]
    with client.query_arrow_stream("SELECT * FROM t", use_strings=True) as batches:
        assert sum(batch.num_rows for batch in batches) == 1000
    assert client.insert_arrow("t", arrow).written_rows == 1000
    assert client.command("SELECT count() FROM t") == 2000
    assert client.raw_query("SELECT sum(number) FROM t", fmt="CSV") == b"999000\n"
    assert client.raw_stream("SELECT number FROM t ORDER BY number LIMIT 2", fmt="TSV").read() == b"0\n0\n"
    client.raw_insert("t", ["number", "text"], b'7,"a"\n8,"b"\n', fmt="CSV")
    client.command("INSERT INTO t VALUES (9, 'c'), (10, concat('d', 'e'))")
    client.command("INSERT INTO t SELECT number, 'f' FROM numbers(5)")
    assert client.command("SELECT count() FROM t") == 2009
    client.close()


def test_parameters_of_clickhouse_connect(front):
    client = front.client()
    text = 'it\'s \\ \n\t\r\0 "q" é☃ 😀 %s {x} \\N'
    day = dt.datetime(2025, 8, 9, 10, 30, 0, 123456)  # noqa: DTZ001 - clickhouse-connect answers without a zone
    names = ["a'b", "c\\d", "e\nf", ""]
    sql = "SELECT {s:String}, {d:DateTime64(6)}, {a:Array(String)}, {n:Nullable(Int32)}, {b:Bool}"
    values = {"s": text, "d_64": day, "a": names, "n": None, "b": True}
    values["d"] = "2025-08-09 10:30:00.123456"
    assert client.query(sql, parameters=values).first_row == (text, day, names, None, True)
    assert client.query("SELECT %(s)s", parameters={"s": "it's"}).first_row == ("it's",)


def test_parameters_too_long_for_a_url(front):
    client = front.client(form_encode_query_params=True)
    numbers = list(range(30_000))
    found = client.query("SELECT count() FROM numbers(100000) WHERE number IN {n:Array(UInt64)}", {"n": numbers})
    assert found.first_row == (30_000,)


def test_a_long_url(front):
    assert len(front.client().query("SELECT {x:String}", parameters={"x": "y" * 40_000}).first_row[0]) == 40_000


@pytest.mark.parametrize("compress", COMPRESSION)
def test_an_error_on_the_way_reaches_the_client(front, compress):
    client = front.client(compress=compress)
    sql = "SELECT number, throwIf(number = 5000000) FROM numbers(6000000)"
    stream = client.query_row_block_stream(sql, settings={"max_threads": 1})
    with pytest.raises(StreamFailureError, match="395"), stream as blocks:
        list(blocks)
    with pytest.raises(DatabaseError, match="395"):
        client.query(sql)


def test_formats_in_and_out(front, table):
    client = front.client(database="etar")
    client.insert_arrow("t", pa.table({"number": list(range(5)), "text": list("abcde")}))
    body = {}
    for fmt in [
        "Native",
        "ArrowStream",
        "Arrow",
        "RowBinary",
        "Parquet",
        "ORC",
        "JSONEachRow",
        "CSV",
        "Values",
        "Avro",
    ]:
        body[fmt] = client.raw_query("SELECT number, text FROM t ORDER BY number LIMIT 5", fmt=fmt)
    for count, (fmt, data) in enumerate(body.items(), start=2):
        client.raw_insert("t", ["number", "text"], data, fmt=fmt)
        assert client.command("SELECT count(), countDistinct(number, text) FROM t") == [str(5 * count), "5"], fmt


def test_materialized_views_ttl_and_partitions(front, table):
    client = front.client(database="etar")
    client.command("CREATE TABLE sums (n UInt64) ENGINE = SummingMergeTree ORDER BY n")
    client.command("CREATE MATERIALIZED VIEW to_sums TO sums AS SELECT number AS n FROM t")
    client.insert("t", [[1, "a"], [2, "b"]])
    assert client.command("SELECT count() FROM sums") == 2
    client.command("DROP TABLE to_sums")
    client.command("DROP TABLE sums")
    client.command("CREATE TABLE minutes (n UInt64) ENGINE = MergeTree ORDER BY n PARTITION BY n")
    try:
        many = "INSERT INTO minutes SELECT number FROM numbers(150)"
        with pytest.raises(DatabaseError, match="252"):
            client.command(many)
        client.command(many, settings={"max_partitions_per_insert_block": 200})
        rows = [[number] for number in range(150)]
        with pytest.raises(DatabaseError, match="252"):
            client.insert("minutes", rows)
        client.insert("minutes", rows, settings={"max_partitions_per_insert_block": 200})
        assert client.command("SELECT count() FROM minutes") == 300
    finally:
        client.command("DROP TABLE minutes")


def test_airflow_hook(front, table, monkeypatch):
    from airflow.models.connection import Connection
    from airflow.providers.clickhousedb.hooks.clickhouse import ClickHouseHook

    connection = Connection(
        conn_id="front", conn_type="clickhouse", host="127.0.0.1", port=front.port, login=USER, password=PASSWORD
    )
    monkeypatch.setenv("AIRFLOW_CONN_FRONT", connection.get_uri())
    hook = ClickHouseHook(clickhouse_conn_id="front", database="etar", session_settings={"max_threads": 1})
    hook.bulk_insert_rows("t", [(number, "x") for number in range(100)], ["number", "text"], batch_size=30)
    assert hook.get_records("SELECT count(), sum(number) FROM t") == [(100, 4950)]
    assert hook.get_first("SELECT getSetting('max_threads')") == (1,)
    hook.run("INSERT INTO t VALUES (100, 'y')")
    assert hook.get_records("SELECT text FROM t WHERE number = %(n)s", parameters={"n": 100}) == [("y",)]
    assert hook.test_connection()[0]
    with closing(hook.get_conn()) as conn:
        cursor = conn.cursor()
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [(1,)]
    # Without a schema the hook says "default", which must be a database like any other.
    bare = ClickHouseHook(clickhouse_conn_id="front")
    bare.run("CREATE TABLE of_hook (a Int8) ENGINE = MergeTree ORDER BY a")
    bare.bulk_insert_rows("of_hook", [(1,)], ["a"])
    assert bare.get_records("SELECT a FROM default.of_hook") == [(1,)]
    bare.run("DROP TABLE of_hook")
