"""versitygw: an S3 server over a folder, built from its Go module; and the bucket."""

from __future__ import annotations

from etar.clients import object_store_client
from etar.settings import ObjectStoreSettings
from stack.layout import BUILD
from stack.parts.base import Part, Stack, Step, listens


def _create_bucket(stack: Stack) -> None:
    from botocore.exceptions import ClientError

    settings = stack.settings.of(ObjectStoreSettings)
    try:
        object_store_client(settings).create_bucket(Bucket=settings.bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            raise


OBJECT_STORE = Part(
    name="s3",
    prepare=lambda stack: stack.layout.data("s3").mkdir(parents=True, exist_ok=True),
    command=lambda stack: [
        str(BUILD / "bin" / "versitygw"),
        "--quiet",
        "--port",
        f"127.0.0.1:{stack.settings.port('S3')}",
        "posix",
        str(stack.layout.data("s3")),
    ],
    environment=lambda stack: {
        "ROOT_ACCESS_KEY_ID": stack.settings["ETAR_S3_ACCESS_KEY_ID"],
        "ROOT_SECRET_ACCESS_KEY": stack.settings["ETAR_S3_SECRET_ACCESS_KEY"],
        "VGW_REGION": stack.settings["ETAR_S3_REGION"],
    },
    ready=lambda stack: listens(stack.settings.port("S3")),
    address=lambda stack: stack.settings["ETAR_S3_ENDPOINT_URL"],
)
BUCKET = Step(name="bucket", needs=("s3",), action=_create_bucket)
