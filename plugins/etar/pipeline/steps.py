"""The tasks of ``etar_pipeline``: where settings and Airflow's connections meet the plain functions.

Each names its minute from the run's data interval and returns keys and counts for XCom. The connections are
``etar_warehouse`` (clickhouse), ``etar_s3`` (aws) and ``etar_api`` (http; its password is the write token).
The functions' docstrings are what the Airflow UI shows, as Markdown, of the tasks: one paragraph each.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import Any

from etar.minute import MinuteWindow
from etar.settings import KafkaSettings, ObjectStoreSettings, PipelineSettings, get_settings
from etar.streams import USER_INTERACTIONS

_LOG = logging.getLogger(__name__)
_STREAM = USER_INTERACTIONS


def settle(data_interval_start: datetime | None = None, data_interval_end: datetime | None = None) -> dict[str, int]:
    """Wait until the sink has committed every offset that Kafka held at the minute's end plus the grace. Returns the
    offset reached for each partition."""
    from etar.kafka_offsets import TopicOffsets
    from etar.pipeline.settle import wait_until_settled

    window = MinuteWindow.from_data_interval(data_interval_start, data_interval_end)
    policy = get_settings(PipelineSettings)
    with TopicOffsets.connect(_STREAM.topic, settings=get_settings(KafkaSettings)) as offsets:
        reached = wait_until_settled(
            window,
            offsets=offsets,
            group=_STREAM.sink_group,
            grace=policy.grace,
            timeout=policy.settle_timeout,
            now=_now,
            sleep=time.sleep,
        )
    _LOG.info("%s: settled; the sink has committed %s", window, reached)
    return {str(partition): offset for partition, offset in reached.items()}


def extract(data_interval_start: datetime | None = None, data_interval_end: datetime | None = None) -> dict[str, Any]:
    """Copy the minute's rows from the warehouse into one Parquet object. Returns the minute, its number of rows, the
    object's URI (none for an empty minute, which gets no object) and the URI for the analysis."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.providers.clickhousedb.hooks.clickhouse import ClickHouseHook

    from etar.pipeline.extract import extract_minute

    window = MinuteWindow.from_data_interval(data_interval_start, data_interval_end)
    warehouse = ClickHouseHook(clickhouse_conn_id="etar_warehouse").get_client()
    try:
        extracted = extract_minute(
            window,
            stream=_STREAM,
            warehouse=warehouse,
            store=S3Hook("etar_s3").get_conn(),
            bucket=get_settings(ObjectStoreSettings).bucket,
            horizon=get_settings(PipelineSettings).horizon,
            now=_now,
        )
    finally:
        warehouse.close()
    _LOG.info("%s: %d rows in %s", window, extracted.rows, extracted.source or "no object")
    return extracted.as_xcom()


def report(
    extracted: dict[str, Any],
    data_interval_start: datetime | None = None,
    data_interval_end: datetime | None = None,
) -> dict[str, Any]:
    """Post the analysis, or the zeros of an empty minute, to the report API. Returns the minute and its revision."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.providers.http.hooks.http import HttpHook

    from etar.pipeline.publish import BearerToken, publish, report_of, summary

    window = MinuteWindow.from_data_interval(data_interval_start, data_interval_end)
    made = report_of(
        window,
        rows=extracted["rows"],
        stream=_STREAM,
        store=S3Hook("etar_s3").get_conn(),
        bucket=get_settings(ObjectStoreSettings).bucket,
    )
    api = HttpHook("POST", http_conn_id="etar_api")
    # Airflow masks a connection's password in logs; the hook itself would send it as basic auth, with a login only.
    token = BearerToken(api.get_connection(api.http_conn_id).password)
    api.auth_type = lambda *_: token
    published = publish(made, http=api)
    _LOG.info(summary(published))
    return {"minute": str(window), "revision": published.revision}


def _now() -> datetime:
    return datetime.now(UTC)
