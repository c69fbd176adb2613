-- bfm-tags: area=tasks, tier=all
-- bfm-table: tasks
-- bfm-depends: create_projects

CREATE TYPE task_state AS ENUM ('open', 'doing', 'done');

CREATE TABLE tasks (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    title text NOT NULL CHECK (title <> ''),
    body text NOT NULL DEFAULT '',
    state task_state NOT NULL DEFAULT 'open',
    -- points for the parts of the work: design, code, review
    points integer[] NOT NULL DEFAULT '{0,0,0}' CHECK (cardinality(points) = 3),
    due_on date,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX tasks_project_idx ON tasks (project_id, state);
