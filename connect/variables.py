"""What the places of a connector's file are filled with: settings, and none of them secret."""

from __future__ import annotations

from etar.settings import ConnectSettings, WarehouseAddress, get_settings

_CONCERNS = (WarehouseAddress, ConnectSettings)


def variables() -> dict[str, str]:
    """Every setting of the warehouse's address and of Kafka Connect by its variable, written as Kafka reads it."""
    return {
        f"{kind.model_config['env_prefix']}{name}".upper(): _text(value)
        for kind in _CONCERNS
        for name, value in get_settings(kind).model_dump().items()
    }


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
