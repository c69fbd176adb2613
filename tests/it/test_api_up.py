"""POST /api/v1/migrations/up: bfm-api.md §4.3 and what of §6 shows in its answers."""
import re
import threading

import pytest
from api_helpers import (ORDERS, TENANT, USERS, core, expect, expect_error, tables, up, write_core,  # noqa: F401
                         write_tenants)
from harness.processes import wait_until


# --- selection ---

def test_the_brief_case(core, postgres):
    assert expect(up(core.client), 200, applied=[USERS, ORDERS])["run_id"]
    expect(up(core.client), 200, skipped=[USERS, ORDERS])


@pytest.mark.parametrize("target, selected", [
    ({}, [USERS, ORDERS]),
    ({"backend": "postgresql"}, [USERS, ORDERS]),
    ({"backend": "postgres"}, [USERS, ORDERS]),
    ({"backend": "etcd"}, []),
    ({"backend": "nonsense"}, []),
    ({"connection": "core"}, [USERS, ORDERS]),
    ({"schema": "core"}, [USERS, ORDERS]),
    ({"schema": "other"}, []),
    ({"version": "20250101120000"}, [USERS]),
    ({"version": "2025"}, []),
    ({"tables": ["users"]}, [USERS]),
    ({"tables": ["users", "nothing", "orders"]}, [USERS, ORDERS]),
    ({"tables": ["Users"]}, []),
    ({"tags": ["env=prod"]}, [USERS, ORDERS]),
    ({"tags": ["env=prod", "tier=gold"]}, [USERS]),
    ({"tags": [" ENV = prod "]}, [USERS, ORDERS]),
    ({"tags": ["env=PROD"]}, []),
    ({"tags": ["env=test", "env=prod"]}, [USERS, ORDERS]),
    ({"tags": ["other=1"]}, []),
    ({"tags": []}, [USERS, ORDERS]),
])
def test_targets_select(core, target, selected):
    expect(up(core.client, target=target, dry_run=True), 200, applied=[item + " (dry-run)" for item in selected])


@pytest.mark.parametrize("tag", ["env", "=prod", "", " = x"])
def test_malformed_tags_are_400(core, tag):
    expect_error(up(core.client, target={"tags": ["a=b", tag]}), 400)


def test_two_different_connections_are_400(core):
    expect_error(up(core.client, target={"connection": "tenants"}), 400)


def test_a_schema_filter_never_selects_dynamic_ones(core):
    expect(up(core.client, "tenants", target={"schema": "t1"}, schemas=["t1"]), 200)


def test_nothing_matches(core):
    expect(up(core.client, target={"version": "19990101000000"}), 200)


# --- outcomes ---

def test_an_unknown_connection(core):
    expect(up(core.client, "nowhere"), 206, errors=["connection nowhere not found"])
    expect(up(core.client, "nowhere", target={"version": "19990101000000"}), 206,
           errors=["connection nowhere not found"])
    expect(up(core.client, "CORE"), 206, errors=["connection CORE not found"])


def test_schemas_run_one_after_the_other_in_the_answer(core, postgres, database):
    schemas = ["t3", "t1", "t2"]
    body = expect(up(core.client, "tenants", schemas=schemas), 200, applied=["%s_%s" % (s, TENANT) for s in schemas])
    assert [item["schema"] for item in body["details"]] == schemas
    for schema in schemas:
        assert tables(postgres, database, schema) == ["items"]
    expect(up(core.client, "tenants", schemas=["t1", "t4", "t1"]), 200, applied=["t4_" + TENANT],
           skipped=["t1_" + TENANT])


def test_a_fixed_migration_in_a_requested_schema(core, postgres, database):
    expect(up(core.client, schemas=["other"]), 200, applied=["other_" + USERS, "other_" + ORDERS])
    assert tables(postgres, database, "other") == ["orders", "users"]
    assert tables(postgres, database, "core") == []
    expect(up(core.client), 200, applied=[USERS, ORDERS])


def test_a_dynamic_migration_needs_a_schema(core):
    expect(up(core.client, "tenants"), 206,
           errors=["migration 20250103120000_create_items has dynamic schema but no schema provided in request"])
    expect(up(core.client, "tenants", schemas=[""]), 206,
           errors=["migration 20250103120000_create_items has dynamic schema but no schema provided in request"])


def test_the_schema_of_the_connection_is_the_fallback(start_bfm, tree, postgres, database, connection_env):
    write_tenants(tree)
    bfm = start_bfm(connection_env("tenants", postgres, database, SCHEMA="home"), tree=tree)
    expect(up(bfm.client, "tenants"), 200, applied=["home_" + TENANT])
    assert tables(postgres, database, "home") == ["items"]


@pytest.mark.parametrize("schema", ['quo"te', "a'b", "../x", "a b", "Ünïcode", "x" * 63, "$x$", "a;b", "{{.Schema}}",
                                    "%s", "UPPER"])
def test_schema_names_are_only_names(core, postgres, database, schema):
    expect(up(core.client, "tenants", schemas=[schema]), 200, applied=["%s_%s" % (schema, TENANT)])
    assert tables(postgres, database, schema) == ["items"]
    expect(up(core.client, "tenants", schemas=[schema]), 200, skipped=["%s_%s" % (schema, TENANT)])


def test_a_failing_script(core, tree, postgres, database):
    tree.write("postgresql/core/20250104120000_bad.up.sql",
               "-- bfm-schema: core\nCREATE TABLE half (id int);\n\nSELECT * FROM nowhere;\n")
    tree.write("postgresql/core/20250105120000_later.up.sql", "-- bfm-schema: core\nCREATE TABLE later (id int);\n")
    assert core.client.post("/api/v1/migrations/reindex").status == 200
    answer = up(core.client)
    assert answer.status == 206
    body = answer.json
    assert body["success"] is False
    assert body["applied"] == [USERS, ORDERS]
    assert len(body["errors"]) == 2
    assert re.match(r"20250104120000_bad_postgresql_core: .*relation \"nowhere\" does not exist", body["errors"][0])
    assert re.match(r"20250105120000_later_postgresql_core: not run: ", body["errors"][1])
    assert tables(postgres, database, "core") == ["orders", "users"]
    failed = [item for item in body["details"] if item["status"] == "failed"]
    assert len(failed) == 1
    assert (failed[0]["sqlstate"], failed[0]["statement"], failed[0]["line"]) == ("42P01", 2, 4)
    assert [item["status"] for item in body["details"]] == ["applied", "applied", "failed", "not_run"]


def test_a_failure_stops_its_schema_only(core, tree, postgres, database):
    tree.write("postgresql/tenants/20250104120000_unlucky.up.sql",
               "SELECT 1 / (CASE WHEN current_schema() = 'bad' THEN 0 ELSE 1 END);\n")
    core.client.post("/api/v1/migrations/reindex")
    unlucky = "20250104120000_unlucky_postgresql_tenants"
    answer = up(core.client, "tenants", schemas=["good", "bad", "fine"])
    assert answer.status == 206
    assert answer.json["applied"] == ["good_" + TENANT, "good_" + unlucky, "bad_" + TENANT, "fine_" + TENANT,
                                      "fine_" + unlucky]
    assert len(answer.json["errors"]) == 1
    assert answer.json["errors"][0].startswith("bad_%s: " % unlucky)


def test_notices_are_told(core, tree):
    tree.write("postgresql/core/20250104120000_talks.up.sql",
               "-- bfm-schema: core\nDO $$ BEGIN RAISE NOTICE 'hello from here'; END $$;\n")
    core.client.post("/api/v1/migrations/reindex")
    details = up(core.client, target={"version": "20250104120000"}).json["details"]
    assert any("hello from here" in notice for notice in details[0]["notices"])


def test_an_unreachable_target(core, tree, start_bfm, connection_env, postgres, database):
    write_core(tree)
    write_tenants(tree)
    env = connection_env("core", postgres, database, DB_PORT="1")
    env.update(connection_env("tenants", postgres, database))
    bfm = start_bfm(env, tree=tree)
    answer = up(bfm.client)
    assert answer.status == 206
    assert len(answer.json["errors"]) == 1
    assert answer.json["errors"][0].startswith("schema : ")
    answer = up(bfm.client, schemas=["a"])
    assert answer.json["errors"][0].startswith("schema a: ")
    assert postgres.password not in answer.text and "127.0.0.1" not in answer.text
    expect(up(bfm.client, "tenants", schemas=["t"]), 200, applied=["t_" + TENANT])


@pytest.mark.parametrize("backend", ["etcd", "greptimedb", "mysql"])
def test_a_target_without_an_address_says_so(start_bfm, tree, backend):
    tree.write("%s/later/20250101000000_x.up.%s" % (backend, "json" if backend == "etcd" else "sql"),
               '[{"key": "a", "value": "b"}]' if backend == "etcd" else "CREATE TABLE a (ts TIMESTAMP);")
    bfm = start_bfm({"LATER_BACKEND": backend}, tree=tree)
    answer = up(bfm.client, "later", schemas=["s"])
    assert answer.status == 206
    assert len(answer.json["errors"]) == 1
    assert answer.json["errors"][0].startswith("schema s: ")
    assert ("no endpoints" if backend == "etcd" else "no host") in answer.json["errors"][0]
    assert bfm.client.get("/api/v1/migrations").json["total"] == 1


def test_dry_runs_do_nothing(core, postgres, database):
    expect(up(core.client, dry_run=True), 200, applied=[USERS + " (dry-run)", ORDERS + " (dry-run)"])
    assert tables(postgres, database, "core") == []
    assert core.client.get("/api/v1/migrations/%s/history" % USERS).json["history"] == []
    expect(up(core.client, target={"version": "20250101120000"}), 200, applied=[USERS])
    expect(up(core.client, dry_run=True), 200, applied=[ORDERS + " (dry-run)"], skipped=[USERS])
    assert core.client.get("/api/v1/migrations/skipped/recent").json["skipped"] == []


# --- dependencies ---

def test_dependencies_come_along(core):
    expect(up(core.client, target={"tables": ["orders"]}), 200, applied=[USERS, ORDERS])
    expect(up(core.client, target={"tables": ["orders"]}), 200, skipped=[ORDERS])


def test_a_fixed_dependency_runs_in_its_own_schema(core, postgres, database):
    answer = up(core.client, target={"tables": ["orders"]}, schemas=["other"])
    assert "core_" + USERS in answer.json["applied"]
    assert tables(postgres, database, "core") == ["users"]


def test_dependencies_can_be_ignored(core):
    answer = up(core.client, target={"tables": ["orders"]}, ignore_dependencies=True)
    assert answer.status == 206
    assert answer.json["applied"] == []
    assert answer.json["errors"][0].startswith(ORDERS + ": ")


def test_dependencies_across_connections(core, tree, postgres, database):
    tree.write("postgresql/tenants/20250101000000_early.up.sql",
               "-- bfm-requires: connection=core schema=core target=20250101120000 type=version table=users\n"
               "CREATE TABLE early (id int);\n")
    core.client.post("/api/v1/migrations/reindex")
    answer = up(core.client, "tenants", target={"version": "20250101000000"}, schemas=["t"])
    expect(answer, 200, applied=["core_" + USERS, "t_20250101000000_early_postgresql_tenants"])
    assert tables(postgres, database, "core") == ["users"]


@pytest.mark.parametrize("header, pattern", [
    ("-- bfm-depends: nobody", "nobody"),
    ("-- bfm-requires: connection=core target=nobody", "nobody"),
    ("-- bfm-depends: bad", "bad"),
    ("-- bfm-requires: target=create_users table=missing_table", "missing_table"),
    ("-- bfm-requires: target=create_users requires_schema=missing_schema", "missing_schema"),
])
def test_dependencies_that_cannot_be_met_stop_the_pass(core, tree, postgres, database, header, pattern):
    assert up(core.client, target={"version": "20250101120000"}).status == 200
    tree.write("postgresql/core/20250104120000_bad.up.sql", "-- bfm-schema: core\n%s\nCREATE TABLE x ();" % header)
    core.client.post("/api/v1/migrations/reindex")
    answer = up(core.client, schemas=["core"])
    assert answer.status == 206
    assert answer.json["applied"] == []
    assert len(answer.json["errors"]) == 1
    assert answer.json["errors"][0].startswith("schema core: ")
    assert pattern in answer.json["errors"][0]
    assert tables(postgres, database, "core") == ["users"]


def test_invalid_migrations_fail_alone(core, tree):
    tree.write("postgresql/core/20250104120000_bad.up.sql", "-- bfm-schema: core\nBEGIN; COMMIT;\n")
    core.client.post("/api/v1/migrations/reindex")
    answer = up(core.client)
    assert answer.status == 206
    assert answer.json["applied"] == [USERS, ORDERS]
    assert len(answer.json["errors"]) == 1
    assert answer.json["errors"][0].startswith("20250104120000_bad_postgresql_core: ")


# --- many at once ---

def run_threads(count, work):
    results = [None] * count
    barrier = threading.Barrier(count)

    def body(index):
        barrier.wait()
        results[index] = work(index)

    threads = [threading.Thread(target=body, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_64_equal_requests_have_one_effect(core, postgres, database):
    answers = run_threads(64, lambda _: up(core.client, "tenants", schemas=["t"]))
    assert [answer.status for answer in answers] == [200] * 64
    applied = [answer for answer in answers if answer.json["applied"] == ["t_" + TENANT]]
    skipped = [answer for answer in answers if answer.json["skipped"] == ["t_" + TENANT]]
    assert (len(applied), len(skipped)) == (1, 63)
    assert postgres.query(database, "SELECT count(*) FROM t.items") == [(1,)]


def test_a_client_that_leaves_does_not_stop_its_run(core, tree, postgres, database):
    tree.write("postgresql/core/20250104120000_slow.up.sql",
               "-- bfm-schema: core\nSELECT pg_advisory_xact_lock(77);\nCREATE TABLE slow (id int);\n")
    core.client.post("/api/v1/migrations/reindex")
    holder = postgres.connect(database)
    holder.cursor().execute("SELECT pg_advisory_lock(77)")
    body = b'{"connection":"core","target":{"version":"20250104120000"}}'
    with core.client.raw() as connection:
        connection.send(b"POST /api/v1/migrations/up HTTP/1.1\r\nHost: x\r\nX-Client-Type: FfM\r\n"
                        b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
                        % (core.env["BFM_API_TOKEN"].encode(), len(body), body))
        core.wait_log(lambda line: "20250104120000_slow" in str(line))
    holder.close()
    answer = up(core.client, target={"version": "20250104120000"})
    expect(answer, 200, skipped=["20250104120000_slow_postgresql_core"])
    history = core.client.get("/api/v1/migrations/20250104120000_slow_postgresql_core/history").json["history"]
    assert {item["executed_by"] for item in history} == {"frontend_user"}


def test_waiting_for_another_run_ends(start_bfm, tree, postgres, database, connection_env):
    tree.write("postgresql/core/20250104120000_slow.up.sql",
               "-- bfm-schema: core\nSELECT pg_advisory_xact_lock(78);\nCREATE TABLE slow (id int);\n")
    bfm = start_bfm(dict(connection_env("core", postgres, database), BFM_LOCK_WAIT="300ms"), tree=tree)
    holder = postgres.connect(database)
    holder.cursor().execute("SELECT pg_advisory_lock(78)")
    first = []
    thread = threading.Thread(target=lambda: first.append(up(bfm.client)))
    thread.start()
    slow = "20250104120000_slow_postgresql_core"
    wait_until(lambda: postgres.query(database, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"),
               what="the first run to wait for the lock")
    expect(up(bfm.client), 206, errors=[slow + ": migration is already being executed"])
    holder.close()
    thread.join()
    expect(first[0], 200, applied=[slow])


def test_a_thousand_schemas_in_one_request(core):
    schemas = ["s%d" % i for i in range(1000)]
    expect(up(core.client, "tenants", schemas=schemas), 200, applied=["%s_%s" % (s, TENANT) for s in schemas])
    expect(up(core.client, "tenants", schemas=schemas), 200, skipped=["%s_%s" % (s, TENANT) for s in schemas])
