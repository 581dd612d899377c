-- Records that could not become a row, with the reason (etar.dead_letters.Reason) and their bytes as Kafka held them.
CREATE TABLE IF NOT EXISTS dead_letters
(
    _topic LowCardinality(String),
    _partition Int32,
    _offset Int64,
    _timestamp DateTime64(3, 'UTC') COMMENT 'when the broker appended the record',
    reason LowCardinality(String),
    detail String,
    key Nullable(String) COMMENT 'raw bytes; null as the record had it',
    value Nullable(String) COMMENT 'raw bytes; null as the record had it'
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(_timestamp)
ORDER BY (_topic, _partition, _offset)
TTL toDateTime(_timestamp) + INTERVAL 30 DAY
SETTINGS ttl_only_drop_parts = 1
