"""versitygw: an S3 server over a folder, built from its Go module; the bucket, and who may do what in it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from etar.bootstrap.places import create_bucket
from etar.clients import object_store_client
from etar.settings import ObjectStoreSettings
from stack.layout import BUILD
from stack.parts.base import Part, Stack, Step, get, write_if_changed

POLICIES = Path(__file__).resolve().parents[1] / "s3_policies"
"""What each user may do, as AWS writes it: one file a user, named after it."""

_ROOT = "etar-root"
_SPARK = "etar-spark"
_READER = "etar-reader"


@dataclass(frozen=True)
class User:
    """A user of the object store."""

    name: str
    secret: str

    @property
    def policy(self) -> dict[str, list[dict[str, object]]]:
        """What the user may do: an AWS policy document."""
        document: dict[str, list[dict[str, object]]] = json.loads((POLICIES / f"{self.name}.json").read_text())
        return document


def spark_credentials(stack: Stack) -> tuple[str, str]:
    """Key id and secret of Spark's own user, who may read extracts, and read and write results."""
    return _SPARK, stack.settings["ETAR_STACK_SPARK_S3_SECRET"]


def reader_settings(stack: Stack) -> dict[str, str]:
    """Where the object store is, for who may only read extracts."""
    own = {
        "ETAR_S3_ACCESS_KEY_ID": _READER,
        "ETAR_S3_SECRET_ACCESS_KEY": stack.settings["ETAR_STACK_READER_S3_SECRET"],
    }
    return stack.settings.starting_with("ETAR_S3_") | own


def _users(stack: Stack) -> tuple[User, ...]:
    pipeline = User(stack.settings["ETAR_S3_ACCESS_KEY_ID"], stack.settings["ETAR_S3_SECRET_ACCESS_KEY"])
    reader = User(_READER, stack.settings["ETAR_STACK_READER_S3_SECRET"])
    return pipeline, User(*spark_credentials(stack)), reader


def users_file(users: Iterable[User]) -> str:
    """The file in which versitygw keeps its users."""
    accounts = {
        user.name: {
            "access": user.name, "secret": user.secret, "role": "user", "userID": 0, "groupID": 0, "projectID": 0,
        }
        for user in users
    }  # fmt: skip
    return json.dumps({"accessAccounts": accounts})


def bucket_policy(users: Iterable[User]) -> str:
    """The users' policies as one of the bucket: versitygw has policies of buckets only."""
    statements = [
        {**statement, "Sid": f"{user.name} {statement['Sid']}", "Principal": {"AWS": [user.name]}}
        for user in users
        for statement in user.policy["Statement"]
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _prepare(stack: Stack) -> None:
    stack.layout.data("s3").mkdir(parents=True, exist_ok=True)
    write_if_changed(stack.layout.data("s3-users") / "users.json", users_file(_users(stack)))


def _create_bucket(stack: Stack) -> None:
    root = SecretStr(stack.settings["ETAR_STACK_S3_ROOT_SECRET"])
    settings = stack.settings.of(ObjectStoreSettings)
    as_root = settings.model_copy(update={"access_key_id": _ROOT, "secret_access_key": root})
    create_bucket(as_root)
    object_store_client(as_root).put_bucket_policy(Bucket=settings.bucket, Policy=bucket_policy(_users(stack)))


OBJECT_STORE = Part(
    name="s3",
    prepare=_prepare,
    command=lambda stack: [
        str(BUILD / "bin" / "versitygw"),
        "--quiet",
        "--port",
        f"127.0.0.1:{stack.settings.port('S3')}",
        "--iam-dir",
        str(stack.layout.data("s3-users")),
        "posix",
        str(stack.layout.data("s3")),
    ],
    environment=lambda stack: {
        "ROOT_ACCESS_KEY_ID": _ROOT,
        "ROOT_SECRET_ACCESS_KEY": stack.settings["ETAR_STACK_S3_ROOT_SECRET"],
        "VGW_REGION": stack.settings["ETAR_S3_REGION"],
    },
    # Who gives no credentials is refused, by a server that works.
    ready=lambda stack: get(f"http://127.0.0.1:{stack.settings.port('S3')}/", timeout=2).status < 500,
    address=lambda stack: stack.settings["ETAR_S3_ENDPOINT_URL"],
)
BUCKET = Step(name="bucket", needs=("s3",), action=_create_bucket)
