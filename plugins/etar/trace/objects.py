"""What the object store says: whether a minute's extract has certain rows, read by its footer and three columns."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from etar.clients import object_store_client
from etar.instants import to_milliseconds
from etar.settings import ObjectStoreSettings
from etar.trace.facts import FoundObject, FoundRow

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_COLUMNS = ("_partition", "_offset", "_timestamp")


class ObjectUnreadableError(OSError):
    """The object store does not give the object, or what it gives is no whole Parquet file."""


def found_object(settings: ObjectStoreSettings, key: str, rows: Sequence[FoundRow]) -> FoundObject | None:
    """The object, and which of the rows it has; None where there is no such object.

    A row is known by its place and by when Kafka took it: the logs of a topic share an extract, and their places.

    Raises:
        ObjectUnreadableError: the store is away, refuses, or another object took the place of this one meanwhile.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from botocore.exceptions import BotoCoreError, ClientError

    name = f"s3://{settings.bucket}/{key}"
    try:
        client = object_store_client(settings)
        file = _Ranges.open(client, settings.bucket, key)
        if file is None:
            return None
        held = {}
        for row in rows:
            place = [("_partition", "=", row.id.partition), ("_offset", "=", row.id.offset)]
            # Groups of rows whose bounds leave the place out are not read.
            found = pq.read_table(pa.PythonFile(file, mode="r"), columns=list(_COLUMNS), filters=place)
            taken = {to_milliseconds(each) for each in found["_timestamp"].to_pylist()}
            held[row.id] = to_milliseconds(row.appended_at) in taken
        return FoundObject(file.etag, file.modified_at, held)
    except (BotoCoreError, ClientError) as error:
        raise ObjectUnreadableError(f"the object store does not give {name}: {error}") from error
    except pa.ArrowException as error:
        raise ObjectUnreadableError(f"{name} is not whole Parquet: {error}") from error


class _Ranges(io.RawIOBase):
    """An object as a file, of which only what is read is fetched."""

    def __init__(self, client: S3Client, bucket: str, key: str, *, size: int, etag: str, modified_at: datetime) -> None:
        super().__init__()
        self._client, self._bucket, self._key, self._size = client, bucket, key, size
        self._at = 0
        self.etag = etag
        self.modified_at = modified_at

    @classmethod
    def open(cls, client: S3Client, bucket: str, key: str) -> _Ranges | None:
        """None where there is no such object. Not asked for by HEAD: its answer has no body that says whether it is the
        object that is missing, or the key that the store does not know."""
        from botocore.exceptions import ClientError

        try:
            answer = client.get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "NoSuchKey":
                return None
            raise
        answer["Body"].close()
        return cls(
            client,
            bucket,
            key,
            size=answer["ContentLength"],
            etag=answer["ETag"].strip('"'),
            modified_at=answer["LastModified"],
        )

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._at + size, self._size)
        if end <= self._at:
            return b""
        answer = self._client.get_object(Bucket=self._bucket, Key=self._key, Range=f"bytes={self._at}-{end - 1}")
        if answer["ETag"].strip('"') != self.etag:
            raise ObjectUnreadableError(
                f"s3://{self._bucket}/{self._key} was written anew while it was read; ask again"
            )
        content = answer["Body"].read()
        self._at += len(content)
        return content
