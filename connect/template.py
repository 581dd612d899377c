"""A connector's file: the form that ``POST /connectors`` takes, with places for what differs between installations."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SINK_TEMPLATE = Path(__file__).with_name("sink.json")
"""The sink of every stream."""

_PLACE = re.compile(r"\{\{(?P<variable>[A-Za-z0-9_]+)\}\}")


class ConnectorConfigError(ValueError):
    """A connector configuration that is malformed, or asks for what cannot be done; names file, key and way out."""


@dataclass(frozen=True)
class Template:
    """``{"name": …, "config": {…}}`` as it stands in ``source``; ``{{NAME}}`` in a text is a place for a variable.

    Secrets have no variable: they stay references to the worker's own config provider, ``${directory:…:…}``.
    """

    source: str
    name: str
    config: Mapping[str, object]

    @classmethod
    def load(cls, path: Path) -> Template:
        """Read ``path``.

        Raises:
            ConnectorConfigError: it cannot be read, or has another form.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConnectorConfigError(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ConnectorConfigError(f"{path} is not JSON: {error}") from error
        match document:
            case {"name": str(name), "config": dict(config)} if name:
                return cls(str(path), name, config)
            case _:
                raise ConnectorConfigError(f'{path} does not have the form {{"name": "…", "config": {{…}}}}')

    def text(self, key: str, variables: Mapping[str, str]) -> str:
        """One value with its places filled.

        Raises:
            ConnectorConfigError: it is no text, is empty, or names an unknown variable.
        """
        value = self.config.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, "must be a text that is not empty")
        return _PLACE.sub(lambda found: self._variable(key, found["variable"], variables), value).strip()

    def filled(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The whole configuration as a worker takes it.

        Raises:
            ConnectorConfigError: as :meth:`text`.
        """
        return {"name": self.named(variables)} | {key: self.text(key, variables) for key in self.config}

    def named(self, variables: Mapping[str, str]) -> str:
        """The connector's name with its places filled.

        Raises:
            ConnectorConfigError: it names an unknown variable.
        """
        return _PLACE.sub(lambda found: self._variable("name", found["variable"], variables), self.name)

    def error(self, key: str, what: str) -> ConnectorConfigError:
        return ConnectorConfigError(f"{self.source}: {key} {what} (is: {self.config.get(key)!r})")

    def _variable(self, key: str, variable: str, variables: Mapping[str, str]) -> str:
        if variable not in variables:
            known = ", ".join(sorted(variables)) or "none"
            raise self.error(
                key,
                f"names {{{{{variable}}}}}, which is not filled in (these are: {known}); a secret is written as a "
                "reference for the worker's config provider, ${directory:{{ETAR_CONNECT_SECRETS_FOLDER}}:etar_…}",
            )
        return variables[variable]
