-- The table keeps a minute two hours longer than the horizon: what arrives within the horizon's last second can still
-- be reported and audited (PipelineSettings.horizon, PipelineSettings.retention).
ALTER TABLE user_interactions MODIFY TTL event_minute + INTERVAL 26 HOUR;
