"""Single requests: credentials, parameters, formats, compression, errors, what clients may not do."""

import base64
import json

import lz4.frame
import pytest
import urllib3
import zstandard

from stack.chdb_http.framing import BodyDecoder
from tests.integration.chdb_http.conftest import AUTHORIZATION, PASSWORD, READER, READER_PASSWORD, USER


def test_ping_needs_no_password(front):
    assert front.is_up()
    assert front.ask(method="GET", headers={}).data == b"Ok.\n"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Basic " + base64.b64encode(b"tester:wrong").decode()}, 403),
        ({"Authorization": "Basic ???"}, 401),
        ({"Authorization": "Bearer token"}, 401),
        ({"X-ClickHouse-User": USER, "X-ClickHouse-Key": ""}, 403),
        ({"X-ClickHouse-User": "nobody", "X-ClickHouse-Key": "x"}, 403),
    ],
)
def test_wrong_credentials(front, headers, status):
    answer = front.ask("SELECT 1", headers=headers)
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (status, "516")
    assert b"AUTHENTICATION_FAILED" in answer.data


def test_query_in_url_in_body_and_in_both(front):
    assert front.ask("SELECT 1", method="GET").data == b"1\n"
    assert front.ask("SELECT 1").data == b"1\n"
    assert front.ask("SELECT 1 +", body=b"2").data == b"3\n"


def test_get_changes_nothing(front):
    answer = front.ask("CREATE DATABASE nope", method="GET")
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"
    assert front.value("EXISTS DATABASE nope") == "0"


AS_READER = {"X-ClickHouse-User": READER, "X-ClickHouse-Key": READER_PASSWORD}


def test_the_reader_reads(front, table):
    front.ask(f"INSERT INTO {table} FORMAT TSV", body=b"1\ta\n")
    answer = front.ask(f"SELECT number FROM {table} WHERE text = {{t:String}}", param_t="a", headers=AS_READER)
    assert (answer.status, answer.data) == (200, b"1\n")


@pytest.mark.parametrize(
    ("sql", "body"),
    [
        ("INSERT INTO {table} VALUES (2, 'b')", None),
        ("INSERT INTO {table} FORMAT TSV", b"2\tb\n"),
        ("INSERT INTO {table} SELECT 2, 'b'", None),
        ("DELETE FROM {table} WHERE true", None),
        ("ALTER TABLE {table} DROP COLUMN text", None),
        ("TRUNCATE TABLE {table}", None),
        ("DROP TABLE {table}", None),
        ("CREATE TABLE etar.nope (a Int8) ENGINE = Memory", None),
        ("OPTIMIZE TABLE {table}", None),
        ("SELECT 1 SETTINGS readonly = 0", None),
    ],
)
def test_the_reader_changes_nothing(front, table, sql, body):
    front.ask(f"INSERT INTO {table} FORMAT TSV", body=b"1\ta\n")
    answer = front.ask(sql.format(table=table), body=body, headers=AS_READER)
    assert answer.status >= 400, answer.data
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"
    assert front.value(f"SELECT number, text FROM {table}") == "1\ta"
    assert front.value("EXISTS TABLE etar.nope") == "0"


@pytest.mark.parametrize("user", [USER, READER])
def test_one_users_password_is_not_the_others(front, user):
    other = {USER: READER_PASSWORD, READER: PASSWORD}[user]
    headers = {"Authorization": "Basic " + base64.b64encode(f"{user}:{other}".encode()).decode()}
    assert front.ask("SELECT 1", headers=headers).status == 403


def test_what_a_text_meant_under_one_setting_is_not_what_it_means_without(front):
    for _ in range(2):
        assert front.ask("1 + 1").data == b"2\n"
        assert front.ask("1 + 1", implicit_select="0").headers["X-ClickHouse-Exception-Code"] == "62"  # a syntax error


@pytest.mark.parametrize(
    ("escaped", "type_", "value"),
    [
        ("it''s \\\\ \\n \\t \"q\" `b` é☃ {x}; -- /*", "String", "it''s \\ \n \t \"q\" `b` é☃ {x}; -- /*"),
        ("\\N", "Nullable(String)", None),
        ("['a\\'b','c\\\\','é']", "Array(String)", ["a'b", "c\\", "é"]),
        ("2025-08-09 10:30:00.123", "DateTime64(3, 'UTC')", "2025-08-09 10:30:00.123"),
        ("18446744073709551615", "UInt64", "18446744073709551615"),
        ("{'k':1}", "Map(String, UInt8)", {"k": 1}),
    ],
)
def test_parameters_of_any_content(front, escaped, type_, value):
    answer = front.ask(
        f"SELECT {{x:{type_}}} AS x FORMAT JSONEachRow", param_x=escaped, output_format_json_quote_64bit_integers=1
    )
    assert answer.status == 200, answer.data
    assert json.loads(answer.data) == {"x": value}


def test_settings_database_and_format_of_a_request(front, table):
    assert front.ask("SELECT getSetting('max_threads')", max_threads=1).data == b"1\n"
    assert front.ask("SELECT currentDatabase()", database="etar").data == b"etar\n"
    named = front.ask("SELECT currentDatabase()", headers=AUTHORIZATION | {"X-ClickHouse-Database": "etar"})
    assert named.data == b"etar\n"
    answer = front.ask("SELECT 1 AS a", default_format="JSONEachRow")
    assert (answer.data, answer.headers["X-ClickHouse-Format"]) == (b'{"a":1}\n', "JSONEachRow")


@pytest.mark.parametrize(
    ("params", "code", "status"),
    [
        ({"no_such_setting": "1"}, "115", 404),
        ({"a'b": "1"}, "115", 404),
        ({"database": "nope"}, "81", 404),
        ({"database": "a`; DROP DATABASE etar; --"}, "81", 404),
        ({"max_memory_usage": "99999999999999"}, "452", 500),
        ({"max_execution_time": "0"}, "452", 500),
        ({"format_schema": "/etc/passwd"}, "452", 500),
        ({"user": "x"}, "36", 400),
        ({"session_check": "1"}, "372", 500),
    ],
)
def test_parameters_that_are_refused(front, params, code, status):
    answer = front.ask("SELECT 1", **params)
    assert (answer.headers.get("X-ClickHouse-Exception-Code"), answer.status) == (code, status), answer.data
    assert front.value("EXISTS DATABASE etar") == "1"


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELEC 1", "62", 400),
        ("", "62", 400),
        ("SELECT 1; SELECT 2", "62", 400),
        ("SELECT * FROM nope", "60", 404),
        ("SELECT {x:Int8}", "456", 500),
        ("SELECT throwIf(1)", "395", 500),
        ("SET max_threads = 1", "48", 501),
    ],
)
def test_errors_read_like_clickhouse(front, sql, code, status):
    answer = front.ask(sql)
    assert (answer.headers["X-ClickHouse-Exception-Code"], answer.status) == (code, status)
    assert answer.data.startswith(f"Code: {code}. DB::Exception: ".encode())
    assert b"formatQuery" not in answer.data


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM /* x */ FiLe /* y */ ('/etc/passwd', 'LineAsString')",
        "SELECT file('/etc/passwd')",
        "SELECT * FROM `/etc/passwd`",
        "SELECT * FROM _local.`/etc/passwd`",
        "SELECT 1 WHERE 1 IN (SELECT 1 FROM (SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a Int')))",
        "SELECT * FROM remote('127.0.0.1:9000', system.one)",
        "SELECT * FROM executable('x.sh', 'TSV', 'a Int')",
        "SELECT * FROM python(x)",
        "SELECT * FROM eval('SELECT 1')",
        "SELECT * FROM sqlite('/x', 't')",
        "SELECT * FROM view(SELECT * FROM s3('http://127.0.0.1:1/x', 'CSV'))",
        "SELECT 1 INTO OUTFILE '/tmp/chdb_http_out'",
        "SELECT 1\ninto --\n outfile '/tmp/chdb_http_out' FORMAT CSV",
        "INSERT INTO etar.t FROM INFILE '/etc/passwd' FORMAT LineAsString",
        "INSERT INTO FUNCTION file('/tmp/chdb_http_out', 'CSV', 'a Int') VALUES (1)",
        "INSERT INTO FUNCTION file('/tmp/chdb_http_out', 'CSV', 'a Int') SELECT 1",
        "CREATE TABLE etar.x (a Int) ENGINE = File(CSV)",
        "CREATE TABLE etar.x (a Int) ENGINE = URL('http://127.0.0.1:1/', 'CSV')",
        "CREATE TABLE etar.x (a Int) ENGINE = Executable('x', 'TSV')",
        "CREATE TABLE etar.x AS file('/etc/passwd', 'LineAsString')",
        "CREATE TABLE etar.x (a Int) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '/d/')",
        "CREATE DATABASE x ENGINE = Filesystem('/')",
        "CREATE DICTIONARY etar.d (a Int) PRIMARY KEY a SOURCE(FILE(PATH '/etc/passwd' FORMAT 'TSV')) "
        "LAYOUT(FLAT()) LIFETIME(1)",
        "CREATE VIEW etar.v AS SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "DESCRIBE TABLE file('/etc/passwd')",
        "EXPLAIN SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "ATTACH TABLE etar.x FROM '/etc' (a Int) ENGINE = MergeTree ORDER BY a",
        "CREATE USER x",
        "GRANT SELECT ON *.* TO default",
        "SYSTEM SHUTDOWN",
        "CREATE FUNCTION f AS (x) -> x",
        "SELECT 1 SETTINGS max_memory_usage = 99999999999999",
        "SELECT 1 SETTINGS max_execution_time = 0",
        "SELECT 1 SETTINGS log_comment = 'x'",
    ],
)
def test_what_clients_may_not_do(front, table, sql):
    answer = front.ask(sql)
    assert answer.status in {403, 404, 500}, answer.data
    assert answer.headers["X-ClickHouse-Exception-Code"] in {"497", "60", "452"}, answer.data
    assert b"root:" not in answer.data


@pytest.mark.parametrize("accepted", ["lz4", "zstd", "gzip"])
@pytest.mark.parametrize("rows", [10, 500_000])
def test_compressed_answers(front, accepted, rows):
    unzstd = zstandard.ZstdDecompressor().decompressobj().decompress
    decode = {"lz4": lz4.frame.decompress, "zstd": unzstd}
    headers = AUTHORIZATION | {"Accept-Encoding": accepted}
    answer = front.ask(f"SELECT number FROM numbers({rows})", headers=headers, stream=True, enable_http_compression=1)
    assert answer.headers["Content-Encoding"] == accepted
    body = answer.read(decode_content=accepted == "gzip")
    body = decode.get(accepted, bytes)(body)
    assert body == b"".join(b"%d\n" % number for number in range(rows))
    plain = front.ask("SELECT 1", headers=headers)
    assert "Content-Encoding" not in plain.headers


@pytest.mark.parametrize("rows", [0, 10, 500_000])
def test_answers_in_native_blocks(front, rows):
    answer = front.ask(f"SELECT number FROM numbers({rows})", compress=1)
    decoder = BodyDecoder("", blocks=True)
    body = b"".join(decoder.feed(answer.data))
    decoder.close()
    assert body == b"".join(b"%d\n" % number for number in range(rows))
    assert "Content-Encoding" not in answer.headers


def test_any_path_takes_a_query_and_no_page(front):
    """The Java client has the name of its database for a path."""
    answer = urllib3.request("POST", f"{front.url}/etar", body=b"SELECT 1", headers=AUTHORIZATION)
    assert (answer.status, answer.data) == (200, b"1\n")
    for method, path in (("GET", "/etar"), ("PUT", "/"), ("PUT", "/etar")):
        assert urllib3.request(method, f"{front.url}{path}", headers=AUTHORIZATION).status == 404


def test_headers_of_an_answer(front):
    answer = front.ask("SELECT number FROM numbers(10)", query_id="my-id")
    assert answer.headers["X-ClickHouse-Query-Id"] == "my-id"
    assert answer.headers["X-ClickHouse-Timezone"]
    assert answer.headers["X-ClickHouse-Format"] == "TabSeparated"
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["read_rows"] == "10"
    assert "X-ClickHouse-Format" not in front.ask("CREATE DATABASE IF NOT EXISTS etar").headers


def test_a_query_longer_than_allowed(front):
    answer = front.ask("SELECT 1 /*" + "x" * (1 << 20) + "*/")
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (413, "229")


def test_secrets_stay_out_of_the_log(front):
    front.ask("SELECT {x:String}", param_x="hunter2", query_id="forged\nline")
    front.ask("SELECT 1", headers={"X-ClickHouse-User": USER, "X-ClickHouse-Key": "hunter3"})
    log = front.log.read_text()
    assert "SELECT {x:String}" in log
    assert "hunter" not in log
    assert "p4ss" not in log
    assert "\nline" not in log
