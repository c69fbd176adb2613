"""State databases of older servers: their tables are taken over, what they applied is not run again, and servers of both
kinds take turns (bfm-api.md §6.7, §7). layouts/*.sql were written from that contract."""
import os
import signal

import pytest
from api_helpers import down, up
from harness.processes import wait_until
from once_helpers import Background, Holder, in_threads

USERS = "20250101120000_create_users_postgresql_core"
ORDERS = "20250102120000_create_orders_postgresql_core"
ITEMS = "20250103120000_create_items_postgresql_tenants"
REGIONS = "20250104120000_regions_postgresql_core_eu"
UNDO = "20250105120000_undo_rollback_postgresql_core"
GROW = "20250106120000_grow_postgresql_core"
FAIL = "20250107120000_fail_postgresql_core"
LATE = "20250108120000_late_postgresql_tenants"
GONE = "20240101000000_gone_postgresql_core"
GONE_TOO = "20240102000000_gone_too_postgresql_tenants"
KEY = (-97142035, -557870656)  # the vector of bfm-api.md §6.7: that of USERS in schema core

CORE = ["core", "core_eu", "tenants"]


def layout(name):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "layouts", name + ".sql")
    with open(path, encoding="utf-8") as file:
        return file.read()


def write_tree(tree):
    """Every script leaves a trace, so that one that runs again is found."""
    def write(connection, name, schema, undo=True):
        header = "" if schema is None else "-- bfm-schema: %s\n" % schema
        tree.write("postgresql/%s/%s.up.sql" % (connection, name),
                   header + "INSERT INTO public.effects VALUES ('{{.Schema}}', '%s');\n" % name)
        if undo:
            tree.write("postgresql/%s/%s.down.sql" % (connection, name),
                       "INSERT INTO public.effects VALUES ('{{.Schema}}', '%s down');\n" % name)

    tree.write("postgresql/core/core_users_20250101120000_create_users.sql",
               "INSERT INTO public.effects VALUES ('core', 'create_users');\n")
    tree.write("postgresql/core/core_users_20250101120000_create_users_down.sql",
               "INSERT INTO public.effects VALUES ('core', 'create_users down');\n")
    write("core", "20250102120000_create_orders", "core")
    write("core", "20250105120000_undo_rollback", "core")
    write("core", "20250106120000_grow", "core")
    write("core", "20250107120000_fail", "core")
    write("tenants", "20250103120000_create_items", None)
    write("core_eu", "20250104120000_regions", "eu")


class World:
    """A state database, a target database as older servers left it, and the environment of servers that use both."""

    def __init__(self, postgres, state, target, env, tree):
        self.postgres, self.state, self.target, self.env, self.tree = postgres, state, target, env, tree

    def fill(self, *names):
        for name in names:
            self.sql(layout(name))

    def sql(self, text, params=None):
        return self.postgres.query(self.state, text, params)

    def effects(self):
        return sorted(self.postgres.query(self.target, "SELECT schema_name, what FROM public.effects"))

    def journal(self):
        """{(schema, base ID): run_id}"""
        if self.postgres.query(self.target, "SELECT to_regclass('bfm.journal') IS NULL")[0][0]:
            return {}
        return {(schema, name): run for schema, name, run in self.postgres.query(
            self.target, "SELECT schema_name, migration_id, run_id FROM bfm.journal WHERE kind = 'up'")}

    def applied(self):
        """{(base ID, schema)} by the state."""
        return set(self.sql("SELECT migration_id, schema FROM migrations_executions WHERE applied"))

    def dump(self):
        """Every row of the state, but for what says that a server lives."""
        tables = [name for name, in self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
                  if name not in ("bfm_servers",)]
        return {name: sorted(map(str, self.sql("SELECT * FROM %s" % name))) for name in tables}


@pytest.fixture
def world(postgres, make_database, connection_env, state_env, tree):
    state, target = make_database(), make_database()
    postgres.query(target, "CREATE TABLE public.effects (schema_name text, what text)")
    for schema in ("core", "eu", "tenant_a", "tenant_b", "tenant_c", "t_20991231235959"):
        postgres.query(target, "CREATE SCHEMA %s" % schema)
    write_tree(tree)
    env = state_env(postgres, state)
    for name in CORE:
        env.update(connection_env(name, postgres, target))
    return World(postgres, state, target, env, tree)


def status_of(bfm, migration_id):
    answer = bfm.client.get("/api/v1/migrations/%s/status" % migration_id)
    assert answer.status == 200, answer
    return answer.json["status"]


def listed(bfm):
    return {item["migration_id"]: item["status"] for item in bfm.client.get("/api/v1/migrations").json["items"]}


def history(bfm, migration_id):
    """[(schema, status)], oldest first."""
    answer = bfm.client.get("/api/v1/migrations/%s/history" % migration_id)
    return [(row["schema"], row["status"]) for row in answer.json["history"]][::-1]


def executions(bfm, migration_id):
    answer = bfm.client.get("/api/v1/migrations/%s/executions" % migration_id)
    return {row["schema"]: row["applied"] for row in answer.json["executions"]}


def wait_reconciled(bfm, count=1):
    """Until every target was compared after a start."""
    def compared():
        return sum(line["msg"] == "target compared with the state database" for line in bfm.log()) >= count * len(CORE)

    wait_until(compared, what="the targets to be compared")


SECOND_APPLIED = {
    (USERS, "core"), (GROW, "core"), (UNDO, "core"), (REGIONS, "eu"), (GONE, "core"), (GONE_TOO, "tenant_a"),
    (ITEMS, "tenant_a"), (ITEMS, "tenant_b"), (ITEMS, "t_20991231235959")}
SECOND_LISTED = {USERS: "applied", ORDERS: "rolled_back", GROW: "applied", FAIL: "failed", UNDO: "applied",
                 REGIONS: "applied", ITEMS: "applied"}


def check_second(world, bfm):
    assert world.applied() == SECOND_APPLIED
    assert listed(bfm) == SECOND_LISTED  # without those whose script is gone
    assert status_of(bfm, GONE) == status_of(bfm, GONE_TOO) == "applied"
    assert history(bfm, USERS) == [("core", "pending"), ("core", "applied")]
    assert history(bfm, ORDERS) == [("core", "applied"), ("core", "rolled_back")]
    assert history(bfm, GROW) == [("core", "applied"), ("core", "failed")]
    assert history(bfm, ITEMS) == [("tenant_a", "applied"), ("tenant_c", "applied"), ("tenant_c", "rolled_back")]
    assert executions(bfm, ITEMS) == {"tenant_a": True, "tenant_b": True, "tenant_c": False, "t_20991231235959": True}
    assert executions(bfm, ORDERS) == {"core": False}
    assert executions(bfm, FAIL) == {"core": False}


def test_the_second_layout_is_converted(world, start_bfm):
    world.fill("second")
    bfm = start_bfm(world.env, tree=world.tree)
    check_second(world, bfm)
    row = bfm.client.get("/api/v1/migrations/%s/history" % USERS).json["history"][0]
    assert row["executed_by"] == "api_user" and row["execution_context"] == '{"source":"ci"}'
    assert row["applied_at"] == "2025-01-01T12:30:00Z"
    assert bfm.client.get("/api/v1/migrations/%s/status" % GROW).json["error_message"] == "column exists"
    # what nobody understands is kept and told
    assert {(name, kind) for name, kind in world.sql("SELECT migration_id, kind FROM bfm_old_ids WHERE imported_at IS NULL")} == {
        (USERS + "_down", "junk"), ("20250101120000_create_users", "junk"), ("what is this", "unknown"),
        ("tenant_a_" + LATE, "unknown")}
    told = [line["migration_id"] for line in bfm.log() if line["msg"].startswith("an ID in the tables of an older")]
    assert sorted(told) == ["tenant_a_" + LATE, "what is this"]
    assert world.sql("SELECT count(*) FROM bfm_old_migrations_list") == [(18,)]
    assert world.sql("SELECT count(*) FROM bfm_old_migrations_history") == [(11,)]


def test_ups_skip_what_was_taken_over(world, start_bfm):
    world.fill("second")
    bfm = start_bfm(world.env, tree=world.tree)
    answer = up(bfm.client, "core", target={"version": "20250101120000"})
    assert answer.status == 200 and answer.json["applied"] == [] and len(answer.json["skipped"]) == 1, answer
    answer = up(bfm.client, "tenants", schemas=["tenant_a", "tenant_b", "t_20991231235959", "tenant_c"])
    assert answer.json["applied"] == ["tenant_c_" + ITEMS], answer
    answer = up(bfm.client, "core")
    assert sorted(answer.json["applied"]) == [ORDERS, FAIL], answer
    assert up(bfm.client, "core_eu").json["applied"] == []
    assert world.effects() == [("core", "20250102120000_create_orders"), ("core", "20250107120000_fail"),
                               ("tenant_c", "20250103120000_create_items")]


def test_a_second_start_changes_nothing(world, make_bfm):
    world.fill("second", "first")
    bfm = make_bfm(world.env, world.tree)
    bfm.start()
    wait_reconciled(bfm)
    before, journal = world.dump(), world.journal()
    bfm.stop()
    bfm.start()
    wait_reconciled(bfm, 2)
    assert world.dump() == before
    assert world.journal() == journal
    assert world.effects() == []


def test_a_migration_that_is_known_later_is_taken_over_then(world, start_bfm):
    world.fill("second")
    bfm = start_bfm(world.env, tree=world.tree)
    assert (LATE, "tenant_a") not in world.applied()
    world.tree.write("postgresql/tenants/20250108120000_late.up.sql",
                     "INSERT INTO public.effects VALUES ('{{.Schema}}', 'late');\n")
    assert bfm.client.post("/api/v1/migrations/reindex", {}).status == 200
    wait_until(lambda: (LATE, "tenant_a") in world.applied(), what="the rows to be taken over")
    assert up(bfm.client, "tenants", schemas=["tenant_a"]).json["applied"] == []
    assert world.effects() == []
    assert world.applied() == SECOND_APPLIED | {(LATE, "tenant_a")}


FIRST_APPLIED = {(USERS, "core"), (UNDO, "core"), (ITEMS, "tenant_a"), (ITEMS, "tenant_b")}


def check_first(world, bfm):
    assert world.applied() == FIRST_APPLIED
    assert listed(bfm) == {USERS: "applied", ORDERS: "rolled_back", GROW: "pending", FAIL: "failed", UNDO: "applied",
                           ITEMS: "applied", REGIONS: "pending"}
    assert history(bfm, USERS) == [("core", "applied")]
    assert history(bfm, ORDERS) == [("core", "applied"), ("core", "rolled_back")]
    assert history(bfm, FAIL) == [("core", "failed")]
    assert history(bfm, ITEMS) == [("tenant_a", "applied"), ("tenant_b", "applied")]


def test_the_first_layout_is_imported_once(world, make_bfm):
    world.fill("first")
    bfm = make_bfm(world.env, world.tree)
    bfm.start()
    check_first(world, bfm)
    wait_reconciled(bfm)
    assert down(bfm.client, USERS).json["applied"] == ["core_" + USERS]
    # an old server makes its table once more
    world.sql("CREATE TABLE bfm_migrations AS SELECT * FROM bfm_old_migrations")
    bfm.stop()
    bfm.start()
    wait_reconciled(bfm, 2)
    assert world.applied() == FIRST_APPLIED - {(USERS, "core")}
    assert status_of(bfm, USERS) == "rolled_back"
    assert up(bfm.client, "core", target={"version": "20250101120000"}).json["skipped"] == []
    assert world.effects() == [("core", "create_users"), ("core", "create_users down")]


def test_what_newer_servers_recorded_wins_over_the_first_layout(world, start_bfm):
    world.fill("first", "current")
    bfm = start_bfm(world.env, tree=world.tree)
    # the first layout says that it was undone, executions say that it is applied
    assert executions(bfm, ORDERS) == {"core": True}
    assert history(bfm, USERS) == [("core", "applied")]
    assert world.applied() == {(USERS, "core"), (ORDERS, "core"), (UNDO, "core"), (ITEMS, "tenant_a"),
                               (ITEMS, "tenant_b"), ("tenant_a_" + ITEMS, "tenant_a")}


def test_the_current_layout_is_used_in_place(world, start_bfm):
    world.fill("current")
    bfm = start_bfm(world.env, tree=world.tree)
    assert listed(bfm) == {USERS: "applied", ORDERS: "applied", GROW: "rolled_back", FAIL: "pending", UNDO: "pending",
                           ITEMS: "applied", REGIONS: "pending"}
    assert executions(bfm, ITEMS) == {"tenant_a": True, "tenant_b": True}
    assert executions(bfm, GROW) == {"core": False}
    assert up(bfm.client, "tenants", schemas=["tenant_a", "tenant_b"]).json["applied"] == []
    assert sorted(up(bfm.client, "core").json["applied"]) == [UNDO, GROW, FAIL]


@pytest.mark.parametrize("point", ["adopt_moved", "adopt_imported"])
def test_a_crash_in_between_leaves_the_old_tables(world, make_bfm, point):
    world.fill("second", "first")
    before = world.dump()
    bfm = make_bfm(dict(world.env, BFM_CRASH_AT=point), world.tree)
    bfm.start(ready=False)
    wait_until(lambda: not bfm.is_running(), what="the server to die")
    assert world.dump() == before
    again = make_bfm(world.env, world.tree)
    again.start()
    assert world.applied() == SECOND_APPLIED


def test_two_servers_convert_once(world, make_bfm):
    world.fill("second")
    pair = [make_bfm(world.env, world.tree) for _ in range(2)]
    for bfm in pair:
        bfm.start(ready=False)
    for bfm in pair:
        bfm.wait_healthy()
    assert sum(line["msg"].startswith("state tables of an older server") for bfm in pair for line in bfm.log()) == 1
    for bfm in pair:
        check_second(world, bfm)


def test_tables_of_a_current_server_beside_the_second_layout(world, start_bfm):
    """It made its tables for the old list, and failed from then on."""
    world.fill("second")
    for table in ("executions", "dependencies", "skipped"):
        text = layout("current")
        begin = text.index("CREATE TABLE migrations_%s" % table)
        world.sql(text[begin:text.index(";", begin)])
    bfm = start_bfm(world.env, tree=world.tree)
    check_second(world, bfm)
    assert sorted(up(bfm.client, "core").json["applied"]) == [ORDERS, FAIL]
    assert bfm.client.get("/api/v1/migrations/%s/skipped" % USERS).json["skipped"] != []


# --- targets ---

def test_targets_get_a_journal_and_undo_works(world, start_bfm):
    world.fill("second")
    bfm = start_bfm(world.env, tree=world.tree)
    wait_reconciled(bfm)
    assert world.journal() == {(schema, name): "adopted" for name, schema in SECOND_APPLIED
                               if name not in (GONE, GONE_TOO)}
    assert world.sql("SELECT count(*) FROM migrations_executions WHERE applied AND checksum IS NULL") == [(2,)]
    assert down(bfm.client, USERS).json["applied"] == ["core_" + USERS]
    assert down(bfm.client, USERS).json["skipped"] == ["core_%s (not applied)" % USERS]
    answer = down(bfm.client, ITEMS, schemas=["tenant_a", "tenant_c"])
    assert answer.json["applied"] == ["tenant_a_" + ITEMS], answer
    assert world.effects() == [("core", "create_users down"), ("tenant_a", "20250103120000_create_items down")]
    assert (USERS, "core") not in world.applied() and ("core", USERS) not in world.journal()
    assert up(bfm.client, "core", target={"version": "20250101120000"}).json["skipped"] == []


def test_an_undo_does_not_wait_for_the_comparison(world, start_bfm):
    """The target is taken over on first contact: the comparison at the start is held up by another session."""
    world.fill("current")
    world.postgres.query(world.target, "CREATE SCHEMA bfm")
    with Holder(world.postgres, world.state, "SELECT pg_advisory_lock(%d, %d)" % lock_key("bfm adoption", "", "core")) as held:
        bfm = start_bfm(dict(world.env, BFM_LOCK_WAIT="60s"), tree=world.tree)
        assert up(bfm.client, "core", target={"version": "20250101120000"}).json["applied"] == []
        undo = Background(lambda: down(bfm.client, USERS))
        wait_until(lambda: ("core", "pending") in history(bfm, USERS), what="the undo to begin")
        assert not undo.is_done and world.effects() == []
        held.release()
        assert undo.result().json["applied"] == ["core_" + USERS]
    assert world.effects() == [("core", "create_users down")]


def test_nothing_is_put_into_a_target_that_was_made_anew(world, start_bfm):
    world.fill("second")
    world.postgres.query(world.target, "DROP SCHEMA tenant_a")
    bfm = start_bfm(world.env, tree=world.tree)
    wait_reconciled(bfm)
    assert ("tenant_a", ITEMS) not in world.journal()
    assert ("tenant_b", ITEMS) in world.journal()
    answer = down(bfm.client, ITEMS, schemas=["tenant_a"])
    assert "older server" in str(answer.json["errors"]), answer
    assert world.effects() == []


def test_a_target_is_taken_over_once_only(world, make_bfm):
    """What is missing from the journal later is not applied: the target was restored."""
    world.fill("second")
    bfm = make_bfm(world.env, world.tree)
    bfm.start()
    wait_reconciled(bfm)
    bfm.stop()
    world.postgres.query(world.target, "DELETE FROM bfm.journal WHERE schema_name = 'tenant_b'")
    bfm.start()
    wait_reconciled(bfm, 2)
    assert ("tenant_b", ITEMS) not in world.journal()
    assert (ITEMS, "tenant_b") not in world.applied()
    assert up(bfm.client, "tenants", schemas=["tenant_b"]).json["applied"] == ["tenant_b_" + ITEMS]


def test_a_server_died_between_journal_and_state(world, make_bfm):
    world.fill("second")
    bfm = make_bfm(world.env, world.tree)
    bfm.start()
    wait_reconciled(bfm)
    before, journal = world.dump(), world.journal()
    bfm.stop()
    world.sql("UPDATE migrations_executions SET checksum = NULL")
    bfm.start()
    wait_reconciled(bfm, 2)
    assert world.dump() == before
    assert world.journal() == journal


# --- taking turns with an older server ---

def lock_key(migration_id, schema, connection):
    """As bfm-api.md §6.7 has it."""
    value = 0xcbf29ce484222325
    for byte in "\0".join([migration_id, schema, connection]).encode():
        value = (value ^ byte) * 0x100000001b3 % 2**64
    return tuple(half - 2**32 if half >= 2**31 else half for half in (value >> 32, value % 2**32))


def test_the_vector():
    assert lock_key(USERS, "core", "core") == KEY


def held_locks(world):
    return world.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND database = "
                     "(SELECT oid FROM pg_database WHERE datname = current_database())")[0][0]


def tries_of(world):
    """How the server's own session asks for locks: it polls, so it never waits in the database."""
    return world.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bfm-state-locks' "
                     "AND datname = current_database() AND query LIKE '%pg_try_advisory_lock%'")[0][0]


OLD_RUN = ("INSERT INTO migrations_executions (migration_id, schema, version, connection, backend, status, applied, "
           "applied_at, created_at, updated_at) VALUES ('%s', 'core', '20250101120000', 'core', 'postgresql', 'applied', "
           "true, now(), now(), now())")


@pytest.mark.parametrize("tracking", [USERS, "core_" + USERS])
def test_a_migrate_waits_for_an_older_server(world, start_bfm, tracking):
    bfm = start_bfm(world.env, tree=world.tree)
    with Holder(world.postgres, world.state, "SELECT pg_advisory_lock(%d, %d)" % lock_key(tracking, "core", "core")) as old:
        request = Background(lambda: up(bfm.client, "core", target={"version": "20250101120000"}))
        wait_until(lambda: tries_of(world) > 0, what="the server to ask for the lock")
        assert not request.is_done and world.effects() == []
        assert up(bfm.client, "core", target={"version": "20250102120000"}, ignore_dependencies=True).json["applied"] == [ORDERS]
        assert not request.is_done and history(bfm, USERS) == []
        assert world.effects() == [("core", "20250102120000_create_orders")]
        old.release()  # it failed: nothing was recorded
        assert request.result().json["applied"] == [USERS]
    assert world.effects() == [("core", "20250102120000_create_orders"), ("core", "create_users")]
    wait_until(lambda: held_locks(world) == 0, what="the locks to be given back")


def test_what_an_older_server_did_meanwhile_is_skipped(world, start_bfm):
    bfm = start_bfm(world.env, tree=world.tree)
    with Holder(world.postgres, world.state, "SELECT pg_advisory_lock(%d, %d)" % KEY) as old:
        request = Background(lambda: up(bfm.client, "core", target={"version": "20250101120000"}))
        wait_until(lambda: tries_of(world) > 0, what="the server to ask for the lock")
        with old.connection.cursor() as cursor:
            cursor.execute(OLD_RUN % USERS)
        old.connection.commit()
        old.release()
        answer = request.result()
    assert answer.status == 200 and answer.json["applied"] == [] and answer.json["skipped"] == [USERS], answer
    assert world.effects() == []
    # and it can be undone
    assert down(bfm.client, USERS).json["applied"] == ["core_" + USERS]


def test_the_wait_has_an_end(world, start_bfm):
    bfm = start_bfm(dict(world.env, BFM_LOCK_WAIT="300ms"), tree=world.tree)
    with Holder(world.postgres, world.state, "SELECT pg_advisory_lock(%d, %d)" % KEY):
        answer = up(bfm.client, "core", target={"version": "20250101120000"})
    assert "migration is already being executed" in str(answer.json["errors"]), answer
    assert world.effects() == [] and history(bfm, USERS) == []
    assert up(bfm.client, "core", target={"version": "20250101120000"}).json["applied"] == [USERS]


def test_off_means_off(world, start_bfm):
    bfm = start_bfm(dict(world.env, BFM_STATE_ADVISORY_LOCKS="off"), tree=world.tree)
    with Holder(world.postgres, world.state, "SELECT pg_advisory_lock(%d, %d)" % KEY):
        assert up(bfm.client, "core", target={"version": "20250101120000"}).json["applied"] == [USERS]
    assert world.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bfm-state-locks' "
                     "AND datname = current_database()") == [(0,)]


def test_a_pooler_is_noticed(world, start_bfm, pgbouncer, state_env):
    bfm = start_bfm({**world.env, **state_env(pgbouncer, world.state)}, tree=world.tree)
    assert up(bfm.client, "core", target={"version": "20250101120000"}).json["applied"] == [USERS]
    assert sum("behind a pooler" in line["msg"] for line in bfm.log()) == 1
    assert held_locks(world) == 0


def test_a_lost_session_is_made_again(world, start_bfm):
    """Steps under way go on without their locks; new ones get theirs on another session."""
    bfm = start_bfm(world.env, tree=world.tree)
    with Holder(world.postgres, world.target, "LOCK TABLE public.effects") as blocker:
        request = Background(lambda: up(bfm.client, "core", target={"version": "20250101120000"}))
        wait_until(lambda: held_locks(world) > 0, what="the step to have its lock")
        world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bfm-state-locks' "
                  "AND datname = current_database()")
        wait_until(lambda: held_locks(world) == 0, what="the session to end")
        blocker.release()
        assert request.result().json["applied"] == [USERS]
    answer = up(bfm.client, "core")
    assert sorted(answer.json["applied"]) == [ORDERS, UNDO, GROW, FAIL], answer
    wait_until(lambda: held_locks(world) == 0, what="the locks to be given back")


def test_all_connections_allowed_are_never_exceeded(world, start_bfm):
    bfm = start_bfm(dict(world.env, BFM_DB_MAX_OPEN_CONNS="2", TENANTS_MAX_OPEN_CONNS="4"), tree=world.tree)
    most = []

    def work(index):
        if index == 0:
            return up(bfm.client, "tenants", schemas=["s%d" % number for number in range(200)]).status
        while len(most) < 30:
            most.append(world.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'bfm-state%' "
                                  "AND datname = current_database()")[0][0])
        return 200

    assert in_threads(2, work) == [200, 200]
    assert max(most) <= 2
