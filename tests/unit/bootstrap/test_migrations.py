from __future__ import annotations

from pathlib import Path

import pytest

from etar.bootstrap.migrations import Migration, MigrationError, pending, read_migrations


def write(folder: Path, **files: str) -> Path:
    for name, sql in files.items():
        (folder / f"{name}.sql").write_text(sql)
    return folder


def test_files_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = write(tmp_path, **{"0010_c": "c", "0002_b": "b", "0001_a": "a"})

    assert [migration.name for migration in read_migrations(folder)] == ["0001_a.sql", "0002_b.sql", "0010_c.sql"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has no .sql files"),
        ({"reports": ""}, "is not named like"),
        ({"001_short": ""}, "is not named like"),
        ({"0001_a": "", "0001_b": ""}, "have the same number"),
    ],
)
def test_files_that_have_no_order_are_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(MigrationError, match=message):
        read_migrations(write(tmp_path, **files))


def test_only_what_was_not_applied_is_pending() -> None:
    first, second = Migration("0001_a.sql", "SELECT 1"), Migration("0002_b.sql", "SELECT 2")

    assert list(pending([first, second], {})) == [first, second]
    assert list(pending([first, second], {first.name: first.checksum})) == [second]
    assert list(pending([first], {first.name: first.checksum})) == []


def test_a_file_that_was_changed_after_it_was_applied_is_refused() -> None:
    applied = Migration("0001_a.sql", "SELECT 1")

    with pytest.raises(MigrationError, match=r"0001_a\.sql was changed after it had been applied"):
        list(pending([Migration(applied.name, "SELECT 1 ")], {applied.name: applied.checksum}))


def test_statements_end_with_a_semicolon_at_the_end_of_a_line() -> None:
    sql = """-- about both;
CREATE TABLE a (x String DEFAULT ';')
    -- and this; too;
ORDER BY x;

CREATE TABLE b (y Int8);  \t
"""
    assert Migration("0001_a.sql", sql).statements == [
        "CREATE TABLE a (x String DEFAULT ';')\nORDER BY x",
        "CREATE TABLE b (y Int8)",
    ]
    assert Migration("0002_b.sql", "-- nothing;\n").statements == []
    assert Migration("0003_c.sql", "SELECT 1").statements == ["SELECT 1"]
