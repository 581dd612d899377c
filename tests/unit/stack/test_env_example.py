"""``.env.example`` documents every setting there is, and none that is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pydantic_settings import BaseSettings

import etar.settings  # noqa: F401  (settings classes are found by being imported)
from stack.configuration import make_settings
from stack.layout import REPOSITORY

NOT_A_SETTING_OF_A_STACK = {"ETAR_PORT_OFFSET", "ETAR_DIR"}


def documented(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^(?:# )?(ETAR_\w+)=(.*)$", file.read_text(), re.MULTILINE))


def used_by_the_containers() -> set[str]:
    """What docker-compose.yml has filled in; `make compose-check` compares the two lists in both directions."""
    return set(re.findall(r"\$\{(ETAR_\w+)", (REPOSITORY / "docker-compose.yml").read_text()))


def every_kind_below(kind: type[BaseSettings]) -> Iterator[type[BaseSettings]]:
    for below in kind.__subclasses__():
        yield below
        yield from every_kind_below(below)


def read_by_the_code() -> dict[str, str]:
    """Variable name and default as text (empty for a required one) of every field of every settings class."""
    found = {}
    for kind in every_kind_below(BaseSettings):
        if not kind.__module__.startswith(("etar.", "dashboard.", "producer.", "connect.")):
            continue
        for name, field in kind.model_fields.items():
            default = "" if field.is_required() else str(field.default)
            found[f"{kind.model_config['env_prefix']}{name}".upper()] = default
    return found


def test_every_setting_is_documented_with_its_default() -> None:
    example = documented(REPOSITORY / ".env.example")
    code = read_by_the_code()
    assert code, "no settings class was found"
    native = make_settings({}, {}, datetime(2026, 11, 21, tzinfo=UTC)).values
    for name, default in code.items():
        assert name in example, f"{name} is read by the code but not in .env.example"
        if default:
            same = example[name].casefold() == default.casefold() or float_or_none(example[name]) == float_or_none(
                default
            )
            # A native address may differ from the class's default only by its port, which is the example's.
            assert same or example[name] == native[name], f"{name}: {example[name]} here, {default} in the code"


def float_or_none(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def test_nothing_documented_is_unknown() -> None:
    native = make_settings({}, {}, datetime(2026, 11, 21, tzinfo=UTC)).values
    unknown = set(documented(REPOSITORY / ".env.example")) - set(read_by_the_code()) - set(native)
    assert unknown - used_by_the_containers() == NOT_A_SETTING_OF_A_STACK
