"""Whole fleets: what the failure of some schemas means for the others, every schema that the state knows, how far the
schemas are, and whether a version has arrived everywhere."""
import json
import sqlite3
import time
import urllib.parse

import pytest
from api_helpers import down, expect, expect_error, migrate, rollback, tables, up
from harness.client import Client
from harness.processes import wait_until
from once_helpers import Background, effects, make_effects, step_id, step_path, version, write_steps

FAIL = "SELECT 1 / (SELECT count(*) FROM pg_tables WHERE schemaname = '{{.Schema}}' AND tablename = 'good')::int;\n"
ALONE = "left alone because others failed"


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request, postgres, make_database, state_env, tmp_path):
    if request.param == "sqlite":
        return {"BFM_STATE_DB_PATH": str(tmp_path / "shared.db")}
    return state_env(postgres, make_database())


@pytest.fixture
def env(state, postgres, database, connection_env):
    make_effects(postgres, database)
    return {**connection_env("tenants", postgres, database), **state}


def write_fixed(tree, number, schema="core"):
    """stepN of a schema of its own."""
    tree.write(step_path(number), "-- bfm-schema: %s\nCREATE TABLE t%d (id int);\n" % (schema, number))


def make_good(postgres, database, schemas):
    """Schemas in which FAIL does not fail."""
    for schema in schemas:
        postgres.query(database, 'CREATE SCHEMA "%s"; CREATE TABLE "%s".good ()' % (schema, schema))


def get(bfm, path, status=200, client=None, **params):
    answer = (client or bfm.client).get("%s?%s" % (path, urllib.parse.urlencode(params)))
    assert answer.status == status, answer
    return answer.json


def tenants(bfm, **params):
    return get(bfm, "/api/v1/tenants", connection="tenants", **params)


def gate(bfm, status, **params):
    body = get(bfm, "/api/v1/gate", status, connection="tenants", **params)
    assert body["pass"] is (status == 200), body
    assert ("error" in body) is (status != 200), body
    return body


def row(schema, at, pending, failed=0):
    return {"schema": schema, "version": at, "pending": pending, "failed": failed}


def change_state(env, postgres, sql):
    """Behind the server's back."""
    if not env.get("BFM_STATE_DB_PATH"):
        postgres.query(env["BFM_STATE_DB_NAME"], sql)
        return
    with sqlite3.connect(env["BFM_STATE_DB_PATH"], timeout=30) as db:
        db.execute(sql)
    db.close()


def numbered(count, prefix="s"):
    return ["%s%05d" % (prefix, i) for i in range(count)]


# --- on_error and max_failures ---

def test_three_poisoned_of_two_hundred(start_bfm, tree, env, postgres, database):
    """By default the others go on; the retry does the three."""
    write_steps(tree, 1)
    schemas = numbered(200)
    poisoned = schemas[10:13]
    for schema in poisoned:
        postgres.query(database, 'CREATE SCHEMA "%s"; CREATE TABLE "%s".t1 ()' % (schema, schema))
    bfm = start_bfm(env, tree=tree)
    answer = up(bfm.client, "tenants", schemas=schemas, on_error="continue")
    assert answer.status == 206 and len(answer.json["applied"]) == 197 and len(answer.json["errors"]) == 3, answer
    for schema in poisoned:
        postgres.query(database, 'DROP TABLE "%s".t1' % schema)
    again = bfm.client.post("/api/v1/runs/%s/retry" % answer.json["run_id"], {})
    assert again.status == 200 and len(again.json["applied"]) == 3 and not again.json["skipped"], again
    assert effects(postgres, database) == {(schema, "step1"): 1 for schema in schemas}


@pytest.mark.parametrize("how", [{"on_error": "stop"}, {"max_failures": 0}, {"on_error": "stop", "max_failures": 0}])
def test_the_first_failure_stops_the_others(start_bfm, tree, env, postgres, database, how):
    write_steps(tree, 1)
    tree.write(step_path(2), FAIL)
    schemas = numbered(300)
    bfm = start_bfm({**env, "BFM_DB_MAX_OPEN_CONNS": "2"}, tree=tree)
    answer = up(bfm.client, "tenants", schemas=schemas, **how)
    assert answer.status == 206, answer
    body = answer.json
    failed = [line for line in body["errors"] if "division by zero" in line]
    alone = [line for line in body["errors"] if line.endswith(ALONE)]
    assert 1 <= len(failed) <= 4 and len(failed) + len(alone) >= len(body["errors"]) - 4, body["errors"][:9]
    assert len(body["applied"]) <= 5 and "schema s00299: " + ALONE in alone
    run = get(bfm, "/api/v1/runs/" + body["run_id"])
    assert run["status"] == "failed" and run["counts"]["lanes"] == 300
    assert run["counts"]["lanes_failed"] == run["counts"]["failed"] == len(failed), run["counts"]
    assert run["counts"]["not_run"] == len(alone) and run["counts"]["not_run"] >= 295
    assert run["request"]["max_failures"] == 0
    assert len(tables(postgres, database, "s00299")) == 0
    # A retry is of all that was left, and as careful.
    again = bfm.client.post("/api/v1/runs/%s/retry" % body["run_id"], {})
    assert again.status == 206 and len([x for x in again.json["errors"] if x.endswith(ALONE)]) >= 290, again.text[:500]
    # But for what it is told.
    tree.write(step_path(2), "SELECT 1;\n")
    wait_until(lambda: up(bfm.client, "tenants", schemas=["other"]).status == 200, what="the changed script")
    last = bfm.client.post("/api/v1/runs/%s/retry" % again.json["run_id"], {"on_error": "continue"})
    assert last.status == 200 and "max_failures" not in get(bfm, "/api/v1/runs/" + last.json["run_id"])["request"]
    assert set(effects(postgres, database)) == {(schema, "step1") for schema in schemas + ["other"]}


def test_some_may_fail(start_bfm, tree, env, postgres, database):
    """With one connection one lane after another begins: the failures are those of the first schemas."""
    tree.write(step_path(1), FAIL)
    schemas = numbered(60)
    bad, good = schemas[:6], schemas[6:]
    make_good(postgres, database, good)
    bfm = start_bfm({**env, "BFM_DB_MAX_OPEN_CONNS": "1"}, tree=tree)
    answer = up(bfm.client, "tenants", schemas=schemas, max_failures=4)
    assert answer.status == 206, answer
    failed = [line for line in answer.json["errors"] if "division by zero" in line]
    assert 5 <= len(failed) <= 6 and len(answer.json["applied"]) <= 1, answer
    answer = up(bfm.client, "tenants", schemas=schemas, max_failures=6, on_error="continue")
    assert answer.status == 206 and len(answer.json["applied"]) + len(answer.json["skipped"]) == len(good), answer
    assert len(answer.json["errors"]) == len(bad), answer


def test_undo_can_stop_too(start_bfm, tree, env, postgres, database):
    tree.write(step_path(1), "SELECT 1;\n")
    tree.write(step_path(1, "down"), FAIL)
    schemas = numbered(100)
    bfm = start_bfm({**env, "BFM_DB_MAX_OPEN_CONNS": "2"}, tree=tree)
    assert up(bfm.client, "tenants", schemas=schemas).status == 200
    for answer in (down(bfm.client, step_id(1), schemas=schemas, on_error="stop"),
                   rollback(bfm.client, step_id(1), {"schemas": schemas, "on_error": "stop"})):
        assert answer.json["applied"] == [] and answer.json["success"] is False, answer
        alone = [line for line in answer.json["errors"] if line.endswith(": " + ALONE)]
        assert len(alone) >= 95 and len(answer.json["errors"]) == 100, answer
    answer = migrate(bfm.client, "tenants", schema="new", on_error="stop")
    assert answer.status == 200, answer


@pytest.mark.parametrize("fields, text", [
    ({"on_error": "stop", "max_failures": 3}, 'field "max_failures" contradicts field "on_error"'),
    ({"on_error": "continue", "max_failures": 0}, 'field "max_failures" contradicts field "on_error"'),
    ({"on_error": "ignore"}, 'field "on_error" must be "continue" or "stop"'),
    ({"on_error": 1}, 'field "on_error" must be a string'),
    ({"max_failures": -1}, 'field "max_failures" must be a whole number from 0 to 1000000000'),
    ({"max_failures": 1.5}, 'field "max_failures" must be a whole number from 0 to 1000000000'),
    ({"max_failures": 1e300}, 'field "max_failures" must be a whole number from 0 to 1000000000'),
    ({"max_failures": "1"}, 'field "max_failures" must be a whole number from 0 to 1000000000'),
])
def test_refused_limits(start_bfm, tree, postgres, database, connection_env, fields, text):
    write_steps(tree, 1)
    bfm = start_bfm(connection_env("tenants", postgres, database), tree=tree)
    for answer in (up(bfm.client, "tenants", schemas=["a"], **fields), migrate(bfm.client, "tenants", **fields),
                   down(bfm.client, step_id(1), **fields), rollback(bfm.client, step_id(1), fields),
                   bfm.client.post("/api/v1/runs/x/retry", fields)):
        expect_error(answer, 400, text)
    assert tables(postgres, database, "a") == []


# --- schemas_from ---

def test_every_schema_of_the_state(start_bfm, tree, env, postgres, database):
    write_steps(tree, 1)
    write_fixed(tree, 3)
    tree.write("postgresql/tenants/20240101000000_gone.up.sql", "SELECT 1;\n")
    bfm = start_bfm(env, tree=tree)
    # Nobody yet: not the one lane that has no schema, which would run step3.
    answer = up(bfm.client, "tenants", schemas_from="state")
    expect(answer, 200)
    assert tables(postgres, database, "core") == []
    run = get(bfm, "/api/v1/runs/" + answer.json["run_id"])
    assert run["status"] == "succeeded" and run["counts"]["lanes"] == 0 and run["request"]["schemas_from"] == "state"
    assert up(bfm.client, "tenants", schemas_from="state", schemas=[], dry_run=True).json["applied"] == []
    change_state(env, postgres, "UPDATE bfm_runs SET status = 'interrupted'")
    expect(bfm.client.post("/api/v1/runs/%s/retry" % answer.json["run_id"]), 200)
    assert tables(postgres, database, "core") == []

    assert up(bfm.client, "tenants", schemas=["a", "b", "left"], target={"version": version(1)}).status == 200
    assert up(bfm.client, "tenants", schemas=["old"], target={"version": "20240101000000"}).status == 200
    assert up(bfm.client, "tenants", target={"schema": "core"}).status == 200
    assert down(bfm.client, step_id(1), schemas=["left"]).status == 200
    tree.remove("postgresql/tenants/20240101000000_gone.up.sql")
    tree.write(step_path(2), "CREATE TABLE t2 (id int);\n")
    wait_until(lambda: tenants(bfm)["latest"] == version(2), what="the new script")
    only = {"tables": [], "schema": "", "version": version(2)}
    answer = up(bfm.client, "tenants", target=only, schemas_from="state", dry_run=True)
    assert [line.split("_")[0] for line in answer.json["applied"]] == ["a", "b", "old"], answer
    answer = up(bfm.client, "tenants", target=only, schemas_from="state")
    assert answer.status == 200 and [line.split("_")[0] for line in answer.json["applied"]] == ["a", "b", "old"], answer
    run = get(bfm, "/api/v1/runs/" + answer.json["run_id"])
    assert run["request"]["schemas"] == ["a", "b", "old"] and run["counts"]["lanes"] == 3
    assert tables(postgres, database, "left") == []


def test_a_retry_is_of_the_schemas_that_were_found(start_bfm, tree, env, postgres, database):
    write_steps(tree, 1)
    bfm = start_bfm(env, tree=tree)
    assert up(bfm.client, "tenants", schemas=["a", "b"]).status == 200
    tree.write(step_path(2), FAIL)
    wait_until(lambda: tenants(bfm)["latest"] == version(2), what="the new script")
    answer = up(bfm.client, "tenants", schemas_from="state")
    assert answer.status == 206 and len(answer.json["errors"]) == 2, answer
    assert up(bfm.client, "tenants", schemas=["c"], target={"version": version(1)}).status == 200
    for schema in "abc":
        postgres.query(database, "CREATE TABLE %s.good ()" % schema)
    again = bfm.client.post("/api/v1/runs/%s/retry" % answer.json["run_id"])
    assert again.status == 200 and sorted(x[0] for x in again.json["applied"]) == ["a", "b"], again


def test_a_key_stands_for_what_was_found(start_bfm, tree, env):
    write_steps(tree, 1)
    bfm = start_bfm(env, tree=tree)
    body = {"connection": "tenants", "target": {}, "schemas_from": "state", "async": True}
    first = bfm.client.request("POST", "/api/v1/migrations/up", body, headers={"Idempotency-Key": "k"})
    assert first.status == 202, first
    assert up(bfm.client, "tenants", schemas=["a"]).status == 200
    again = bfm.client.request("POST", "/api/v1/migrations/up", body, headers={"Idempotency-Key": "k"})
    assert again.headers["Idempotency-Replayed"] == "true" and again.json["run_id"] == first.json["run_id"], again


def test_schemas_from_is_checked(start_bfm, tree, env):
    write_steps(tree, 1)
    bfm = start_bfm(env, tree=tree)
    expect_error(up(bfm.client, "tenants", schemas_from="target"), 400, 'field "schemas_from" must be "state"')
    expect_error(up(bfm.client, "tenants", schemas_from=["state"]), 400, 'field "schemas_from" must be a string')
    expect_error(up(bfm.client, "tenants", schemas_from="state", schemas=["a"]), 400,
                 'fields "schemas" and "schemas_from" exclude each other')
    for answer in (migrate(bfm.client, "tenants", schemas_from="state"),
                   down(bfm.client, step_id(1), schemas_from="state"),
                   rollback(bfm.client, step_id(1), {"schemas_from": "state"})):
        expect_error(answer, 400, 'field "schemas_from" is known only to POST /api/v1/migrations/up')
    answer = up(bfm.client, "nowhere", schemas_from="state")
    assert answer.status == 206 and answer.json["errors"] == ["connection nowhere not found"], answer
    expect_error(up(bfm.client, "", schemas_from="state"), 400, 'field "connection" is required')


# --- tenants and gate ---

def test_how_far_the_schemas_are(start_bfm, tree, env, postgres, database):
    write_steps(tree, 2)
    write_fixed(tree, 4)
    tree.write(step_path(3), FAIL)
    make_good(postgres, database, ["done", "here"])
    bfm = start_bfm(env, tree=tree)
    assert tenants(bfm) == {"connection": "tenants", "schemas": 0, "latest": version(3), "migrations": 3,
                            "laggards_total": 0, "failed_total": 0, "versions": [], "laggards": [], "failed": []}
    assert up(bfm.client, "tenants", schemas=["one", "uno"], target={"version": version(1)}).status == 200
    for number in (1, 2, 3):
        up(bfm.client, "tenants", schemas=["done", "here", "bad"], target={"version": version(number)})
    up(bfm.client, "tenants", schemas=["worse"], target={"version": version(3)})
    assert up(bfm.client, "tenants", target={"schema": "core"}).status == 200
    body = tenants(bfm)
    assert body["schemas"] == 6 and body["laggards_total"] == 4 and body["failed_total"] == 2, body
    assert body["versions"] == [{"version": version(3), "schemas": 2}, {"version": version(2), "schemas": 1},
                                {"version": version(1), "schemas": 2}, {"version": "", "schemas": 1}]
    assert body["laggards"] == [row("bad", version(2), 1, 1), row("one", version(1), 2), row("uno", version(1), 2),
                                row("worse", "", 3, 1)]
    assert body["failed"] == [row("bad", version(2), 1, 1), row("worse", "", 3, 1)]
    # Pages: totals are of all, names by schema.
    seen, cursor = [], ""
    for _ in range(4):
        page = tenants(bfm, limit=1, cursor=cursor)
        assert page["schemas"] == 6 and page["laggards_total"] == 4 and page["versions"] == body["versions"]
        assert page["failed"] == [x for x in page["laggards"] if x["failed"]]
        seen += page["laggards"]
        cursor = page.get("next_cursor", "")
    assert seen == body["laggards"] and cursor == ""
    assert "next_cursor" in tenants(bfm, limit=3) and "next_cursor" not in tenants(bfm, limit=4)
    # What is undone everywhere belongs to nobody any more.
    assert down(bfm.client, step_id(1), schemas=["uno"]).status == 200
    assert tenants(bfm)["schemas"] == 5


def test_names_that_need_escaping(start_bfm, tree, env):
    write_steps(tree, 1)
    names = sorted(["a'b", 'q"q', "back\\slash", "dollar$1$c@", "ä", "Z", "%s", "日本", "sp ace"],
                   key=lambda name: name.encode())
    bfm = start_bfm(env, tree=tree)
    tree.write(step_path(1), "SELECT 1;\n")
    wait_until(lambda: up(bfm.client, "tenants", schemas=names).status == 200, what="the script that takes any name")
    tree.write(step_path(2), "SELECT 1;\n")
    wait_until(lambda: tenants(bfm)["latest"] == version(2), what="the new script")
    seen, cursor = [], ""
    while not seen or cursor:
        page = tenants(bfm, limit=2, cursor=cursor)
        seen += [x["schema"] for x in page["laggards"]]
        cursor = page.get("next_cursor", "")
    assert seen == names
    for name in names:
        assert gate(bfm, 409, schema=name)["laggards"] == [row(name, version(1), 1)]
        assert gate(bfm, 200, schema=name, version=version(1))["schemas"] == 1
    assert up(bfm.client, "tenants", schemas_from="state").status == 200
    assert tenants(bfm)["laggards_total"] == 0 and gate(bfm, 200)["ready"] == len(names)


def test_gate(start_bfm, tree, env, postgres, database):
    write_steps(tree, 2)
    write_fixed(tree, 3)
    tree.write(step_path(4), FAIL)
    make_good(postgres, database, ["a"])
    bfm = start_bfm(env, tree=tree)
    assert gate(bfm, 200, version=version(2)) == {
        "pass": True, "connection": "tenants", "version": version(2), "schemas": 0, "ready": 0, "behind": 0,
        "failed": 0, "fixed": 0, "fixed_missing": 0}
    for number in (1, 2, 4):
        up(bfm.client, "tenants", schemas=["a", "b"], target={"version": version(number)})
    assert gate(bfm, 200, version=version(2))["ready"] == 2
    body = gate(bfm, 409, version=version(3))
    assert body["missing"] == [step_id(3)] and body["fixed"] == body["fixed_missing"] == 1 and body["ready"] == 2
    assert body["error"] == "1 of 1 migration is not applied in the schema declared", body
    # Elsewhere does not count, and does not make a tenant.
    assert up(bfm.client, "tenants", schemas=["elsewhere"], target={"version": version(3)}).status == 200
    assert gate(bfm, 409, version=version(3))["schemas"] == 2
    assert up(bfm.client, "tenants", target={"version": version(3)}).status == 200
    assert gate(bfm, 200, version=version(3)) == {
        "pass": True, "connection": "tenants", "version": version(3), "schemas": 2, "ready": 2, "behind": 0,
        "failed": 0, "fixed": 1, "fixed_missing": 0}
    body = gate(bfm, 409)
    assert body["version"] == version(4) and body["laggards"] == [row("b", version(2), 1, 1)] and body["failed"] == 1
    assert body["error"] == "1 of 2 schemas lacks migrations up to version %s (1 failed)" % version(4), body
    assert gate(bfm, 200, schema="a")["schemas"] == 1
    assert gate(bfm, 409, schema="b")["behind"] == 1
    assert gate(bfm, 409, schema="new")["laggards"] == [row("new", "", 3)]
    body = gate(bfm, 409, version="20991231000000")
    assert body["error"].startswith("no migration of connection tenants has version 20991231000000"), body
    # A failure that is made good.
    postgres.query(database, "CREATE TABLE b.good ()")
    assert up(bfm.client, "tenants", schemas_from="state", target={"version": version(4)}).status == 200
    assert gate(bfm, 200)["ready"] == 2
    # One that is undone.
    assert down(bfm.client, step_id(2), schemas=["a"], ignore_dependencies=True).status == 200
    assert gate(bfm, 409)["laggards"] == [row("a", version(4), 1)]
    assert gate(bfm, 200, version=version(1))["ready"] == 2


def test_what_declares_a_schema_counts_only_there(start_bfm, tree, env):
    """Though the other schema is looked at too."""
    write_fixed(tree, 1, "one")
    write_fixed(tree, 2, "two")
    bfm = start_bfm(env, tree=tree)
    assert up(bfm.client, "tenants", schemas=["two"]).status == 200
    assert gate(bfm, 409)["missing"] == [step_id(1)]
    assert up(bfm.client, "tenants", target={"version": version(1)}).status == 200
    assert gate(bfm, 200)["fixed"] == 2


def test_scripts_that_are_gone_do_not_count(start_bfm, tree, env):
    """By IDs: as many executions as there are scripts is not enough."""
    tree.write("postgresql/tenants/20250102000000_gone.up.sql", "SELECT 1;\n")
    tree.write("postgresql/tenants/20250101000000_stays.up.sql", "SELECT 1;\n")
    bfm = start_bfm(env, tree=tree)
    assert up(bfm.client, "tenants", schemas=["a", "b"]).status == 200
    tree.remove("postgresql/tenants/20250102000000_gone.up.sql")
    tree.write("postgresql/tenants/20250102000000_comes.up.sql", "SELECT 1;\n")
    wait_until(lambda: gate(bfm, 409)["behind"] == 2 if
               bfm.client.get("/api/v1/gate?connection=tenants").status == 409 else False, what="the new tree")
    assert tenants(bfm)["migrations"] == 2 and tenants(bfm)["laggards_total"] == 2
    assert gate(bfm, 409, schema="a")["laggards"][0]["pending"] == 1
    assert up(bfm.client, "tenants", schemas=["a"]).status == 200
    body = gate(bfm, 409)
    assert body["ready"] == 1 and [x["schema"] for x in body["laggards"]] == ["b"]
    assert up(bfm.client, "tenants", schemas_from="state").status == 200
    assert gate(bfm, 200)["ready"] == 2


def test_what_is_asked_wrongly(start_bfm, tree, env):
    write_steps(tree, 1)
    bfm = start_bfm(env, tree=tree)
    for path in ("/api/v1/tenants", "/api/v1/gate"):
        expect_error(bfm.client.get(path), 400, 'parameter "connection" is required')
        expect_error(bfm.client.get(path + "?connection=nowhere"), 404, "connection nowhere not found")
    expect_error(bfm.client.get("/api/v1/tenants?connection=tenants&cursor=s00001"), 400,
                 'parameter "cursor" is no next_cursor of this list')
    for bad in ("1", "2025010100000x", "202501010000000", "20250101000000%20"):
        expect_error(bfm.client.get("/api/v1/gate?connection=tenants&version=" + bad), 400,
                     'parameter "version" must have 14 digits')


def test_a_token_sees_its_schemas(start_bfm, tree, env, tmp_path):
    write_steps(tree, 1)
    write_fixed(tree, 2)
    names = {"mine": {"schemas": ["my_*"]}, "other": {"connections": ["elsewhere"]}}
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps([{"name": name, "token": "canary-token-%s-0123456789" % name,
                                 "scopes": ["read", "migrate"], **rest} for name, rest in names.items()]))
    path.chmod(0o600)
    bfm = start_bfm({**env, "BFM_API_TOKENS_FILE": str(path)}, tree=tree)
    mine, other = (Client("127.0.0.1", bfm.port, "canary-token-%s-0123456789" % name) for name in names)
    assert up(bfm.client, "tenants", schemas=["my_1", "my_2", "theirs"], target={"version": version(1)}).status == 200
    tree.write(step_path(3), "SELECT 1;\n")
    wait_until(lambda: tenants(bfm)["latest"] == version(3), what="the new script")
    body = get(bfm, "/api/v1/tenants", client=mine, connection="tenants")
    assert body["schemas"] == 2 and body["versions"] == [{"version": version(1), "schemas": 2}]
    assert [x["schema"] for x in body["laggards"]] == ["my_1", "my_2"]
    body = get(bfm, "/api/v1/gate", 409, client=mine, connection="tenants")
    assert body["schemas"] == 2 and body["fixed"] == 0, body
    get(bfm, "/api/v1/gate", 403, client=mine, connection="tenants", schema="theirs")
    answer = up(mine, "tenants", schemas_from="state", target={"version": version(3)})
    assert answer.status == 200 and [x.split("_2025")[0] for x in answer.json["applied"]] == ["my_1", "my_2"], answer
    assert get(bfm, "/api/v1/gate", client=mine, connection="tenants")["ready"] == 2
    assert gate(bfm, 409)["behind"] == 1
    for path in ("/api/v1/tenants", "/api/v1/gate"):
        get(bfm, path, 403, client=other, connection="tenants")
    assert up(other, "tenants", schemas_from="state").status == 403


# --- ten thousand ---

FLEET = 10000


def fill(env, postgres, schemas, scripts):
    """Executions of stepN in every schema, as if they had been recorded; the last schema lacks the last one."""
    rows = [(step_id(n), schema, version(n)) for schema in schemas for n in range(1, scripts + 1)][:-1]
    if env.get("BFM_STATE_DB_PATH"):
        with sqlite3.connect(env["BFM_STATE_DB_PATH"], timeout=30) as db:
            db.executemany("INSERT INTO migrations_executions (migration_id, schema, version, connection, backend,"
                           " status, applied, applied_at, created_at, updated_at)"
                           " VALUES (?, ?, ?, 'tenants', 'postgresql', 'applied', 1, 1, 1, 1)", rows)
        db.close()
        return
    for first in range(0, len(rows), 20000):
        values = json.dumps([{"i": i, "s": s, "v": v} for i, s, v in rows[first:first + 20000]])
        postgres.query(env["BFM_STATE_DB_NAME"],
                       "INSERT INTO migrations_executions (migration_id, schema, version, connection, backend, status,"
                       " applied, applied_at, created_at, updated_at) SELECT i, s, v, 'tenants', 'postgresql',"
                       " 'applied', true, now(), now(), now() FROM json_to_recordset(%s) AS r (i text, s text, v text)",
                       (values,))
    postgres.query(env["BFM_STATE_DB_NAME"], "VACUUM ANALYZE migrations_executions")


def test_ten_thousand_schemas_at_a_glance(start_bfm, tree, env, postgres):
    """The figure is in bench/; here it must only not be off by an order of magnitude, with sanitizers."""
    write_steps(tree, 20)
    bfm = start_bfm(env, tree=tree)
    schemas = numbered(FLEET)
    begun = time.monotonic()
    fill(env, postgres, schemas, 20)
    limit = max(5, 2 * (time.monotonic() - begun))
    for check in (lambda: tenants(bfm), lambda: gate(bfm, 409)):
        begun = time.monotonic()
        body = check()
        assert time.monotonic() - begun < limit
        assert body["schemas"] == FLEET and body["laggards"] == [row(schemas[-1], version(19), 1)], body
    assert len(json.dumps(body)) < 10000
    assert gate(bfm, 200, version=version(19))["ready"] == FLEET
    answer = up(bfm.client, "tenants", schemas_from="state", dry_run=True)
    assert answer.status == 200 and len(answer.json["skipped"]) == FLEET * 20 - 1
    assert answer.json["applied"] == ["%s_%s (dry-run)" % (schemas[-1], step_id(20))], answer.json["applied"]


class Sampler:
    """Asks how many sessions a database has until it is told to end; the most is its result."""

    def __init__(self, postgres, database):
        self.connection = postgres.connect("postgres")
        self.database, self.over = database, False
        self.work = Background(self.sample)

    def sample(self):
        most = samples = 0
        with self.connection.cursor() as cursor:
            while not self.over:
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
                               " AND backend_type = 'client backend'", (self.database,))
                most = max(most, cursor.fetchone()[0])
                samples += 1
        self.connection.close()
        return most, samples

    def result(self):
        self.over = True
        return self.work.result()


def test_ten_thousand_schemas_in_one_request(start_bfm, tree, env, postgres, database):
    """All of them planned, a part of them done, and never more sessions than the pool has."""
    tree.write(step_path(1), "SELECT 1;\n")
    bfm = start_bfm({**env, "BFM_DB_MAX_OPEN_CONNS": "6"}, tree=tree)
    schemas = numbered(FLEET, "a_tenant_with_a_name_of_sixty_bytes_or_thereabouts_number_")
    answer = up(bfm.client, "tenants", schemas=schemas, dry_run=True)
    assert answer.status == 200 and len(answer.json["applied"]) == FLEET, answer.text[:300]
    sampler = Sampler(postgres, database)
    answer = up(bfm.client, "tenants", schemas=schemas[:2000])
    most, samples = sampler.result()
    assert answer.status == 200 and len(answer.json["applied"]) == 2000, answer.text[:300]
    assert most <= 6 and samples > 10, (most, samples)
    assert tenants(bfm)["versions"] == [{"version": version(1), "schemas": 2000}]
    assert gate(bfm, 200)["ready"] == 2000
    expect_error(up(bfm.client, "tenants", schemas=schemas + ["more"]), 400,
                 'field "schemas" has more than 10000 entries')
