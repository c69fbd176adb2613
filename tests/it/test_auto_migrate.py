"""BFM_AUTO_MIGRATE: what runs at start without a request (bfm-api.md §6.8)."""
import json

from api_helpers import ORDERS, TENANT, USERS, tables, write_core, write_tenants
from harness.processes import wait_until


def environment(connection_env, postgres, database, **extra):
    env = connection_env("core", postgres, database)
    env.update(connection_env("tenants", postgres, database))
    env.update({"BFM_AUTO_MIGRATE": " On ", "BFM_AUTO_MIGRATE_RETRY_INTERVAL": "300ms"})
    env.update(extra)
    return env


def rounds(server):
    return [line for line in server.log() if line["msg"] == "auto-migrate round ended"]


def history(server, migration):
    return server.client.get("/api/v1/migrations/%s/history" % migration).json["history"]


def test_off_unless_it_is_switched_on(start_bfm, tree, postgres, database, connection_env):
    write_core(tree)
    env = environment(connection_env, postgres, database, BFM_AUTO_MIGRATE=None)
    server = start_bfm(env, tree=tree)
    second = start_bfm({**env, "BFM_AUTO_MIGRATE": "1", "BFM_AUTO_MIGRATE_CONNECTIONS": "tenants"}, tree=tree)
    second.wait_log(lambda line: line["msg"] == "auto-migrate round ended")
    assert tables(postgres, database, "core") == [] and rounds(server) == []


def test_fixed_migrations_run_and_dynamic_ones_stay(start_bfm, tree, postgres, database, connection_env):
    write_core(tree)
    write_tenants(tree)
    server = start_bfm(environment(connection_env, postgres, database), tree=tree)
    ended = server.wait_log(lambda line: line["msg"] == "auto-migrate round ended")
    assert (ended["round"], ended["applied"], ended["failed"]) == (1, 2, 0)
    assert tables(postgres, database, "core") == ["orders", "users"]
    assert server.client.get("/api/v1/migrations/%s/status" % TENANT).json["status"] == "pending"
    for migration in (USERS, ORDERS):
        last = history(server, migration)[0]
        assert (last["status"], last["executed_by"], last["execution_method"]) == ("applied", "bfm-server", "auto_migrate")
        assert json.loads(last["execution_context"]) == {"connection": "core", "round": 1, "source": "BFM_AUTO_MIGRATE"}


def test_a_connection_with_a_schema_runs_its_dynamic_ones(start_bfm, tree, postgres, database, connection_env):
    write_tenants(tree)
    server = start_bfm(environment(connection_env, postgres, database, TENANTS_SCHEMA="home"), tree=tree)
    server.wait_log(lambda line: line["msg"] == "auto-migrate round ended")
    assert tables(postgres, database, "home") == ["items"]


def test_rounds_go_on_until_nothing_fails(start_bfm, tree, postgres, database, connection_env):
    write_core(tree)
    tree.write("postgresql/core/20250109000000_later.up.sql", "-- bfm-schema: core\nINSERT INTO gate.way VALUES (1);\n")
    server = start_bfm(environment(connection_env, postgres, database), tree=tree)
    wait_until(lambda: len(rounds(server)) >= 2, 60)
    assert [line["failed"] for line in rounds(server)[:2]] == [1, 1]
    postgres.query(database, "CREATE SCHEMA gate; CREATE TABLE gate.way (id int)")
    wait_until(lambda: rounds(server)[-1]["failed"] == 0, 60)
    assert postgres.query(database, "SELECT count(*) FROM gate.way")[0][0] == 1
    count = len(rounds(server))
    server.client.post("/api/v1/migrations/reindex")
    assert len(rounds(server)) == count


def test_rounds_are_limited(start_bfm, tree, postgres, database, connection_env):
    tree.write("postgresql/core/20250109000000_never.up.sql", "-- bfm-schema: core\nSELECT 1/0;\n")
    env = environment(connection_env, postgres, database, BFM_AUTO_MIGRATE_RETRY_MAX_ROUNDS="2",
                      BFM_AUTO_MIGRATE_RETRY_INTERVAL="50ms")
    server = start_bfm(env, tree=tree)
    server.wait_log(lambda line: line["msg"].startswith("auto-migrate gave up"))
    assert [line["round"] for line in rounds(server)] == [1, 2]
    assert server.client.get("/health").status == 200


def test_the_server_ends_while_it_migrates(start_bfm, tree, postgres, database, connection_env):
    tree.write("postgresql/core/20250109000000_slow.up.sql", "-- bfm-schema: core\nSELECT pg_sleep(600);\n")
    server = start_bfm(environment(connection_env, postgres, database, BFM_SHUTDOWN_TIMEOUT="1s"), tree=tree)
    server.wait_log(lambda line: line["msg"] == "migration running")
    server.stop()
