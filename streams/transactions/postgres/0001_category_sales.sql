-- Sales a minute and category: what the stream job has counted until the minute's report says it, which is final.
CREATE TABLE category_sales (
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    category text NOT NULL,
    total_sales numeric(18, 2) NOT NULL,
    transaction_count bigint NOT NULL,
    streamed_sales numeric(18, 2) NOT NULL DEFAULT 0,
    streamed_count bigint NOT NULL DEFAULT 0,
    final boolean NOT NULL DEFAULT false,
    revision integer,
    batch_id bigint,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (window_start, category)
);

COMMENT ON COLUMN category_sales.total_sales IS 'what holds now: the stream job''s, and once final the report''s';
COMMENT ON COLUMN category_sales.streamed_sales IS 'what the stream job has counted, also once final';
COMMENT ON COLUMN category_sales.revision IS 'of the report that made it final';
COMMENT ON COLUMN category_sales.batch_id IS 'of the stream job''s last change';

CREATE FUNCTION category_sales_become_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A report's revisions are posted one after the other; a row is never taken back to an older one.
    INSERT INTO category_sales AS known
        (window_start, window_end, category, total_sales, transaction_count, final, revision)
    SELECT new.minute, new.minute + interval '1 minute', category,
        coalesce((new.content -> 'sales_by_category' ->> category)::numeric, 0),
        coalesce((new.content -> 'transactions_by_category' ->> category)::bigint, 0),
        true, new.revision
    FROM (
        SELECT jsonb_object_keys(coalesce(new.content -> 'sales_by_category', '{}')) AS category
        UNION SELECT category FROM category_sales WHERE window_start = new.minute
    ) AS named
    ORDER BY category  -- as the job does: of two who lock the same rows, none waits for the other's
    ON CONFLICT (window_start, category) DO UPDATE SET
        total_sales = excluded.total_sales,
        transaction_count = excluded.transaction_count,
        final = true,
        revision = excluded.revision,
        updated_at = now()
    WHERE known.revision IS NULL OR known.revision <= excluded.revision;
    RETURN NULL;
END
$$;

CREATE TRIGGER category_sales_become_final AFTER INSERT ON reports
FOR EACH ROW WHEN (new.stream = 'transactions') EXECUTE FUNCTION category_sales_become_final();

-- What was reported before there was this table.
INSERT INTO category_sales (window_start, window_end, category, total_sales, transaction_count, final, revision)
SELECT minute, minute + interval '1 minute', category,
    coalesce((content -> 'sales_by_category' ->> category)::numeric, 0),
    coalesce((content -> 'transactions_by_category' ->> category)::bigint, 0),
    true, revision
FROM (SELECT DISTINCT ON (minute) * FROM reports WHERE stream = 'transactions' ORDER BY minute, revision DESC) AS newest,
    jsonb_object_keys(coalesce(content -> 'sales_by_category', '{}')) AS category;
