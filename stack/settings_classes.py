"""The settings classes of ``etar.settings`` as a list, for what looks at all of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from pydantic_settings import BaseSettings

import etar.settings


def settings_classes() -> tuple[type[BaseSettings], ...]:
    """The settings class of every concern, in the order in which they stand in the module."""
    return tuple(
        kind
        for kind in vars(etar.settings).values()
        if inspect.isclass(kind) and issubclass(kind, BaseSettings) and kind.__module__ == etar.settings.__name__
    )


def variables_of(kind: type[BaseSettings]) -> Mapping[str, str]:
    """The environment variable of each field of a settings class."""
    prefix = str(kind.model_config["env_prefix"])
    return {field: f"{prefix}{field}".upper() for field in kind.model_fields}
