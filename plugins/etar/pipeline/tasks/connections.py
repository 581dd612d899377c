"""Airflow's connections as the clients that the plain functions take.

``etar_warehouse`` (clickhouse), ``etar_s3`` (aws), ``etar_api`` (http; its password is the write token) and
``etar_ledger`` (postgres).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg


@contextmanager
def warehouse() -> Iterator[Any]:
    """A clickhouse-connect client."""
    from airflow.providers.clickhousedb.hooks.clickhouse import ClickHouseHook

    with closing(ClickHouseHook(clickhouse_conn_id="etar_warehouse").get_client()) as client:
        yield client


def object_store() -> Any:
    """A boto3 S3 client."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    hook = S3Hook("etar_s3")
    # As hook.get_conn() does, but for the name of the calling operator in the client's user agent: to find it, the hook
    # reads the source of every function on the stack, an eighth of a task's processor time.
    endpoint = hook.conn_config.get_service_endpoint_url("s3")
    session = hook.get_session(region_name=hook.region_name)
    return session.client("s3", endpoint_url=endpoint, config=hook.config, verify=hook.verify)


def report_api() -> Any:
    """An HttpHook that posts as the API's writer."""
    return http_with_token("etar_api")


def http_with_token(conn_id: str) -> Any:
    """An HttpHook that posts with the connection's password as its token."""
    from airflow.providers.http.hooks.http import HttpHook

    from etar.pipeline.publish import BearerToken

    http = HttpHook("POST", http_conn_id=conn_id)
    # Airflow masks a connection's password in logs; the hook itself would send it as basic auth, with a login only.
    token = BearerToken(http.get_connection(conn_id).password)
    http.auth_type = lambda *_: token
    return http


@contextmanager
def ledger_connection() -> Iterator[psycopg.Connection[Any]]:
    """A psycopg connection to the database of reports and ledger. Take one for each use: PostgreSQL may be started
    anew while a step waits or works."""
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    with closing(PostgresHook("etar_ledger").get_conn()) as connection:
        yield connection
