"""The part that tells people: what it is given, and what a start is refused for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from stack.configuration import Settings, SettingsError, make_settings
from stack.layout import Layout
from stack.parts import Stack, part_named

ALERTS = "alerts"


def stack(folder: Path, **values: str) -> Stack:
    return Stack(
        Layout.at(folder), Settings(dict(make_settings({}, {}, datetime(2026, 11, 21, tzinfo=UTC)).values) | values)
    )


def test_targets_and_rules_that_would_tell_nobody_are_refused_before_anything_starts(tmp_path: Path) -> None:
    part = part_named(ALERTS, stack(tmp_path))
    part.require(stack(tmp_path, ETAR_ALERTS_TARGETS="team=mailto://h"))
    with pytest.raises(SettingsError, match="target 2 of ETAR_ALERTS_TARGETS"):
        part.require(stack(tmp_path, ETAR_ALERTS_TARGETS="mailto://h secret"))
    with pytest.raises(SettingsError, match=r"/nowhere\.yml cannot be read"):
        part.require(stack(tmp_path, ETAR_ALERTS_RULES="/nowhere.yml"))


def test_it_has_the_addresses_and_no_token_that_writes(tmp_path: Path) -> None:
    made = stack(tmp_path, ETAR_ALERTS_TARGETS="team=mailto://h")
    given = part_named(ALERTS, made).environment(made)
    assert given["ETAR_ALERTS_TARGETS"] == "team=mailto://h"
    assert "ETAR_API_WRITE_TOKEN" not in given
    assert "mailto" not in " ".join(part_named(ALERTS, made).command(made))
    others = [part_named(name, made) for name in ("report-api", "dashboard")]
    assert not [part.name for part in others if "ETAR_ALERTS_TARGETS" in part.environment(made)]
