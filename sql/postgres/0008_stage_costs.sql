-- What a stage cost is kept beside its times. A row from before has no cost, and says so by having none: nothing is
-- known of it now.
COMMENT ON COLUMN minutes.stages IS
    'of that run: {"settle": {"started_at": …, "ended_at": … or null, "cost": {"rows": …, "bytes": …, "cpu_seconds": …}}, …}';
COMMENT ON COLUMN minute_revisions.stages IS
    'of that run: {"settle": {"started_at": …, "ended_at": … or null, "cost": {"rows": …, "bytes": …, "cpu_seconds": …}}, …}';

-- What each stage of each revision took, for whoever asks by SQL; null where it was not kept.
CREATE VIEW stage_costs AS
SELECT
    stream, minute, revision, stage.name AS stage,
    (stage.value #>> '{cost,rows}')::bigint AS "rows",
    (stage.value #>> '{cost,bytes}')::bigint AS bytes,
    (stage.value #>> '{cost,cpu_seconds}')::double precision AS cpu_seconds
FROM minute_revisions, jsonb_each(stages) AS stage (name, value);
