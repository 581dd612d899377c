"""What etar relies on from an S3 store, held against each one that it runs on."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from etar.minute import MinuteWindow
from etar.streams import default_stream
from stack.parts import Stack
from tests.integration.s3.conftest import Kind, Store

MEBI = 1024 * 1024
WINDOW = MinuteWindow.parse("2026-11-21T10:31Z")


@pytest.fixture
def s3(store: Store) -> Any:
    return store.client()


@pytest.fixture
def prefix() -> str:
    """A place of the test's own."""
    return f"results/{uuid4().hex}/"


@pytest.fixture
def place(store: Store, prefix: str) -> dict[str, str]:
    return {"Bucket": store.bucket, "Key": f"{prefix}object"}


def refused(error: ClientError) -> tuple[int, str]:
    """HTTP status and S3's code for it."""
    return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]


def keys(s3: Any, bucket: str, prefix: str, **options: Any) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix, **options).get("Contents", [])]


@pytest.mark.parametrize("size", [0, 1, 5 * MEBI + 1])
def test_what_is_put_is_got(s3: Any, place: dict[str, str], size: int) -> None:
    content = os.urandom(size)
    before = datetime.now(UTC) - timedelta(seconds=2)  # S3 counts in whole seconds
    put = s3.put_object(**place, Body=BytesIO(content), ContentType="application/vnd.apache.parquet")
    got = s3.get_object(**place)
    assert got["Body"].read() == content
    assert (got["ContentLength"], got["ContentType"]) == (size, "application/vnd.apache.parquet")
    assert before <= got["LastModified"] <= datetime.now(UTC) + timedelta(seconds=2)
    # The ledger keeps it: the same bytes have the same tag, whoever stores them.
    assert put["ETag"] == got["ETag"] == f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
    head = s3.head_object(**place)
    assert (head["ContentLength"], head["ETag"]) == (size, put["ETag"])


def test_a_read_after_a_write_sees_it_and_nothing_older(s3: Any, place: dict[str, str]) -> None:
    for version in range(20):
        put = s3.put_object(**place, Body=f"version {version}".encode())
        got = s3.get_object(**place)
        assert (got["Body"].read(), got["ETag"]) == (f"version {version}".encode(), put["ETag"])


def test_an_overwritten_object_is_read_whole_old_or_whole_new(s3: Any, place: dict[str, str]) -> None:
    old, new = b"a" * 8 * MEBI, b"b" * 8 * MEBI
    s3.put_object(**place, Body=old)
    reader = s3.get_object(**place)["Body"]
    start = reader.read(MEBI)
    with ThreadPoolExecutor(1) as pool:
        # MinIO lets it wait until the reader has done.
        writing = pool.submit(s3.put_object, **place, Body=new)
        assert start + reader.read() == old
        writing.result()
    assert s3.get_object(**place)["Body"].read() == new


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("bytes=0-0", b"0"),
        ("bytes=3-6", b"3456"),
        ("bytes=8-", b"89"),
        ("bytes=8-99", b"89"),
        ("bytes=-4", b"6789"),
        # How the end of a Parquet file is read without knowing its length.
        ("bytes=-64", b"0123456789"),
    ],
)
def test_a_range_is_that_range(s3: Any, place: dict[str, str], asked: str, given: bytes) -> None:
    s3.put_object(**place, Body=b"0123456789")
    got = s3.get_object(**place, Range=asked)
    assert (got["Body"].read(), got["ContentLength"]) == (given, len(given))
    assert got["ContentRange"].endswith("/10")
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_a_range_beyond_the_end_is_refused(s3: Any, place: dict[str, str]) -> None:
    s3.put_object(**place, Body=b"0123456789")
    with pytest.raises(ClientError) as raised:
        s3.get_object(**place, Range="bytes=10-12")
    assert refused(raised.value) == (416, "InvalidRange")


def test_a_list_is_complete_in_order_and_at_once(s3: Any, store: Store, prefix: str) -> None:
    wanted = [f"{prefix}{MinuteWindow(WINDOW.start + timedelta(minutes=minute)).slug}.json" for minute in range(7)]
    for key in reversed(wanted):
        s3.put_object(Bucket=store.bucket, Key=key, Body=b"x" * 3)
        assert key in keys(s3, store.bucket, prefix)
    assert keys(s3, store.bucket, prefix) == wanted
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=store.bucket, Prefix=prefix, PaginationConfig={"PageSize": 3}
    )
    assert [[entry["Key"] for entry in page["Contents"]] for page in pages] == [wanted[:3], wanted[3:6], wanted[6:]]
    assert keys(s3, store.bucket, prefix, StartAfter=wanted[4]) == wanted[5:]
    listed = s3.list_objects_v2(Bucket=store.bucket, Prefix=prefix, MaxKeys=1)["Contents"][0]
    assert (listed["Size"], listed["ETag"]) == (3, s3.head_object(Bucket=store.bucket, Key=wanted[0])["ETag"])
    s3.delete_object(Bucket=store.bucket, Key=wanted[3])
    assert keys(s3, store.bucket, prefix) == wanted[:3] + wanted[4:]


def test_a_list_by_folder(s3: Any, store: Store, prefix: str) -> None:
    for name in ("a/1", "a/2", "b/1", "c"):
        s3.put_object(Bucket=store.bucket, Key=prefix + name, Body=b"")
    listed = s3.list_objects_v2(Bucket=store.bucket, Prefix=prefix, Delimiter="/")
    assert [entry["Prefix"] for entry in listed["CommonPrefixes"]] == [f"{prefix}a/", f"{prefix}b/"]
    assert [entry["Key"] for entry in listed["Contents"]] == [f"{prefix}c"]


def test_what_is_deleted_is_gone_and_deleting_nothing_is_no_error(s3: Any, place: dict[str, str]) -> None:
    s3.put_object(**place, Body=b"x")
    for _ in range(2):
        s3.delete_object(**place)
        with pytest.raises(s3.exceptions.NoSuchKey):
            s3.get_object(**place)


def test_what_is_missing_is_not_found(s3: Any, store: Store, place: dict[str, str]) -> None:
    with pytest.raises(ClientError) as missing:
        s3.get_object(**place)
    assert refused(missing.value) == (404, "NoSuchKey")
    with pytest.raises(ClientError) as headless:
        s3.head_object(**place)
    assert refused(headless.value)[0] == 404
    with pytest.raises(ClientError) as bucketless:
        store.root.get_object(Bucket="no-such-bucket", Key="object")
    assert refused(bucketless.value) == (404, "NoSuchBucket")


def test_an_object_can_be_put_only_where_there_is_none(s3: Any, place: dict[str, str]) -> None:
    s3.put_object(**place, Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError) as raised:
        s3.put_object(**place, Body=b"second", IfNoneMatch="*")
    assert refused(raised.value) == (412, "PreconditionFailed")
    assert s3.get_object(**place)["Body"].read() == b"first"


def test_one_of_many_wins_a_race_for_a_new_object(store: Store, prefix: str) -> None:
    writers = 6
    clients = [store.client() for _ in range(writers)]

    def try_to_put(key: str, writer: int) -> bytes | None:
        content = f"writer {writer}".encode()
        try:
            clients[writer].put_object(Bucket=store.bucket, Key=key, Body=content, IfNoneMatch="*")
        except ClientError as error:
            # 409: another write of the same key is under way (AWS says so too); the writer may look again.
            if refused(error)[0] not in (409, 412):
                raise
            return None
        return content

    with ThreadPoolExecutor(writers) as pool:
        for race in range(5):
            key = f"{prefix}race-{race}"
            winners = [won for won in pool.map(lambda w, key=key: try_to_put(key, w), range(writers)) if won]
            assert [clients[0].get_object(Bucket=store.bucket, Key=key)["Body"].read()] == winners


@pytest.mark.parametrize(
    "key",
    [
        default_stream().extract_key(WINDOW),
        default_stream().result_key(WINDOW),
        # What Spark's s3a writes for a table: a folder's mark, its committers' places, and the mark of success.
        "results/sales/",
        "results/sales/_temporary/0/_temporary/attempt_202611211031_0001_m_000000_1/part-00000.snappy.parquet",
        "results/sales/__magic_job-6f1c/tasks/attempt_0001/__base/part-00000-6f1c.c000.snappy.parquet",
        "results/sales/_SUCCESS",
        "results/sales/minute=2026-11-21 10%3A31%3A00/part-00000.parquet",
    ],
)
def test_every_name_that_we_and_spark_give_an_object(s3: Any, store: Store, key: str) -> None:
    content = b"" if key.endswith(("/", "_SUCCESS")) else b"content"
    s3.put_object(Bucket=store.bucket, Key=key, Body=content)
    assert s3.get_object(Bucket=store.bucket, Key=key)["Body"].read() == content
    assert key in keys(s3, store.bucket, key)
    s3.delete_object(Bucket=store.bucket, Key=key)
    assert key not in keys(s3, store.bucket, key)


def test_an_object_in_parts_appears_when_it_is_complete(s3: Any, store: Store, place: dict[str, str]) -> None:
    upload = s3.create_multipart_upload(**place)["UploadId"]
    parts = []
    for number, content in enumerate((b"a" * 5 * MEBI, b"b"), start=1):
        part = s3.upload_part(**place, UploadId=upload, PartNumber=number, Body=content)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
        with pytest.raises(s3.exceptions.NoSuchKey):
            s3.get_object(**place)
    s3.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
    got = s3.get_object(**place)
    assert got["ContentLength"] == 5 * MEBI + 1
    assert got["ETag"].endswith('-2"')
    s3.delete_object(**place)


def test_an_abandoned_object_in_parts_leaves_nothing(store: Store, place: dict[str, str], prefix: str) -> None:
    spark = store.spark
    upload = spark.create_multipart_upload(**place)["UploadId"]
    spark.upload_part(**place, UploadId=upload, PartNumber=1, Body=b"a" * 5 * MEBI)
    spark.abort_multipart_upload(**place, UploadId=upload)
    assert keys(spark, store.bucket, prefix) == []
    assert not store.root.list_multipart_uploads(Bucket=store.bucket).get("Uploads")


def _signed_put(store: Store, place: dict[str, str]) -> str:
    settings = store.settings
    credentials = Credentials(settings.access_key_id, settings.secret_access_key.get_secret_value())
    request = AWSRequest("PUT", f"{settings.endpoint_url}/{place['Bucket']}/{place['Key']}")
    S3SigV4QueryAuth(credentials, "s3", settings.region, expires=300).add_auth(request)
    return str(request.url)


@pytest.mark.parametrize("before", [None, b"before"])
def test_a_server_killed_in_the_midst_of_a_put_leaves_what_was_there(
    kind: Kind, idle_stack: Stack, before: bytes | None
) -> None:
    store = Store(kind, idle_stack)
    place = {"Bucket": store.bucket, "Key": "extracts/killed/object"}
    with kind.running(idle_stack) as pid:
        s3 = store.client()
        if before is not None:
            s3.put_object(**place, Body=before)
        url = urlsplit(_signed_put(store, place))
        sender = http.client.HTTPConnection(url.netloc, timeout=30)
        sender.putrequest("PUT", f"{url.path}?{url.query}")
        sender.putheader("Content-Length", str(64 * MEBI))
        sender.endheaders()
        # Far more than the sockets hold between them: the server has most of it when this returns.
        sender.send(b"x" * 48 * MEBI)
        os.kill(pid, signal.SIGKILL)
        sender.close()
    with kind.running(idle_stack):
        s3 = store.client()
        if before is None:
            assert keys(s3, store.bucket, "extracts/") == []
            with pytest.raises(s3.exceptions.NoSuchKey):
                s3.get_object(**place)
        else:
            assert keys(s3, store.bucket, "extracts/") == [place["Key"]]
            assert s3.get_object(**place)["Body"].read() == before
        s3.put_object(**place, Body=b"after")
        assert s3.get_object(**place)["Body"].read() == b"after"
