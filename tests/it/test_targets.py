"""Targets that are down, slow, locked or killed, and scripts that fail: nobody else suffers (DESIGN.md §1, §4)."""
import socket
import time

import pytest
from api_helpers import down, rollback, up
from harness.client import Client
from harness.postgres import Postgres
from harness.processes import wait_until
from once_helpers import (Background, Holder, check_all, durable_postgres, effects, executions, finish,  # noqa: F401
                          found_tables, journal, make_effects, step_id, step_path, trace, wait_for_waiting, waiting,
                          write_steps)

MANY = ["s%d" % index for index in range(50)]


class Nowhere:
    host = "127.0.0.1"

    def __init__(self, port):
        self.port = port


@pytest.fixture
def black_hole():
    """It takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield Nowhere(listener.getsockname()[1])


@pytest.fixture
def world(tree, postgres, database, connection_env):
    make_effects(postgres, database)
    write_steps(tree, 2)
    return connection_env("tenants", postgres, database)


def expect_no_leak(answer):
    for secret in (Postgres.password, "127.0.0.1"):
        assert secret not in answer.text, answer


# --- out of reach ---

def test_a_black_hole_fails_only_itself(start_bfm, tree, world, black_hole, postgres, database, connection_env):
    write_steps(tree, 1, "hole")
    write_steps(tree, 1, "closed")
    env = dict(world, **connection_env("hole", black_hole, "x", CONNECT_TIMEOUT="2s"))
    env.update(connection_env("closed", Nowhere(1), "x", CONNECT_TIMEOUT="2s"))
    bfm = start_bfm(env, tree=tree)
    begin = time.monotonic()
    stuck = Background(lambda: (up(bfm.client, "hole", schemas=MANY), time.monotonic() - begin))
    finish(bfm, MANY, 2)
    check_all(bfm, postgres, database, MANY, 2)
    closed_begin = time.monotonic()
    answer = up(bfm.client, "closed", schemas=["a"])
    assert time.monotonic() - closed_begin < 15
    assert answer.status == 206 and "refused" in answer.json["errors"][0], answer
    expect_no_leak(answer)
    answer, took = stuck.result()
    assert answer.status == 206 and answer.json["applied"] == [], answer
    assert len(answer.json["errors"]) == len(MANY) and "timed out" in answer.json["errors"][0], answer
    expect_no_leak(answer)
    assert 2 <= took < 15, took
    assert bfm.client.get("/health").status == 200


def test_a_target_that_comes_later(start_bfm, tree, connection_env, durable_postgres):
    """Down when the server starts, there when the request comes."""
    write_steps(tree, 1)
    make_effects(durable_postgres, "postgres")
    durable_postgres.kill()
    bfm = start_bfm(connection_env("tenants", durable_postgres, "postgres"), tree=tree)
    bfm.wait_log(lambda line: "could not be compared" in line["msg"])
    assert up(bfm.client, "tenants", schemas=["a"]).status == 206
    durable_postgres.start()
    finish(bfm, ["a"], 1)
    check_all(bfm, durable_postgres, "postgres", ["a"], 1)


def test_an_empty_state_says_nothing_about_a_target_out_of_reach(make_bfm, tree, connection_env, durable_postgres,
                                                                 tmp_path):
    """Its journal may have the migration: only a target that was asked proves that it is not applied."""
    write_steps(tree, 1)
    tree.write(step_path(1, "down"), "DROP TABLE t1;\n")
    make_effects(durable_postgres, "postgres")
    env = connection_env("tenants", durable_postgres, "postgres")
    bfm = make_bfm(env, tree=tree).start()
    assert up(bfm.client, "tenants", schemas=["a"]).status == 200
    bfm.stop()
    durable_postgres.kill()
    bfm = make_bfm(dict(env, BFM_STATE_DB_PATH=str(tmp_path / "new.db")), tree=tree).start()
    for dry_run in (False, True):
        answer = down(bfm.client, step_id(1), schemas=["a"], dry_run=dry_run)
        assert answer.status == 500 and "refused" in answer.json["error"], answer
        expect_no_leak(answer)
    answer = rollback(bfm.client, step_id(1), {"schemas": ["a"]})
    assert answer.status == 500 and "refused" in answer.json["error"], answer
    durable_postgres.start()
    answer = down(bfm.client, step_id(1), schemas=["a", "b"])
    assert answer.status == 200, answer
    assert (answer.json["applied"], answer.json["skipped"]) == (["a_" + step_id(1)], ["b_%s (not applied)" % step_id(1)])
    assert ("a", "t1") not in found_tables(durable_postgres, "postgres", ["a"])


def test_a_target_killed_and_restarted_in_the_middle(start_bfm, tree, connection_env, durable_postgres, postgres,
                                                     database):
    write_steps(tree, 3)
    write_steps(tree, 3, "other")
    make_effects(durable_postgres, "postgres")
    make_effects(postgres, database)
    env = connection_env("tenants", durable_postgres, "postgres")
    env.update(connection_env("other", postgres, database))
    bfm = start_bfm(env, tree=tree)
    run = Background(lambda: up(bfm.client, "tenants", schemas=MANY))
    wait_until(lambda: sum(effects(durable_postgres, "postgres").values()) > 20, what="the run to be under way")
    durable_postgres.kill()
    assert not run.is_done
    assert up(bfm.client, "other", schemas=["a", "b"]).status == 200
    durable_postgres.start()
    assert run.result().status in (200, 206)
    finish(bfm, MANY, 3)
    check_all(bfm, durable_postgres, "postgres", MANY, 3)


# --- locked ---

@pytest.fixture
def locked(start_bfm, tree, world, postgres, database):
    """A server whose next step alters a table that exists in a, b and c."""
    world["TENANTS_LOCK_TIMEOUT"] = "150ms"
    bfm = start_bfm(world, tree=tree)
    finish(bfm, ["a", "b", "c"], 2)
    tree.write(step_path(3), "ALTER TABLE t1 ADD note text;\nCREATE TABLE t3 (id int);\n" + trace(3))
    assert bfm.client.post("/api/v1/migrations/reindex").status == 200
    return bfm


def test_a_lock_that_stays_is_reported(locked, postgres, database):
    with Holder(postgres, database, "LOCK TABLE a.t1 IN ACCESS EXCLUSIVE MODE") as holder:
        answer = up(locked.client, "tenants", schemas=["a", "b", "c"])
    assert answer.status == 206, answer
    assert set(answer.json["applied"]) == {"b_" + step_id(3), "c_" + step_id(3)}
    assert len(answer.json["errors"]) == 1
    error = answer.json["errors"][0]
    assert error.startswith("a_%s: " % step_id(3)), error
    assert "55P03" in error and "pid %d" % holder.pid in error and "LOCK TABLE a.t1" in error, error
    detail = [item for item in answer.json["details"] if item["status"] == "failed"][0]
    assert (detail["schema"], detail["sqlstate"], detail["attempts"]) == ("a", "55P03", 5)
    assert executions(locked, step_id(3)) == {"a": False, "b": True, "c": True}
    finish(locked, ["a", "b", "c"], 3)
    check_all(locked, postgres, database, ["a", "b", "c"], 3)


def test_a_lock_that_goes_in_time(locked, postgres, database):
    locked_queries = set()

    def tried_twice():
        locked_queries.update(postgres.query("postgres", "SELECT query_start FROM pg_stat_activity WHERE datname = %s "
                                             "AND wait_event_type = 'Lock'", (database,)))
        return len(locked_queries) >= 2

    with Holder(postgres, database, "LOCK TABLE a.t1 IN ACCESS EXCLUSIVE MODE") as holder:
        run = Background(lambda: up(locked.client, "tenants", schemas=["a", "b", "c"]))
        wait_until(tried_twice, what="a second try")
        holder.release()
        answer = run.result()
    assert answer.status == 200 and len(answer.json["applied"]) == 3, answer
    attempts = {item["schema"]: item["attempts"] for item in answer.json["details"]}
    assert attempts["b"] == attempts["c"] == 1 and attempts["a"] >= 2, attempts
    check_all(locked, postgres, database, ["a", "b", "c"], 3)


def test_a_lock_held_by_another_writer_of_the_same_step(start_bfm, make_bfm, tree, world, postgres, database):
    """A second server with a state of its own: only the target can tell, and BFM_LOCK_WAIT is the limit."""
    tree.write(step_path(1), "SELECT pg_advisory_xact_lock(1);\nCREATE TABLE t1 (id int);\n" + trace(1))
    world["TENANTS_LOCK_TIMEOUT"] = "60s"
    first = start_bfm(world, tree=tree)
    second = start_bfm(world, tree=tree)
    hasty = start_bfm(dict(world, BFM_LOCK_WAIT="300ms"), tree=tree)
    with Holder(postgres, database, "SELECT pg_advisory_lock(1)") as holder:
        running = Background(lambda: up(first.client, "tenants", schemas=["a"]))
        wait_for_waiting(postgres, database)
        answer = up(hasty.client, "tenants", schemas=["a"])
        assert answer.status == 206, answer
        assert answer.json["errors"][0] == "a_%s: migration is already being executed" % step_id(1), answer
        meeting = Background(lambda: up(second.client, "tenants", schemas=["a"]))
        wait_for_waiting(postgres, database, 2)
        holder.release()
        ran, met = running.result(), meeting.result()
    assert ran.status == met.status == 200, (ran, met)
    assert "a_" + step_id(1) in ran.json["applied"] and "a_" + step_id(1) in met.json["skipped"], (ran, met)
    # Which of the two gets to the step behind it is up to them.
    assert sorted(ran.json["applied"] + met.json["applied"]) == ["a_" + step_id(1), "a_" + step_id(2)], (ran, met)
    for server in (first, second):
        check_all(server, postgres, database, ["a"], 2)


# --- slow ---

def p99(times):
    return sorted(times)[int(len(times) * 0.99)]


def is_soon(seconds, calm):
    return seconds < max(0.05, 3 * calm)


def test_a_slow_tenant_delays_nobody(start_bfm, tree, world, postgres, database):
    """While one waits the others finish, and health answers at once: as soon as that of a server with nothing to do."""
    tree.write(step_path(1), "SELECT pg_advisory_xact_lock(1) WHERE current_schema() = 'slow';\n"
               "CREATE TABLE t1 (id int);\n" + trace(1))
    bfm = start_bfm(dict(world, TENANTS_LOCK_TIMEOUT="60s"), tree=tree)
    health, calm = [Client("127.0.0.1", one.port, keep_alive=True) for one in (bfm, start_bfm())]
    rounds = []
    with Holder(postgres, database, "SELECT pg_advisory_lock(1)") as holder:
        slow = Background(lambda: up(bfm.client, "tenants", schemas=["slow"] + MANY))
        wait_until(lambda: len(waiting(postgres, database)) == 1, what="the slow one to wait")
        for number in range(3):  # the machine may be busy with something else for a moment
            others = ["r%d_%d" % (number, index) for index in range(150)]
            run = Background(lambda others=others: up(bfm.client, "tenants", schemas=others))
            times = {health: [], calm: []}
            while not run.is_done or len(times[health]) < 100:
                for client, taken in times.items():
                    begin = time.monotonic()
                    assert client.get("/health").status == 200
                    taken.append(time.monotonic() - begin)
            assert run.result().status == 200
            rounds.append((p99(times[health]), p99(times[calm])))
            if is_soon(*rounds[-1]):
                break
        assert any(is_soon(*found) for found in rounds), rounds
        wait_until(lambda: len([row for row in journal(postgres, database) if row[0] in MANY]) == 2 * len(MANY),
                   what="the others to finish")
        assert not slow.is_done and not [row for row in journal(postgres, database) if row[0] == "slow"]
        holder.release()
        answer = slow.result()
    health.close()
    calm.close()
    assert answer.status == 200 and len(answer.json["applied"]) == 2 * len(MANY) + 2, answer
    check_all(bfm, postgres, database, ["slow"] + MANY, 2)


# --- scripts that fail ---

FAILING = ("CREATE TABLE t3 (id int PRIMARY KEY);\nINSERT INTO t3 VALUES (1);\n" + trace(3) +
           "ALTER TABLE t1 ADD note text;\nDO $$ BEGIN RAISE NOTICE 'so far so good'; END $$;\n\n"
           "INSERT INTO t3\n  VALUES (1);\nCREATE TABLE never (id int);\n")


def test_a_script_that_fails_leaves_nothing(start_bfm, tree, world, postgres, database):
    tree.write(step_path(3), FAILING)
    bfm = start_bfm(world, tree=tree)
    answer = up(bfm.client, "tenants", schemas=["a"])
    assert answer.status == 206 and len(answer.json["errors"]) == 1, answer
    error = answer.json["errors"][0]
    assert error.startswith("a_%s: ERROR: duplicate key" % step_id(3)), error
    for part in ("SQLSTATE 23505", "statement 6", "20250103000000_step3.up.sql:7"):
        assert part in error, error
    detail = [item for item in answer.json["details"] if item["status"] == "failed"][0]
    assert (detail["sqlstate"], detail["statement"], detail["line"], detail["attempts"]) == ("23505", 6, 7, 1)
    assert any("so far so good" in notice for notice in detail["notices"]), detail
    check_all(bfm, postgres, database, ["a"], 2)
    columns = postgres.query(database, "SELECT column_name FROM information_schema.columns WHERE table_schema = 'a' "
                             "AND table_name = 't1'")
    assert columns == [("id",)]
    assert executions(bfm, step_id(3)) == {"a": False}
    status = bfm.client.get("/api/v1/migrations/a_%s/status" % step_id(3)).json
    assert status["status"] == "failed" and "23505" in status["error_message"], status
    tree.write(step_path(3), FAILING.replace("  VALUES (1)", "  VALUES (2)"))
    assert bfm.client.post("/api/v1/migrations/reindex").status == 200
    assert up(bfm.client, "tenants", schemas=["a"]).json["applied"] == ["a_" + step_id(3)]
    assert effects(postgres, database)[("a", "step3")] == 1


def test_a_down_script_that_fails_leaves_everything(start_bfm, tree, world, postgres, database):
    tree.write(step_path(2, "down"), "DROP TABLE t2;\nSELECT 1 / 0;\n")
    bfm = start_bfm(world, tree=tree)
    finish(bfm, ["a"], 2)
    answer = down(bfm.client, step_id(2), schemas=["a"])
    assert answer.status == 206 and answer.json["errors"][0].startswith("schema a: ERROR: division by zero"), answer
    check_all(bfm, postgres, database, ["a"], 2)
    item = [one for one in bfm.client.get("/api/v1/migrations").json["items"] if one["migration_id"] == step_id(2)][0]
    assert item["status"] == "applied" and "division by zero" in item["error_message"], item


def test_a_statement_that_takes_too_long(start_bfm, tree, world, postgres, database):
    tree.write(step_path(3), "-- bfm-statement-timeout: 200ms\nCREATE TABLE t3 (id int);\nSELECT pg_sleep(60);\n")
    bfm = start_bfm(world, tree=tree)
    begin = time.monotonic()
    answer = up(bfm.client, "tenants", schemas=["a"])
    assert time.monotonic() - begin < 40
    assert answer.status == 206 and "57014" in answer.json["errors"][0], answer
    assert found_tables(postgres, database, ["a"]) == {("a", "t1"), ("a", "t2")}
