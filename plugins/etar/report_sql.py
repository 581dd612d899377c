"""A report as one SELECT: ``report.sql`` of a stream's folder, for whoever writes no Python.

.. code-block:: sql

    SELECT sum(amount) AS revenue, count_if(status = 'refunded') AS refunds FROM events

``events`` has each event of the minute once: of an event that stands in several rows, the one with the lowest partition
and offset. Spark SQL runs it. What it says is the body of the report; etar itself counts ``rows_read`` and
``total_events``, unless the SELECT does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import ConfigDict, JsonValue, create_model, model_validator

from etar.errors import PermanentError
from etar.minute import MinuteWindow
from etar.report import MinuteReport

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructField

FILE = "report.sql"

_ENVELOPE = frozenset({"schema_version", "stream", "minute", "source_object"})
_OF_THE_API = frozenset({"revision", "published_at"})
_ROWS = "_etar_rows"


class ReportSqlError(PermanentError):
    """A ``report.sql`` is no SELECT, or one whose columns make no report; says which file and what to do."""


class SqlReport(MinuteReport):
    """A report whose body is the columns of a SELECT: what they are, only the SELECT knows.

    A decimal is the text of its digits with the column's scale, a time is ISO 8601 in UTC.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    __pydantic_extra__: dict[str, JsonValue]

    @classmethod
    def of_row(cls, row: Mapping[str, Any], *, window: MinuteWindow, stream: str, source: str) -> Self:
        """As ever, of values as JSON has them."""
        values = {name: _as_json(value) for name, value in row.items()}
        return super().of_row(values, window=window, stream=stream, source=source)

    @model_validator(mode="after")
    def _leaves_the_apis_names(self) -> Self:
        if taken := _OF_THE_API & (self.model_extra or {}).keys():
            raise ValueError(f"{', '.join(sorted(taken))}: a name of the API's own; give the column another")
        return self


@lru_cache
def sql_model(version: int) -> type[MinuteReport]:
    """The model of reports that a ``report.sql`` of this version makes."""
    known: tuple[Any, int] = (Literal[version], version)
    return create_model("Report", __base__=SqlReport, __doc__=SqlReport.__doc__, schema_version=known)


def sql_transform(file: Path, event_id: Sequence[str]) -> Callable[[DataFrame], DataFrame]:
    """What runs a ``report.sql``.

    Args:
        event_id: columns that say which event a row is of; without any, each row is an event.
    """

    def transform(events: DataFrame) -> DataFrame:
        """One row, if the SELECT makes one.

        Raises:
            ReportSqlError: Spark does not take it, or its columns make no report.
        """
        from pyspark.errors import PySparkException
        from pyspark.sql import functions as F

        unique = _unique(events, event_id)
        unique.drop(_ROWS).createOrReplaceTempView("events")
        try:
            # In brackets: of what is no query, or more than one, nothing is run.
            selected = events.sparkSession.sql(f"SELECT * FROM (\n{file.read_text().strip().rstrip(';')}\n)")
        except PySparkException as error:
            raise ReportSqlError(f"{file} is not taken by Spark: {_one_line(error)}; make it one SELECT") from error
        _require_columns(file, selected.columns)
        counted = [
            count.alias(name)
            for name, count in (("rows_read", F.coalesce(F.sum(_ROWS), F.lit(0))), ("total_events", F.count("*")))
            if name not in selected.columns
        ]
        made = selected.select(*map(_readable, selected.schema.fields))
        return made.crossJoin(unique.agg(*counted)) if counted else made

    return transform


def _unique(events: DataFrame, event_id: Sequence[str]) -> DataFrame:
    """Each event once, with how many rows it stands in."""
    from pyspark.sql import functions as F

    if not event_id:
        return events.withColumn(_ROWS, F.lit(1))
    others = [name for name in events.columns if name not in event_id]
    first = F.min_by(F.struct(*map(_column, others)), F.struct("_partition", "_offset")).alias("event")
    grouped = events.groupBy(*event_id).agg(first, F.count("*").alias(_ROWS))
    return grouped.select(*event_id, "event.*", _ROWS)


def _column(name: str) -> Column:
    """Of this very name: unquoted, points would lead into a record."""
    from pyspark.sql import functions as F

    return F.col(f"`{name.replace('`', '``')}`")


def _require_columns(file: Path, columns: Sequence[str]) -> None:
    if len(set(columns)) != len(columns):
        raise ReportSqlError(f"{file} selects several columns of one name, of {', '.join(columns)}; name them with AS")
    if taken := (_ENVELOPE | _OF_THE_API) & set(columns):
        raise ReportSqlError(
            f"{file} selects {', '.join(sorted(taken))}, which each report has of its own; give it another name by AS"
        )


def _readable(field: StructField) -> Column:
    """Times as the text of their instant: Python would be given them in its machine's time zone."""
    from pyspark.sql import functions as F
    from pyspark.sql.types import TimestampNTZType, TimestampType

    column = _column(field.name)
    if not isinstance(field.dataType, TimestampType | TimestampNTZType):
        return column
    text = F.translate(column.cast("string"), " ", "T")
    return F.concat(text, F.lit("Z")).alias(field.name)


def _as_json(value: Any) -> JsonValue:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(_as_json(name)): _as_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(each) for each in value]
    if isinstance(value, bytes | bytearray):
        raise ReportSqlError("a column of bytes is no part of a report; make it text, by hex() or base64()")
    return value  # type: ignore[no-any-return]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split(";\n")[0].split())[:500]
