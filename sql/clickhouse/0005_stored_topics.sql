-- Which topic the rows and dead letters under a name are of: one that is made anew has the same name, and gives the same
-- offsets to other records. Written by the native sink before the first record.
CREATE TABLE IF NOT EXISTS stored_topics
(
    _topic String,
    topic_id String COMMENT 'as Kafka gave it when the topic was made',
    known_since DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (_topic, topic_id)
