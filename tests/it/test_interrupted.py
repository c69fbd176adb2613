"""A server dies in the middle of its steps: another one on the same state database says so, and finds out what became of
them without being started again."""
import pytest
from harness.processes import wait_until
from once_helpers import (Holder, check_all, effects, make_effects, step_id, wait_for_waiting, waiting,
                          write_steps)
from test_runs import GATE, retry, show, start

RECORDS = "LOCK TABLE migrations_history IN EXCLUSIVE MODE"  # nothing is recorded while somebody holds it


@pytest.fixture
def state(make_database):
    return make_database()


@pytest.fixture
def pair(make_bfm, tree, postgres, database, state, connection_env, state_env):
    """Both are done with what they do at their start."""
    make_effects(postgres, database)
    write_steps(tree, 2)
    env = {**connection_env("tenants", postgres, database), **state_env(postgres, state)}
    servers = [make_bfm(env, tree=tree) for _ in range(2)]
    for server in servers:
        server.start()
        server.wait_log(lambda line: line["msg"] == "target compared with the state database")
    return servers


def compared(server):
    return [line for line in server.log() if line["msg"] == "target compared with the state database"]


def unended(postgres, state):
    return postgres.query(state, "SELECT schema, status FROM migrations_history p WHERE status = 'pending' AND NOT EXISTS ("
                          "SELECT FROM migrations_history e WHERE e.run_id = p.run_id AND e.schema = p.schema AND "
                          "e.migration_id = p.migration_id AND e.status <> 'pending') ORDER BY schema")


def end_waiting(postgres, database):
    """What was sent is done all the same once it need not wait, unless its session ends."""
    for pid, _ in waiting(postgres, database):
        postgres.query("postgres", "SELECT pg_terminate_backend(%s)", (pid,))
    wait_until(lambda: not waiting(postgres, database), what="the sessions to end")


def kill_before_it_records(server, postgres, database, state):
    """Kills it when a step of schema `done` is committed but not recorded, and one of `cut` is under way."""
    postgres.query(database, "CREATE SCHEMA cut")
    with Holder(postgres, database, "CREATE TABLE cut.t1 (id int)"):
        with Holder(postgres, database, GATE):
            run_id = start(server, ["done", "cut"])
            wait_for_waiting(postgres, database, 2)
            records = Holder(postgres, state, RECORDS)
        with records:
            wait_for_waiting(postgres, state)
            server.kill()
            end_waiting(postgres, state)
            end_waiting(postgres, database)
    return run_id


def test_another_server_ends_the_steps(pair, postgres, database, state):
    dead, alive = pair
    run_id = kill_before_it_records(dead, postgres, database, state)
    assert effects(postgres, database) == {("done", "step1"): 1}
    assert unended(postgres, state) == [("cut", "pending"), ("done", "pending")]
    times = len(compared(alive))
    wait_until(lambda: show(alive, run_id)["status"] == "interrupted", timeout=60, what="the silence to be noticed")
    wait_until(lambda: not unended(postgres, state), what="every step to have an end")
    assert len(compared(alive)) == times + 1
    run = show(alive, run_id)
    assert {(step["schema"], step["migration_id"], step["status"]) for step in run["steps"]} == {
        ("done", step_id(1), "applied"), ("cut", step_id(1), "failed")}, run
    assert retry(alive, run_id).status == 200
    check_all(alive, postgres, database, ["done", "cut"], 2)
