-- What became of dead letters, by people and by the auditor: who changed what, when, and by which command. A row is
-- never updated or deleted; a letter's state is what its latest change with a state made it, and open without one.
CREATE TABLE dead_letter_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    "partition" integer NOT NULL,
    "offset" bigint NOT NULL,
    action text NOT NULL
        CHECK (action IN ('fixed', 'replayed', 'replay_withdrawn', 'discarded', 'restored', 'rescued')),
    state text CHECK (state IN ('open', 'replayed', 'discarded')),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_by text NOT NULL,
    command text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}',
    value bytea,
    CHECK ((value IS NOT NULL) = (action = 'fixed'))
);

CREATE INDEX ON dead_letter_changes (topic, "partition", "offset", id);

COMMENT ON COLUMN dead_letter_changes.action IS 'rescued: the auditor found that the record is a good row after all';
COMMENT ON COLUMN dead_letter_changes.state IS 'the letter''s state from here on; null where it stays as it is';
COMMENT ON COLUMN dead_letter_changes.value IS 'the fixed record; the latest one is what a replay sends';

-- Each replay, written before its record is sent and completed with the record's place in Kafka. One without a place
-- is in doubt: the next replay looks for its id among the records appended since.
CREATE TABLE dead_letter_replays (
    replay_id uuid PRIMARY KEY,
    topic text NOT NULL,
    of_partition integer NOT NULL,
    of_offset bigint NOT NULL,
    key bytea,
    value bytea,
    search_from bigint NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_offset bigint,
    sent_at timestamptz,
    withdrawn_at timestamptz,
    CHECK ((sent_offset IS NULL) = (sent_at IS NULL)),
    CHECK (sent_at IS NULL OR withdrawn_at IS NULL)
);

CREATE INDEX ON dead_letter_replays (topic, of_partition, of_offset);
CREATE INDEX ON dead_letter_replays (topic, of_partition, sent_offset);
CREATE INDEX ON dead_letter_replays (topic) WHERE sent_at IS NULL AND withdrawn_at IS NULL;

COMMENT ON COLUMN dead_letter_replays.of_partition IS 'of the letter, and of its replay: a user''s events stay together';
COMMENT ON COLUMN dead_letter_replays.search_from IS 'end of the partition before the record was sent';

-- Letters that are not open. A letter counts as replayed from before its record is sent, so that nobody else makes a
-- row of it meanwhile.
CREATE VIEW dead_letter_states AS
SELECT topic, "partition", "offset", state, changed_at
FROM dead_letter_changes AS change
WHERE state <> 'open' AND NOT EXISTS (
    SELECT FROM dead_letter_changes AS later
    WHERE later.topic = change.topic AND later."partition" = change."partition" AND later."offset" = change."offset"
        AND later.state IS NOT NULL AND later.id > change.id
);

-- Records in Kafka that are replays of dead letters: they are not a producer's.
CREATE VIEW replayed_records AS
SELECT topic, of_partition AS "partition", sent_offset AS "offset", of_partition, of_offset, sent_at
FROM dead_letter_replays
WHERE sent_at IS NOT NULL;
