-- Sales, one partition a minute. A record that the sink delivers twice has the same topic, partition and offset and is
-- replaced by itself: read with FINAL.
CREATE TABLE IF NOT EXISTS transactions
(
    transaction_id UUID,
    user_id String,
    product_category LowCardinality(String),
    product_name LowCardinality(String),
    amount Decimal(18, 2),
    timestamp DateTime64(3, 'UTC'),
    payment_method LowCardinality(String),
    _topic LowCardinality(String),
    _partition Int32,
    _offset Int64,
    _timestamp DateTime64(3, 'UTC') COMMENT 'when the broker appended the record',
    event_minute DateTime('UTC') MATERIALIZED toStartOfMinute(timestamp)
)
ENGINE = ReplacingMergeTree
PARTITION BY event_minute
ORDER BY (_topic, _partition, _offset)
TTL event_minute + INTERVAL 26 HOUR
SETTINGS ttl_only_drop_parts = 1
