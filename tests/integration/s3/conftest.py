"""The S3 servers that etar runs on, each with the same bucket and users: versitygw natively, MinIO in containers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr

from etar.clients import object_store_client
from etar.settings import ObjectStoreSettings
from stack.layout import BUILD, REPOSITORY
from stack.parts import Stack, object_store
from stack.parts.base import answers
from stack.waiting import wait_until
from tests.conftest import new_stack, running_part

_SERVER, _MC = BUILD / "bin" / "minio", BUILD / "bin" / "mc"
ROOT = "etar-root"


def root_secret(stack: Stack) -> str:
    return stack.settings["ETAR_STACK_S3_ROOT_SECRET"]


@contextmanager
def running_minio(stack: Stack) -> Iterator[int]:
    """MinIO where the stack's settings say that S3 is, with the bucket and the users; yields its process id."""
    port = stack.settings.port("S3")
    address = f"http://127.0.0.1:{port}"
    command = [str(_SERVER), "server", "--address", f"127.0.0.1:{port}", "--console-address", "127.0.0.1:0"]
    environment = {"MINIO_ROOT_USER": ROOT, "MINIO_ROOT_PASSWORD": root_secret(stack), "MINIO_BROWSER": "off"}
    is_new, log = not stack.layout.data("minio").exists(), stack.layout.log("minio")
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*command, str(stack.layout.data("minio"))],
            env=stack.base_environment | environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        return answers(f"{address}/minio/health/live", timeout=10)

    try:
        wait_until(is_up, timeout=90, what=f"MinIO to answer ({log})")
        if is_new:
            set_up_minio(stack)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def set_up_minio(stack: Stack) -> None:
    """The bucket, and the users with their policies, by the script that the containers run."""
    secrets = stack.layout.data("minio-secrets")
    secrets.mkdir(exist_ok=True)
    settings = stack.settings.of(ObjectStoreSettings)
    for name, secret in {
        "minio_root_password": root_secret(stack),
        "etar_s3_secret_access_key": settings.secret_access_key.get_secret_value(),
        "spark_s3_secret": object_store.spark_credentials(stack)[1],
        "reader_s3_secret": object_store.reader_settings(stack)["ETAR_S3_SECRET_ACCESS_KEY"],
    }.items():
        (secrets / name).write_text(secret)
    here = {
        "PATH": f"{_MC.parent}{os.pathsep}{os.environ['PATH']}",
        "MINIO_URL": f"http://127.0.0.1:{stack.settings.port('S3')}",
        "MC_CONFIG_DIR": str(stack.layout.data("mc")),
        "SECRETS": str(secrets),
        "POLICIES": str(object_store.POLICIES),
    }
    script = ["sh", str(REPOSITORY / "docker" / "minio" / "set-up.sh")]
    for time in ("first", "again"):
        done = subprocess.run(script, env=here, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{time}: {done.stdout}{done.stderr}"


@dataclass(frozen=True)
class Kind:
    """One implementation of S3."""

    name: str
    running: Callable[[Stack], AbstractContextManager[int]]


@dataclass(frozen=True)
class Store:
    """A running S3 server and the stack whose settings say where it is."""

    kind: Kind
    stack: Stack

    @property
    def settings(self) -> ObjectStoreSettings:
        return self.stack.settings.of(ObjectStoreSettings)

    @property
    def bucket(self) -> str:
        return self.settings.bucket

    def client(self, key_id: str | None = None, secret: str | None = None) -> Any:
        """A client of the pipeline's user, or of another one."""
        settings = self.settings
        if key_id is not None and secret is not None:
            settings = settings.model_copy(update={"access_key_id": key_id, "secret_access_key": SecretStr(secret)})
        return object_store_client(settings)

    @property
    def spark(self) -> Any:
        return self.client(*object_store.spark_credentials(self.stack))

    @property
    def reader(self) -> Any:
        settings = object_store.reader_settings(self.stack)
        return self.client(settings["ETAR_S3_ACCESS_KEY_ID"], settings["ETAR_S3_SECRET_ACCESS_KEY"])

    @property
    def root(self) -> Any:
        return self.client(ROOT, root_secret(self.stack))


VERSITYGW = Kind("versitygw", lambda stack: running_part("s3", stack))
MINIO = Kind("minio", running_minio)
_minio_is_built = all(os.access(program, os.X_OK) for program in (_SERVER, _MC))


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(VERSITYGW, id="versitygw"),
        pytest.param(
            MINIO,
            id="minio",
            marks=pytest.mark.skipif(not _minio_is_built, reason="MinIO is not built; `make test-long` builds it"),
        ),
    ],
)
def kind(request: pytest.FixtureRequest) -> Kind:
    each: Kind = request.param
    return each


@pytest.fixture(scope="session")
def store(kind: Kind) -> Iterator[Store]:
    with new_stack() as stack, kind.running(stack):
        yield Store(kind, stack)


@pytest.fixture
def idle_stack() -> Iterator[Stack]:
    """A stack of the test's own, to start and kill a server in."""
    with new_stack() as stack:
        yield stack
