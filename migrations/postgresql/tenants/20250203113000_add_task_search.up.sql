-- Search in title and text, kept up to date by the database itself.
-- bfm-tags: area=tasks, tier=gold
-- bfm-table: tasks
-- bfm-depends: create_tasks
-- bfm-lock-timeout: 2s

ALTER TABLE tasks ADD COLUMN search tsvector
GENERATED ALWAYS AS (
    setweight(to_tsvector('simple', title), 'A') || setweight(to_tsvector('simple', body), 'B')
) STORED;

CREATE INDEX tasks_search_idx ON tasks USING gin (search);
