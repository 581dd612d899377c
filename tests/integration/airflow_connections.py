"""Airflow's connections to a test's parts, as the stack defines them for its tasks."""

from __future__ import annotations

from etar.settings import ObjectStoreSettings, ReportStoreSettings, WarehouseSettings
from stack import airflow_connections
from stack.airflow_connections import Fields


def to_warehouse(settings: WarehouseSettings) -> Fields:
    return airflow_connections.warehouse(
        host=settings.host,
        port=settings.port,
        database=settings.database,
        user=settings.user,
        password=settings.password.get_secret_value(),
    )


def to_object_store(settings: ObjectStoreSettings) -> Fields:
    return airflow_connections.object_store(
        endpoint_url=settings.endpoint_url,
        region=settings.region,
        access_key_id=settings.access_key_id,
        secret_access_key=settings.secret_access_key.get_secret_value(),
    )


def to_report_store(settings: ReportStoreSettings) -> Fields:
    return airflow_connections.report_store(
        host=settings.host,
        port=settings.port,
        database=settings.database,
        user=settings.user,
        password=settings.password.get_secret_value(),
    )
