-- The first layout, as older servers left it, with rows as they are found in the field.
CREATE TABLE bfm_migrations (
    id SERIAL PRIMARY KEY, migration_id VARCHAR(255) UNIQUE, schema VARCHAR(255), table_name VARCHAR(255),
    version VARCHAR(50), connection VARCHAR(255), backend VARCHAR(50), applied_at TIMESTAMP, status VARCHAR(20),
    error_message TEXT, created_at TIMESTAMP);

INSERT INTO bfm_migrations (migration_id, schema, table_name, version, connection, backend, applied_at, status,
    error_message, created_at) VALUES
    ('core_users_20250101120000_create_users', 'core', 'users', '20250101120000', 'core', 'postgresql',
     '2025-01-01 12:30:00', 'success', NULL, '2025-01-01 12:30:00'),
    -- an undo has a row of its own
    ('core_20250102120000_create_orders', NULL, NULL, '20250102120000', 'core', 'postgresql',
     '2025-01-02 12:30:00', 'success', NULL, NULL),
    ('core_20250102120000_create_orders_rollback', NULL, NULL, '20250102120000', 'core', 'postgresql',
     '2025-01-02 12:35:00', 'success', NULL, NULL),
    -- a dynamic migration, with the table that it makes
    ('tenant_a_items_20250103120000_create_items', 'tenant_a', 'items', '20250103120000', 'tenants', 'postgresql',
     '2025-01-03 12:30:00', 'success', NULL, NULL),
    ('tenant_b_tenants_20250103120000_create_items', 'tenant_b', NULL, NULL, NULL, NULL,
     '2025-01-03 12:31:00', 'success', NULL, NULL),
    -- its own name ends in _rollback
    ('core_core_20250105120000_undo_rollback', 'core', NULL, '20250105120000', 'core', 'postgresql',
     '2025-01-05 12:30:00', 'success', NULL, NULL),
    ('core_core_20250107120000_fail', 'core', NULL, '20250107120000', 'core', 'postgresql',
     NULL, 'failed', 'it broke', '2025-01-07 12:30:00'),
    -- junk
    ('20250106120000_grow', 'core', NULL, '20250106120000', 'core', 'postgresql', '2025-01-06 12:30:00', 'success',
     NULL, NULL),
    ('core_users_20250101120000_create_users_down', 'core', 'users', '20250101120000', 'core', 'postgresql',
     '2025-01-01 12:40:00', 'success', NULL, NULL),
    ('core_lost_20230101000000_create_lost', 'core', 'lost', '20230101000000', 'core', 'postgresql',
     '2023-01-01 00:30:00', 'success', NULL, NULL),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
