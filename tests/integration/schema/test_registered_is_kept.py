"""A schema that the registry has acknowledged is there after ``kill -9``, under its id: all that records name it by."""

from __future__ import annotations

import os
import signal

import httpx

from etar.records.registry import Registry
from etar.settings import RegistrySettings
from stack.parts import Stack
from tests.conftest import running_part


def schema(number: int) -> str:
    return f'{{"type": "record", "name": "Killed{number}", "fields": [{{"name": "a", "type": "string"}}]}}'


def test_a_registry_that_is_killed_right_after_its_answer(own_stack: Stack) -> None:
    url = own_stack.settings["ETAR_REGISTRY_URL"]
    identifiers: dict[int, int] = {}
    with running_part("registry", own_stack) as pid, httpx.Client(base_url=f"{url}/", timeout=60) as client:
        for number in range(5):
            answer = client.post(f"subjects/killed-{number}/versions", json={"schema": schema(number)})
            identifiers[number] = int(answer.raise_for_status().json()["id"])
        os.kill(pid, signal.SIGKILL)

    with running_part("registry", own_stack):
        registry = Registry.connect(RegistrySettings(url=url))
        found = {number: registry.schema(identifier) for number, identifier in identifiers.items()}
        registry.close()

    assert all(kept is not None and f"Killed{number}" in kept.text for number, kept in found.items())
    assert len(set(identifiers.values())) == 5
