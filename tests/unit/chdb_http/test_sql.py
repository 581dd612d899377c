"""Where an INSERT's data begins, and the parts of canonical text."""

import pytest

from stack.chdb_http.errors import FrontError
from stack.chdb_http.sql import find_insert_data, take_apart


@pytest.mark.parametrize(
    ("head", "statement", "data"),
    [
        (b"INSERT INTO t FORMAT Native\n\x02\n\x00", b"INSERT INTO t FORMAT Native", b"\x02\n\x00"),
        (b"insert into t format CSV\r\n\n1", b"insert into t format CSV", b"\n1"),
        (b"INSERT INTO t FORMAT CSV  1,2", b"INSERT INTO t FORMAT CSV", b"1,2"),
        (b"INSERT INTO t VALUES (1),(2)", b"INSERT INTO t VALUES", b" (1),(2)"),
        (b"INSERT INTO t (a, `values`) VALUES(1)", b"INSERT INTO t (a, `values`) VALUES", b"(1)"),
        (b"INSERT INTO values VALUES (1)", b"INSERT INTO values VALUES", b" (1)"),
        (b"INSERT INTO db.format FORMAT TSV\n1", b"INSERT INTO db.format FORMAT TSV", b"1"),
        (b"INSERT INTO format (format) FORMAT TSV\n1", b"INSERT INTO format (format) FORMAT TSV", b"1"),
        (b"-- FORMAT CSV\nINSERT /* VALUES */ INTO t FORMAT CSV\n1", None, b"1"),
        (b"INSERT INTO t SETTINGS a = 'x FORMAT y' FORMAT CSV\n1", None, b"1"),
        (b"INSERT INTO TABLE FUNCTION null('a Int') FORMAT CSV\n1", None, b"1"),
        (b"INSERT INTO t FORMAT Native\n", b"INSERT INTO t FORMAT Native", b""),
    ],
)
def test_the_data_of_an_insert_begins_where_clickhouse_says(head, statement, data):
    found = find_insert_data(head)
    assert found is not None
    assert found[1] == data
    assert statement is None or found[0] == statement


@pytest.mark.parametrize(
    "head",
    [
        b"SELECT 1 FORMAT CSV",
        b"INSERT INTO t SELECT 1",
        b"INSERT INTO t (a) WITH 1 AS values SELECT values FORMAT CSV",
        b"INSERT INTO t",
        b"",
        b"-- INSERT INTO t FORMAT CSV\nSELECT 1",
    ],
)
def test_other_statements_bring_no_data(head):
    assert find_insert_data(head) is None


@pytest.mark.parametrize(
    ("canonical", "body", "format_", "tail"),
    [
        ("SELECT 1", "SELECT 1", None, ""),
        ("SELECT 1 FORMAT CSV", "SELECT 1", "CSV", ""),
        ("SELECT 1 FORMAT CSV SETTINGS a = 'FORMAT X'", "SELECT 1", "CSV", " SETTINGS a = 'FORMAT X'"),
        ("SELECT 1 SETTINGS a = 1 FORMAT CSV", "SELECT 1 SETTINGS a = 1", "CSV", ""),
        ("SELECT 'a FORMAT CSV'", "SELECT 'a FORMAT CSV'", None, ""),
        ("SELECT a FROM t ORDER BY format ASC", "SELECT a FROM t ORDER BY format ASC", None, ""),
        ("SELECT (SELECT 1 AS `FORMAT`) AS x FORMAT Null", "SELECT (SELECT 1 AS `FORMAT`) AS x", "Null", ""),
        ("SELECT 'é' FORMAT CSV", "SELECT 'é'", "CSV", ""),
    ],
)
def test_the_parts_of_a_statement(canonical, body, format_, tail):
    statement = take_apart(canonical)
    assert (statement.body, statement.format, statement.tail) == (body, format_, tail)
    assert statement.text.replace(f"`{format_}`", str(format_)) == canonical


def test_rows_come_from_what_reads():
    assert take_apart("(SELECT 1) UNION ALL (SELECT 2)").returns_rows
    assert take_apart("SHOW TABLES").returns_rows
    assert not take_apart("CREATE TABLE t (a Int8) ENGINE = Memory").returns_rows


@pytest.mark.parametrize(
    ("canonical", "reading"),
    [
        ("INSERT INTO t FORMAT CSV", "INSERT INTO t FROM INFILE 'f' COMPRESSION 'none'  FORMAT `CSV`"),
        (
            "INSERT INTO t (a) SETTINGS b = 1 FORMAT `Values`",
            "INSERT INTO t (a) FROM INFILE 'f' COMPRESSION 'none' SETTINGS b = 1 FORMAT `Values`",
        ),
        ("INSERT INTO SETTINGS FORMAT CSV", "INSERT INTO SETTINGS FROM INFILE 'f' COMPRESSION 'none'  FORMAT `CSV`"),
    ],
)
def test_an_insert_reads_its_data_from_a_file(canonical, reading):
    assert take_apart(canonical).reading("f") == reading


def test_an_empty_statement_is_an_error():
    with pytest.raises(FrontError):
        take_apart(" ")
