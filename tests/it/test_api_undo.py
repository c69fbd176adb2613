"""Down and rollback: bfm-api.md §4.5, §4.6, §6.3."""
import re

import pytest
from api_helpers import (ORDERS, TENANT, USERS, core, down, expect, expect_error, rollback, tables, up,  # noqa: F401
                         write_core, write_tenants)


@pytest.fixture
def applied(core):
    expect(up(core.client), 200, applied=[USERS, ORDERS])
    return core


# --- down ---

def test_down(applied, postgres, database):
    expect(down(applied.client, ORDERS), 200, applied=["core_" + ORDERS])
    assert tables(postgres, database, "core") == ["users"]
    expect(down(applied.client, ORDERS), 200, skipped=["core_%s (not applied)" % ORDERS])
    expect(up(applied.client), 200, applied=[ORDERS], skipped=[USERS])


def test_down_per_schema(core, postgres, database):
    up(core.client, "tenants", schemas=["a", "b", "c"])
    expect(down(core.client, TENANT, schemas=["c", "x", "a"]), 200, applied=["c_" + TENANT, "a_" + TENANT],
           skipped=["x_%s (not applied)" % TENANT])
    assert tables(postgres, database, "b") == ["items"]
    assert tables(postgres, database, "a") == []


def test_down_by_a_schema_specific_id(core, postgres, database):
    up(core.client, "tenants", schemas=["tenant_a", "tenant_b"])
    expect(down(core.client, "tenant_a_" + TENANT), 200, applied=["tenant_a_" + TENANT])
    assert tables(postgres, database, "tenant_a") == []
    assert tables(postgres, database, "tenant_b") == ["items"]


def test_down_dry_run(applied, postgres, database):
    expect(down(applied.client, ORDERS, dry_run=True), 200, applied=["core_%s (dry-run)" % ORDERS])
    assert tables(postgres, database, "core") == ["orders", "users"]


def test_down_without_a_script(core, tree):
    tree.remove("postgresql/tenants/20250103120000_create_items.down.sql")
    core.client.post("/api/v1/migrations/reindex")
    up(core.client, "tenants", schemas=["a"])
    expect(down(core.client, TENANT, schemas=["a"]), 206,
           errors=["schema a: migration does not have rollback SQL"])


def test_down_with_a_failing_script(applied, tree, postgres, database):
    tree.write("postgresql/core/20250102120000_create_orders.down.sql", "DROP TABLE orders;\nDROP TABLE nowhere;\n")
    applied.client.post("/api/v1/migrations/reindex")
    answer = down(applied.client, ORDERS)
    assert answer.status == 206
    assert len(answer.json["errors"]) == 1
    assert re.match(r'schema core: .*table "nowhere" does not exist', answer.json["errors"][0])
    assert tables(postgres, database, "core") == ["orders", "users"]
    item = applied.client.get("/api/v1/migrations/%s/status" % ORDERS).json
    assert item["applied"] is True
    assert "nowhere" in item["error_message"]


def test_down_of_an_unknown_migration(core):
    expect_error(down(core.client, "nobody"), 404, "migration not found: nobody")
    expect_error(down(core.client, ""), 400, 'field "migration_id" is required')
    expect_error(core.client.post("/api/v1/migrations/down", {}), 400, 'field "migration_id" is required')
    expect_error(down(core.client, USERS, schemas=["x" * 64]), 400)


def test_down_of_what_others_need(applied, postgres, database):
    assert ORDERS in expect_error(down(applied.client, USERS), 409)
    assert tables(postgres, database, "core") == ["orders", "users"]
    expect(down(applied.client, ORDERS), 200, applied=["core_" + ORDERS])
    expect(down(applied.client, USERS), 200, applied=["core_" + USERS])


def test_down_of_what_others_need_by_force(applied, tree, postgres, database):
    tree.write("postgresql/core/core_users_20250101120000_create_users_down.sql", "DROP TABLE users CASCADE;\n")
    applied.client.post("/api/v1/migrations/reindex")
    expect(down(applied.client, USERS, ignore_dependencies=True), 200, applied=["core_" + USERS])


def test_down_with_the_target_away(start_bfm, tree, postgres, database, connection_env):
    write_tenants(tree)
    bfm = start_bfm(connection_env("tenants", postgres, database), tree=tree)
    expect(up(bfm.client, "tenants", schemas=["a"]), 200, applied=["a_" + TENANT])
    bfm.stop()
    bfm.set_env({"TENANTS_DB_PORT": "1"})
    bfm.start()
    answer = down(bfm.client, TENANT, schemas=["a"])
    expect_error(answer, 500)
    assert "127.0.0.1" not in answer.text
    expect_error(rollback(bfm.client, TENANT, {"schemas": ["a"]}), 500)


def test_down_without_its_connection(start_bfm, tree, postgres, database, connection_env):
    write_tenants(tree)
    bfm = start_bfm(connection_env("core", postgres, database), tree=tree)
    expect_error(down(bfm.client, TENANT, schemas=["a"]), 500, "connection tenants not found")


# --- rollback ---

def expect_rollback(answer, status, message, **lists):
    assert answer.status == status, answer
    body = answer.json
    assert body["message"] == message, answer
    for key in ("applied", "skipped", "errors"):
        assert body[key] == lists.get(key, []), answer
    assert body["success"] is (status == 200 and not body["errors"])
    return body


def test_rollback_dry_run(applied):
    expect_rollback(rollback(applied.client, ORDERS, {"dry_run": True}), 200, "rollback would undo 1 schema(s)",
                    applied=[f"core_{ORDERS} (dry-run)"])
    assert applied.client.get(f"/api/v1/migrations/{ORDERS}/applied").json == {"applied": True}


def test_rollback(applied, postgres, database):
    expect_rollback(rollback(applied.client, ORDERS), 200, "rollback completed successfully for 1 schema(s)",
                    applied=["core_" + ORDERS])
    assert tables(postgres, database, "core") == ["users"]
    state = applied.client.get("/api/v1/migrations/%s/status" % ORDERS).json
    assert (state["status"], state["applied"]) == ("rolled_back", False)
    expect(up(applied.client), 200, applied=[ORDERS], skipped=[USERS])


@pytest.mark.parametrize("body", [None, b"", {}, {"schemas": []}, {"schemas": None}, {"other": 1}])
def test_rollback_with_nothing_in_the_body(applied, body):
    expect_rollback(rollback(applied.client, ORDERS, body), 200, "rollback completed successfully for 1 schema(s)",
                    applied=["core_" + ORDERS])


def test_rollback_of_several_schemas(core, postgres, database):
    up(core.client, "tenants", schemas=["a", "b", "c"])
    expect_rollback(rollback(core.client, TENANT, {"schemas": ["a", "c"]}), 200,
                    "rollback completed successfully for 2 schema(s)", applied=["a_" + TENANT, "c_" + TENANT])
    expect_rollback(rollback(core.client, "b_" + TENANT), 200, "rollback completed successfully for 1 schema(s)",
                    applied=["b_" + TENANT])


def test_rollback_that_fails_in_part(core, tree, postgres, database):
    up(core.client, "tenants", schemas=["a", "b"])
    postgres.query(database, "DROP TABLE a.items")
    answer = rollback(core.client, TENANT, {"schemas": ["a", "b"]})
    assert answer.status == 200
    assert answer.json["success"] is False
    assert answer.json["message"] == "rollback completed successfully for 1 schema(s)"
    assert answer.json["applied"] == ["b_" + TENANT]
    assert re.match(r'schema a: .*"items" does not exist', answer.json["errors"][0])
    answer = rollback(core.client, TENANT, {"schemas": ["a"]})
    assert (answer.status, answer.json["success"], answer.json["message"]) == (200, False, "rollback failed")


def test_rollback_of_nothing(core):
    answer = rollback(core.client, USERS)
    body = expect_rollback(answer, 400, "no migrations to rollback", skipped=["core_%s (not applied)" % USERS])
    assert body["error"] == "no migrations to rollback"


def test_rollback_without_a_script(core, tree):
    tree.remove("postgresql/tenants/20250103120000_create_items.down.sql")
    core.client.post("/api/v1/migrations/reindex")
    up(core.client, "tenants", schemas=["a"])
    expect_rollback(rollback(core.client, TENANT, {"schemas": ["a"]}), 200, "migration does not have rollback SQL",
                    errors=["migration does not have rollback SQL"])


def test_rollback_of_an_unknown_migration(core):
    expect_error(rollback(core.client, "nobody"), 404, "migration not found")
    expect_error(rollback(core.client, "nobody", b"{"), 400)


@pytest.mark.parametrize("body", [b"{", b"[]", b"x", b'{"schemas":"a"}', b'{"schemas":[1]}'])
def test_rollback_with_a_bad_body(applied, body):
    expect_error(rollback(applied.client, ORDERS, body), 400)
    assert applied.client.get("/api/v1/migrations/%s/applied" % ORDERS).json == {"applied": True}


def test_rollback_of_what_others_need(applied, tree):
    assert ORDERS in expect_error(rollback(applied.client, USERS), 409)
    tree.write("postgresql/core/core_users_20250101120000_create_users_down.sql", "DROP TABLE users CASCADE;\n")
    applied.client.post("/api/v1/migrations/reindex")
    expect_rollback(rollback(applied.client, USERS, {"ignore_dependencies": True}), 200,
                    "rollback completed successfully for 1 schema(s)", applied=["core_" + USERS])


def test_undo_runs_are_in_the_history(applied):
    rollback(applied.client, ORDERS)
    history = applied.client.get("/api/v1/migrations/%s/history" % ORDERS).json["history"]
    assert history[0]["status"] == "rolled_back"
    assert {item["migration_id"] for item in history} == {ORDERS}
    executions = applied.client.get("/api/v1/migrations/%s/executions" % ORDERS).json["executions"]
    assert [item["applied"] for item in executions] == [False]
