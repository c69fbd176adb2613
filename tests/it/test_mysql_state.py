"""The state in MariaDB instead of a file: the same answers, and it survives what a state database survives."""
import os

import pytest
from api_helpers import up
from harness.processes import wait_until
from once_helpers import (Background, check_all, effects, executions, finish, in_threads, make_effects, step_id,
                          write_steps)

MANY = ["s%d" % index for index in range(40)]
TENANTS = ["s%d" % index for index in range(200)]


@pytest.fixture
def world(tree, postgres, database, connection_env):
    make_effects(postgres, database)
    write_steps(tree, 3)
    return connection_env("tenants", postgres, database)


def test_runs_and_their_records(start_bfm, tree, world, postgres, database, mariadb, make_mysql_database,
                                mysql_state_env):
    state = make_mysql_database()
    env = {**world, **mysql_state_env(mariadb, state)}
    bfm = start_bfm(env, tree=tree)
    finish(bfm, ["a", "b"], 3)
    check_all(bfm, postgres, database, ["a", "b"], 3)
    assert up(bfm.client, "tenants", schemas=["a"]).json["skipped"] == ["a_" + step_id(n) for n in (1, 2, 3)]
    answer = bfm.client.post("/api/v1/migrations/down", {"migration_id": step_id(3), "schemas": ["b"]})
    assert answer.status == 200, answer
    assert executions(bfm, step_id(3)) == {"a": True, "b": False}
    history = bfm.client.get("/api/v1/migrations/%s/history" % step_id(3)).json["history"]
    assert [row["status"] for row in history][:2] == ["rolled_back", "pending"]
    runs = bfm.client.get("/api/v1/runs").json["items"]
    assert [run["kind"] for run in runs] == ["down", "up", "up"]
    bfm.stop()
    again = start_bfm(env, tree=tree)
    assert executions(again, step_id(3)) == {"a": True, "b": False}
    assert mariadb.query(state, "SELECT count(*) FROM migrations_executions WHERE applied") == [(5,)]


def test_the_schema_names_the_database(start_bfm, tree, world, mariadb, mysql_state_env):
    """A database that is not there is made."""
    name = "bfm_made_%d" % os.getpid()
    env = {**world, **mysql_state_env(mariadb, "nobody_made_this"), "BFM_STATE_SCHEMA": name}
    try:
        bfm = start_bfm(env, tree=tree)
        finish(bfm, ["a"], 3)
        assert mariadb.query(name, "SELECT count(*) FROM migrations_executions") == [(3,)]
        bfm.stop()
    finally:
        mariadb.drop_database(name)


def test_two_servers_share_it(start_bfm, tree, world, postgres, database, mariadb, make_mysql_database,
                              mysql_state_env):
    env = {**world, **mysql_state_env(mariadb, make_mysql_database())}
    servers = [start_bfm(env, tree=tree), start_bfm(env, tree=tree)]
    answers = in_threads(4, lambda index: up(servers[index % 2].client, "tenants", schemas=MANY))
    assert [answer.status for answer in answers] == [200] * 4, answers
    assert sum(len(answer.json["applied"]) for answer in answers) == 3 * len(MANY)
    for server in servers:
        check_all(server, postgres, database, MANY, 3)


def test_killed_in_the_middle_of_a_run(start_bfm, tree, world, postgres, database, private_mariadb, mysql_state_env):
    private_mariadb.query(None, "CREATE DATABASE state")
    private_mariadb.query(None, "SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    bfm = start_bfm({**world, **mysql_state_env(private_mariadb, "state")}, tree=tree)
    running = Background(lambda: up(bfm.client, "tenants", schemas=TENANTS))
    wait_until(lambda: sum(effects(postgres, database).values()) > 20, what="the run to be under way")
    private_mariadb.kill()
    wait_until(lambda: bfm.client.get("/readyz").status == 503, what="it to be missed")
    private_mariadb.start()
    assert running.result(120).status == 200
    check_all(bfm, postgres, database, TENANTS, 3)
