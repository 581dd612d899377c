"""Markers told from holes by the batches of a log that is made up here; of Kafka's own: tests/integration/audit."""

from __future__ import annotations

import pytest

from etar.kafka.log import Batch, markers_among
from etar.offsets import Span

LOG = [
    Batch(Span(0, 3), False),
    Batch(Span(3, 4), True),
    Batch(Span(8, 10), False),
    Batch(Span(10, 11), True),
    Batch(Span(11, 12), True),
]


@pytest.mark.parametrize("most", [1, 2, 5])
@pytest.mark.parametrize(
    ("offsets", "markers"),
    [
        ([], set()),
        ([3], {3}),
        ([1, 3], {3}),
        ([4, 5, 6, 7], set()),
        ([2, 3, 4, 9, 10, 11], {3, 10, 11}),
        ([11], {11}),
    ],
)
def test_each_marker_and_nothing_else(offsets: list[int], markers: set[int], most: int) -> None:
    asked: list[int] = []

    def batches_since(offset: int) -> list[Batch]:
        asked.append(offset)
        return [batch for batch in LOG if batch.offsets.end > offset][:most]

    assert markers_among(offsets, batches_since) == markers
    assert asked == sorted(set(asked)), "never back, and never the same twice"
    assert len(asked) <= len(offsets)
