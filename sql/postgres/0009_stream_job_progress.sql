-- What each job of a stream last told of its progress: its metrics. A row is written over every few seconds.
CREATE TABLE stream_job_progress (
    job text PRIMARY KEY,
    progress jsonb NOT NULL,
    at timestamptz NOT NULL
);

COMMENT ON COLUMN stream_job_progress.job IS 'stream/job';
COMMENT ON COLUMN stream_job_progress.at IS 'when it was told, by this database''s clock';
