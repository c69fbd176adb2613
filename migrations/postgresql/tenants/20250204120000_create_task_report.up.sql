-- Figures of a project. The function keeps to the tenant's own tables whoever calls it.
-- bfm-tags: area=reports, tier=gold
-- bfm-requires: connection=tenants target=20250202101500 type=version table=tasks

CREATE VIEW task_report AS
SELECT
    projects.id AS project_id,
    projects.name,
    count(tasks.id) FILTER (WHERE tasks.state <> 'done') AS open_tasks,
    count(tasks.id) FILTER (WHERE tasks.state = 'done') AS done_tasks,
    min(tasks.due_on) FILTER (WHERE tasks.state <> 'done') AS next_due
FROM {{.Schema}}.projects
LEFT JOIN {{.Schema}}.tasks ON tasks.project_id = projects.id
GROUP BY projects.id;

CREATE FUNCTION task_progress(project uuid) RETURNS numeric
LANGUAGE sql STABLE
SET search_path = {{.Schema}}
AS $fn$
    SELECT CASE WHEN count(*) = 0 THEN 0
        ELSE round(100.0 * count(*) FILTER (WHERE state = 'done') / count(*), 1)
    END
    FROM tasks
    WHERE project_id = project;
$fn$;
