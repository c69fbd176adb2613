-- The second layout (column last_status), as older servers left it, with rows as they are found in the field.
CREATE TABLE migrations_list (
    id SERIAL PRIMARY KEY, migration_id VARCHAR(255) NOT NULL UNIQUE, schema VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL, version VARCHAR(50) NOT NULL, name VARCHAR(255) NOT NULL,
    connection VARCHAR(255) NOT NULL, backend VARCHAR(50) NOT NULL, last_status VARCHAR(20) DEFAULT 'pending',
    last_applied_at TIMESTAMP, last_error_message TEXT, last_history_id INTEGER,
    first_seen_at TIMESTAMP, last_updated_at TIMESTAMP);
CREATE INDEX idx_migrations_list_connection ON migrations_list (connection);
CREATE TABLE migrations_history (
    id SERIAL PRIMARY KEY,
    migration_id VARCHAR(255) NOT NULL REFERENCES migrations_list (migration_id) ON DELETE CASCADE,
    schema VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL, version VARCHAR(50) NOT NULL,
    connection VARCHAR(255) NOT NULL, backend VARCHAR(50) NOT NULL, status VARCHAR(20) NOT NULL,
    error_message TEXT, executed_by VARCHAR(255), execution_method VARCHAR(20) NOT NULL DEFAULT 'api',
    execution_context TEXT, applied_at TIMESTAMP, created_at TIMESTAMP);
-- the name that this server wants for an index of its own
CREATE INDEX idx_migrations_history_migration_id_id ON migrations_history (migration_id, id);

INSERT INTO migrations_list (migration_id, schema, table_name, version, name, connection, backend, last_status,
    last_applied_at, last_error_message, first_seen_at, last_updated_at) VALUES
    ('20250101120000_create_users_postgresql_core', 'core', 'users', '20250101120000', 'create_users', 'core',
     'postgresql', 'success', '2025-01-01 12:30:00', NULL, '2025-01-01 12:00:00', '2025-01-01 12:30:00'),
    -- undone by the history, but imported over from the first layout since
    ('20250102120000_create_orders_postgresql_core', 'core', 'orders', '20250102120000', 'create_orders', 'core',
     'postgresql', 'success', '2025-01-02 12:30:00', NULL, NULL, NULL),
    ('20250106120000_grow_postgresql_core', 'core', '', '20250106120000', 'grow', 'core',
     'postgresql', 'failed', '2025-01-06 12:30:00', 'column exists', NULL, NULL),
    ('20250107120000_fail_postgresql_core', 'core', '', '20250107120000', 'fail', 'core',
     'postgresql', 'failed', NULL, 'it broke', NULL, NULL),
    ('20250103120000_create_items_postgresql_tenants', '', '', '20250103120000', 'create_items', 'tenants',
     'postgresql', 'pending', NULL, NULL, NULL, NULL),
    -- the schema was taken as what stands before the first '_'
    ('tenant_a_20250103120000_create_items_postgresql_tenants', 'tenant', '', '20250103120000', 'create_items',
     'tenants', 'postgresql', 'success', '2025-01-03 12:30:00', NULL, NULL, NULL),
    ('tenant_b_tenants_20250103120000_create_items', 'tenant_b', '', '20250103120000', 'create_items',
     'tenants', 'postgresql', 'success', '2025-01-03 12:31:00', NULL, NULL, NULL),
    ('tenant_c_20250103120000_create_items_postgresql_tenants', 'tenant_c', '', '20250103120000', 'create_items',
     'tenants', 'postgresql', 'success', '2025-01-03 12:32:00', NULL, NULL, NULL),
    ('tenant_c_20250103120000_create_items_postgresql_tenants_rollback', 'tenant_c', '', '20250103120000',
     'create_items', 'tenants', 'postgresql', 'success', '2025-01-03 12:40:00', NULL, NULL, NULL),
    -- a schema with 14 digits in it
    ('t_20991231235959_20250103120000_create_items_postgresql_tenants', 't_20991231235959', '', '20991231235959',
     'create_items', 'tenants', 'postgresql', 'success', '2025-01-03 12:33:00', NULL, NULL, NULL),
    -- the connection was taken as what stands behind the last '_'
    ('20250104120000_regions_postgresql_core_eu', 'eu', '', '20250104120000', 'regions_postgresql_core', 'eu',
     'postgresql', 'success', '2025-01-04 12:30:00', NULL, NULL, NULL),
    -- recorded as rolled back for its name alone is what older servers did with the next one's history
    ('20250105120000_undo_rollback_postgresql_core', 'core', '', '20250105120000', 'undo_rollback', 'core',
     'postgresql', 'success', '2025-01-05 12:30:00', NULL, NULL, NULL),
    -- the script is gone
    ('20240101000000_gone_postgresql_core', 'core', '', '20240101000000', 'gone', 'core',
     'postgresql', 'success', '2024-01-01 00:30:00', NULL, NULL, NULL),
    ('tenant_a_20240102000000_gone_too_postgresql_tenants', 'tenant_a', '', '20240102000000', 'gone_too', 'tenants',
     'postgresql', 'success', '2024-01-02 00:30:00', NULL, NULL, NULL),
    -- junk
    ('20250101120000_create_users_postgresql_core_down', 'core', 'users', '20250101120000', 'create_users', 'core',
     'postgresql', 'success', '2025-01-01 12:31:00', NULL, NULL, NULL),
    ('20250101120000_create_users', 'core', 'users', '20250101120000', 'create_users', 'core',
     'postgresql', 'pending', NULL, NULL, NULL, NULL),
    ('tenant_a_20250108120000_late_postgresql_tenants', 'wrong', '', 'wrong', 'wrong', 'wrong', 'wrong', 'success',
     '2025-01-08 12:30:00', NULL, NULL, NULL),
    ('what is this', '', '', '', '', '', '', NULL, NULL, NULL, NULL, NULL);

INSERT INTO migrations_history (migration_id, schema, table_name, version, connection, backend, status,
    error_message, executed_by, execution_method, execution_context, applied_at, created_at) VALUES
    ('20250101120000_create_users_postgresql_core', 'core', 'users', '20250101120000', 'core', 'postgresql',
     'pending', NULL, 'api_user', 'api', '{"source":"ci"}', '2025-01-01 12:29:59', '2025-01-01 12:29:59'),
    ('20250101120000_create_users_postgresql_core', 'core', 'users', '20250101120000', 'core', 'postgresql',
     'success', NULL, 'api_user', 'api', '{"source":"ci"}', '2025-01-01 12:30:00', '2025-01-01 12:30:00'),
    ('20250101120000_create_users_postgresql_core_down', 'core', 'users', '20250101120000', 'core', 'postgresql',
     'success', NULL, NULL, 'manual', NULL, '2025-01-01 12:31:00', NULL),
    ('20250102120000_create_orders_postgresql_core', 'core', 'orders', '20250102120000', 'core', 'postgresql',
     'success', NULL, NULL, 'api', NULL, '2025-01-02 12:30:00', '2025-01-02 12:30:00'),
    ('20250102120000_create_orders_postgresql_core', 'core', 'orders', '20250102120000', 'core', 'postgresql',
     'rolled_back', NULL, NULL, 'api', NULL, '2025-01-02 12:35:00', '2025-01-02 12:35:00'),
    ('20250106120000_grow_postgresql_core', 'core', '', '20250106120000', 'core', 'postgresql',
     'success', NULL, NULL, 'api', NULL, '2025-01-06 12:30:00', NULL),
    ('20250106120000_grow_postgresql_core', 'core', '', '20250106120000', 'core', 'postgresql',
     'failed', 'column exists', NULL, 'api', NULL, NULL, NULL),
    ('20250107120000_fail_postgresql_core', 'core', '', '20250107120000', 'core', 'postgresql',
     'failed', 'it broke', NULL, 'api', NULL, NULL, NULL),
    ('tenant_a_20250103120000_create_items_postgresql_tenants', 'tenant_a', '', '20250103120000', 'tenants',
     'postgresql', 'success', NULL, NULL, 'api', NULL, '2025-01-03 12:30:00', '2025-01-03 12:30:00'),
    ('tenant_c_20250103120000_create_items_postgresql_tenants', 'tenant_c', '', '20250103120000', 'tenants',
     'postgresql', 'success', NULL, NULL, 'api', NULL, '2025-01-03 12:32:00', NULL),
    ('tenant_c_20250103120000_create_items_postgresql_tenants_rollback', 'tenant_c', '', '20250103120000', 'tenants',
     'postgresql', 'success', NULL, NULL, 'api', NULL, '2025-01-03 12:40:00', NULL);
