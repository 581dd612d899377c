-- Every revision of every minute's report. Nothing is updated or deleted: a minute's report is its highest revision.
CREATE TABLE reports (
    stream text NOT NULL,
    minute timestamptz NOT NULL CHECK (minute = date_trunc('minute', minute, 'UTC')),
    revision integer NOT NULL CHECK (revision >= 1),
    content jsonb NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, minute, revision)
);

COMMENT ON COLUMN reports.content IS 'etar.report.Report as JSON';
