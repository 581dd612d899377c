"""Puts rows into the ledger's tables as they are, whatever run would have written them."""

from __future__ import annotations

from typing import LiteralString

from psycopg.types.json import Jsonb

from etar.clients import report_store_connection
from etar.ledger import LedgerEntry
from etar.settings import ReportStoreSettings

_COLUMNS = tuple(LedgerEntry.model_fields)
_DOCUMENTS = ("offsets", "settled_offsets", "stages")


def keep_minutes(store: ReportStoreSettings, *entries: LedgerEntry) -> None:
    """Each entry as its minute's row."""
    _insert(store, "minutes", entries)


def keep_revisions(store: ReportStoreSettings, *entries: LedgerEntry) -> None:
    """Each entry as the row of its revision."""
    _insert(store, "minute_revisions", entries)


def _insert(store: ReportStoreSettings, table: LiteralString, entries: tuple[LedgerEntry, ...]) -> None:
    updates = ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS)
    key = "stream, minute" if table == "minutes" else "stream, minute, revision"
    statement = f"""
        INSERT INTO {table} ({", ".join(_COLUMNS)}) VALUES ({", ".join(f"%({column})s" for column in _COLUMNS)})
        ON CONFLICT ({key}) DO UPDATE SET {updates}
    """
    with report_store_connection(store) as connection:
        for entry in entries:
            documents = {name: Jsonb(value) for name, value in entry.model_dump(mode="json").items() if value}
            row = entry.model_dump() | {name: documents.get(name) for name in _DOCUMENTS}
            connection.execute(statement.encode(), row)
