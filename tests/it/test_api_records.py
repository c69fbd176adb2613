"""Records: history, executions and skipped (bfm-api.md §4.7, §6.6)."""
import json

from api_helpers import ORDERS, TENANT, TIME, USERS, core, down, expect, expect_error, tables, up  # noqa: F401

HISTORY_KEYS = ["migration_id", "schema", "table", "version", "connection", "backend", "applied_at", "status",
                "error_message", "executed_by", "execution_method", "execution_context"]


def test_history(core):
    up(core.client)
    answer = core.client.get("/api/v1/migrations/%s/history" % USERS)
    assert answer.status == 200
    assert answer.json["migration_id"] == USERS
    assert [item["status"] for item in answer.json["history"]] == ["applied", "pending"]
    for item in answer.json["history"]:
        assert list(item) == HISTORY_KEYS
        assert all(isinstance(value, str) for value in item.values())
        assert (item["migration_id"], item["schema"], item["table"]) == (USERS, "core", "users")
        assert json.loads(item["execution_context"])["endpoint"] == "/api/v1/migrations/up"
    assert TIME.match(answer.json["history"][0]["applied_at"])


def test_history_of_one_schema(core):
    up(core.client, "tenants", schemas=["a", "b"])
    down(core.client, TENANT, schemas=["a"])
    both = core.client.get("/api/v1/migrations/%s/history" % TENANT).json["history"]
    assert {item["schema"] for item in both} == {"a", "b"}
    mine = core.client.get("/api/v1/migrations/a_%s/history" % TENANT).json["history"]
    assert [item["schema"] for item in mine] == ["a"] * len(mine)
    assert [item["status"] for item in mine if item["status"] != "pending"] == ["rolled_back", "applied"]
    assert len(core.client.get("/api/v1/migrations/%s/history?limit=1" % TENANT).json["history"]) == 1


def test_history_of_nobody(core):
    expect_error(core.client.get("/api/v1/migrations/nobody/history"), 404)
    assert core.client.get("/api/v1/migrations/%s/history" % USERS).json == {"migration_id": USERS, "history": []}


def test_history_of_a_failure(core, tree):
    tree.write("postgresql/core/20250104120000_bad.up.sql", "-- bfm-schema: core\nSELECT nonsense;")
    core.client.post("/api/v1/migrations/reindex")
    up(core.client, target={"version": "20250104120000"})
    item = core.client.get("/api/v1/migrations/20250104120000_bad_postgresql_core/history").json["history"][0]
    assert item["status"] == "failed"
    assert "nonsense" in item["error_message"]


def test_executions(core):
    up(core.client, "tenants", schemas=["a", "b"])
    answer = core.client.get("/api/v1/migrations/%s/executions" % TENANT)
    assert answer.status == 200
    assert answer.json["migration_id"] == TENANT
    items = answer.json["executions"]
    assert {item["schema"] for item in items} == {"a", "b"}
    for item in items:
        assert isinstance(item["id"], int) and 0 < item["id"] < 1 << 53
        for key in ("applied_at", "created_at", "updated_at"):
            assert TIME.match(item[key])
        assert (item["migration_id"], item["status"], item["applied"]) == (TENANT, "applied", True)
        assert (item["version"], item["connection"], item["backend"]) == ("20250103120000", "tenants", "postgresql")
    assert len({item["id"] for item in items}) == 2
    again = core.client.get("/api/v1/migrations/%s/executions" % TENANT).json["executions"]
    assert [item["id"] for item in again] == [item["id"] for item in items]
    mine = core.client.get("/api/v1/migrations/a_%s/executions" % TENANT).json
    assert [item["schema"] for item in mine["executions"]] == ["a"]
    assert mine["migration_id"] == "a_" + TENANT


def test_executions_of_nobody(core):
    assert core.client.get("/api/v1/migrations/nobody/executions").json == {"migration_id": "nobody",
                                                                           "executions": []}


def test_recent_executions(core):
    assert core.client.get("/api/v1/migrations/executions/recent").json == {"executions": []}
    schemas = ["s%02d" % i for i in range(12)]
    for schema in schemas[:3]:
        up(core.client, "tenants", schemas=[schema])
    up(core.client, "tenants", schemas=schemas)
    recent = core.client.get("/api/v1/migrations/executions/recent").json["executions"]
    assert len(recent) == 10
    assert set(recent[0]) == {"id", "migration_id", "schema", "version", "connection", "backend", "status",
                              "applied", "applied_at", "created_at", "updated_at"}
    for limit, count in (("3", 3), ("100", 12), ("0", 10), ("-1", 10), ("x", 10), ("1.5", 10), ("", 10),
                         ("99999999999999999999", 12)):
        got = core.client.get("/api/v1/migrations/executions/recent?limit=" + limit).json["executions"]
        assert len(got) == count, limit
    up(core.client)
    newest = core.client.get("/api/v1/migrations/executions/recent?limit=2").json["executions"]
    assert {item["migration_id"] for item in newest} == {USERS, ORDERS}


def test_skipped(core):
    up(core.client)
    assert core.client.get("/api/v1/migrations/%s/skipped" % USERS).json == {"migration_id": USERS, "skipped": []}
    for _ in range(7):
        expect(up(core.client, target={"tables": ["users"]}), 200, skipped=[USERS])
    items = core.client.get("/api/v1/migrations/%s/skipped" % USERS).json["skipped"]
    assert len(items) == 5
    assert set(items[0]) == {"id", "migration_id", "schema", "version", "connection", "backend", "executed_by",
                             "execution_method", "execution_context", "skipped_at", "created_at"}
    assert isinstance(items[0]["id"], int)
    assert [item["id"] for item in items] == sorted((item["id"] for item in items), reverse=True)
    assert TIME.match(items[0]["skipped_at"]) and TIME.match(items[0]["created_at"])
    assert items[0]["executed_by"] == "api_user"
    assert len(core.client.get("/api/v1/migrations/%s/skipped?limit=100" % USERS).json["skipped"]) == 5
    assert len(core.client.get("/api/v1/migrations/%s/skipped?limit=2" % USERS).json["skipped"]) == 2
    recent = core.client.get("/api/v1/migrations/skipped/recent").json
    assert set(recent) == {"skipped"} and len(recent["skipped"]) == 5
    assert core.client.get("/api/v1/migrations/nobody/skipped").json == {"migration_id": "nobody", "skipped": []}


def test_dependencies_are_recorded_like_any_run(core):
    up(core.client, target={"tables": ["orders"]})
    history = core.client.get("/api/v1/migrations/%s/history" % USERS).json["history"]
    assert history[0]["status"] == "applied"
