-- Which topic the audit's marks are of: one that is made anew has the same name, and gives the same offsets to other records.
CREATE TABLE audited_topics (
    stream text PRIMARY KEY,
    topic_id text NOT NULL,
    known_since timestamptz NOT NULL DEFAULT now()
);

COMMENT ON COLUMN audited_topics.topic_id IS 'as Kafka gave it when the topic was made';
