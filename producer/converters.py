"""Which converter makes records of the rows of a stream's files: one of its folder's own, or by its schema."""

from __future__ import annotations

from etar.rows.conversion import Converter
from etar.rows.layout import Layout
from etar.rows.values import Values
from etar.stream_code import load
from etar.streams import Stream
from producer.schema_converter import SchemaConverter
from producer.schema_fields import schema_layout


def layout_of(stream: Stream) -> Layout:
    """Which columns a file of the stream's events may have, and which it must.

    Raises:
        StreamCodeError: its folder names a converter that cannot be loaded.
    """
    if stream.converter is None:
        return schema_layout(stream)
    return load(stream, stream.converter).LAYOUT  # type: ignore[no-any-return]


def converter_of(stream: Stream, values: Values, header: bytes, longest: int | None) -> Converter:
    """What makes records of the rows of the stream's files.

    Raises:
        StreamCodeError: its folder names a class that cannot be loaded.
    """
    if stream.converter is None:
        return SchemaConverter(stream, values, header, longest)
    return load(stream, stream.converter)(values, header, longest)  # type: ignore[no-any-return]
