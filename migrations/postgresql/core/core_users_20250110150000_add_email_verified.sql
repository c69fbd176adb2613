-- A column that is filled by default takes no rewrite; the check is added without scanning and proven afterwards, so
-- that nobody waits long for the table.
-- bfm-tags: area=accounts, env=all
-- bfm-depends: create_users
-- bfm-lock-timeout: 2s
-- bfm-statement-timeout: 5m

ALTER TABLE users
ADD COLUMN email_verified_at timestamptz,
ADD COLUMN locale text NOT NULL DEFAULT 'en';

ALTER TABLE users
ADD CONSTRAINT users_locale_check CHECK (locale ~ '^[a-z]{2}(-[A-Z]{2})?$') NOT VALID;

ALTER TABLE users VALIDATE CONSTRAINT users_locale_check;

UPDATE users SET email_verified_at = created_at WHERE disabled_at IS NULL;
