"""What the tests of the HTTP API share: a small tree, requests, and checks of answers."""
import re

import pytest

USERS = "20250101120000_create_users_postgresql_core"
USERS_BRIEF = "core_users_20250101120000_create_users"
ORDERS = "20250102120000_create_orders_postgresql_core"
TENANT = "20250103120000_create_items_postgresql_tenants"

TIME = re.compile(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")


def write_core(tree):
    """Two fixed migrations of connection core: the first in the brief's naming, the second by header."""
    tree.write("postgresql/core/core_users_20250101120000_create_users.sql",
               "-- bfm-tags: env=prod, tier=gold\nCREATE TABLE users (id int PRIMARY KEY);\n")
    tree.write("postgresql/core/core_users_20250101120000_create_users_down.sql", "DROP TABLE users;\n")
    tree.write("postgresql/core/20250102120000_create_orders.up.sql",
               "-- bfm-schema: core\n-- bfm-table: orders\n-- bfm-depends: create_users\n-- bfm-tags: env=prod\n"
               "CREATE TABLE orders (id int, user_id int REFERENCES users (id));\n")
    tree.write("postgresql/core/20250102120000_create_orders.down.sql", "DROP TABLE orders;\n")


def write_tenants(tree):
    """One dynamic migration of connection tenants."""
    tree.write("postgresql/tenants/20250103120000_create_items.up.sql",
               "CREATE TABLE items (id int);\nINSERT INTO items VALUES (1);\n")
    tree.write("postgresql/tenants/20250103120000_create_items.down.sql", "DROP TABLE items;\n")


def up(client, connection="core", **fields):
    body = {"connection": connection, "target": fields.pop("target", {}), **fields}
    return client.post("/api/v1/migrations/up", body)


def migrate(client, connection="core", **fields):
    body = {"connection": connection, "target": fields.pop("target", {}), **fields}
    return client.post("/api/v1/migrate", body)


def down(client, migration_id, **fields):
    return client.post("/api/v1/migrations/down", {"migration_id": migration_id, **fields})


def rollback(client, migration_id, body=None):
    return client.post("/api/v1/migrations/%s/rollback" % migration_id, body)


def expect(answer, status, **lists):
    """Status, and the lists of a run's answer that are named; the others must be empty."""
    assert answer.status == status, answer
    body = answer.json
    for key in ("applied", "skipped", "errors"):
        assert body[key] == lists.get(key, []), answer
    assert body["success"] is (status == 200 and not body["errors"]), answer
    assert "queued" not in body
    return body


def expect_error(answer, status, text=None):
    """An error body; `text` is the whole text, or a pattern to be found in it."""
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8", answer.headers
    error = answer.json["error"]
    assert isinstance(error, str) and error, answer
    if isinstance(text, re.Pattern):
        assert text.search(error), answer
    elif text is not None:
        assert error == text, answer
    return error


def tables(postgres, database, schema):
    rows = postgres.query(database, "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1", (schema,))
    return [row[0] for row in rows]


@pytest.fixture
def core(start_bfm, tree, postgres, database, connection_env):
    """A server with connections core and tenants on one database, and the small tree."""
    write_core(tree)
    write_tenants(tree)
    env = connection_env("core", postgres, database)
    env.update(connection_env("tenants", postgres, database))
    return start_bfm(env, tree=tree)
