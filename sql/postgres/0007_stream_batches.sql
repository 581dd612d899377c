-- The newest micro-batch that each job of a stream has stored, written in the transaction that stores it: a batch that Spark
-- repeats after a crash changes nothing.
CREATE TABLE stream_batches (
    job text PRIMARY KEY,
    run text NOT NULL,
    batch_id bigint NOT NULL
);

COMMENT ON COLUMN stream_batches.job IS 'stream/job';
COMMENT ON COLUMN stream_batches.run IS 'id of the checkpoint, which numbers its batches from 0';
