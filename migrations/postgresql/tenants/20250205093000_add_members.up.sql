-- Who works on what. People are rows of core.users, which may be in another database: no foreign key, but the table
-- has to be there first.
-- bfm-tags: area=projects, tier=all
-- bfm-table: members
-- bfm-depends: create_projects
-- bfm-requires: connection=core schema=core target=create_users table=users

CREATE TABLE members (
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id bigint NOT NULL,
    role text NOT NULL DEFAULT 'member' CHECK (role IN ('owner', 'member', 'guest')),
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, user_id)
);

CREATE INDEX members_user_idx ON members (user_id);

COMMENT ON COLUMN members.user_id IS 'core.users.id';
