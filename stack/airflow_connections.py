"""What Airflow is told of the places its tasks reach: the fields of a connection of each kind, as Airflow reads them
from JSON in an environment variable or a file."""

from __future__ import annotations

Fields = dict[str, object]


def http(*, host: str, port: int, token: str) -> Fields:
    """A service of ours: the report API, the Spark that stays."""
    return {"conn_type": "http", "schema": "http", "host": host, "port": port, "password": token}


def warehouse(*, host: str, port: int, database: str, user: str, password: str) -> Fields:
    return {
        "conn_type": "clickhouse",
        "host": host,
        "port": port,
        "schema": database,
        "login": user,
        "password": password,
    }


def object_store(*, endpoint_url: str, region: str, access_key_id: str, secret_access_key: str) -> Fields:
    return {
        "conn_type": "aws",
        "login": access_key_id,
        "password": secret_access_key,
        "extra": {"endpoint_url": endpoint_url, "region_name": region},
    }


def report_store(*, host: str, port: int, database: str, user: str, password: str) -> Fields:
    return {
        "conn_type": "postgres",
        "host": host,
        "port": port,
        "schema": database,
        "login": user,
        "password": password,
        "extra": {"options": "-c TimeZone=UTC", "connect_timeout": 5},
    }


def spark(*, master: str, properties_file: str) -> Fields:
    """Where a driver is submitted to, which runs beside the task."""
    return {
        "conn_type": "spark",
        "host": master,
        "extra": {"deploy-mode": "client", "properties-file": properties_file},
    }
