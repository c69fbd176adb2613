-- The people who sign in. The address is unique without regard to case.
-- bfm-tags: area=accounts, env=all

CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL CHECK (email LIKE '%_@_%'),
    display_name text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz
);

CREATE UNIQUE INDEX users_email_key ON users (lower(email));

COMMENT ON TABLE users IS 'People who sign in; one row each, never deleted';
COMMENT ON COLUMN users.disabled_at IS 'NULL while the account can be used';
