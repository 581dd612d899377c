-- What the account of a range needs beside the auditor's counts: when the rows of each report arrived, and how many of
-- the bad records were too late. Null where it was written before this was kept.
ALTER TABLE minutes ADD COLUMN arrivals jsonb;
ALTER TABLE minute_revisions ADD COLUMN arrivals jsonb;
CREATE INDEX audit_repairs_noted ON audit_repairs (stream, noted_at);
ALTER TABLE audited_offsets ADD COLUMN too_late bigint CHECK (too_late BETWEEN 0 AND dead_letters);

COMMENT ON COLUMN minutes.arrivals IS
    'rows of the extract by minute of arrival and partition: {"2026-11-21T10:31Z": {"0": 12}}';
COMMENT ON COLUMN minute_revisions.arrivals IS
    'rows of the extract by minute of arrival and partition: {"2026-11-21T10:31Z": {"0": 12}}';
COMMENT ON COLUMN audited_offsets.too_late IS 'dead letters whose event was older than the horizon when it arrived';
