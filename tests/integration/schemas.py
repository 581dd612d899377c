"""Schemas in the real registry, as a producer or its deployment registers them."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from etar.clients import trusted_certificates
from etar.settings import RegistrySettings


def register(
    registry: RegistrySettings,
    subject: str,
    schema: str,
    references: Sequence[tuple[str, str]] = (),
    *,
    kind: str = "AVRO",
) -> int:
    """Register a schema (JSON text); its id. ``references``: names with the subjects that define them.

    Raises:
        httpx.HTTPStatusError: the registry refuses it.
    """
    url = f"{registry.url}/subjects/{subject}/versions"
    named = [{"name": name, "subject": subject, "version": 1} for name, subject in references]
    body = {"schema": schema, "schemaType": kind, **({"references": named} if named else {})}
    answer = httpx.post(url, json=body, timeout=30, verify=trusted_certificates())
    return int(answer.raise_for_status().json()["id"])
