"""The sink's tables and processes, for events of changing schemas."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from etar.settings import RegistrySettings, WarehouseSettings
from tests.integration.connect.conftest import new_lane
from tests.integration.connect.desk import Desk, open_desk

__all__ = ["new_lane"]


@pytest.fixture
def desk(registry: RegistrySettings, warehouse: WarehouseSettings) -> Iterator[Desk]:
    with open_desk(registry, warehouse) as desk:
        yield desk
