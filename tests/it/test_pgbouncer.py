"""Through PgBouncer in transaction mode: no step needs a session, and none leaves anything on one (DESIGN.md §4)."""
import pytest
from api_helpers import down, up
from once_helpers import (check_all, effects, finish, found_tables, in_threads, journal, make_effects, step_id,
                          step_path, trace, write_steps)

# Nothing in the text of the statement that does it tells: a trigger would do as well.
CALLED = ("CREATE TABLE called (id int);\nCREATE FUNCTION called() RETURNS int LANGUAGE plpgsql AS "
          "$f$ BEGIN %s; RETURN 1; END $f$;\nINSERT INTO called SELECT called();")

# What each script leaves on its session, and how the next user of the session sees it.
DIRT = {
    "setting": ("SET search_path = pg_catalog;\nSET lock_timeout = '1234ms';\nSELECT 1;",
                "SELECT count(*) FROM pg_settings WHERE name IN ('search_path', 'lock_timeout') "
                "AND source = 'session'"),
    "set_config": ("SELECT set_config('bfm_test.canary', 'here', false);",
                   "SELECT count(*) WHERE current_setting('bfm_test.canary', true) <> ''"),
    "role": ("SET ROLE pg_monitor;\nRESET ROLE;\nSET ROLE pg_monitor;",
             "SELECT count(*) WHERE current_user <> session_user"),
    "temporary": ("CREATE TEMPORARY TABLE dirt (id int);\nINSERT INTO dirt VALUES (1);",
                  "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()"),
    "advisory": ("SELECT pg_advisory_lock(4711);",
                 "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"),
    "hidden_advisory": ("DO $$ BEGIN PERFORM pg_advisory_lock(4712); END $$;",
                        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"),
    "called_advisory": (CALLED % "PERFORM pg_advisory_lock(4713)",
                        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"),
    "called_listen": (CALLED % "EXECUTE 'LISTEN canary'", "SELECT count(*) FROM pg_listening_channels()"),
    "called_setting": (CALLED % "PERFORM set_config('bfm_test.canary', 'here', false)",
                       "SELECT count(*) WHERE current_setting('bfm_test.canary', true) <> ''"),
    "listen": ("LISTEN canary;", "SELECT count(*) FROM pg_listening_channels()"),
    "prepared": ("PREPARE canary AS SELECT 1;", "SELECT count(*) FROM pg_prepared_statements"),
    "cursor": ("DECLARE canary CURSOR WITH HOLD FOR SELECT 1;", "SELECT count(*) FROM pg_cursors WHERE is_holdable"),
    "sequence": ("CREATE SEQUENCE s;\nSELECT nextval('s');", "SELECT 0"),
}
SESSIONS = 4  # default_pool_size of harness/pgbouncer.py


@pytest.fixture
def bfm(start_bfm, tree, postgres, pgbouncer, database, connection_env):
    make_effects(postgres, database)
    return start_bfm(connection_env("tenants", pgbouncer, database), tree=tree)


def seen_on_all_sessions(postgres, pgbouncer, database, query):
    """{pid: answer} of every server connection of the pool, asked as another client would."""
    clients = [postgres.connect(database, host=pgbouncer.host, port=pgbouncer.port, user="bfm")
               for _ in range(SESSIONS)]
    seen = {}
    try:
        for client in clients:  # a transaction each, so that each has a server connection of its own
            client.autocommit = False
            with client.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid(), (%s)" % query)
                pid, value = cursor.fetchone()
                seen[pid] = value
    finally:
        for client in clients:
            client.close()
    assert len(seen) == SESSIONS
    return seen


def write_and_load(bfm, tree, name, text):
    tree.write("postgresql/tenants/20250101000000_%s.up.sql" % name, text)
    assert bfm.client.post("/api/v1/migrations/reindex").status == 200
    return "20250101000000_%s_postgresql_tenants" % name


def test_many_requests_at_once(bfm, tree, postgres, database):
    write_steps(tree, 3)
    assert bfm.client.post("/api/v1/migrations/reindex").json["total"] == 3
    schemas = ["t%d" % index for index in range(10)]
    answers = in_threads(12, lambda index: up(bfm.client, "tenants", schemas=schemas[index % 3:]))
    assert [answer.status for answer in answers] == [200] * 12, answers
    check_all(bfm, postgres, database, schemas, 3)


# --- scripts without a transaction need a session of their own ---

OFF = ("-- bfm-transaction: off\nCREATE TABLE t1 (id int);\n" + trace(1) +
       "CREATE INDEX CONCURRENTLY t1_id ON t1 (id);\nDO $$ BEGIN PERFORM 1; END $$;\n")
OFF_DOWN = "DROP INDEX CONCURRENTLY t1_id;\nDROP TABLE t1;\n" + trace(1, "down")


def expect_pooler_refused(answer, schemas):
    assert answer.status == 206 and answer.json["applied"] == [] and len(answer.json["errors"]) == len(schemas), answer
    for text in answer.json["errors"]:
        assert "needs a direct connection to PostgreSQL" in text and "pooler" in text, answer


def test_without_a_transaction_is_refused(bfm, tree, postgres, database):
    tree.write(step_path(1), OFF)
    assert bfm.client.post("/api/v1/migrations/reindex").status == 200
    schemas = ["a", "b", "c"]
    expect_pooler_refused(up(bfm.client, "tenants", schemas=schemas), schemas)
    assert effects(postgres, database) == {} and found_tables(postgres, database, schemas) == set()
    assert postgres.query(database, "SELECT count(*) FROM bfm.journal") == [(0,)]


def test_without_a_transaction_is_not_undone(make_bfm, tree, postgres, pgbouncer, database, connection_env, tmp_path):
    make_effects(postgres, database)
    tree.write(step_path(1), OFF)
    tree.write(step_path(1, "down"), OFF_DOWN)
    env = {"BFM_STATE_DB_PATH": str(tmp_path / "shared.db")}
    straight = make_bfm(dict(connection_env("tenants", postgres, database), **env), tree=tree).start()
    finish(straight, ["a"], 1)
    before = postgres.query(database, "SELECT * FROM bfm.journal")
    straight.stop()
    pooled = make_bfm(dict(connection_env("tenants", pgbouncer, database), **env), tree=tree).start()
    answer = up(pooled.client, "tenants", schemas=["a"])
    assert answer.status == 200 and answer.json["errors"] == [], answer
    answer = down(pooled.client, step_id(1), schemas=["a"])
    assert answer.status == 500 and "needs a direct connection to PostgreSQL" in answer.json["error"], answer
    assert postgres.query(database, "SELECT * FROM bfm.journal") == before
    assert effects(postgres, database, "down") == {} and journal(postgres, database) == {("a", step_id(1))}
    check_all(pooled, postgres, database, ["a"], 1)


@pytest.mark.parametrize("name", sorted(set(DIRT) - {"sequence"}))
def test_the_check_sees_dirt(postgres, pgbouncer, database, name):
    """What another client leaves behind without cleaning is seen."""
    text, query = DIRT[name]
    client = postgres.connect(database, host=pgbouncer.host, port=pgbouncer.port, user="bfm")
    with client.cursor() as cursor:
        for statement in text.rstrip(";").split(";\n"):
            cursor.execute(statement)
    client.close()
    assert sum(seen_on_all_sessions(postgres, pgbouncer, database, query).values()) > 0


@pytest.mark.parametrize("name", sorted(DIRT))
def test_nothing_is_left_on_a_session(bfm, tree, postgres, pgbouncer, database, name):
    text, query = DIRT[name]
    migration = write_and_load(bfm, tree, name, text)
    schemas = ["d%d" % index for index in range(8)]
    answer = up(bfm.client, "tenants", schemas=schemas)
    assert answer.status == 200, answer
    assert answer.json["applied"] == ["%s_%s" % (schema, migration) for schema in schemas]
    seen = seen_on_all_sessions(postgres, pgbouncer, database, query)
    assert set(seen.values()) == {0}, seen


@pytest.mark.parametrize("name", ["setting", "temporary", "advisory", "called_advisory", "listen"])
def test_nothing_is_left_by_a_script_that_fails(bfm, tree, postgres, pgbouncer, database, name):
    text, query = DIRT[name]
    write_and_load(bfm, tree, name, text + "\nCREATE TABLE failed AS SELECT 1/0 AS a;")
    answer = up(bfm.client, "tenants", schemas=["d%d" % index for index in range(8)])
    assert answer.status == 206 and len(answer.json["errors"]) == 8, answer
    assert set(seen_on_all_sessions(postgres, pgbouncer, database, query).values()) == {0}


@pytest.mark.parametrize("name", ["setting", "temporary", "advisory", "role"])
def test_a_dirty_script_does_not_disturb_the_next_step(start_bfm, tree, postgres, database, connection_env, name):
    """Straight to PostgreSQL, by one connection: the next step of the lane and of other lanes come behind it."""
    make_effects(postgres, database)
    tree.write("postgresql/tenants/20241231000000_dirt.up.sql", DIRT[name][0])
    write_steps(tree, 2)
    bfm = start_bfm(connection_env("tenants", postgres, database, MAX_OPEN_CONNS=1), tree=tree)
    schemas = ["a", "b", "c"]
    answer = up(bfm.client, "tenants", schemas=schemas)
    assert answer.status == 200 and len(answer.json["applied"]) == 9, answer
    for schema in schemas:
        tables = postgres.query(database, "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1", (schema,))
        assert tables == [("t1",), ("t2",)]
    owners = postgres.query(database, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('a', 'b', 'c')")
    assert owners == [("bfm",)]
    held = postgres.query(database, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
                          "(SELECT oid FROM pg_database WHERE datname = current_database())")
    assert held == [(0,)]
    assert step_id(1) in answer.text
