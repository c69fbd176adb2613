DROP FUNCTION task_progress(uuid);
DROP VIEW task_report;
