DROP INDEX CONCURRENTLY IF EXISTS {{.Schema}}.orders_open_idx;
DROP INDEX CONCURRENTLY IF EXISTS {{.Schema}}.orders_user_placed_idx;
