"""Writer schemas by id, from a registry with the Confluent API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx

from etar.clients import trusted_certificates
from etar.settings import RegistrySettings

_SUBJECT_NOT_FOUND = 40401
_SCHEMA_NOT_FOUND = 40403
_Answer = TypeVar("_Answer")


class RegistryUnavailableError(ConnectionError):
    """The registry did not give the answer: it is away, overloaded, or not what the setting says it is."""


@dataclass(frozen=True)
class RegisteredSchema:
    """A schema as it was registered; ``kind`` is AVRO, JSON or PROTOBUF."""

    text: str
    kind: str


_LARGEST_ID = 2**31 - 1


class Registry:
    """A thin reader: asks on every call, keeps nothing."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    @classmethod
    def connect(cls, settings: RegistrySettings, *, timeout: float = 10.0) -> Self:
        url = settings.url.rstrip("/") + "/"
        return cls(httpx.Client(base_url=url, timeout=timeout, verify=trusted_certificates()))

    def schema(self, schema_id: int) -> RegisteredSchema | None:
        """The schema of this id, or None where the registry says that it has none, or can have none.

        Raises:
            RegistryUnavailableError: anything else than these two answers. Only a registry's own "schema not found"
                condemns a record: a 404 from a wrong address, a proxy's 5xx or a refused login do not.
        """
        # Registries number with signed integers, and answer a larger number as if there were no such page.
        if schema_id > _LARGEST_ID:
            return None
        return self._ask(
            f"schemas/ids/{schema_id}", _registered, about=f"schema id {schema_id}", absent=_SCHEMA_NOT_FOUND
        )

    def latest(self, subject: str) -> tuple[int, RegisteredSchema] | None:
        """The newest schema of a subject with its id, or None where the registry says that there is no such subject.

        Raises:
            RegistryUnavailableError: anything else than these two answers.
        """

        def read(document: Any) -> tuple[int, RegisteredSchema]:
            return int(document["id"]), _registered(document)

        return self._of_subject(subject, "latest", read)

    def ids_of(self, subject: str, *, newest: int) -> list[int]:
        """Ids of the last ``newest`` versions of a subject, in one request each; none where the registry says that
        there is no such subject.

        Raises:
            RegistryUnavailableError: anything else than these two answers.
        """

        def read_versions(document: Any) -> list[int]:
            return sorted(int(version) for version in document)

        def read_id(document: Any) -> int:
            return int(document["id"])

        versions = self._of_subject(subject, "", read_versions) or []
        ids = (self._of_subject(subject, str(version), read_id) for version in versions[-newest:])
        return [identifier for identifier in ids if identifier is not None]

    def _of_subject(self, subject: str, version: str, read: Callable[[Any], _Answer]) -> _Answer | None:
        path = f"subjects/{quote(subject, safe='')}/versions/{version}".rstrip("/")
        return self._ask(path, read, about=f"subject {subject}", absent=_SUBJECT_NOT_FOUND)

    def _ask(self, path: str, read: Callable[[Any], _Answer], *, about: str, absent: int) -> _Answer | None:
        """What ``read`` makes of the answer, or None where it is the registry's own error ``absent``."""
        try:
            response = self._client.get(path)
            if response.status_code == 404 and response.json().get("error_code") == absent:
                return None
            response.raise_for_status()
            return read(response.json())
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryUnavailableError(
                f"no answer about {about} from {self._client.base_url} ({error!r:.200}); "
                "is the registry running, and is ETAR_REGISTRY_URL right?"
            ) from error

    def close(self) -> None:
        self._client.close()


def subject_of(topic: str) -> str:
    """The subject under which the schemas of a topic's values are registered."""
    return f"{topic}-value"


def _registered(document: Any) -> RegisteredSchema:
    return RegisteredSchema(text=document["schema"], kind=document.get("schemaType") or "AVRO")
