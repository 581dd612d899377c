"""Schemas in the real registry, as a producer or its deployment registers them."""

from __future__ import annotations

import httpx

from etar.clients import trusted_certificates
from etar.settings import RegistrySettings


def register(registry: RegistrySettings, subject: str, schema: str) -> int:
    """Register an Avro schema (JSON text); its id.

    Raises:
        httpx.HTTPStatusError: the registry refuses it.
    """
    url = f"{registry.url}/subjects/{subject}/versions"
    answer = httpx.post(url, json={"schema": schema}, timeout=30, verify=trusted_certificates())
    return int(answer.raise_for_status().json()["id"])
