"""Which streams have demo traffic, and with which options."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from etar.streams import Stream, default_stream
from stack.configuration import make_settings
from stack.layout import Layout
from stack.parts import Stack, demo_producer

OTHER = Stream("payments", traffic="traffic:Traffic", traffic_rate=7.5)


def command(stream: Stream, tmp_path: Path, **environment: str) -> str:
    settings = make_settings(environment, {}, datetime(2026, 11, 21, tzinfo=UTC))
    return " ".join(demo_producer.part(stream).command(Stack(Layout.at(tmp_path), settings)))


def test_a_stream_has_it_that_has_traffic_of_its_own_or_of_the_one_that_it_is_like() -> None:
    default = default_stream()
    assert demo_producer.is_there_for(default)
    assert demo_producer.is_there_for(replace(default, name="second", like=default.name))
    assert demo_producer.is_there_for(OTHER)
    assert not demo_producer.is_there_for(Stream("payments"))


@pytest.mark.parametrize(
    ("stream", "environment", "rate"),
    [
        (default_stream(), {}, "50"),
        (default_stream(), {"ETAR_DEMO_RATE": "100"}, "100"),
        (OTHER, {}, "7.5"),
        (OTHER, {"ETAR_DEMO_RATE": "100"}, "100"),
    ],
)
def test_a_rate_is_the_streams_own_unless_one_is_said(
    stream: Stream, environment: dict[str, str], rate: str, tmp_path: Path
) -> None:
    said = command(stream, tmp_path, **environment)
    assert f"produce --stream {stream.name} --rate {rate} --workers 1" in said
    assert "--malformed 0.002" in said


def test_a_stream_without_ids_has_no_duplicates(tmp_path: Path) -> None:
    assert "--duplicates 0.01" in command(OTHER, tmp_path)
    assert "--duplicates" not in command(replace(OTHER, identity=()), tmp_path)


@pytest.mark.parametrize(("rate", "enabled"), [("0", False), ("50", True)])
def test_no_rate_is_no_traffic_of_any(rate: str, enabled: bool, tmp_path: Path) -> None:
    settings = make_settings({"ETAR_DEMO_RATE": rate}, {}, datetime(2026, 11, 21, tzinfo=UTC))
    assert demo_producer.part(OTHER).enabled(Stack(Layout.at(tmp_path), settings)) == enabled
