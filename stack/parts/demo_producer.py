"""Demo traffic: `etar produce` as a part of the stack, for each stream that has some."""

from __future__ import annotations

import time

from etar.streams import DEFAULT_STREAM, Stream
from stack.configuration import DEMO_RATE
from stack.layout import VENV_BIN
from stack.parts.base import Part, Stack
from stack.parts.kafka import topic_of


def is_there_for(stream: Stream) -> bool:
    """Whether events of this stream can be made up."""
    return stream.traffic is not None


def _name(stream: Stream) -> str:
    return "demo-producer" if stream.name == DEFAULT_STREAM else f"demo-producer-{stream.name}"


def _rate(stack: Stack, stream: Stream) -> str:
    """Events a second: what was said for all streams, else what the stream itself says."""
    said: str = stack.settings["ETAR_DEMO_RATE"]
    return said if stream.name == DEFAULT_STREAM or said != DEMO_RATE else f"{stream.traffic_rate:g}"


def _command(stack: Stack, stream: Stream) -> list[str]:
    # No seed: a seed gives the same event ids again, an event id counts once, and each start is other traffic.
    return [
        str(VENV_BIN / "etar"), "produce",
        "--stream", stream.name,
        "--rate", _rate(stack, stream),
        "--workers", "1",
        # Without an id, a record that is sent again is another event.
        *(["--duplicates", "0.01"] if stream.identity else []),
        "--malformed", "0.002",
        "--account", str(stack.layout.accounts / f"{_name(stream).replace('-producer', '')}-{int(time.time())}.json"),
    ]  # fmt: skip


def part(stream: Stream) -> Part:
    """The made-up traffic of one stream."""
    return Part(
        name=_name(stream),
        needs=(topic_of(stream), "compatibility"),
        command=lambda stack: _command(stack, stream),
        environment=lambda stack: (
            stack.settings.starting_with("ETAR_KAFKA_", "ETAR_REGISTRY_") | {"ETAR_DIR": str(stack.layout.root)}
        ),
        ready=lambda _: True,
        enabled=lambda stack: float(stack.settings["ETAR_DEMO_RATE"]) > 0,
        stream=stream.name,
    )
