-- Logs of a topic that have ended, as it was made anew or Kafka restored from a backup. What is stored of one has `log` in
-- place of the topic's name (here: stream, topic, sent_to; in the warehouse: _topic), so that its offsets are nobody
-- else's. Kafka allows no topic a name with an @.
CREATE TABLE former_logs (
    log text PRIMARY KEY CHECK (log LIKE stream || '@%'),
    stream text NOT NULL,
    topic_id text NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT now(),
    begun_by text NOT NULL,
    moved_at timestamptz,
    finished_at timestamptz,
    CHECK (finished_at IS NULL OR moved_at IS NOT NULL)
);

CREATE UNIQUE INDEX former_logs_unfinished ON former_logs (stream) WHERE finished_at IS NULL;

COMMENT ON COLUMN former_logs.topic_id IS 'as Kafka gave it when the topic was made';
COMMENT ON COLUMN former_logs.moved_at IS 'when all that is stored carried the name; null until then';
COMMENT ON COLUMN former_logs.finished_at IS 'when sink and audit could begin anew; null until then';

-- The names under which something of the stream is stored: its own, and those of its former logs.
CREATE FUNCTION logs_of(stream text) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT $1 UNION ALL SELECT former.log FROM former_logs AS former WHERE former.stream = $1
$$;

-- A letter of a former log is replayed into the topic as it is now.
ALTER TABLE dead_letter_replays ADD COLUMN sent_to text;
UPDATE dead_letter_replays SET sent_to = topic;
ALTER TABLE dead_letter_replays ALTER COLUMN sent_to SET NOT NULL;
DROP INDEX dead_letter_replays_topic_of_partition_sent_offset_idx;
CREATE INDEX ON dead_letter_replays (sent_to, of_partition, sent_offset);

COMMENT ON COLUMN dead_letter_replays.topic IS 'of the letter, or the log that it is of';
COMMENT ON COLUMN dead_letter_replays.sent_to IS 'what search_from and sent_offset are of: the topic, or the log that it was';

CREATE OR REPLACE VIEW replayed_records AS
SELECT sent_to AS topic, of_partition AS "partition", sent_offset AS "offset", of_partition, of_offset, sent_at
FROM dead_letter_replays
WHERE sent_at IS NOT NULL;
