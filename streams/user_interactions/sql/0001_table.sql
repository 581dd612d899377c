-- Events, one partition a minute. A record that the sink delivers twice has the same topic, partition and offset and
-- is replaced by itself: read with FINAL.
CREATE TABLE IF NOT EXISTS user_interactions
(
    event_id UUID,
    user_id UUID,
    session_id UUID,
    event_type LowCardinality(String),
    status LowCardinality(String),
    event_time DateTime64(3, 'UTC'),
    product_id Nullable(String),
    amount Nullable(Int64) COMMENT 'minor units',
    error_code LowCardinality(Nullable(String)),
    device LowCardinality(String),
    country LowCardinality(String),
    _topic LowCardinality(String),
    _partition Int32,
    _offset Int64,
    _timestamp DateTime64(3, 'UTC') COMMENT 'when the broker appended the record',
    event_minute DateTime('UTC') MATERIALIZED toStartOfMinute(event_time)
)
ENGINE = ReplacingMergeTree
PARTITION BY event_minute
ORDER BY (_topic, _partition, _offset)
-- The horizon. 1,440 partitions a day; expired minutes go as whole parts, never by rewriting one.
TTL event_minute + INTERVAL 24 HOUR
SETTINGS ttl_only_drop_parts = 1
