"""Reads a Kafka Connect sink configuration, and takes from it what the native sink needs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from etar.records.table import MetadataColumns

_CONNECTOR_CLASS = "com.clickhouse.kafka.connect.ClickHouseSinkConnector"
_INSERT_FIELD = "org.apache.kafka.connect.transforms.InsertField$Value"
_AVRO_CONVERTER = "AvroConverter"
_PLACEHOLDER = re.compile(r"\$\{env:(?P<variable>[A-Za-z_][A-Za-z0-9_]*)\}")


class ConnectorConfigError(ValueError):
    """A connector configuration that is malformed, or asks for what the native sink does not do."""


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
    def load(cls, path: Path, *, variables: Mapping[str, str]) -> Connector:
        """Read ``path``, in the form ``POST /connectors`` takes: ``{"name": …, "config": {…}}``.

        Args:
            variables: values for ``${env:NAME}`` placeholders in the keys that the native sink reads.

        Raises:
            ConnectorConfigError: with the file, the key and what to write instead.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConnectorConfigError(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ConnectorConfigError(f"{path} is not JSON: {error}") from error
        return _Reader(str(path), document, variables).connector()


class _Reader:
    def __init__(self, source: str, document: object, variables: Mapping[str, str]) -> None:
        self._source = source
        self._variables = variables
        match document:
            case {"name": str(name), "config": dict(config)} if name:
                self._name = name
                self._config = config
            case _:
                raise ConnectorConfigError(f'{source} does not have the form {{"name": "…", "config": {{…}}}}')

    def connector(self) -> Connector:
        if self._text("connector.class") != _CONNECTOR_CLASS:
            raise self._error("connector.class", f"must be {_CONNECTOR_CLASS}")
        if not self._text("value.converter").endswith(_AVRO_CONVERTER):
            raise self._error("value.converter", "must be an Avro converter: the native sink reads nothing else")
        topic = self._text("topics")
        if "," in topic:
            raise self._error("topics", "must name one topic: the native sink takes one topic per configuration")
        return Connector(
            name=self._name,
            topic=topic,
            database=self._text("database"),
            table=self._table(topic),
            metadata=self._metadata(),
        )

    def _table(self, topic: str) -> str:
        if "topic2TableMap" not in self._config:
            return topic
        pairs = [pair.strip().partition("=") for pair in self._text("topic2TableMap").split(",")]
        tables = {left.strip(): right.strip() for left, _, right in pairs}
        if not tables.get(topic):
            raise self._error("topic2TableMap", f"has no table for the topic {topic!r}; write {topic}=TABLE")
        return tables[topic]

    def _metadata(self) -> MetadataColumns:
        aliases = [alias.strip() for alias in self._text("transforms").split(",")]
        for alias in aliases:
            if self._text(f"transforms.{alias}.type") != _INSERT_FIELD:
                raise self._error(f"transforms.{alias}.type", f"must be {_INSERT_FIELD}: no other transform is done")
        if len(aliases) != 1:
            raise self._error("transforms", "must be one InsertField transform that adds all four metadata fields")
        prefix = f"transforms.{aliases[0]}"
        return MetadataColumns(
            topic=self._text(f"{prefix}.topic.field"),
            partition=self._text(f"{prefix}.partition.field"),
            offset=self._text(f"{prefix}.offset.field"),
            timestamp=self._text(f"{prefix}.timestamp.field"),
        )

    def _text(self, key: str) -> str:
        value = self._config.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self._error(key, "must be a text that is not empty")
        return _PLACEHOLDER.sub(lambda found: self._variable(key, found["variable"]), value).strip()

    def _variable(self, key: str, variable: str) -> str:
        if variable not in self._variables:
            known = ", ".join(sorted(self._variables)) or "none"
            raise self._error(
                key, f"names ${{env:{variable}}}, which the native sink does not fill in (it does: {known})"
            )
        return self._variables[variable]

    def _error(self, key: str, what: str) -> ConnectorConfigError:
        return ConnectorConfigError(f"{self._source}: {key} {what} (is: {self._config.get(key)!r})")
