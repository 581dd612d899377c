"""Who may do what: the policies of ``stack/s3_policies``, as each S3 server enforces them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from etar.minute import MinuteWindow
from etar.streams import default_stream
from stack.layout import REPOSITORY, VENV_BIN
from stack.parts import spark
from tests.integration.s3.conftest import Store
from tests.interactions import Report

ETAR, SPARK, READER = "etar", "etar-spark", "etar-reader"


def client_of(store: Store, user: str) -> Any:
    return {ETAR: store.client, SPARK: lambda: store.spark, READER: lambda: store.reader}[user]()


def put(s3: Any, bucket: str, key: str) -> object:
    return s3.put_object(Bucket=bucket, Key=key, Body=b"new")


def put_in_parts(s3: Any, bucket: str, key: str) -> object:
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    return s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)


def get(s3: Any, bucket: str, key: str) -> object:
    return s3.get_object(Bucket=bucket, Key=key)


def head(s3: Any, bucket: str, key: str) -> object:
    return s3.head_object(Bucket=bucket, Key=key)


def delete(s3: Any, bucket: str, key: str) -> object:
    return s3.delete_object(Bucket=bucket, Key=key)


def list_names(s3: Any, bucket: str, key: str) -> object:
    return s3.list_objects_v2(Bucket=bucket, Prefix=key)


def copy_from_extracts(s3: Any, bucket: str, key: str) -> object:
    return s3.copy_object(Bucket=bucket, Key=key, CopySource=f"{bucket}/extracts/there")


def make_bucket(s3: Any, bucket: str, key: str) -> object:
    return s3.create_bucket(Bucket=f"other-{uuid4().hex}")


def remove_bucket(s3: Any, bucket: str, key: str) -> object:
    return s3.delete_bucket(Bucket=bucket)


def change_policy(s3: Any, bucket: str, key: str) -> object:
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/*"}
    return s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))


@pytest.fixture
def objects(store: Store) -> None:
    """An object in every place that the actions below mean."""
    for folder in ("extracts", "results", "checkpoints", "else"):
        store.root.put_object(Bucket=store.bucket, Key=f"{folder}/there", Body=b"old")


Action = Callable[[Any, str, str], object]
ALLOWED: list[tuple[str, Action, str]] = [
    *((ETAR, action, folder) for action in (put, get, head, delete, list_names) for folder in ("extracts", "results")),
    (SPARK, get, "extracts"),
    (SPARK, head, "extracts"),
    (SPARK, list_names, "extracts"),
    *((READER, action, "extracts") for action in (get, head, list_names)),
    *((SPARK, action, "checkpoints") for action in (put, put_in_parts, get, head, delete, list_names)),
    *((ETAR, action, "checkpoints") for action in (get, head, delete, list_names)),
    *((SPARK, action, "results") for action in (put, put_in_parts, get, head, list_names, copy_from_extracts)),
]
REFUSED: list[tuple[str, Action, str]] = [
    *((user, action, "else") for user in (ETAR, SPARK, READER) for action in (put, get, head, delete)),
    *((SPARK, action, "extracts") for action in (put, put_in_parts, delete, copy_from_extracts)),
    (SPARK, delete, "results"),
    *((READER, action, "extracts") for action in (put, put_in_parts, delete)),
    *((READER, action, folder) for action in (put, get, delete) for folder in ("results", "checkpoints")),
    (ETAR, put, "checkpoints"),
    *((user, action, "") for user in (ETAR, SPARK, READER) for action in (make_bucket, remove_bucket, change_policy)),
]


@pytest.mark.usefixtures("objects")
@pytest.mark.parametrize(("user", "action", "folder"), ALLOWED)
def test_allowed(store: Store, user: str, action: Action, folder: str) -> None:
    assert action(client_of(store, user), store.bucket, f"{folder}/there")


@pytest.mark.usefixtures("objects")
@pytest.mark.parametrize(("user", "action", "folder"), REFUSED)
def test_refused(store: Store, user: str, action: Action, folder: str) -> None:
    with pytest.raises(ClientError) as raised:
        action(client_of(store, user), store.bucket, f"{folder}/there")
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    for place in ("extracts", "results", "checkpoints", "else"):
        assert store.root.get_object(Bucket=store.bucket, Key=f"{place}/there")["Body"].read() == b"old"


@pytest.mark.parametrize("user", [ETAR, SPARK, READER])
def test_a_missing_object_is_missing_and_not_forbidden(store: Store, user: str) -> None:
    s3 = client_of(store, user)
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=store.bucket, Key=f"extracts/{uuid4()}")


@pytest.mark.parametrize(("key_id", "secret"), [(ETAR, "wrong"), ("nobody", "wrong")])
def test_a_wrong_key_is_refused(store: Store, key_id: str, secret: str) -> None:
    s3 = store.client(key_id, secret)
    for action in (put, get, list_names):
        with pytest.raises(ClientError) as raised:
            action(s3, store.bucket, "extracts/there")
        assert raised.value.response["Error"]["Code"] in ("InvalidAccessKeyId", "SignatureDoesNotMatch")


@pytest.mark.timeout(400)
def test_the_analysis_runs_with_sparks_own_rights(store: Store) -> None:
    window = MinuteWindow.parse("2026-11-21T10:31Z")
    rows = 100
    ids = [number.to_bytes(16, "big") for number in range(rows)]
    table = pa.table(
        {
            "event_id": pa.array(ids, pa.binary()),
            "user_id": pa.array(ids, pa.binary()),
            "event_type": ["view", "click"] * (rows // 2),
            "status": ["success", "error"] * (rows // 2),
            "_partition": pa.array([0] * rows, pa.int32()),
            "_offset": pa.array(range(rows), pa.int64()),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    extract, result = default_stream().extract_key(window), default_stream().result_key(window)
    etar = store.client()
    etar.put_object(Bucket=store.bucket, Key=extract, Body=sink.getvalue().to_pybytes())

    submit = [
        *(str(VENV_BIN / "spark-submit"), "--master", "local[2]"),
        *("--properties-file", str(spark.properties_file(store.stack))),
        str(REPOSITORY / "spark_apps" / "minute_report.py"),
        *("--stream", default_stream().name, "--minute", str(window)),
        *("--source", f"s3a://{store.bucket}/{extract}"),
        *("--result", f"s3a://{store.bucket}/{result}"),
    ]
    environment = os.environ | spark.environment(*spark.credentials(store.stack)) | {"PYTHONPATH": str(REPOSITORY)}
    for _ in range(2):  # the second time over what the first left
        done = subprocess.run(
            submit, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        body = etar.get_object(Bucket=store.bucket, Key=result)["Body"].read()
        assert Report.model_validate_json(body).total_events == rows
