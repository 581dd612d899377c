-- What operators did by the report API, and who: a row for each action that was asked for, also one that was refused,
-- written in the transaction of the action. Rows are only added.
CREATE TABLE operator_actions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    token text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    parameters jsonb NOT NULL,
    outcome text NOT NULL
);

CREATE INDEX operator_actions_at ON operator_actions (at);

COMMENT ON COLUMN operator_actions.token IS 'name of the token, as in api_tokens';
COMMENT ON COLUMN operator_actions.outcome IS 'done, or refused: and why';
