-- What the auditor has closed: one row for each partition and each minute of arrival, from the offset that Kafka gave
-- out first in that minute to the one after its last. The mark of a partition is its highest end_offset; below it the
-- counts stand here for good, whatever the table's TTL and Kafka's retention have taken since.
CREATE TABLE audited_offsets (
    stream text NOT NULL,
    "partition" integer NOT NULL CHECK ("partition" >= 0),
    minute timestamptz NOT NULL CHECK (minute = date_trunc('minute', minute, 'UTC')),
    first_offset bigint NOT NULL CHECK (first_offset >= 0),
    end_offset bigint NOT NULL,
    "rows" bigint NOT NULL CHECK ("rows" >= 0),
    dead_letters bigint NOT NULL CHECK (dead_letters >= 0),
    no_record bigint NOT NULL CHECK (no_record >= 0),
    lost bigint NOT NULL DEFAULT 0 CHECK (lost >= 0),
    lost_accepted_at timestamptz,
    closed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, "partition", minute),
    CHECK (end_offset - first_offset = "rows" + dead_letters + no_record + lost)
);

COMMENT ON COLUMN audited_offsets.minute IS 'when the broker took the records, not when their events happened';
COMMENT ON COLUMN audited_offsets."rows" IS 'records that are rows of the table, or were until its TTL';
COMMENT ON COLUMN audited_offsets.no_record IS 'offsets at which Kafka holds nothing for a reader (transaction markers)';
COMMENT ON COLUMN audited_offsets.lost IS 'in no place when they were closed, and no longer held by Kafka';
COMMENT ON COLUMN audited_offsets.lost_accepted_at IS 'when a person took note; until then every audit fails';

CREATE INDEX audited_offsets_lost ON audited_offsets (stream) WHERE lost > 0;

-- What the auditor changed, and why: runs of neighbouring offsets [first_offset, end_offset) that had the same done to
-- them. Written before it is done, so that no change goes without its entry.
CREATE TABLE audit_repairs (
    stream text NOT NULL,
    "partition" integer NOT NULL,
    first_offset bigint NOT NULL,
    end_offset bigint NOT NULL CHECK (end_offset > first_offset),
    repair text NOT NULL,
    reason text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, "partition", first_offset, end_offset, repair, reason)
);

COMMENT ON COLUMN audit_repairs.repair IS 'etar.audit.placement.Repair';
COMMENT ON COLUMN audit_repairs.reason IS 'etar.dead_letters.Reason of the letter that was filed or removed; else empty';
