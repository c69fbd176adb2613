"""Reads: bfm-api.md §4.7, §6.6, §6.8, and identifiers in paths (§3.4)."""
import urllib.parse

import pytest
from api_helpers import (ORDERS, TENANT, TIME, USERS, USERS_BRIEF, core, down, expect, expect_error,  # noqa: F401
                         rollback, tables, up, write_core)
from once_helpers import durable_postgres  # noqa: F401


def listed(bfm, **filters):
    answer = bfm.client.get("/api/v1/migrations?" + urllib.parse.urlencode(filters))
    assert answer.status == 200, answer
    assert answer.json["total"] == len(answer.json["items"])
    return answer.json["items"]


def ids(items):
    return [item["migration_id"] for item in items]


# --- list ---

def test_the_list_of_what_never_ran(core):
    items = listed(core)
    assert ids(items) == [USERS, ORDERS, TENANT]
    assert items[0] == {"migration_id": USERS, "schema": "core", "table": "users", "version": "20250101120000",
                        "name": "create_users", "connection": "core", "backend": "postgresql", "applied": False,
                        "status": "pending", "tags": ["env=prod", "tier=gold"], "schemas_applied": 0}
    assert items[2] == {"migration_id": TENANT, "schema": "", "table": "", "version": "20250103120000",
                        "name": "create_items", "connection": "tenants", "backend": "postgresql", "applied": False,
                        "status": "pending", "schemas_applied": 0}


def test_the_list_of_what_ran(core, tree):
    tree.write("postgresql/core/20250104120000_bad.up.sql", "-- bfm-schema: core\nSELECT nonsense;")
    core.client.post("/api/v1/migrations/reindex")
    up(core.client)
    up(core.client, "tenants", schemas=["a", "b"])
    rollback(core.client, ORDERS)
    items = {item["migration_id"]: item for item in listed(core)}
    assert (items[USERS]["status"], items[USERS]["applied"], items[USERS]["schemas_applied"]) == ("applied", True, 1)
    assert TIME.match(items[USERS]["applied_at"])
    assert "error_message" not in items[USERS]
    assert (items[ORDERS]["status"], items[ORDERS]["applied"]) == ("rolled_back", False)
    assert (items[TENANT]["status"], items[TENANT]["schemas_applied"]) == ("applied", 2)
    bad = items["20250104120000_bad_postgresql_core"]
    assert (bad["status"], bad["applied"]) == ("failed", False)
    assert "nonsense" in bad["error_message"]


@pytest.mark.parametrize("filters, wanted", [
    ({}, [USERS, ORDERS, TENANT]),
    ({"schema": "core"}, [USERS, ORDERS]),
    ({"table": "users"}, [USERS]),
    ({"connection": "tenants"}, [TENANT]),
    ({"connection": "TENANTS"}, []),
    ({"backend": "postgresql"}, [USERS, ORDERS, TENANT]),
    ({"backend": "etcd"}, []),
    ({"version": "20250102120000"}, [ORDERS]),
    ({"status": "applied"}, [USERS]),
    ({"status": "success"}, [USERS]),
    ({"status": "pending"}, [ORDERS, TENANT]),
    ({"status": "failed"}, []),
    ({"schema": "core", "status": "pending"}, [ORDERS]),
    ({"schema": "", "status": ""}, [USERS, ORDERS, TENANT]),
    ({"unknown": "x"}, [USERS, ORDERS, TENANT]),
])
def test_filters(core, filters, wanted):
    assert up(core.client, target={"version": "20250101120000"}).status == 200
    assert ids(listed(core, **filters)) == wanted


def test_ids_that_are_listed_begin_with_a_version(core):
    up(core.client)
    up(core.client, "tenants", schemas=["a", "b"])
    for item in listed(core):
        first = item["migration_id"].split("_")[0]
        assert len(first) == 14 and first.isdigit()


def test_invalid_migrations_are_listed_with_the_reason(core, tree):
    tree.write("postgresql/core/20250104120000_bad.up.sql", "-- bfm-schema: core\nBEGIN;\nSELECT 1;\nCOMMIT;\n")
    core.client.post("/api/v1/migrations/reindex")
    bad = listed(core, status="invalid")
    assert ids(bad) == ["20250104120000_bad_postgresql_core"]
    assert bad[0]["applied"] is False
    assert "20250104120000_bad.up.sql" in bad[0]["error_message"]


def test_changed_scripts_are_listed_as_modified(core, tree):
    up(core.client)
    path = "postgresql/core/core_users_20250101120000_create_users.sql"
    tree.write(path, "-- bfm-tags: env=prod\n-- another comment\r\nCREATE   TABLE users (id int PRIMARY KEY); \n")
    core.client.post("/api/v1/migrations/reindex")
    assert listed(core, table="users")[0]["status"] in ("applied", "modified")  # blanks may or may not count
    tree.write(path, "CREATE TABLE users (id bigint PRIMARY KEY);\n")
    core.client.post("/api/v1/migrations/reindex")
    item = listed(core, table="users")[0]
    assert (item["status"], item["applied"]) == ("modified", True)
    assert ids(listed(core, status="applied", table="users")) == [USERS]
    assert ids(listed(core, status="modified")) == [USERS]
    expect(up(core.client), 200, skipped=[USERS, ORDERS])


def test_a_comment_does_not_modify_a_script(core, tree):
    up(core.client)
    tree.write("postgresql/core/core_users_20250101120000_create_users.sql",
               "-- bfm-tags: env=prod, tier=gold\r\n-- a comment\r\nCREATE TABLE users (id int PRIMARY KEY);  \r\n")
    core.client.post("/api/v1/migrations/reindex")
    assert listed(core, table="users")[0]["status"] == "applied"


def test_a_long_list_comes_in_pieces(start_bfm, tree, postgres, database, connection_env):
    for index in range(3000):
        tree.write("postgresql/core/2025%010d_m%d.up.sql" % (index, index), "SELECT %d;" % index)
    bfm = start_bfm(connection_env("core", postgres, database), tree=tree)
    answer = bfm.client.get("/api/v1/migrations")
    assert answer.status == 200
    items = answer.json["items"]
    assert answer.json["total"] == len(items) == 3000
    assert ids(items) == sorted(ids(items))
    assert ids(listed(bfm, version="20250000002999")) == ["20250000002999_m2999_postgresql_core"]
    assert bfm.client.request("HEAD", "/api/v1/migrations").status == 200


# --- detail ---

def detail(bfm, migration_id):
    answer = bfm.client.get("/api/v1/migrations/" + migration_id)
    assert answer.status == 200, answer
    return answer.json


def test_detail(core):
    assert detail(core, USERS) == {
        "migration_id": USERS, "schema": "core", "table": "users", "version": "20250101120000",
        "name": "create_users", "connection": "core", "backend": "postgresql", "applied": False,
        "up_sql": "-- bfm-tags: env=prod, tier=gold\nCREATE TABLE users (id int PRIMARY KEY);\n",
        "down_sql": "DROP TABLE users;\n", "tags": ["env=prod", "tier=gold"]}
    orders = detail(core, ORDERS)
    assert orders["dependencies"] == ["create_users"]
    assert "structured_dependencies" not in orders


def test_detail_of_structured_dependencies(core, tree):
    tree.write("postgresql/core/20250104120000_s.up.sql",
               "-- bfm-requires: connection=core schema=core target=20250101120000 type=version table=users\n"
               "-- bfm-requires: target=create_orders requires_schema=core\nSELECT '{{.Schema}}';\n")
    core.client.post("/api/v1/migrations/reindex")
    item = detail(core, "20250104120000_s_postgresql_core")
    assert item["structured_dependencies"] == [
        {"connection": "core", "schema": "core", "target": "20250101120000", "target_type": "version",
         "requires_table": "users"},
        {"connection": "", "schema": "", "target": "create_orders", "target_type": "name",
         "requires_schema": "core"}]
    assert "'{{.Schema}}'" in item["up_sql"]
    assert "down_sql" not in item and "tags" not in item and "status" not in item


def test_detail_of_a_schema(core):
    up(core.client, "tenants", schemas=["tenant_a"])
    up(core.client, target={"tables": ["users"]}, schemas=["other"])
    assert detail(core, "tenant_a_" + TENANT)["migration_id"] == TENANT
    assert detail(core, "tenant_a_" + TENANT)["applied"] is True
    assert detail(core, "other_" + USERS)["applied"] is True
    assert detail(core, "core_" + USERS)["applied"] is False
    assert detail(core, USERS)["applied"] is False
    assert detail(core, USERS)["migration_id"] == USERS


def test_detail_of_nobody(core):
    for name in ("nobody", "tenant_b_" + TENANT, "%2e%2e", "%ff", "x" * 3000):
        expect_error(core.client.get("/api/v1/migrations/" + name), 404)


def test_a_script_that_is_gone(core, tree):
    up(core.client, "tenants", schemas=["a"])
    tree.write("postgresql/tenants/20250104120000_stays.up.sql", "SELECT 1;")
    tree.remove("postgresql/tenants/20250103120000_create_items.up.sql")
    tree.remove("postgresql/tenants/20250103120000_create_items.down.sql")
    answer = core.client.post("/api/v1/migrations/reindex")
    assert answer.json["removed"] == [TENANT]
    assert TENANT not in ids(listed(core))
    item = detail(core, TENANT)
    assert item["migration_id"] == TENANT and item["name"] == "create_items"
    assert "up_sql" not in item
    assert len(core.client.get("/api/v1/migrations/%s/history" % TENANT).json["history"]) > 0
    expect(up(core.client, "tenants", schemas=["b"]), 200, applied=["b_20250104120000_stays_postgresql_tenants"])
    expect_error(down(core.client, TENANT, schemas=["a"]), 404, "migration not found: " + TENANT)


# --- status, applied ---

def status(bfm, migration_id):
    answer = bfm.client.get("/api/v1/migrations/%s/status" % migration_id)
    assert answer.status == 200, answer
    return answer.json


def is_applied(bfm, migration_id):
    answer = bfm.client.get("/api/v1/migrations/%s/applied" % migration_id)
    assert answer.status == 200, answer
    assert set(answer.json) == {"applied"}
    return answer.json["applied"]


def test_status_of_what_never_ran(core):
    for name in (USERS, "nobody", "tenant_b_" + TENANT):
        assert status(core, name) == {"migration_id": name, "status": "pending", "applied": False}
        assert is_applied(core, name) is False


def test_status_of_what_ran(core):
    up(core.client)
    up(core.client, "tenants", schemas=["tenant_a"])
    for name in (USERS, "core_" + USERS, USERS_BRIEF, "20250101120000_create_users",
                 "core_20250101120000_create_users", "tenant_a_" + TENANT, TENANT,
                 "tenant_a_tenants_20250103120000_create_items"):
        item = status(core, name)
        assert TIME.match(item.pop("applied_at"))
        assert item == {"migration_id": name, "status": "applied", "applied": True}
        assert is_applied(core, name) is True
    for name in ("tenant_" + TENANT, "tenant_b_" + TENANT, "a_" + TENANT):
        assert status(core, name)["status"] == "pending"
        assert is_applied(core, name) is False


def test_status_of_what_failed(core, tree):
    tree.write("postgresql/core/20250104120000_bad.up.sql", "-- bfm-schema: core\nSELECT nonsense;")
    core.client.post("/api/v1/migrations/reindex")
    up(core.client)
    for name in ("20250104120000_bad_postgresql_core", "core_20250104120000_bad_postgresql_core"):
        item = status(core, name)
        assert (item["status"], item["applied"]) == ("failed", False)
        assert "nonsense" in item["error_message"]
        assert "applied_at" not in item


def test_a_schema_with_a_slash_is_encoded(core):
    up(core.client, "tenants", schemas=["a/b"])
    assert is_applied(core, "a%2Fb_" + TENANT) is True
    assert is_applied(core, "a%2fb_" + TENANT) is True
    assert status(core, "a%2Fb_" + TENANT)["migration_id"] == "a/b_" + TENANT
    expect_error(core.client.get("/api/v1/migrations/a/b_%s/applied" % TENANT), 404, "Not found")


def test_ambiguous_ids_are_409(core, tree):
    tree.write("postgresql/tenants/20250101120000_create_users.up.sql", "SELECT 1;")
    core.client.post("/api/v1/migrations/reindex")
    name = "20250101120000_create_users"
    for path in ("", "/status", "/applied", "/history", "/executions", "/skipped"):
        error = expect_error(core.client.get("/api/v1/migrations/%s%s" % (name, path)), 409)
        assert error.startswith("ambiguous migration id: " + name)
    assert expect_error(down(core.client, name), 409).startswith("ambiguous migration id: ")
    assert expect_error(rollback(core.client, name), 409).startswith("ambiguous migration id: ")
    assert is_applied(core, USERS) is False  # base IDs always win


def test_connections_with_a_common_ending(start_bfm, tree, postgres, make_database, connection_env):
    tree.write("postgresql/eu/20250101000000_x_core.up.sql", "-- bfm-schema: s\nSELECT 1;")
    tree.write("postgresql/core_eu/20250101000000_x.up.sql", "-- bfm-schema: s\nSELECT 1;")
    env = connection_env("eu", postgres, make_database())
    env.update(connection_env("core_eu", postgres, make_database()))
    bfm = start_bfm(env, tree=tree)
    expect(up(bfm.client, "core_eu"), 200, applied=["20250101000000_x_postgresql_core_eu"])
    assert is_applied(bfm, "20250101000000_x_postgresql_core_eu") is True
    assert is_applied(bfm, "20250101000000_x_core_postgresql_eu") is False


# --- order-batch ---

def order(bfm, migration_ids, connection="core"):
    return bfm.client.post("/api/v1/migrations/order-batch",
                           {"migration_ids": migration_ids, "connection": connection})


def test_order_batch(core, tree):
    tree.write("postgresql/core/20250101000000_first.up.sql", "-- bfm-depends: create_orders\nSELECT 1;")
    core.client.post("/api/v1/migrations/reindex")
    first = "20250101000000_first_postgresql_core"
    answer = order(core, [first, ORDERS, "t_" + USERS, USERS, ORDERS])
    assert answer.status == 200
    assert answer.json == {"ordered_migration_ids": ["t_" + USERS, USERS, ORDERS, ORDERS, first]}
    assert order(core, []).json == {"ordered_migration_ids": []}
    assert order(core, [first]).json == {"ordered_migration_ids": [first]}


def test_order_batch_refuses(core, tree):
    tree.write("postgresql/core/20250104120000_a.up.sql", "-- bfm-depends: b\nSELECT 1;")
    tree.write("postgresql/core/20250105120000_b.up.sql", "-- bfm-depends: a\nSELECT 1;")
    tree.write("postgresql/core/20250106120000_c.up.sql", "-- bfm-depends: nobody\nSELECT 1;")
    core.client.post("/api/v1/migrations/reindex")
    expect_error(order(core, ["nobody"]), 400)
    expect_error(order(core, [TENANT]), 400)
    expect_error(order(core, ["20250104120000_a_postgresql_core"]), 400)
    expect_error(order(core, ["20250106120000_c_postgresql_core"]), 400)
    expect_error(core.client.post("/api/v1/migrations/order-batch", {"connection": "core"}), 400)
    expect_error(core.client.post("/api/v1/migrations/order-batch", {"migration_ids": [USERS]}), 400)
    expect_error(order(core, USERS), 400)
    expect_error(order(core, [USERS] * 10001), 400)


# --- reindex ---

def test_reindex(core, tree):
    assert core.client.post("/api/v1/migrations/reindex").json == {"added": [], "removed": [], "updated": [],
                                                                   "total": 3}
    tree.write("postgresql/core/20250104120000_new.up.sql", "SELECT 1;")
    tree.write("postgresql/core/20250102120000_create_orders.up.sql", "SELECT 2;")
    tree.remove("postgresql/tenants/20250103120000_create_items.up.sql")
    answer = core.client.post("/api/v1/migrations/reindex", {})
    assert answer.status == 200
    assert answer.json == {"added": ["20250104120000_new_postgresql_core"], "removed": [TENANT],
                           "updated": [ORDERS], "total": 3}


# --- reconcile ---

def test_reconcile(core, postgres, database):
    up(core.client, "tenants", schemas=["a", "b"])
    answer = core.client.post("/api/v1/reconcile")
    assert answer.status == 200
    assert sorted(target["connection"] for target in answer.json["targets"]) == ["core", "tenants"]
    for target in answer.json["targets"]:
        assert target["repaired"] == 0 and "error" not in target
    answer = core.client.post("/api/v1/reconcile", {"connection": "tenants"})
    assert [target["connection"] for target in answer.json["targets"]] == ["tenants"]
    expect_error(core.client.post("/api/v1/reconcile", {"connection": "nowhere"}), 404,
                 "connection nowhere not found")
    expect_error(core.client.post("/api/v1/reconcile", b"[]"), 400)


def test_reconcile_repairs_the_state(core, postgres, database):
    up(core.client, "tenants", schemas=["a"])
    postgres.query(database, "DELETE FROM bfm.journal WHERE schema_name = 'a'")
    answer = core.client.post("/api/v1/reconcile", {"connection": "tenants"})
    assert answer.json["targets"][0]["repaired"] == 1
    assert is_applied(core, "a_" + TENANT) is False


# --- the state database is away ---

@pytest.fixture
def state_away(start_bfm, tree, postgres, database, connection_env, private_postgres, state_env):
    """A server whose state database never was there."""
    write_core(tree)
    name = private_postgres.create_database()
    private_postgres.kill()
    env = connection_env("core", postgres, database)
    env.update(state_env(private_postgres, name))
    return start_bfm(env, tree=tree, ready=False)


def test_without_a_state_database_there_are_503s(state_away, private_postgres, postgres, database):
    bfm = state_away
    for method, path, body in [
            ("POST", "/api/v1/migrations/up", {"connection": "core", "target": {}}),
            ("POST", "/api/v1/migrate", {"connection": "core", "target": {}}),
            ("POST", "/api/v1/migrations/down", {"migration_id": USERS}),
            ("GET", "/api/v1/migrations", None), ("GET", "/api/v1/migrations/" + USERS, None),
            ("GET", "/api/v1/migrations/%s/status" % USERS, None),
            ("GET", "/api/v1/migrations/executions/recent", None),
            ("POST", "/api/v1/migrations/%s/rollback" % USERS, None), ("POST", "/api/v1/reconcile", None)]:
        answer = bfm.client.request(method, path, body)
        expect_error(answer, 503)
        assert int(answer.headers["Retry-After"]) > 0
        assert private_postgres.password not in answer.text and "127.0.0.1" not in answer.text
    answer = bfm.client.get("/health")
    assert answer.status == 503
    assert answer.json["status"] == "unhealthy"
    assert isinstance(answer.json["checks"]["executor"], str)
    assert bfm.client.get("/readyz").status == 503
    assert bfm.client.get("/api/v1/openapi.json").status == 200
    assert tables(postgres, database, "core") == []
    private_postgres.start()
    bfm.wait_healthy()
    expect(up(bfm.client), 200, applied=[USERS, ORDERS])


def test_a_state_database_that_dies_is_told_and_forgiven(start_bfm, tree, postgres, database, connection_env,
                                                         durable_postgres, state_env):
    write_core(tree)
    env = connection_env("core", postgres, database)
    env.update(state_env(durable_postgres, durable_postgres.create_database()))
    bfm = start_bfm(env, tree=tree)
    expect(up(bfm.client), 200, applied=[USERS, ORDERS])
    durable_postgres.kill()
    for path in ("", "/" + USERS, "/%s/history" % USERS, "/executions/recent"):
        answer = bfm.client.get("/api/v1/migrations" + path)
        assert answer.status in (500, 503), answer
        assert "127.0.0.1" not in expect_error(answer, answer.status)
    durable_postgres.start()
    bfm.wait_healthy()
    assert is_applied(bfm, USERS) is True
    expect(up(bfm.client), 200, skipped=[USERS, ORDERS])
