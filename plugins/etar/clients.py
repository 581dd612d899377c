"""Clients of the warehouse, the object store and the report store outside Airflow, made from the settings in one place.

Inside Airflow the providers' hooks make them, from connections.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from etar.settings import ObjectStoreSettings, ReportStoreSettings, WarehouseSettings

if TYPE_CHECKING:
    import ssl

    import psycopg
    from clickhouse_connect.driver.client import Client
    from mypy_boto3_s3 import S3Client


OF_ANOTHER_TYPE = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        38,  # CANNOT_PARSE_DATE
        41,  # CANNOT_PARSE_DATETIME
        53,  # TYPE_MISMATCH
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        376,  # CANNOT_PARSE_UUID
        407,  # DECIMAL_OVERFLOW
        691,  # UNKNOWN_ELEMENT_OF_ENUM
    }
)
"""Errors by which the warehouse's engine says that a value is none of its column's type."""


class WarehouseUnavailableError(ConnectionError):
    """The warehouse did not answer, or not for a reason that lies in what it was asked; the same may be asked again."""

    @classmethod
    def at(cls, settings: WarehouseSettings, error: Exception) -> Self:
        """What the client said, and where it was asked."""
        return cls(
            f"{error} (warehouse at {settings.host}:{settings.port}; "
            "is it running, and are the ETAR_WAREHOUSE_… settings right?)"
        )


@lru_cache(maxsize=1)
def trusted_certificates() -> ssl.SSLContext:
    """All that the machine trusts, read once.

    httpx reads them for each client, and for each call of ``httpx.get``: 70 ms of CPU, for plain HTTP as well.
    """
    import httpx

    return httpx.create_ssl_context()


def warehouse_client(settings: WarehouseSettings, /, **options: Any) -> Client:
    """A clickhouse-connect client on the settings' database.

    Args:
        options: of ``clickhouse_connect.get_client``; they win over the settings (``database="default"``, say).

    Raises:
        clickhouse_connect.driver.exceptions.Error: the warehouse is away, or refuses the login.
    """
    import clickhouse_connect

    from_settings = {
        "host": settings.host,
        "port": settings.port,
        "secure": settings.secure,
        "username": settings.user,
        "password": settings.password.get_secret_value(),
        "database": settings.database,
    }
    return clickhouse_connect.get_client(**(from_settings | options))


class WarehouseUser:
    """What asks the warehouse. A context manager; its client is made with the first question.

    Args:
        options: as of :func:`warehouse_client`.
    """

    def __init__(self, settings: WarehouseSettings, /, **options: Any) -> None:
        self._settings = settings
        self._options = options
        self._client: Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The next question, if there is one, makes another client."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connected(self) -> Client:
        if self._client is None:
            self._client = warehouse_client(self._settings, **self._options)
        return self._client


def object_store_client(settings: ObjectStoreSettings) -> S3Client:
    """A boto3 client; nothing is sent before its first use. The bucket is part of the path: no DNS is needed."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key.get_secret_value(),
        config=Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=30, retries={"max_attempts": 2}),
    )


def report_store_connection(settings: ReportStoreSettings, *, reading: bool = False) -> psycopg.Connection:
    """A connection to the database of reports, ledger and audit; times are UTC. Commits nothing by itself.

    Args:
        reading: nothing can be written with it, and no statement takes longer than 10 s.

    Raises:
        psycopg.OperationalError: PostgreSQL is away, or refuses the login.
    """
    import psycopg

    return psycopg.connect(
        host=settings.host,
        port=settings.port,
        dbname=settings.database,
        user=settings.user,
        password=settings.password.get_secret_value(),
        connect_timeout=5,
        # Of a server that is silent: else the kernel waits for two hours.
        tcp_user_timeout=30_000,
        options="-c TimeZone=UTC"
        + (" -c default_transaction_read_only=on -c statement_timeout=10s" if reading else ""),
    )
