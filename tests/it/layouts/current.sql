-- The current layout without this server's own columns, as older servers left it, with rows as they are found in the
-- field.
CREATE TABLE migrations_list (
    migration_id VARCHAR(255) PRIMARY KEY, schema VARCHAR(255) NOT NULL, version VARCHAR(50) NOT NULL,
    name VARCHAR(255) NOT NULL, connection VARCHAR(255) NOT NULL, backend VARCHAR(50) NOT NULL,
    up_sql VARCHAR(255), down_sql VARCHAR(255), dependencies TEXT[], structured_dependencies JSONB,
    status VARCHAR(50) NOT NULL DEFAULT 'pending', created_at TIMESTAMP, updated_at TIMESTAMP);
CREATE TABLE migrations_history (
    id SERIAL PRIMARY KEY,
    migration_id VARCHAR(255) NOT NULL REFERENCES migrations_list (migration_id) ON DELETE CASCADE,
    schema VARCHAR(255) NOT NULL, version VARCHAR(50) NOT NULL, connection VARCHAR(255) NOT NULL,
    backend VARCHAR(50) NOT NULL, status VARCHAR(20) NOT NULL, error_message TEXT, executed_by VARCHAR(255),
    execution_method VARCHAR(20) NOT NULL DEFAULT 'api', execution_context TEXT, applied_at TIMESTAMP,
    created_at TIMESTAMP);
CREATE TABLE migrations_executions (
    migration_id VARCHAR(255) NOT NULL REFERENCES migrations_list (migration_id) ON DELETE CASCADE,
    schema VARCHAR(255) NOT NULL, version VARCHAR(50) NOT NULL, connection VARCHAR(255) NOT NULL,
    backend VARCHAR(50) NOT NULL, status VARCHAR(20) NOT NULL, applied BOOLEAN NOT NULL DEFAULT false,
    applied_at TIMESTAMP, actions TEXT, created_at TIMESTAMP NOT NULL, updated_at TIMESTAMP NOT NULL,
    PRIMARY KEY (migration_id, schema, version, connection, backend));
CREATE TABLE migrations_dependencies (
    id SERIAL PRIMARY KEY,
    migration_id VARCHAR(255) NOT NULL REFERENCES migrations_list (migration_id) ON DELETE CASCADE,
    dependency_id VARCHAR(255) NOT NULL REFERENCES migrations_list (migration_id) ON DELETE CASCADE,
    connection VARCHAR(255) NOT NULL, schema TEXT[] NOT NULL, target VARCHAR(255) NOT NULL,
    target_type VARCHAR(20) NOT NULL DEFAULT 'name', requires_table VARCHAR(255), requires_schema VARCHAR(255),
    created_at TIMESTAMP);
CREATE TABLE migrations_skipped (
    id SERIAL PRIMARY KEY,
    migration_id VARCHAR(255) NOT NULL REFERENCES migrations_list (migration_id) ON DELETE CASCADE,
    schema VARCHAR(255) NOT NULL, connection VARCHAR(255) NOT NULL, version VARCHAR(50) NOT NULL,
    backend VARCHAR(50) NOT NULL, executed_by VARCHAR(255), execution_method VARCHAR(20) NOT NULL DEFAULT 'api',
    execution_context TEXT, skipped_at TIMESTAMP NOT NULL, created_at TIMESTAMP NOT NULL);

INSERT INTO migrations_list (migration_id, schema, version, name, connection, backend, up_sql, status, updated_at)
VALUES
    ('20250101120000_create_users_postgresql_core', 'core', '20250101120000', 'create_users', 'core', 'postgresql',
     'core_users_20250101120000_create_users.sql', 'applied', '2025-01-01 12:30:00'),
    -- executions say that it is applied, whatever the list says
    ('20250102120000_create_orders_postgresql_core', 'core', '20250102120000', 'create_orders', 'core', 'postgresql',
     NULL, 'pending', NULL),
    -- undone: the list does not know
    ('20250106120000_grow_postgresql_core', 'core', '20250106120000', 'grow', 'core', 'postgresql', NULL, 'applied',
     NULL),
    ('20250103120000_create_items_postgresql_tenants', '', '20250103120000', 'create_items', 'tenants', 'postgresql',
     NULL, 'pending', NULL),
    ('tenant_a_20250103120000_create_items_postgresql_tenants', 'tenant_a', '20250103120000', 'create_items',
     'tenants', 'postgresql', NULL, 'applied', NULL),
    ('tenant_b_20250103120000_create_items_postgresql_tenants', 'tenant_b', '20250103120000', 'create_items',
     'tenants', 'postgresql', NULL, 'applied', NULL),
    ('20250101120000_create_users_postgresql_core_down', 'core', '20250101120000', 'create_users', 'core',
     'postgresql', NULL, 'applied', NULL),
    ('20250101120000_create_users', 'core', '20250101120000', 'create_users', 'core', 'postgresql', NULL, 'pending',
     NULL);
INSERT INTO migrations_history (migration_id, schema, version, connection, backend, status, applied_at) VALUES
    ('20250101120000_create_users_postgresql_core', 'core', '20250101120000', 'core', 'postgresql', 'success',
     '2025-01-01 12:30:00'),
    ('20250106120000_grow_postgresql_core', 'core', '20250106120000', 'core', 'postgresql', 'applied',
     '2025-01-06 12:30:00'),
    ('20250106120000_grow_postgresql_core', 'core', '20250106120000', 'core', 'postgresql', 'rolled_back',
     '2025-01-06 12:35:00'),
    ('tenant_b_20250103120000_create_items_postgresql_tenants', 'tenant_b', '20250103120000', 'tenants',
     'postgresql', 'applied', '2025-01-03 12:31:00');
INSERT INTO migrations_executions (migration_id, schema, version, connection, backend, status, applied, applied_at,
    created_at, updated_at) VALUES
    ('20250101120000_create_users_postgresql_core', 'core', '20250101120000', 'core', 'postgresql', 'applied', true,
     '2025-01-01 12:30:00', '2025-01-01 12:00:00', '2025-01-01 12:30:00'),
    ('20250102120000_create_orders_postgresql_core', 'core', '20250102120000', 'core', 'postgresql', 'applied', true,
     '2025-01-02 12:30:00', '2025-01-02 12:00:00', '2025-01-02 12:30:00'),
    ('20250106120000_grow_postgresql_core', 'core', '20250106120000', 'core', 'postgresql', 'pending', false,
     NULL, '2025-01-06 12:00:00', '2025-01-06 12:35:00'),
    ('tenant_a_20250103120000_create_items_postgresql_tenants', 'tenant_a', '20250103120000', 'tenants',
     'postgresql', 'applied', true, '2025-01-03 12:30:00', '2025-01-03 12:00:00', '2025-01-03 12:30:00');
