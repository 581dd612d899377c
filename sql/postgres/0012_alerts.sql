-- How each alert stands, as the part `alerts` last found it, and what it told to whom. Written by that part only
-- (etar.alerts), but for silences, which people write.
CREATE TABLE alerts (
    alert text NOT NULL,
    labels jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('firing', 'pending', 'no data', 'well')),
    since timestamptz NOT NULL,
    told_at timestamptz CHECK (told_at IS NULL OR state = 'firing'),
    value double precision,
    severity text NOT NULL,
    summary text NOT NULL,
    description text NOT NULL,
    expr text NOT NULL,
    PRIMARY KEY (alert, labels)
);

COMMENT ON COLUMN alerts.labels IS 'of the series: {}, {"stream": …} or {"stream": …, "part": …}';
COMMENT ON COLUMN alerts.since IS 'when that state began; of a firing one, when its condition began to hold';
COMMENT ON COLUMN alerts.told_at IS 'when the notice of its start was written; null while nobody was told, as it is silenced';

-- What was to be told: written with the alert's new state, in one transaction, and sent after that.
CREATE TABLE alert_notices (
    id uuid PRIMARY KEY,
    alert text NOT NULL,
    labels jsonb NOT NULL,
    kind text NOT NULL CHECK (kind IN ('start', 'end')),
    severity text NOT NULL,
    title text NOT NULL,
    body text NOT NULL,
    at timestamptz NOT NULL
);

-- Each notice for each target. Begun is noted before it is sent, and sent after: one that is begun and neither sent nor
-- failed when its process ends is in doubt, and is sent again with a word that says so.
CREATE TABLE alert_deliveries (
    notice uuid NOT NULL REFERENCES alert_notices,
    target text NOT NULL,
    begun_at timestamptz,
    sent_at timestamptz,
    given_up_at timestamptz,
    problem text,
    PRIMARY KEY (notice, target),
    CHECK (sent_at IS NULL OR given_up_at IS NULL)
);

CREATE INDEX alert_deliveries_open ON alert_deliveries (notice) WHERE sent_at IS NULL AND given_up_at IS NULL;

COMMENT ON COLUMN alert_deliveries.target IS 'its name; never its address, which may hold a password';
COMMENT ON COLUMN alert_deliveries.begun_at IS 'of the try that is under way, or whose end is not known';

CREATE TABLE alert_silences (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert text NOT NULL,
    stream text,
    begun_at timestamptz NOT NULL,
    until timestamptz NOT NULL CHECK (until > begun_at),
    why text NOT NULL CHECK (why <> ''),
    "by" text NOT NULL,
    lifted_at timestamptz
);

CREATE INDEX alert_silences_until ON alert_silences (until) WHERE lifted_at IS NULL;

COMMENT ON COLUMN alert_silences.stream IS 'null: of every stream';
COMMENT ON COLUMN alert_silences.lifted_at IS 'when a person ended it before its time';

-- The newest look: one row, written over. Whoever reads old numbers here knows by their age that nobody looks.
CREATE TABLE alert_look (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    looked_at timestamptz NOT NULL,
    numbers jsonb NOT NULL,
    problems jsonb NOT NULL,
    targets jsonb NOT NULL
);

COMMENT ON COLUMN alert_look.numbers IS '[[metric, {label: value}, number], …]';
COMMENT ON COLUMN alert_look.problems IS 'what could not be asked, in words';
COMMENT ON COLUMN alert_look.targets IS 'names of those that are told';

-- What the rules ask every few seconds, beside the minutes that failed.
CREATE INDEX audited_offsets_by_minute ON audited_offsets (stream, minute);
