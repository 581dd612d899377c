"""Request bodies of many frames, response bodies of one, the exception trailer."""

import gzip

import lz4.frame
import pytest
import zstandard
from clickhouse_connect.driver.compression import get_compressor
from clickhouse_connect.driver.transform import extract_exception_with_tag

from stack.chdb_http.errors import FrontError
from stack.chdb_http.framing import PIECE, BodyDecoder, choose_encoding, exception_trailer, new_encoder

COMPRESS = {"gzip": gzip.compress, "lz4": lz4.frame.compress, "zstd": zstandard.compress}
DECOMPRESS = {
    "gzip": gzip.decompress,
    "lz4": lz4.frame.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompressobj().decompress(body),
}
BLOCKS = [bytes([number]) * (number * 997) for number in range(1, 40)]


def decode(encoding: str, body: bytes, step: int) -> bytes:
    decoder = BodyDecoder(encoding)
    out = b"".join(piece for at in range(0, len(body), step) for piece in decoder.feed(body[at : at + step]))
    decoder.close()
    return out


@pytest.mark.parametrize("step", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize("encoding", COMPRESS)
def test_every_frame_of_a_body_is_decoded(encoding, step):
    body = b"".join(COMPRESS[encoding](block) for block in BLOCKS)
    assert decode(encoding, body, step) == b"".join(BLOCKS)


@pytest.mark.parametrize("encoding", COMPRESS)
def test_what_clickhouse_connect_sends_is_decoded(encoding):
    compressor = get_compressor(encoding)
    body = b"".join(bytes(compressor.compress_block(block)) for block in BLOCKS) + (compressor.flush() or b"")
    assert decode(encoding, body, 4096) == b"".join(BLOCKS)


@pytest.mark.parametrize("encoding", COMPRESS)
@pytest.mark.parametrize("cut", [1, 5, 9])
def test_a_frame_open_at_the_end_is_an_error(encoding, cut):
    body = COMPRESS[encoding](b"first" * 100) + COMPRESS[encoding](bytes(range(256)) * 100)
    with pytest.raises(FrontError, match="ends inside"):
        decode(encoding, body[:-cut], 4096)


@pytest.mark.parametrize("encoding", COMPRESS)
def test_garbage_behind_a_frame_is_an_error(encoding):
    with pytest.raises(FrontError):
        decode(encoding, COMPRESS[encoding](b"block") + b"INTERNAL EXCEPTION WHILE SERIALIZING", 4096)


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_small_body_that_unpacks_to_much_comes_in_small_pieces(encoding):
    body = COMPRESS[encoding](bytes(64 << 20))
    sizes = [len(piece) for piece in BodyDecoder(encoding).feed(body)]
    assert sum(sizes) == 64 << 20
    # zstandard cannot be told to stop: it gives all that is in the few bytes it is fed at a time.
    assert max(sizes) <= PIECE * (9 if encoding == "zstd" else 1)


def test_an_empty_body_and_a_plain_one_pass():
    assert decode("lz4", b"", 1) == b""
    assert decode("", b"plain", 2) == b"plain"


def test_an_unknown_encoding_is_refused():
    with pytest.raises(FrontError, match="not supported"):
        BodyDecoder("br")


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [("lz4,zstd,gzip,deflate", "lz4"), ("gzip, zstd;q=0.5", "zstd"), ("GZIP", "gzip"), ("br", None), ("", None)],
)
def test_choose_encoding(accepted, chosen):
    assert choose_encoding(accepted) == chosen


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_response_is_one_frame(encoding):
    encoder = new_encoder(encoding)
    body = b"".join(encoder.compress(block) for block in BLOCKS) + encoder.flush()
    assert DECOMPRESS[encoding](body) == b"".join(BLOCKS)


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_response_that_is_pushed_and_not_ended_is_no_whole_frame(encoding):
    encoder = new_encoder(encoding)
    body = encoder.compress(BLOCKS[-1]) + encoder.push()
    decoder = BodyDecoder(encoding)
    assert b"".join(decoder.feed(body)) == BLOCKS[-1]
    with pytest.raises(FrontError, match="ends inside"):
        decoder.close()


@pytest.mark.parametrize("encoding", COMPRESS)
def test_an_empty_response_is_a_valid_frame(encoding):
    assert DECOMPRESS[encoding](new_encoder(encoding).flush()) == b""


def test_the_trailer_is_what_clickhouse_connect_reads():
    trailer = exception_trailer("abcdefghijklmnop", "Code: 395. DB::Exception: é (X)")
    assert extract_exception_with_tag(b"\x00rows" + trailer, "abcdefghijklmnop") == "Code: 395. DB::Exception: é (X)"
    assert extract_exception_with_tag(b"\x00rows" + trailer, "another") is None


def test_a_long_error_is_cut_to_what_a_trailer_may_hold():
    assert len(exception_trailer("a" * 16, "x" * 100_000)) < 16 * 1024


def test_gzip_with_wrong_checksum_is_an_error():
    body = bytearray(gzip.compress(b"data" * 50))
    body[-6] ^= 1
    with pytest.raises(FrontError):
        decode("gzip", bytes(body), 10)
