DROP TRIGGER orders_audit ON orders;
DROP TRIGGER users_audit ON users;
DROP FUNCTION audit_write();
DROP TABLE audit_log;
