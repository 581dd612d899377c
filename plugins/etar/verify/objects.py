"""What the object store says: each minute's Parquet object, by its footer."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from etar.clients import object_store_client
from etar.minute import MinuteWindow
from etar.settings import ObjectStoreSettings
from etar.streams import Stream
from etar.verify.facts import PlaceUnavailableError, StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_FOOTER_BYTES = 64 * 1024
_PARQUET_TAIL = 8  # footer length (4 bytes) and "PAR1"


def parquet_objects(
    settings: ObjectStoreSettings, stream: Stream, windows: Sequence[MinuteWindow]
) -> dict[MinuteWindow, StoredObject]:
    """Each minute's Parquet object, by its end alone; minutes without an object are left out.

    Raises:
        PlaceUnavailableError: the object store is away or refuses, or an object is not Parquet.
    """
    client = object_store_client(settings)
    with ThreadPoolExecutor(max_workers=4) as pool:
        found = pool.map(lambda window: _stored_object(client, settings.bucket, stream.extract_key(window)), windows)
        return {window: stored for window, stored in zip(windows, found, strict=True) if stored is not None}


def _stored_object(client: S3Client, bucket: str, key: str) -> StoredObject | None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        tail = _Tail.read(client, bucket, key, _FOOTER_BYTES)
        if tail is None:
            return None
        needed = int.from_bytes(tail.content[-_PARQUET_TAIL:-4], "little") + _PARQUET_TAIL
        if needed > len(tail.content):
            tail = _Tail.read(client, bucket, key, needed) or tail
        rows = int(pq.read_metadata(pa.BufferReader(tail.content)).num_rows)
        return StoredObject(rows, tail.object_size, tail.object_etag)
    except (BotoCoreError, ClientError) as error:
        raise PlaceUnavailableError(f"the object store does not give s3://{bucket}/{key}: {error}") from error
    except pa.ArrowInvalid as error:
        raise PlaceUnavailableError(f"s3://{bucket}/{key} is not whole Parquet: {error}") from error


@dataclass(frozen=True)
class _Tail:
    """The last bytes of an object, and what the answer says of the whole."""

    content: bytes
    object_size: int
    object_etag: str

    @classmethod
    def read(cls, client: S3Client, bucket: str, key: str, size: int) -> Self | None:
        from botocore.exceptions import ClientError

        try:
            answer = client.get_object(Bucket=bucket, Key=key, Range=f"bytes=-{size}")
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                return None
            raise
        content = answer["Body"].read()
        # "bytes 100-199/200"; a store may answer a range that covers the whole object with the object.
        _, _, whole = answer.get("ContentRange", "").rpartition("/")
        return cls(content, int(whole) if whole.isdigit() else len(content), answer["ETag"].strip('"'))
