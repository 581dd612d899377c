"""``.env.example`` documents every setting there is, and none that is not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import TypeAdapter

from stack.compose_check.project import documented_variables
from stack.configuration import make_settings
from stack.layout import REPOSITORY
from stack.settings_classes import settings_classes
from stack.settings_table import comments

EXAMPLE = REPOSITORY / ".env.example"
NOT_A_SETTING_OF_A_STACK = {"ETAR_PORT_OFFSET", "ETAR_DIR"}


def documented() -> Mapping[str, str]:
    return documented_variables(EXAMPLE.read_text())


def used_by_the_containers() -> set[str]:
    """What docker-compose.yml has filled in; `make compose-check` compares the two lists in both directions."""
    return set(re.findall(r"\$\{(ETAR_\w+)", (REPOSITORY / "docker-compose.yml").read_text()))


def read_by_the_code() -> set[str]:
    return {variable for kind in settings_classes() for variable in kind.variables().values()}


def test_every_setting_is_documented_with_its_default() -> None:
    example = documented()
    native = make_settings({}, {}, datetime(2026, 11, 21, tzinfo=UTC)).values
    for kind in settings_classes():
        for field, name in kind.variables().items():
            assert name in example, f"{name} is read by the code but not in .env.example"
            info = kind.model_fields[field]
            if not info.is_required():
                meant = TypeAdapter(info.rebuild_annotation()).validate_python(example[name])
                # A native address may differ from the class's default only by its port, which is the example's.
                assert meant == info.default or example[name] == native[name], (
                    f"{name}: {example[name]} here, {info.default} in the code"
                )


def test_every_variable_has_a_comment_of_its_own() -> None:
    assert [name for name, comment in comments(EXAMPLE.read_text()).items() if not comment] == []


def test_nothing_documented_is_unknown() -> None:
    native = make_settings({}, {}, datetime(2026, 11, 21, tzinfo=UTC)).values
    unknown = set(documented()) - read_by_the_code() - set(native)
    assert unknown - used_by_the_containers() == NOT_A_SETTING_OF_A_STACK
