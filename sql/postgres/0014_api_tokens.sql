-- Tokens of the report API that `etar token` gives out. A token itself is nowhere: it is 256 random bits, so that its
-- SHA-256 cannot be turned back by guessing, and needs neither salt nor a slow hash (NIST SP 800-63B, 5.1.2.2: a secret
-- of 112 bits or more is hashed with an approved one-way function). The two of the environment are not in here.
CREATE TABLE api_tokens (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    role text NOT NULL CHECK (role IN ('reader', 'operator', 'writer')),
    sha256 bytea NOT NULL UNIQUE CHECK (length(sha256) = 32),
    created_at timestamptz NOT NULL DEFAULT statement_timestamp(),
    expires_at timestamptz CHECK (expires_at >= created_at),
    revoked_at timestamptz,
    last_used_at timestamptz
);

CREATE INDEX api_tokens_name ON api_tokens (name);

COMMENT ON COLUMN api_tokens.name IS 'of its holder; several rows of one name are one token and those before it (rotate)';
COMMENT ON COLUMN api_tokens.expires_at IS 'null: never';
COMMENT ON COLUMN api_tokens.last_used_at IS 'to a minute';
