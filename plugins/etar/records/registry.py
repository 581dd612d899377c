"""Writer schemas by id, from a registry with the Confluent API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

import httpx

from etar.settings import RegistrySettings

_SUBJECT_NOT_FOUND = 40401
_SCHEMA_NOT_FOUND = 40403


class RegistryUnavailableError(ConnectionError):
    """The registry did not give the answer: it is away, overloaded, or not what the setting says it is."""


@dataclass(frozen=True)
class RegisteredSchema:
    """A schema as it was registered; ``kind`` is AVRO, JSON or PROTOBUF."""

    text: str
    kind: str


class Registry:
    """A thin reader: asks on every call, keeps nothing."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    @classmethod
    def connect(cls, settings: RegistrySettings, *, timeout: float = 10.0) -> Self:
        return cls(httpx.Client(base_url=settings.url.rstrip("/") + "/", timeout=timeout))

    def schema(self, schema_id: int) -> RegisteredSchema | None:
        """The schema of this id, or None where the registry says that it has none.

        Raises:
            RegistryUnavailableError: anything else than these two answers. Only a registry's own "schema not found"
                condemns a record: a 404 from a wrong address, a proxy's 5xx or a refused login do not.
        """
        try:
            response = self._client.get(f"schemas/ids/{schema_id}")
            if response.status_code == 404 and response.json().get("error_code") == _SCHEMA_NOT_FOUND:
                return None
            response.raise_for_status()
            document = response.json()
            return RegisteredSchema(text=document["schema"], kind=document.get("schemaType") or "AVRO")
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryUnavailableError(
                f"no answer about schema id {schema_id} from {self._client.base_url} ({error!r:.200}); "
                "is the registry running, and is ETAR_REGISTRY_URL right?"
            ) from error

    def latest(self, subject: str) -> tuple[int, RegisteredSchema] | None:
        """The newest schema of a subject with its id, or None where the registry says that there is no such subject.

        Raises:
            RegistryUnavailableError: anything else than these two answers.
        """
        try:
            response = self._client.get(f"subjects/{quote(subject, safe='')}/versions/latest")
            if response.status_code == 404 and response.json().get("error_code") == _SUBJECT_NOT_FOUND:
                return None
            response.raise_for_status()
            document = response.json()
            kind = document.get("schemaType") or "AVRO"
            return int(document["id"]), RegisteredSchema(text=document["schema"], kind=kind)
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryUnavailableError(
                f"no answer about subject {subject} from {self._client.base_url} ({error!r:.200}); "
                "is the registry running, and is ETAR_REGISTRY_URL right?"
            ) from error

    def close(self) -> None:
        self._client.close()
