-- What a tenant works on.
-- bfm-tags: area=projects, tier=all
-- bfm-table: projects

CREATE TABLE projects (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL CHECK (name <> ''),
    settings jsonb NOT NULL DEFAULT '{"labels": [], "limits": {"tasks": 1000}}',
    created_at timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz
);

CREATE UNIQUE INDEX projects_name_key ON projects (lower(name)) WHERE archived_at IS NULL;

COMMENT ON SCHEMA {{.Schema}} IS 'Tenant ''{{.Schema}}'', kept by BfM over connection {{.Connection}}';
