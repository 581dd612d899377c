"""The settings classes of ``etar.settings`` as a list, for what looks at all of them."""

from __future__ import annotations

import inspect

import etar.settings
from etar.settings import Concern


def settings_classes() -> tuple[type[Concern], ...]:
    """The settings class of every concern, in the order in which they stand in the module."""
    return tuple(
        kind
        for kind in vars(etar.settings).values()
        if inspect.isclass(kind) and issubclass(kind, Concern) and kind is not Concern
    )
