from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import clickhouse_connect
import psycopg
import pytest

from etar.bootstrap.migrations import MigrationError, apply_clickhouse, apply_postgres, read_migrations
from etar.clients import warehouse_client
from etar.settings import ReportStoreSettings, WarehouseSettings


@pytest.fixture
def own_schema(report_store: ReportStoreSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """A connection to a schema that this test has for itself, and that every connection it makes works in."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(
        host=report_store.host,
        port=report_store.port,
        dbname=report_store.database,
        user=report_store.user,
        password=report_store.password.get_secret_value(),
        autocommit=True,
    ) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
        connection.execute(f"SET search_path = {name}".encode())
        monkeypatch.setenv("PGOPTIONS", f"-c search_path={name}")
        yield connection
        connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


def write(folder: Path, name: str, sql: str) -> None:
    (folder / name).write_text(sql)


class TestPostgres:
    def test_each_file_is_applied_once(
        self, report_store: ReportStoreSettings, own_schema: psycopg.Connection, tmp_path: Path
    ) -> None:
        write(tmp_path, "0001_a.sql", "CREATE TABLE a (x int);\nINSERT INTO a VALUES (1);\n")
        assert apply_postgres(report_store, read_migrations(tmp_path)) == ["0001_a.sql"]
        write(tmp_path, "0002_b.sql", "INSERT INTO a VALUES (2);\n")
        assert apply_postgres(report_store, read_migrations(tmp_path)) == ["0002_b.sql"]
        assert apply_postgres(report_store, read_migrations(tmp_path)) == []

        assert own_schema.execute("SELECT x FROM a ORDER BY x").fetchall() == [(1,), (2,)]

    def test_a_file_that_fails_leaves_nothing_of_any(
        self, report_store: ReportStoreSettings, own_schema: psycopg.Connection, tmp_path: Path
    ) -> None:
        write(tmp_path, "0001_a.sql", "CREATE TABLE a (x int);\n")
        write(tmp_path, "0002_b.sql", "CREATE TABLE b (x int);\nSELECT 1 / 0;\n")

        with pytest.raises(psycopg.errors.DivisionByZero):
            apply_postgres(report_store, read_migrations(tmp_path))

        found = own_schema.execute("SELECT to_regclass('a'), to_regclass('b'), to_regclass('schema_migrations')")
        assert found.fetchone() == (None, None, None)

    @pytest.mark.usefixtures("own_schema")
    def test_a_changed_file_is_refused(self, report_store: ReportStoreSettings, tmp_path: Path) -> None:
        write(tmp_path, "0001_a.sql", "CREATE TABLE a (x int);\n")
        apply_postgres(report_store, read_migrations(tmp_path))
        write(tmp_path, "0001_a.sql", "CREATE TABLE a (x bigint);\n")

        with pytest.raises(MigrationError, match="was changed after"):
            apply_postgres(report_store, read_migrations(tmp_path))

    @pytest.mark.usefixtures("own_schema")
    def test_two_at_once_apply_each_file_once(self, report_store: ReportStoreSettings, tmp_path: Path) -> None:
        write(tmp_path, "0001_a.sql", "CREATE TABLE a (x int);\nSELECT pg_sleep(0.2);\n")

        with ThreadPoolExecutor(4) as pool:
            applied = list(pool.map(lambda _: apply_postgres(report_store, read_migrations(tmp_path)), range(4)))

        assert sorted(applied) == [[], [], [], ["0001_a.sql"]]


class TestClickHouse:
    @pytest.fixture
    def own_database(self, warehouse: WarehouseSettings) -> Iterator[WarehouseSettings]:
        settings = warehouse.model_copy(update={"database": f"test_{uuid4().hex}"})
        yield settings
        warehouse_client(warehouse).command(f"DROP DATABASE IF EXISTS {settings.database}")

    def test_the_database_is_made_and_each_file_applied_once(
        self, own_database: WarehouseSettings, tmp_path: Path
    ) -> None:
        both = "CREATE TABLE IF NOT EXISTS {0} (x Int8) ENGINE = MergeTree ORDER BY x;\n"
        write(tmp_path, "0001_ab.sql", "-- two;\n" + both.format("a") + both.format("b"))
        assert apply_clickhouse(own_database, read_migrations(tmp_path)) == ["0001_ab.sql"]
        write(tmp_path, "0002_c.sql", "INSERT INTO a SELECT 1")
        assert apply_clickhouse(own_database, read_migrations(tmp_path)) == ["0002_c.sql"]
        assert apply_clickhouse(own_database, read_migrations(tmp_path)) == []

        client = warehouse_client(own_database)
        tables = client.query("SELECT name FROM system.tables WHERE database = currentDatabase() ORDER BY name")
        assert [name for (name,) in tables.result_rows] == ["a", "b", "schema_migrations"]
        assert client.command("SELECT count() FROM a") == 1

    def test_a_file_that_was_cut_off_is_applied_again_from_its_start(
        self, own_database: WarehouseSettings, tmp_path: Path
    ) -> None:
        good = "CREATE TABLE IF NOT EXISTS a (x Int8) ENGINE = MergeTree ORDER BY x;\n"
        write(tmp_path, "0001_a.sql", good + "CREATE TABLE nonsense;\n")
        with pytest.raises(clickhouse_connect.driver.exceptions.DatabaseError):
            apply_clickhouse(own_database, read_migrations(tmp_path))

        write(tmp_path, "0001_a.sql", good)
        assert apply_clickhouse(own_database, read_migrations(tmp_path)) == ["0001_a.sql"]

    def test_a_changed_file_is_refused(self, own_database: WarehouseSettings, tmp_path: Path) -> None:
        write(tmp_path, "0001_a.sql", "CREATE TABLE IF NOT EXISTS a (x Int8) ENGINE = MergeTree ORDER BY x\n")
        apply_clickhouse(own_database, read_migrations(tmp_path))
        write(tmp_path, "0001_a.sql", "CREATE TABLE IF NOT EXISTS a (x Int16) ENGINE = MergeTree ORDER BY x\n")

        with pytest.raises(MigrationError, match="was changed after"):
            apply_clickhouse(own_database, read_migrations(tmp_path))
