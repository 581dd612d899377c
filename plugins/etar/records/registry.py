"""Writer schemas by id, from a registry with the Confluent API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar
from urllib.parse import quote
from uuid import UUID

import httpx

from etar.clients import trusted_certificates
from etar.settings import RegistrySettings

_SUBJECT_NOT_FOUND = 40401
_VERSION_NOT_FOUND = 40402
_SCHEMA_NOT_FOUND = 40403
_Answer = TypeVar("_Answer")


class RegistryUnavailableError(ConnectionError):
    """The registry did not give the answer: it is away, overloaded, or not what the setting says it is."""


@dataclass(frozen=True)
class RegisteredSchema:
    """A schema as it was registered; ``kind`` is AVRO, JSON or PROTOBUF.

    ``references``: the texts of what it refers to, directly or through others, each once. ``missing``: subject and
    version of what of these the registry does not have. ``names``: of each reference, what it is called by those who
    refer to it.
    """

    text: str
    kind: str
    references: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Document:
    """An answer about a schema. ``references``: names, subjects and versions."""

    schema: RegisteredSchema
    references: Sequence[tuple[str, str, int]]


_LARGEST_ID = 2**31 - 1


class Registry:
    """A thin reader: asks on every call, keeps nothing."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    @classmethod
    def connect(cls, settings: RegistrySettings, *, timeout: float = 10.0) -> Self:
        url = settings.url.rstrip("/") + "/"
        return cls(httpx.Client(base_url=url, timeout=timeout, verify=trusted_certificates()))

    def schema(self, schema_id: int | UUID) -> RegisteredSchema | None:
        """The schema of this id or GUID, or None where the registry says that it has none, or can have none.

        Raises:
            RegistryUnavailableError: anything else than these two answers. Only a registry's own "schema not found"
                condemns a record: a 404 from a wrong address, a proxy's 5xx or a refused login do not.
        """
        # Registries number with signed integers, and answer a larger number as if there were no such page.
        if isinstance(schema_id, UUID):
            return self._of_guid(schema_id)
        if schema_id > _LARGEST_ID:
            return None
        document = self._ask(
            f"schemas/ids/{schema_id}", _document, about=f"schema id {schema_id}", absent=(_SCHEMA_NOT_FOUND,)
        )
        return None if document is None else self._with_references(document)

    def _of_guid(self, guid: UUID) -> RegisteredSchema | None:
        """A registry that knows no GUIDs has none, too: it is known by another page, which all of them have."""
        about = f"schema GUID {guid}"
        try:
            document = self._ask(f"schemas/guids/{guid}", _document, about=about, absent=(_SCHEMA_NOT_FOUND,))
        except RegistryUnavailableError as error:
            cause = error.__cause__
            if not isinstance(cause, httpx.HTTPStatusError) or cause.response.status_code != 404:
                raise
            self._ask("schemas/types", list[str], about=about, absent=())
            return None
        return None if document is None else self._with_references(document)

    def _with_references(self, document: _Document) -> RegisteredSchema:
        found: dict[tuple[str, str, int], _Document | None] = {}
        todo = list(document.references)
        while todo:
            if (reference := todo.pop()) in found:
                continue
            _, subject, version = reference
            answer = self._of_subject(subject, str(version), _document)
            found[reference] = answer
            todo += answer.references if answer else ()
        return replace(
            document.schema,
            references=tuple(each.schema.text for each in found.values() if each),
            names=tuple(name for (name, _, _), each in found.items() if each),
            missing=tuple(f"{subject} {version}" for (_, subject, version), each in found.items() if each is None),
        )

    def latest(self, subject: str) -> tuple[int, RegisteredSchema] | None:
        """The newest schema of a subject with its id, or None where the registry says that there is no such subject.

        Raises:
            RegistryUnavailableError: anything else than these two answers.
        """

        def read(document: Any) -> tuple[int, _Document]:
            return int(document["id"]), _document(document)

        found = self._of_subject(subject, "latest", read)
        return None if found is None else (found[0], self._with_references(found[1]))

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
        return self._ask(path, read, about=f"subject {subject}", absent=(_SUBJECT_NOT_FOUND, _VERSION_NOT_FOUND))

    def _ask(self, path: str, read: Callable[[Any], _Answer], *, about: str, absent: Sequence[int]) -> _Answer | None:
        """What ``read`` makes of the answer, or None where it is one of the registry's own errors ``absent``."""
        try:
            response = self._get(path)
            if response.status_code == 404 and _error_code(response) in absent:
                return None
            response.raise_for_status()
            return read(response.json())
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryUnavailableError(
                f"no answer about {about} from {self._client.base_url} ({error!r:.200}); "
                "is the registry running, and is ETAR_REGISTRY_URL right?"
            ) from error

    def _get(self, path: str) -> httpx.Response:
        """Asked a second time where no answer came in time: a question changes nothing, and a registry whose machine
        stood still for a moment has none left to give to the first.
        """
        try:
            return self._client.get(path)
        except httpx.ReadTimeout:
            return self._client.get(path)

    def close(self) -> None:
        self._client.close()


def _error_code(response: httpx.Response) -> int | None:
    """Of a registry's own error; None for anything else's."""
    try:
        code = response.json()["error_code"]
    except (ValueError, KeyError, TypeError):
        return None
    return code if isinstance(code, int) else None


def _document(answer: Any) -> _Document:
    return _Document(
        RegisteredSchema(text=answer["schema"], kind=answer.get("schemaType") or "AVRO"),
        [(str(each["name"]), str(each["subject"]), int(each["version"])) for each in answer.get("references") or ()],
    )
