"""Reads a Kafka Connect sink configuration, and takes from it what the native sink needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from connect.template import ConnectorConfigError, Template
from etar.records.table import MetadataColumns
from etar.streams import RecordFormat

_CONNECTOR_CLASS = "com.clickhouse.kafka.connect.ClickHouseSinkConnector"
_INSERT_FIELD = "org.apache.kafka.connect.transforms.InsertField$Value"
_FILTER = "org.apache.kafka.connect.transforms.Filter"
_VALUE_TO_KEY = "org.apache.kafka.connect.transforms.ValueToKey"
_REPLACE_FIELD = "org.apache.kafka.connect.transforms.ReplaceField$Value"
_IS_TOMBSTONE = "org.apache.kafka.connect.transforms.predicates.RecordIsTombstone"
_CONVERTERS = {
    RecordFormat.AVRO: ("AvroConverter", "an Avro converter"),
    RecordFormat.JSON: ("JsonConverter", "Kafka's JsonConverter"),
    RecordFormat.JSON_REGISTERED: ("JsonSchemaConverter", "a JsonSchemaConverter"),
}
"""How the class of a converter ends that reads a format, and what it is called."""

_LANDING = "_landing"


@dataclass(frozen=True)
class Connector:
    """What a connector configuration says: which topic goes into which table."""

    name: str
    topic: str
    database: str
    table: str
    metadata: MetadataColumns

    @property
    def group(self) -> str:
        """Consumer group, derived from the name as Kafka Connect does it."""
        return f"connect-{self.name}"

    @classmethod
    def load(cls, path: Path, *, variables: Mapping[str, str], record: RecordFormat = RecordFormat.AVRO) -> Connector:
        """Read ``path``, in the form ``POST /connectors`` takes: ``{"name": …, "config": {…}}``.

        Args:
            variables: what its places are filled with (:mod:`connect.variables`).
            record: the format of the stream's records, which the converter has to be of.

        Raises:
            ConnectorConfigError: with the file, the key and what to write instead.
        """
        return _Reader(Template.load(path), variables, record).connector()


class _Reader:
    def __init__(self, template: Template, variables: Mapping[str, str], record: RecordFormat) -> None:
        self._template = template
        self._variables = variables
        self._record = record

    def connector(self) -> Connector:
        if self._text("connector.class") != _CONNECTOR_CLASS:
            raise self._error("connector.class", f"must be {_CONNECTOR_CLASS}")
        ends, called = _CONVERTERS[self._record]
        if not self._text("value.converter").endswith(ends):
            raise self._error("value.converter", f"must be {called}: the stream's records are {self._record}")
        topic = self._text("topics")
        if "," in topic:
            raise self._error("topics", "must name one topic: the native sink takes one topic per configuration")
        return Connector(
            name=self._template.named(self._variables),
            topic=topic,
            database=self._text("database"),
            table=self._table(topic),
            metadata=self._metadata(),
        )

    def _table(self, topic: str) -> str:
        if "topic2TableMap" not in self._template.config:
            return topic
        pairs = [pair.strip().partition("=") for pair in self._text("topic2TableMap").split(",")]
        tables = {left.strip(): right.strip() for left, _, right in pairs}
        if not tables.get(topic):
            raise self._error("topic2TableMap", f"has no table for the topic {topic!r}; write {topic}=TABLE")
        # The landing keeps from the table what the official connector does not check. The native sink checks it all
        # and fills the table itself.
        return tables[topic].removesuffix(_LANDING)

    def _metadata(self) -> MetadataColumns:
        aliases = [alias.strip() for alias in self._text("transforms").split(",")]
        kinds = {alias: self._text(f"transforms.{alias}.type") for alias in aliases}
        for alias, kind in kinds.items():
            if kind != _INSERT_FIELD and not self._is_guard(alias, kind):
                raise self._error(f"transforms.{alias}.type", f"must be {_INSERT_FIELD}: no other transform is done")
        inserting = [alias for alias, kind in kinds.items() if kind == _INSERT_FIELD]
        if len(inserting) != 1:
            raise self._error("transforms", "must hold one InsertField transform that adds all four metadata fields")
        prefix = f"transforms.{inserting[0]}"
        return MetadataColumns(
            topic=self._text(f"{prefix}.topic.field"),
            partition=self._text(f"{prefix}.partition.field"),
            offset=self._text(f"{prefix}.offset.field"),
            timestamp=self._text(f"{prefix}.timestamp.field"),
        )

    def _is_guard(self, alias: str, kind: str) -> bool:
        """Whether a transform only keeps from the official connector what the native sink's decoder refuses itself."""
        if kind == _FILTER:
            return self._text(f"predicates.{self._text(f'transforms.{alias}.predicate')}.type") == _IS_TOMBSTONE
        if kind == _REPLACE_FIELD:  # drops what has no column, which the native sink does not look for
            return not {f"transforms.{alias}.{part}" for part in ("exclude", "renames")} & self._template.config.keys()
        return kind == _VALUE_TO_KEY  # stops values that lack a field; the key is not stored

    def _text(self, key: str) -> str:
        return self._template.text(key, self._variables)

    def _error(self, key: str, what: str) -> ConnectorConfigError:
        return self._template.error(key, what)
