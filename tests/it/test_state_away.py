"""The state database away, killed, gone for good or wrong: DESIGN.md §4 and §9, bfm-api.md §4.3."""
import os
import sqlite3

import pytest
from api_helpers import down, up
from harness.mariadb import MariaDB
from harness.processes import wait_until
from once_helpers import (Background, Holder, check_all, durable_mariadb, durable_postgres, effects,  # noqa: F401
                          executions, finish, journal, make_effects, step_id, step_path, trace, wait_for_waiting,
                          write_steps)

NEEDS_STATE = [
    ("POST", "/api/v1/migrations/up", {"connection": "tenants", "target": {}, "schemas": ["a"]}),
    ("POST", "/api/v1/migrate", {"connection": "tenants", "target": {}, "schema": "a"}),
    ("POST", "/api/v1/migrations/down", {"migration_id": step_id(1), "schemas": ["a"]}),
    ("POST", "/api/v1/migrations/%s/rollback" % step_id(1), {"schemas": ["a"]}),
    ("POST", "/api/v1/migrations/reindex", None),
    ("POST", "/api/v1/reconcile", None),
    ("GET", "/api/v1/migrations", None),
    ("GET", "/api/v1/migrations/%s" % step_id(1), None),
    ("GET", "/api/v1/migrations/%s/status" % step_id(1), None),
    ("GET", "/api/v1/migrations/executions/recent", None),
]


@pytest.fixture
def world(tree, postgres, database, connection_env):
    make_effects(postgres, database)
    write_steps(tree, 2)
    return connection_env("tenants", postgres, database)


@pytest.fixture(params=["postgresql", "mysql"])
def away_server(request):
    """A server for the state that the test may kill."""
    return request.getfixturevalue("durable_postgres" if request.param == "postgresql" else "durable_mariadb")


@pytest.fixture
def away_env(world, away_server, state_env, mysql_state_env):
    """The state is in `away_server`. What MySQL lacks is made by the first start."""
    if isinstance(away_server, MariaDB):
        return dict(world, **mysql_state_env(away_server, "canary_state"))
    away_server.query("postgres", "CREATE DATABASE canary_state")
    return dict(world, **state_env(away_server, "canary_state"))


def expect_no_leak(text, server):
    for secret in (server.password, server.host, "canary_state", str(server.port), server.user + "@"):
        assert secret not in text, text


def expect_away(bfm, server):
    health = bfm.client.get("/health")
    assert health.status == 503 and health.json["status"] == "unhealthy", health
    assert bfm.client.get("/readyz").status == 503
    expect_no_leak(health.text, server)
    for method, path, body in NEEDS_STATE:
        answer = bfm.client.request(method, path, body)
        assert answer.status == 503 and int(answer.headers["Retry-After"]) > 0, (path, answer)
        assert answer.json["error"]
        expect_no_leak(answer.text, server)
    for path in ("/api/v1/openapi.json", "/api/v1/openapi.yaml"):
        assert bfm.client.get(path).status == 200


def test_it_starts_without_its_state_database(make_bfm, tree, away_env, away_server, postgres, database):
    away_server.kill()
    bfm = make_bfm(away_env, tree=tree).start(ready=False)
    bfm.wait_log(lambda line: "cannot be used" in line["msg"])
    expect_away(bfm, away_server)
    away_server.start()
    bfm.wait_healthy()
    finish(bfm, ["a"], 2)
    check_all(bfm, postgres, database, ["a"], 2)
    expect_no_leak("".join(str(line.get("error", "")) for line in bfm.log()), away_server)


def test_it_notices_and_recovers(start_bfm, tree, away_env, away_server, postgres, database):
    bfm = start_bfm(away_env, tree=tree)
    for schema in ("a", "b"):
        away_server.kill()
        wait_until(lambda: bfm.client.get("/health").status == 503, 20, "the loss to be noticed")
        expect_away(bfm, away_server)
        away_server.start()
        bfm.wait_healthy()
        finish(bfm, [schema], 2)
        check_all(bfm, postgres, database, [schema], 2)


def test_a_state_database_that_is_replaced_by_an_empty_one(start_bfm, tree, world, postgres, database, make_database,
                                                           state_env):
    state = make_database()
    bfm = start_bfm(dict(world, **state_env(postgres, state)), tree=tree)
    finish(bfm, ["a"], 2)
    postgres.query("postgres", "DROP DATABASE %s WITH (FORCE)" % state)
    wait_until(lambda: bfm.client.get("/health").status == 503, 20, "the loss to be noticed")
    postgres.query("postgres", "CREATE DATABASE %s" % state)
    bfm.wait_healthy()
    wait_until(lambda: executions(bfm, step_id(2)).get("a"), what="the journal to be read")
    check_all(bfm, postgres, database, ["a"], 2)


def test_a_state_database_that_does_not_answer(start_bfm, tree, away_env, away_server):
    """Stopped, not gone: connections stay open and nothing comes."""
    bfm = start_bfm(away_env, tree=tree)
    away_server.pause()
    wait_until(lambda: bfm.client.get("/health").status == 503, 20, "the silence to be noticed")
    expect_away(bfm, away_server)
    away_server.resume()
    bfm.wait_healthy()
    finish(bfm, ["a"], 2)


def test_killed_and_restarted_in_the_middle_of_a_run(start_bfm, tree, away_env, away_server, postgres, database):
    schemas = ["s%d" % index for index in range(200)]
    bfm = start_bfm(away_env, tree=tree)
    run = Background(lambda: up(bfm.client, "tenants", schemas=schemas))
    wait_until(lambda: sum(effects(postgres, database).values()) > 50, what="the run to be under way")
    away_server.kill()
    assert not run.is_done
    away_server.start()
    answer = run.result(120)
    assert answer.status == 200 and len(answer.json["applied"]) == 400, answer
    bfm.wait_healthy()
    finish(bfm, schemas, 2)
    check_all(bfm, postgres, database, schemas, 2)


def test_gone_for_good_when_a_step_ends(start_bfm, tree, away_env, away_server, postgres, database):
    tree.write(step_path(1), "SELECT pg_advisory_xact_lock(1);\nCREATE TABLE t1 (id int);\n" + trace(1))
    bfm = start_bfm(dict(away_env, BFM_STATE_WAIT="1s", TENANTS_LOCK_TIMEOUT="60s"), tree=tree)
    with Holder(postgres, database, "SELECT pg_advisory_lock(1)") as holder:
        run = Background(lambda: up(bfm.client, "tenants", schemas=["a"]))
        wait_for_waiting(postgres, database)
        away_server.kill()
        holder.release()
        answer = run.result()
    assert answer.status == 500, answer
    assert "ahead of the state database" in answer.json["error"], answer
    assert step_id(1) in answer.json["error"] and answer.json["success"] is False
    expect_no_leak(answer.text, away_server)
    assert ("a", step_id(1)) in journal(postgres, database)
    away_server.start()
    bfm.wait_healthy()
    finish(bfm, ["a"], 2)
    check_all(bfm, postgres, database, ["a"], 2)


def test_a_server_that_ends_while_a_record_waits(start_bfm, tree, away_env, away_server, postgres, database):
    """The target is ahead when the server stops; the next start finds out by itself."""
    tree.write(step_path(1), "SELECT pg_advisory_xact_lock(1);\nCREATE TABLE t1 (id int);\n" + trace(1))
    bfm = start_bfm(dict(away_env, BFM_SHUTDOWN_TIMEOUT="500ms", TENANTS_LOCK_TIMEOUT="60s"), tree=tree)
    with Holder(postgres, database, "SELECT pg_advisory_lock(1)") as holder:
        run = Background(lambda: up(bfm.client, "tenants", schemas=["a"]))
        wait_for_waiting(postgres, database)
        away_server.kill()
        holder.release()
        wait_until(lambda: journal(postgres, database), what="the step to take effect")
        bfm.stop()
    assert run.result().status in (500, 503)
    away_server.start()
    bfm.start()
    wait_until(lambda: executions(bfm, step_id(1)).get("a"), what="the start to find out")
    finish(bfm, ["a"], 2)
    check_all(bfm, postgres, database, ["a"], 2)


# --- the journal wins ---

def forget(bfm):
    """The state file and what belongs to it."""
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(bfm.env["BFM_STATE_DB_PATH"] + suffix):
            os.unlink(bfm.env["BFM_STATE_DB_PATH"] + suffix)


def reconcile(bfm, **body):
    answer = bfm.client.post("/api/v1/reconcile", body or None)
    assert answer.status == 200, answer
    targets = {target["connection"]: target for target in answer.json["targets"]}
    assert not any("error" in target for target in targets.values()), answer
    return targets


def test_a_deleted_state_file_is_built_again_at_start(start_bfm, tree, world, postgres, database):
    schemas = ["a", "b", "c"]
    bfm = start_bfm(world, tree=tree)
    finish(bfm, schemas, 2)
    bfm.stop()
    forget(bfm)
    bfm.start()
    bfm.wait_log(lambda line: line.get("repaired") == 6)
    check_all(bfm, postgres, database, schemas, 2)
    assert finish(bfm, schemas, 2)["applied"] == []
    history = bfm.client.get("/api/v1/migrations/%s/history" % step_id(1)).json["history"]
    assert {item["execution_method"] for item in history} == {"reconcile"}


def test_an_emptied_state_database_is_repaired_on_request(start_bfm, tree, world, postgres, database):
    bfm = start_bfm(world, tree=tree)
    finish(bfm, ["a", "b"], 2)
    state = sqlite3.connect(bfm.env["BFM_STATE_DB_PATH"], timeout=20)
    with state:
        state.execute("DELETE FROM migrations_executions")
        state.execute("DELETE FROM migrations_history")
    state.close()
    assert executions(bfm, step_id(1)) == {}
    target = reconcile(bfm, connection="tenants")["tenants"]
    assert (target["checked"], target["repaired"], target["unknown"]) == (4, 4, 0)
    assert reconcile(bfm)["tenants"]["repaired"] == 0
    check_all(bfm, postgres, database, ["a", "b"], 2)
    assert finish(bfm, ["a", "b"], 2)["applied"] == []


def test_a_dropped_state_table_is_made_again(start_bfm, tree, world, postgres, database):
    """While the server runs and its database answers everything else."""
    bfm = start_bfm(world, tree=tree)
    finish(bfm, ["a", "b"], 2)
    state = sqlite3.connect(bfm.env["BFM_STATE_DB_PATH"], timeout=20)
    state.execute("DROP TABLE migrations_executions")
    state.close()
    line = bfm.wait_log(lambda line: line["msg"] == "state database is away")
    assert "migrations_executions" in line["error"], line
    wait_until(lambda: bfm.client.get("/health").status == 200, what="the table to be there again")
    wait_until(lambda: executions(bfm, step_id(2)) == {"a": True, "b": True}, what="what ran to be known again")
    assert finish(bfm, ["a", "b"], 2)["applied"] == []
    check_all(bfm, postgres, database, ["a", "b"], 2)


def test_a_state_table_that_cannot_be_made_again_is_named(start_bfm, tree, away_env, away_server, postgres, database):
    """A role that may use tables and not make them: an administrator has to act, and is told."""
    mysql = isinstance(away_server, MariaDB)
    state = None if mysql else "canary_state"
    away_server.query(state, "CREATE USER lesser IDENTIFIED BY %s" if mysql else "CREATE ROLE lesser LOGIN PASSWORD %s",
                      (away_server.password,))
    bfm = start_bfm(away_env, tree=tree)
    finish(bfm, ["a"], 2)
    bfm.stop()
    if mysql:
        away_server.query(None, "GRANT SELECT, INSERT, UPDATE, DELETE ON canary_state.* TO lesser")
    else:
        away_server.query(state, "GRANT ALL ON ALL TABLES IN SCHEMA public TO lesser;"
                          "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO lesser;"
                          "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    bfm.set_env({"BFM_STATE_DB_USERNAME": "lesser"})
    bfm.start()
    assert bfm.client.get("/health").status == 200
    away_server.query(state, "DROP TABLE canary_state.migrations_list" if mysql else
                      "DROP TABLE public.migrations_list CASCADE")
    wait_until(lambda: bfm.client.get("/health").status == 503, what="the loss to be seen")
    bfm.wait_log(lambda line: line["msg"] == "state database cannot be used yet")
    health = bfm.client.get("/health")
    assert health.status == 503 and health.json["status"] == "unhealthy", health
    assert "migrations_list" in health.text and "may create tables" in health.text
    expect_no_leak(health.text, away_server)
    away_server.query(state, "GRANT CREATE, INDEX, ALTER ON canary_state.* TO lesser" if mysql else
                      "GRANT CREATE ON SCHEMA public TO lesser")
    wait_until(lambda: bfm.client.get("/health").status == 200, what="the table to be there again")
    wait_until(lambda: executions(bfm, step_id(2)) == {"a": True}, what="what ran to be known again")


def test_an_emptied_state_database_does_not_repeat_anything(start_bfm, tree, world, postgres, database):
    """Without a reconcile: the target itself says that it was done."""
    bfm = start_bfm(world, tree=tree)
    finish(bfm, ["a"], 2)
    state = sqlite3.connect(bfm.env["BFM_STATE_DB_PATH"], timeout=20)
    with state:
        state.execute("DELETE FROM migrations_executions")
    state.close()
    assert finish(bfm, ["a"], 2)["applied"] == []
    check_all(bfm, postgres, database, ["a"], 2)


def test_what_the_journal_does_not_have_is_not_applied(start_bfm, tree, world, postgres, database):
    """Restored from a backup, say: the state believes in more than there is."""
    bfm = start_bfm(world, tree=tree)
    finish(bfm, ["a", "b"], 2)
    postgres.query(database, "DROP TABLE a.t2")
    postgres.query(database, "DELETE FROM public.effects WHERE schema_name = 'a' AND migration = 'step2'")
    postgres.query(database, "DELETE FROM bfm.journal WHERE schema_name = 'a' AND migration_id = %s", (step_id(2),))
    assert executions(bfm, step_id(2)) == {"a": True, "b": True}
    assert reconcile(bfm)["tenants"]["repaired"] == 1
    assert executions(bfm, step_id(2)) == {"a": False, "b": True}
    assert finish(bfm, ["a", "b"], 2)["applied"] == ["a_" + step_id(2)]
    check_all(bfm, postgres, database, ["a", "b"], 2)


def test_rows_of_unknown_migrations_are_counted(start_bfm, tree, world, postgres, database):
    bfm = start_bfm(world, tree=tree)
    finish(bfm, ["a"], 2)
    postgres.query(database, "INSERT INTO bfm.journal (schema_name, migration_id, checksum, kind, run_id) "
                   "VALUES ('a', '20200101000000_gone_postgresql_tenants', '', 'up', 'x')")
    assert reconcile(bfm)["tenants"]["unknown"] == 1
    answer = bfm.client.post("/api/v1/reconcile", {"connection": "nobody"})
    assert answer.status == 404, answer


def test_a_half_undone_migration_is_finished_after_the_state_was_lost(start_bfm, tree, world, postgres, database):
    tree.write(step_path(2), "-- bfm-transaction: off\nCREATE TABLE t2 (id int);\n" + trace(2))
    tree.write(step_path(2, "down"), "-- bfm-transaction: off\nDROP TABLE t2;\n" + trace(2, "down"))
    bfm = start_bfm(world, tree=tree)
    finish(bfm, ["a"], 2)
    bfm.stop()
    bfm.set_env({"BFM_CRASH_AT": "notx_done_1"})
    bfm.start()
    with pytest.raises(OSError):
        down(bfm.client, step_id(2), schemas=["a"])
    bfm.wait_exit()
    bfm.set_env({"BFM_CRASH_AT": None})
    forget(bfm)
    bfm.start()
    wait_until(lambda: executions(bfm, step_id(2)).get("a"), what="the start to find out")
    answer = down(bfm.client, step_id(2), schemas=["a"])
    assert answer.status == 200 and answer.json["applied"] == ["a_" + step_id(2)], answer
    assert effects(postgres, database, "down") == {("a", "step2"): 1}
    assert journal(postgres, database) == {("a", step_id(1))}
