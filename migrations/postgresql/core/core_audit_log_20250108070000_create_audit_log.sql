-- Who changed what. One function serves every audited table.
-- bfm-tags: area=audit, env=prod
-- bfm-requires: connection=core schema=core target=create_users table=users
-- bfm-requires: connection=core schema=core target=create_orders table=orders
-- bfm-lock-timeout: 3s

CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL DEFAULT current_user,
    table_name text NOT NULL,
    action text NOT NULL CHECK (action IN ('INSERT', 'UPDATE', 'DELETE')),
    before jsonb,
    after jsonb,
    PRIMARY KEY (at, id)
) PARTITION BY RANGE (at);

CREATE TABLE audit_log_default PARTITION OF audit_log DEFAULT;

CREATE INDEX audit_log_table_idx ON audit_log (table_name, at DESC);

CREATE FUNCTION audit_write() RETURNS trigger
LANGUAGE plpgsql
SET search_path = {{.Schema}}
AS $$
BEGIN
    INSERT INTO audit_log (table_name, action, before, after)
    VALUES (
        TG_TABLE_NAME,
        TG_OP,
        CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
        CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END
    );
    RETURN NULL;
END;
$$;

CREATE TRIGGER users_audit AFTER INSERT OR UPDATE OR DELETE ON users
FOR EACH ROW EXECUTE FUNCTION audit_write();

CREATE TRIGGER orders_audit AFTER INSERT OR UPDATE OR DELETE ON orders
FOR EACH ROW EXECUTE FUNCTION audit_write();
