"""Runs as a resource: started without waiting, listed, looked at, cancelled, retried, and what is left of them after a
crash; and the plan of an up."""
import random
import urllib.parse

import pytest
from api_helpers import ORDERS, USERS, core, down, expect, expect_error, rollback, up  # noqa: F401
from harness.processes import wait_until
from once_helpers import (Background, Holder, check_all, effects, make_effects, step_id, step_path, wait_for_waiting,
                          write_steps)

GATE = "LOCK TABLE public.effects IN ACCESS EXCLUSIVE MODE"  # every step waits while somebody holds it


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request, postgres, make_database, state_env, tmp_path):
    if request.param == "sqlite":
        return {"BFM_STATE_DB_PATH": str(tmp_path / "shared.db")}
    return state_env(postgres, make_database())


@pytest.fixture
def env(state, tree, postgres, database, connection_env):
    make_effects(postgres, database)
    write_steps(tree, 2)
    return {**connection_env("tenants", postgres, database), **state}


def show(bfm, run_id, **params):
    answer = bfm.client.get("/api/v1/runs/%s?%s" % (run_id, urllib.parse.urlencode(params)))
    assert answer.status == 200, answer
    return answer.json


def wait_end(bfm, run_id, status=None):
    wait_until(lambda: show(bfm, run_id)["status"] != "running", what="the run to end")
    run = show(bfm, run_id)
    assert status is None or run["status"] == status, run
    return run


def start(bfm, schemas, **fields):
    """The ID of a run that was not waited for."""
    answer = up(bfm.client, "tenants", schemas=list(schemas), **{"async": True, **fields})
    assert answer.status == 202, answer
    assert answer.json["status"] == "running"
    assert answer.headers["Location"] == "/api/v1/runs/" + answer.json["run_id"]
    return answer.json["run_id"]


def cancel(bfm, run_id):
    return bfm.client.post("/api/v1/runs/%s/cancel" % run_id)


def retry(bfm, run_id, body=None, **headers):
    return bfm.client.request("POST", "/api/v1/runs/%s/retry" % run_id, body, headers=headers or None)


def list_runs(bfm, **params):
    answer = bfm.client.get("/api/v1/runs?" + urllib.parse.urlencode(params))
    assert answer.status == 200, answer
    return answer.json


# --- async ---

def test_async_is_on_record_before_it_is_accepted(start_bfm, tree, env, postgres, database):
    bfm = start_bfm(env, tree=tree)
    with Holder(postgres, database, GATE):
        run_id = start(bfm, ["a", "b"])
        run = show(bfm, run_id)
        assert run["status"] == "running" and run["kind"] == "up" and run["connection"] == "tenants", run
        assert run["executed_by"] == "api_user" and run["execution_method"] == "api"
        assert run["request"]["schemas"] == ["a", "b"] and run["request"]["target"]["connection"] == "tenants"
        wait_until(lambda: {lane.get("current", {}).get("state") for lane in show(bfm, run_id)["lanes"]}
                   == {"executing"}, what="both lanes to be at the target")
        lanes = show(bfm, run_id)["lanes"]
        assert show(bfm, run_id, lanes_cursor=2 ** 63 - 1)["lanes"] == []  # from memory
        assert [lane["schema"] for lane in lanes] == ["a", "b"]
        assert {lane["current"]["migration_id"] for lane in lanes} == {step_id(1)}
        assert {lane["status"] for lane in lanes} == {"running"}
        assert {step["status"] for step in show(bfm, run_id)["steps"]} == {"pending"}
        assert [item["status"] for item in list_runs(bfm)["items"]] == ["running"]
    run = wait_end(bfm, run_id, "succeeded")
    assert run["counts"] == {"lanes": 2, "lanes_failed": 0, "applied": 4, "skipped": 0, "failed": 0, "not_run": 0}
    assert {(s["schema"], s["migration_id"], s["status"], s["attempts"] > 0) for s in run["steps"]} == {
        (schema, step_id(number), "applied", True) for schema in "ab" for number in (1, 2)}
    assert run["ended_at"] and run["duration_ms"] >= 0
    check_all(bfm, postgres, database, ["a", "b"], 2)


def test_every_kind_takes_async(start_bfm, tree, env, postgres, database):
    bfm = start_bfm(env, tree=tree)
    answer = bfm.client.post("/api/v1/migrate", {"connection": "tenants", "target": {}, "schema": "a", "async": True})
    assert answer.status == 202
    assert wait_end(bfm, answer.json["run_id"], "succeeded")["kind"] == "migrate"
    answer = down(bfm.client, step_id(2), schemas=["a"], **{"async": True})
    assert answer.status == 202
    run = wait_end(bfm, answer.json["run_id"], "succeeded")
    assert run["kind"] == "down" and run["steps"][0]["status"] == "rolled_back", run
    assert run["request"]["migration_id"] == step_id(2)
    answer = rollback(bfm.client, step_id(1), {"schemas": ["a"], "async": True})
    assert answer.status == 202
    assert wait_end(bfm, answer.json["run_id"], "succeeded")["kind"] == "rollback"
    assert [item["kind"] for item in list_runs(bfm)["items"]] == ["rollback", "down", "migrate"]


def test_a_step_that_is_not_tried_says_why(start_bfm, tree, env):
    """It has no record of its own; who did not wait for the answer finds the reason at the lane."""
    bfm = start_bfm(env, tree=tree)
    answer = bfm.client.post("/api/v1/migrations/up", {"connection": "tenants", "target": {}, "async": True})
    assert answer.status == 202, answer
    run = wait_end(bfm, answer.json["run_id"], "failed")
    assert run["steps"] == [] and len(run["lanes"]) == 1, run
    assert run["lanes"][0]["error"].startswith(step_id(1) + ": ") and "schema" in run["lanes"][0]["error"], run


def test_refusals_stay_as_they_are(start_bfm, tree, env):
    bfm = start_bfm(env, tree=tree)
    expect_error(up(bfm.client, "", **{"async": True}), 400)
    expect_error(up(bfm.client, "tenants", **{"async": "yes"}), 400, 'field "async" must be true or false')
    expect_error(down(bfm.client, "nothing", **{"async": True}), 404)
    expect(up(bfm.client, "elsewhere", **{"async": True}), 206, errors=["connection elsewhere not found"])
    answer = up(bfm.client, "tenants", schemas=["a"], dry_run=True, **{"async": True})
    assert answer.status == 200 and len(answer.json["applied"]) == 2
    assert list_runs(bfm)["items"] == []


# --- list ---

def test_runs_are_listed_in_pages(start_bfm, tree, env, postgres, database):
    bfm = start_bfm(env, tree=tree)
    ids = [up(bfm.client, "tenants", schemas=["s%d" % index]).json["run_id"] for index in range(3)]
    ids += [up(bfm.client, "tenants", schemas=["s0"]).json["run_id"]]  # nothing to do
    wait_until(lambda: len(list_runs(bfm)["items"]) == 4, what="the last run to be recorded")
    assert [item["run_id"] for item in list_runs(bfm)["items"]] == ids[::-1]
    assert "next_cursor" not in list_runs(bfm)
    first = list_runs(bfm, limit=3)
    assert [item["run_id"] for item in first["items"]] == ids[:0:-1] and first["next_cursor"] == ids[1]
    rest = list_runs(bfm, limit=3, cursor=first["next_cursor"])
    assert [item["run_id"] for item in rest["items"]] == ids[:1] and "next_cursor" not in rest
    nothing = list_runs(bfm)["items"][0]
    assert nothing["counts"]["skipped"] == 2 and nothing["status"] == "succeeded"
    assert list_runs(bfm, status="failed")["items"] == []
    assert len(list_runs(bfm, status="succeeded", kind="up", connection="tenants", executed_by="api_user")["items"]) == 4
    for filters in ({"kind": "down"}, {"connection": "core"}, {"executed_by": "nobody"}):
        assert list_runs(bfm, **filters)["items"] == []
    expect_error(bfm.client.get("/api/v1/runs?status=odd"), 400)
    expect_error(bfm.client.get("/api/v1/runs?kind=odd"), 400)


def test_lanes_and_steps_come_in_pages(start_bfm, tree, env):
    bfm = start_bfm(env, tree=tree)
    schemas = ["s%d" % index for index in range(5)]
    run_id = up(bfm.client, "tenants", schemas=schemas).json["run_id"]
    lanes, steps, after = [], [], {}
    for _ in range(6):
        page = show(bfm, run_id, limit=2, **after)
        lanes += [lane["schema"] for lane in page["lanes"]]
        steps += [(step["schema"], step["migration_id"]) for step in page["steps"]]
        if "steps_next_cursor" not in page:
            break
        after = {"steps_cursor": page["steps_next_cursor"], "lanes_cursor": page.get("lanes_next_cursor", 10 ** 6)}
    assert lanes == schemas
    assert sorted(steps) == sorted((schema, step_id(number)) for schema in schemas for number in (1, 2))
    expect_error(bfm.client.get("/api/v1/runs/%s?lanes_cursor=x" % run_id), 400)


def test_unknown_runs(start_bfm, tree, env):
    bfm = start_bfm(env, tree=tree)
    for answer in (bfm.client.get("/api/v1/runs/nothing"), cancel(bfm, "nothing"), retry(bfm, "nothing")):
        expect_error(answer, 404, "run not found: nothing")


def test_what_is_not_text(start_bfm, tree, env):
    bfm = start_bfm(env, tree=tree)
    for path in ("", "/events"):
        expect_error(bfm.client.get("/api/v1/runs/%ff" + path), 404)
    for path in ("/cancel", "/retry"):
        expect_error(bfm.client.post("/api/v1/runs/%ff" + path), 404)
    for query in ("runs?connection=%ff", "runs?executed_by=%ff", "gate?connection=tenants&schema=%ff&version=20250101000000"):
        assert "UTF-8" in expect_error(bfm.client.get("/api/v1/" + query), 400)


# --- cancel ---

def test_a_run_is_cancelled(start_bfm, tree, env, postgres, database):
    bfm = start_bfm(env, tree=tree)
    with Holder(postgres, database, GATE):
        run_id = start(bfm, ["s%d" % index for index in range(30)])
        wait_for_waiting(postgres, database)
        answer = cancel(bfm, run_id)
        assert answer.status == 202 and answer.json == {"run_id": run_id, "status": "canceling"}
        run = wait_end(bfm, run_id, "canceled")  # although the lock is still held
    assert run["counts"]["applied"] == 0 and run["counts"]["lanes_failed"] == 30, run
    assert {step["status"] for step in run["steps"]} == {"failed"}
    assert effects(postgres, database) == {}
    answer = cancel(bfm, run_id)
    assert answer.status == 200 and answer.json == {"run_id": run_id, "status": "canceled"}
    again = retry(bfm, run_id)
    assert again.status == 200 and len(again.json["applied"]) == 60, again
    assert show(bfm, again.json["run_id"])["retry_of"] == run_id


def test_who_waits_for_a_cancelled_run_gets_an_answer(start_bfm, tree, env, postgres, database):
    bfm = start_bfm(env, tree=tree)
    with Holder(postgres, database, GATE):
        waiter = Background(lambda: up(bfm.client, "tenants", schemas=["a", "b"]))
        wait_for_waiting(postgres, database)
        run_id = list_runs(bfm, status="running")["items"][0]["run_id"]
        assert cancel(bfm, run_id).status == 202
        answer = waiter.result()
    assert answer.status == 206 and answer.json["run_id"] == run_id and answer.json["errors"], answer
    assert show(bfm, run_id)["status"] == "canceled"


def test_cancel_at_any_moment(start_bfm, tree, env, postgres, database):
    bfm = start_bfm(env, tree=tree)
    chance = random.Random(7)
    schemas = []
    for round_number in range(12):
        names = ["r%d_%d" % (round_number, index) for index in range(6)]
        schemas += names
        run_id = start(bfm, names)
        for _ in range(chance.randrange(12)):
            show(bfm, run_id)
        answer = cancel(bfm, run_id)
        assert answer.status in (200, 202), answer
        run = wait_end(bfm, run_id)
        assert run["status"] in ("canceled", "succeeded"), run
        assert not [step for step in run["steps"] if step["status"] == "pending"], run
        done = {(step["schema"], step["migration_id"]) for step in run["steps"] if step["status"] == "applied"}
        seen = {(schema, "2025010%d000000_%s_postgresql_tenants" % (int(name[4:]), name))
                for schema, name in effects(postgres, database) if schema in names}
        assert seen == done
    expect_all = up(bfm.client, "tenants", schemas=schemas)
    assert expect_all.status == 200, expect_all
    check_all(bfm, postgres, database, schemas, 2)


def test_another_server_runs_it(make_bfm, tree, env, postgres, database):
    pair = [make_bfm(env, tree=tree) for _ in range(2)]
    for server in pair:
        server.start(ready=False)
    for server in pair:
        server.wait_healthy()
    with Holder(postgres, database, GATE):
        run_id = start(pair[0], ["a"])
        assert show(pair[1], run_id)["status"] == "running"
        assert "another server" in expect_error(cancel(pair[1], run_id), 409)
        assert "under way" in expect_error(retry(pair[1], run_id), 409)
        assert "under way" in expect_error(retry(pair[0], run_id), 409)
    run = wait_end(pair[1], run_id, "succeeded")
    assert len(run["steps"]) == 2 and [lane["schema"] for lane in run["lanes"]] == ["a"]
    assert cancel(pair[1], run_id).json["status"] == "succeeded"


# --- retry ---

def test_retry_after_three_poisoned_tenants_among_200(start_bfm, tree, env, postgres, database):
    bfm = start_bfm(env, tree=tree)
    schemas = ["t%03d" % index for index in range(200)]
    poisoned = ["t017", "t100", "t199"]
    for schema in poisoned:
        postgres.query(database, "CREATE SCHEMA %s; CREATE TABLE %s.t1 (odd int)" % (schema, schema))
    first = up(bfm.client, "tenants", schemas=schemas)
    assert first.status == 206 and len(first.json["applied"]) == 2 * 197, first.json["errors"]
    run = show(bfm, first.json["run_id"], limit=500)
    assert run["status"] == "failed" and run["counts"]["lanes_failed"] == 3, run["counts"]
    assert [lane["schema"] for lane in run["lanes"] if lane["status"] == "failed"] == poisoned
    for schema in poisoned:
        postgres.query(database, "DROP TABLE %s.t1" % schema)
    second = retry(bfm, first.json["run_id"])
    assert second.status == 200 and second.json["skipped"] == [], second
    assert second.json["applied"] == ["%s_%s" % (schema, step_id(number)) for schema in poisoned for number in (1, 2)]
    again = show(bfm, second.json["run_id"])
    assert again["retry_of"] == first.json["run_id"] and again["request"]["schemas"] == poisoned
    assert "nothing of run" in expect_error(retry(bfm, second.json["run_id"]), 409)
    check_all(bfm, postgres, database, schemas, 2)


def test_retry_takes_async_and_undos(start_bfm, tree, env, postgres, database):
    bfm = start_bfm(env, tree=tree)
    assert up(bfm.client, "tenants", schemas=["a", "b"]).status == 200
    postgres.query(database, "CREATE VIEW b.on_t2 AS SELECT * FROM b.t2")
    answer = down(bfm.client, step_id(2), schemas=["a", "b"])
    assert answer.status == 206 and len(answer.json["applied"]) == 1, answer
    postgres.query(database, "DROP VIEW b.on_t2")
    answer = retry(bfm, answer.json["run_id"], {"async": True})
    assert answer.status == 202, answer
    run = wait_end(bfm, answer.json["run_id"], "succeeded")
    assert run["kind"] == "down" and [step["schema"] for step in run["steps"]] == ["b"]


# --- what a crash leaves ---

def test_a_crash_shows_what_became_of_each_step(make_bfm, tree, env, postgres, database):
    bfm = make_bfm(env, tree=tree)
    bfm.start()
    assert up(bfm.client, "tenants", target={"version": "20250101000000"}, schemas=["a"]).status == 200
    with Holder(postgres, database, GATE):
        run_id = start(bfm, ["a", "b"])
        wait_for_waiting(postgres, database, 2)
        bfm.kill()
    bfm.start()
    assert show(bfm, run_id)["status"] in ("running", "interrupted")
    wait_until(lambda: show(bfm, run_id)["status"] == "interrupted", timeout=60, what="the silence to be noticed")
    run = show(bfm, run_id)
    assert run["ended_at"]
    done = {(schema, name) for schema, name in effects(postgres, database)}
    for step in run["steps"]:
        took_effect = (step["schema"], "step%s" % step["migration_id"][7]) in done
        assert (step["status"] == "applied") == took_effect, (step, done)
    assert cancel(bfm, run_id).json["status"] == "interrupted"
    answer = retry(bfm, run_id)
    assert answer.status == 200, answer
    check_all(bfm, postgres, database, ["a", "b"], 2)


def test_runs_survive_a_restart(make_bfm, tree, env):
    bfm = make_bfm(env, tree=tree)
    bfm.start()
    run_id = start(bfm, ["a"])
    before = wait_end(bfm, run_id, "succeeded")
    bfm.stop()
    bfm.start()
    assert show(bfm, run_id) == before


def test_a_run_answered_is_ended_even_if_the_server_dies(make_bfm, tree, env):
    bfm = make_bfm(env, tree=tree)
    bfm.start()
    run_id = up(bfm.client, "tenants", schemas=["a"]).json["run_id"]
    bfm.kill()
    bfm.start()
    assert show(bfm, run_id)["status"] == "succeeded"


def test_shutdown_cancels_what_nobody_waits_for(make_bfm, tree, env, postgres, database):
    bfm = make_bfm({**env, "BFM_SHUTDOWN_TIMEOUT": "1s"}, tree=tree)
    bfm.start()
    with Holder(postgres, database, GATE):
        run_id = start(bfm, ["a"])
        wait_for_waiting(postgres, database)
        bfm.stop()
    bfm.start()
    run = show(bfm, run_id)
    assert run["status"] == "canceled" and run["counts"]["lanes_failed"] == 1, run


# --- plan ---

def plan(bfm, **params):
    answer = bfm.client.get("/api/v1/plan?" + urllib.parse.urlencode(params, doseq=True))
    assert answer.status == 200, answer
    return answer.json


def test_a_plan_says_what_and_why(core, postgres, database):
    seen = plan(core, connection="core", version="20250102120000")
    assert [(s["migration_id"], s["action"], s["reason"], s["dependency"]) for s in seen["schemas"][0]["steps"]] == [
        (USERS, "run", "required by " + ORDERS, True), (ORDERS, "run", "selected", False)]
    assert seen["to_run"] == 2 and seen["errors"] == []
    assert postgres.query(database, "SELECT count(*) FROM pg_namespace WHERE nspname = 'core'") == [(0,)]
    up(core.client, target={"version": "20250101120000"})
    seen = plan(core, connection="core")
    assert [(s["migration_id"], s["action"], s["applied"]) for s in seen["schemas"][0]["steps"]] == [
        (USERS, "skip", True), (ORDERS, "run", False)]
    assert list_runs(core)["items"][0]["counts"]["applied"] == 1  # a plan is no run
    assert len(list_runs(core)["items"]) == 1


def test_a_plan_takes_what_up_takes(core):
    seen = plan(core, connection="tenants", schema=["t1", "t 2"])
    assert [lane["schema"] for lane in seen["schemas"]] == ["t1", "t 2"] and seen["to_run"] == 2
    assert plan(core, connection="core", tags=["tier=gold"])["to_run"] == 1
    assert plan(core, connection="core", tables=["orders"], ignore_dependencies="true")["to_run"] == 1
    seen = plan(core, connection="tenants")
    assert seen["schemas"][0]["steps"][0]["action"] == "refuse" and "no schema provided" in seen["errors"][0]
    expect_error(core.client.get("/api/v1/plan"), 400)
    expect_error(core.client.get("/api/v1/plan?connection=nothing"), 404)
    expect_error(core.client.get("/api/v1/plan?connection=core&tags=odd"), 400)
    expect_error(core.client.get("/api/v1/plan?connection=core&ignore_dependencies=maybe"), 400)


def test_a_plan_tells_conflicts(start_bfm, tree, postgres, database, connection_env):
    for number, other in ((1, 2), (2, 1)):
        tree.write(step_path(number, connection="core"),
                   "-- bfm-schema: core\n-- bfm-depends: step%d\nSELECT 1;\n" % other)
    bfm = start_bfm(connection_env("core", postgres, database), tree=tree)
    seen = plan(bfm, connection="core")
    assert "circular" in seen["schemas"][0]["error"] and len(seen["errors"]) == 1
