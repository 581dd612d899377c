"""Which codec a stream's records are read and written with."""

from __future__ import annotations

from etar.records.avro_codec import AvroCodec
from etar.records.codec import Codec
from etar.records.json_codec import PlainJsonCodec, RegisteredJsonCodec
from etar.streams import RecordFormat, Stream


def codec_of(stream: Stream) -> Codec:
    """The codec of the stream's format."""
    match stream.record:
        case RecordFormat.AVRO:
            return AvroCodec()
        case RecordFormat.JSON:
            return PlainJsonCodec(stream.schema_text)
        case RecordFormat.JSON_REGISTERED:
            return RegisteredJsonCodec()
