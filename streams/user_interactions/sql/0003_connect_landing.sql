-- What the official ClickHouse connector writes to. It checks only names and writes RowBinary, so a value that a column
-- cannot take costs its whole batch: every field of an event is Nullable here, and of the type that Avro gives it. The
-- place in Kafka is not, as without it no row may be stored. Nothing stays in this table.
CREATE TABLE IF NOT EXISTS user_interactions_landing
(
    event_id Nullable(String),
    user_id Nullable(String),
    session_id Nullable(String),
    event_type Nullable(String),
    status Nullable(String),
    event_time Nullable(DateTime64(3, 'UTC')),
    product_id Nullable(String),
    amount Nullable(Int64),
    error_code Nullable(String),
    device Nullable(String),
    country Nullable(String),
    _topic String,
    _partition Int32,
    _offset Int64,
    _timestamp DateTime64(3, 'UTC')
)
ENGINE = Null;
-- What is a row goes on, by the rules of etar.records; what is not stays out without an error, which would cost the
-- batch, and the auditor files it from Kafka with its reason. The bounds are PipelineSettings.horizon and max_ahead.
-- U+FFFD is what a converter makes of bytes that are no UTF-8: such a record, too, is left to the auditor, who sees them.
CREATE MATERIALIZED VIEW IF NOT EXISTS user_interactions_landed TO user_interactions AS
WITH
    toUnixTimestamp64Milli(landed.event_time) AS happened,
    toUnixTimestamp64Milli(landed._timestamp) AS appended,
    concatWithSeparator(
        ' ', landed.event_type, landed.status, landed.device, landed.country, ifNull(landed.product_id, ''),
        ifNull(landed.error_code, '')
    ) AS texts
SELECT
    toUUIDOrZero(assumeNotNull(landed.event_id)) AS event_id,
    toUUIDOrZero(assumeNotNull(landed.user_id)) AS user_id,
    toUUIDOrZero(assumeNotNull(landed.session_id)) AS session_id,
    assumeNotNull(landed.event_type) AS event_type,
    assumeNotNull(landed.status) AS status,
    assumeNotNull(landed.event_time) AS event_time,
    landed.product_id AS product_id,
    landed.amount AS amount,
    landed.error_code AS error_code,
    assumeNotNull(landed.device) AS device,
    assumeNotNull(landed.country) AS country,
    landed._topic AS _topic,
    landed._partition AS _partition,
    landed._offset AS _offset,
    landed._timestamp AS _timestamp
FROM user_interactions_landing AS landed
WHERE happened > appended - 24 * 3600 * 1000
    AND happened <= appended + 300 * 1000
    AND toString(toUUIDOrZero(landed.event_id)) = lower(landed.event_id)
    AND toString(toUUIDOrZero(landed.user_id)) = lower(landed.user_id)
    AND toString(toUUIDOrZero(landed.session_id)) = lower(landed.session_id)
    -- Null as soon as one of the needed texts is.
    AND isValidUTF8(texts)
    AND position(texts, '\xEF\xBF\xBD') = 0
