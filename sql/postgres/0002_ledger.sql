-- The ledger: what is known of each minute of each stream, as the run that worked on it last found it. Written by the
-- pipeline's own steps only (etar.ledger).
CREATE TABLE minutes (
    stream text NOT NULL,
    minute timestamptz NOT NULL CHECK (minute = date_trunc('minute', minute, 'UTC')),
    state text NOT NULL CHECK (state IN ('open', 'settled', 'extracted', 'analysed', 'reported', 'failed')),
    run_id text NOT NULL,
    received bigint CHECK (received >= 0),
    duplicates bigint CHECK (duplicates >= 0),
    unique_events bigint CHECK (unique_events >= 0),
    late_events bigint CHECK (late_events BETWEEN 0 AND received),
    dead_letters bigint CHECK (dead_letters >= 0),
    offsets jsonb,
    settled_offsets jsonb,
    object_key text,
    object_size bigint,
    object_etag text,
    stages jsonb NOT NULL DEFAULT '{}',
    revision integer CHECK (revision >= 1),
    error text,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (stream, minute),
    CONSTRAINT counts_add_up CHECK (received = unique_events + duplicates),
    CONSTRAINT reported_is_counted CHECK (state <> 'reported' OR (revision IS NOT NULL AND unique_events IS NOT NULL)),
    CONSTRAINT failed_says_why CHECK ((state = 'failed') = (error IS NOT NULL))
);

COMMENT ON COLUMN minutes.state IS 'etar.ledger.State';
COMMENT ON COLUMN minutes.run_id IS 'the Airflow run that wrote last: <dag id>/<run id>';
COMMENT ON COLUMN minutes.received IS 'rows of the extract: each record once';
COMMENT ON COLUMN minutes.duplicates IS 'rows of the extract whose event was there already';
COMMENT ON COLUMN minutes.late_events IS 'rows of the extract that the broker took after the minute''s end and grace';
COMMENT ON COLUMN minutes.dead_letters IS 'bad records that the broker took in the minute (not: events of the minute)';
COMMENT ON COLUMN minutes.offsets IS 'of the extract, by partition: {"0": {"first": 5, "last": 17, "rows": 12}}';
COMMENT ON COLUMN minutes.settled_offsets IS 'by partition, the first offset that settling did not wait for: {"0": 18}';
COMMENT ON COLUMN minutes.object_etag IS 'of the extract in the object store, without quotes';
COMMENT ON COLUMN minutes.stages IS 'of that run: {"settle": {"started_at": …, "ended_at": … or null}, …}';
COMMENT ON COLUMN minutes.revision IS 'newest one reported; kept while the minute is worked on again';

-- One row for each revision of a minute's report, as the minute's row was when it was reported.
CREATE TABLE minute_revisions (
    LIKE minutes INCLUDING CONSTRAINTS INCLUDING DEFAULTS INCLUDING COMMENTS,
    PRIMARY KEY (stream, minute, revision)
);

-- Null for a revision whose run ended between publishing it and writing it down: what is known of it is its report.
ALTER TABLE minute_revisions ALTER COLUMN run_id DROP NOT NULL;
