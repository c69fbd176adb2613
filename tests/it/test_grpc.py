"""The gRPC API, bfm-api.md §5, by Debian's grpcio."""
import subprocess
import threading

import grpc
import pytest
from api_helpers import core, migrate, tables, write_core, write_tenants  # noqa: F401
from grpc_helpers import PROTO, connect, messages  # noqa: F401

from harness.processes import SLOWER, wait_until

Code = grpc.StatusCode
USERS = "20250101120000_create_users_postgresql_core"
ORDERS = "20250102120000_create_orders_postgresql_core"
USERS_BRIEF, ORDERS_BRIEF = "core_users_20250101120000_create_users", "core_orders_20250102120000_create_orders"
TENANT = "20250103120000_create_items_postgresql_tenants"


@pytest.fixture
def rpc(core, connect):
    return connect(core)


def target(**fields):
    return {"connection": "core", **fields}


def test_migrate(rpc, postgres, database):
    answer = rpc.Migrate(connection="core", target=target(), schema="core")
    assert (answer.success, list(answer.applied), list(answer.skipped)) == (True, [USERS_BRIEF, ORDERS_BRIEF], [])
    assert answer.run_id
    assert tables(postgres, database, "core") == ["orders", "users"]
    again = rpc.Migrate(connection="core", target=target(), schema_name="core")
    assert (again.success, list(again.skipped)) == (True, [USERS_BRIEF, ORDERS_BRIEF])


def test_dry_run(rpc, postgres, database):
    answer = rpc.Migrate(connection="core", target=target(), dry_run=True)
    assert list(answer.applied) == [USERS_BRIEF + " (dry-run)", ORDERS_BRIEF + " (dry-run)"]
    assert not answer.run_id and tables(postgres, database, "core") == []


def test_schema_is_taken_as_it_is(rpc, postgres, database):
    rpc.Migrate(connection="tenants", target={"connection": "tenants"}, schema_name="x")
    assert tables(postgres, database, "x") == ["items"]


def test_who_it_was(rpc, core):
    rpc.Migrate(connection="core", target=target(), metadata=[("x-request-id", "abc")])
    row = core.client.get("/api/v1/migrations/%s/history" % USERS).json["history"][0]
    assert (row["executed_by"], row["execution_method"]) == ("grpc_client", "api")
    assert '"connection_type":"grpc"' in row["execution_context"] and '"abc"' in row["execution_context"]


def test_progress(rpc):
    got = [(m.migration_id, m.status, m.message, m.progress)
           for m in rpc.StreamMigrate(connection="core", target=target())]
    done = "Migration completed successfully"
    assert got == [(USERS, "running", "Executing migration 1 of 2", 50), (USERS, "success", done, 50),
                   (ORDERS, "running", "Executing migration 2 of 2", 100), (ORDERS, "success", done, 100)]
    got = [(m.status, m.message) for m in rpc.StreamMigrate(connection="core", target=target())]
    assert got == [("running", "Executing migration 1 of 2"), ("skipped", "Migration already applied"),
                   ("running", "Executing migration 2 of 2"), ("skipped", "Migration already applied")]


def test_progress_comes_while_it_happens(rpc, core, postgres, database):
    with postgres.connect(database) as holder, holder.cursor() as cursor:
        holder.autocommit = False
        cursor.execute("SET lock_timeout = '30s'")
        rpc.Migrate(connection="core", target=target(tables=["users"]))
        cursor.execute("LOCK TABLE core.users IN ACCESS EXCLUSIVE MODE")
        core_tree_write(core, "core_late_20250109120000_late.sql", "INSERT INTO core.users SELECT 1 WHERE false;")
        core.client.post("/api/v1/migrations/reindex")
        stream = rpc.StreamMigrate(connection="core", target=target(tables=["late"]))
        assert next(stream).status == "running"
        holder.rollback()
        assert next(stream).status == "success"


def core_tree_write(bfm, name, text):
    with open("%s/postgresql/core/%s" % (bfm.env["BFM_SFM_PATH"], name), "w", encoding="utf-8") as file:
        file.write(text)


def test_failures(rpc, core):
    core_tree_write(core, "core_bad_20250104120000_bad.sql", "SELECT nonsense;")
    core_tree_write(core, "core_later_20250105120000_later.sql", "SELECT 1;")
    core.client.post("/api/v1/migrations/reindex")
    answer = rpc.Migrate(connection="core", target=target())
    assert not answer.success and list(answer.applied) == [USERS_BRIEF, ORDERS_BRIEF]
    assert "nonsense" in answer.errors[0] and len(answer.errors) == 2
    got = [(m.status, m.message) for m in rpc.StreamMigrate(connection="core", target=target(version="20250104120000"))]
    assert got[0][0] == "running" and got[1][0] == "failed" and "nonsense" in got[1][1] and len(got) == 2


def test_nothing_matches(rpc):
    assert list(rpc.StreamMigrate(connection="core", target=target(version="20990101000000"))) == []


def test_down_and_rollback(rpc):
    rpc.Migrate(connection="core", target=target())
    answer = rpc.MigrateDown(migration_id=ORDERS)
    assert answer.success and list(answer.applied) == ["core_" + ORDERS]
    assert rpc.RollbackMigration(migration_id=USERS).success
    code, text = rpc.fails("RollbackMigration", migration_id=USERS)
    assert code == Code.FAILED_PRECONDITION and text


def test_reads(rpc):
    rpc.Migrate(connection="core", target=target(tables=["users"]))
    answer = rpc.ListMigrations(connection="core")
    assert [(item.migration_id, item.applied, item.status) for item in answer.items] == [
        (USERS, True, "applied"), (ORDERS, False, "pending")]
    assert answer.total == 2 and answer.items[0].applied_at and not answer.items[1].applied_at
    detail = rpc.GetMigration(migration_id=USERS)
    assert (detail.table, detail.schema, detail.backend, detail.applied) == ("users", "core", "postgresql", True)
    assert "CREATE TABLE" in detail.up_sql
    assert rpc.GetMigrationStatus(migration_id=USERS).status == "applied"
    assert rpc.IsMigrationApplied(migration_id=USERS).applied is True
    assert rpc.IsMigrationApplied(migration_id=ORDERS).applied is False
    history = rpc.GetMigrationHistory(migration_id=USERS).history
    assert [row.status for row in history] == ["applied", "pending"] and history[0].executed_by == "grpc_client"
    rows = rpc.ListExecutions(migration_id=USERS).executions
    assert [(row.schema, row.status, row.applied) for row in rows] == [("core", "applied", True)]
    assert len(rpc.ListExecutions().executions) == 1
    rpc.Migrate(connection="core", target=target(tables=["users"]))
    wait_until(lambda: len(rpc.ListSkipped(migration_id=USERS).skipped) == 1, what="the skip to be recorded")
    assert list(rpc.OrderBatch(migration_ids=[ORDERS, USERS], connection="core").ordered_migration_ids) == [USERS, ORDERS]


def test_runs(rpc):
    answer = rpc.MigrateUp(connection="tenants", target={"connection": "tenants"}, schemas=["a", "b"])
    assert sorted(answer.applied) == ["a_" + TENANT, "b_" + TENANT]
    run = rpc.GetRun(run_id=answer.run_id)
    assert (run.run.status, run.run.kind, run.run.lanes, run.run.applied) == ("succeeded", "up", 2, 2)
    assert sorted(lane.schema for lane in run.lanes) == ["a", "b"]
    assert sorted(step.schema for step in run.steps) == ["a", "b"]
    assert [row.run_id for row in rpc.ListRuns(limit=1).runs] == [answer.run_id]
    events = [(event.event, event.schema) for event in rpc.WatchRun(run_id=answer.run_id)]
    assert events[0] == ("run_started", "") and events[-1] == ("run_ended", "")
    assert ("applied", "a") in events and ("applied", "b") in events
    cancel = rpc.CancelRun(run_id=answer.run_id)
    assert (cancel.canceling, cancel.status) == (False, "succeeded")
    code, _ = rpc.fails("RetryRun", run_id=answer.run_id)
    assert code == Code.FAILED_PRECONDITION


def test_fleet(rpc):
    rpc.MigrateUp(connection="tenants", target={"connection": "tenants"}, schemas=["a", "b"])
    plan = rpc.PlanMigrations(connection="tenants", target={"connection": "tenants"}, schemas=["a", "c"])
    assert [(lane.schema, [(step.migration_id, step.action) for step in lane.steps]) for lane in plan.schemas] == [
        ("a", [(TENANT, "skip")]), ("c", [(TENANT, "run")])]
    tenants = rpc.ListTenants(connection="tenants")
    assert (tenants.schemas, tenants.migrations, tenants.laggards_total) == (2, 1, 0)
    assert [(row.version, row.schemas) for row in tenants.versions] == [("20250103120000", 2)]
    assert getattr(rpc.CheckGate(connection="tenants"), "pass")
    closed = rpc.CheckGate(connection="tenants", schema="c")
    assert not getattr(closed, "pass") and closed.reason and [row.schema for row in closed.laggards] == ["c"]
    targets = rpc.Reconcile().targets
    assert sorted((row.connection, row.error) for row in targets) == [("core", ""), ("tenants", "")]
    assert rpc.fails("Reconcile", connection="nowhere")[0] == Code.NOT_FOUND
    assert rpc.fails("PlanMigrations", connection="nowhere", target={"connection": "nowhere"})[0] == Code.NOT_FOUND


def test_cancel_of_a_run_under_way(rpc, core, postgres, database):
    core_tree_write(core, "core_slow_20250104120000_slow.sql", "SELECT pg_sleep(600);")
    core.client.post("/api/v1/migrations/reindex")
    answer = rpc.MigrateUp(connection="core", target=target(), **{"async": True})
    events = rpc.WatchRun(run_id=answer.run_id)
    for event in events:
        if event.event == "running" and "slow" in event.migration_id:
            break
    assert rpc.CancelRun(run_id=answer.run_id).canceling
    assert [event.event for event in events][-1] == "run_ended"
    assert rpc.GetRun(run_id=answer.run_id).run.status == "canceled"


def test_a_deadline_does_not_end_the_run(rpc, core, postgres, database):
    core_tree_write(core, "core_slow_20250104120000_slow.sql", "SELECT pg_sleep(5); CREATE TABLE core.late (id int);")
    core.client.post("/api/v1/migrations/reindex")
    code, _ = rpc.fails("Migrate", connection="core", target=target(), timeout=2.5)
    assert code == Code.DEADLINE_EXCEEDED
    wait_until(lambda: "late" in tables(postgres, database, "core"), what="the run to go on")


def test_reindex(rpc, core):
    core_tree_write(core, "core_new_20250106120000_new.sql", "SELECT 1;")
    answer = rpc.ReindexMigrations()
    assert list(answer.added) == ["20250106120000_new_postgresql_core"] and answer.total == 4
    assert rpc.ReindexMigrations(sfm_path=core.env["BFM_SFM_PATH"]).total == 4
    assert rpc.fails("ReindexMigrations", sfm_path="/tmp")[0] == Code.INVALID_ARGUMENT


@pytest.mark.parametrize("method, fields, code", [
    ("Migrate", {"connection": "core"}, Code.INVALID_ARGUMENT),
    ("Migrate", {"target": {}}, Code.INVALID_ARGUMENT),
    ("Migrate", {"connection": "core", "target": {"tags": ["bad"]}}, Code.INVALID_ARGUMENT),
    ("StreamMigrate", {"connection": "core", "target": {"tags": ["bad"]}}, Code.INVALID_ARGUMENT),
    ("StreamMigrate", {"connection": "core"}, Code.INVALID_ARGUMENT),
    ("Migrate", {"connection": "core", "target": {}, "schema": "a\0b"}, Code.INVALID_ARGUMENT),
    ("Migrate", {"connection": "nowhere", "target": {"connection": "nowhere"}}, Code.INTERNAL),
    ("StreamMigrate", {"connection": "nowhere", "target": {"connection": "nowhere"}}, Code.INTERNAL),
    ("MigrateDown", {"migration_id": "nothing"}, Code.NOT_FOUND),
    ("MigrateDown", {"migration_id": ""}, Code.INVALID_ARGUMENT),
    ("GetMigration", {"migration_id": "nothing"}, Code.NOT_FOUND),
    ("GetMigration", {"migration_id": ""}, Code.INVALID_ARGUMENT),
    ("GetMigrationHistory", {"migration_id": "nothing"}, Code.NOT_FOUND),
    ("GetMigrationHistory", {"migration_id": ""}, Code.INVALID_ARGUMENT),
    ("GetMigrationStatus", {"migration_id": ""}, Code.INVALID_ARGUMENT),
    ("RollbackMigration", {"migration_id": "nothing"}, Code.NOT_FOUND),
    ("RollbackMigration", {"migration_id": ""}, Code.INVALID_ARGUMENT),
    ("RollbackMigration", {"migration_id": USERS}, Code.FAILED_PRECONDITION),
    ("OrderBatch", {"migration_ids": ["nothing"], "connection": "core"}, Code.INVALID_ARGUMENT),
    ("ListExecutions", {"limit": -1}, Code.INVALID_ARGUMENT),
    ("ResolveMigration", {"migration_id": USERS, "schema": "core", "as": "perhaps"}, Code.INVALID_ARGUMENT),
    ("ResolveMigration", {"migration_id": USERS, "schema": "core", "as": "applied"}, Code.NOT_FOUND),
    ("ListRuns", {"status": "odd"}, Code.INVALID_ARGUMENT),
    ("ListRuns", {"cursor": "odd"}, Code.INVALID_ARGUMENT),
    ("GetRun", {"run_id": "nothing"}, Code.NOT_FOUND),
    ("GetRun", {"run_id": "0" * 12 + "-" + "0" * 16}, Code.NOT_FOUND),
    ("WatchRun", {"run_id": "0" * 12 + "-" + "0" * 16}, Code.NOT_FOUND),
    ("CancelRun", {"run_id": "0" * 12 + "-" + "0" * 16}, Code.NOT_FOUND),
    ("RetryRun", {"run_id": "0" * 12 + "-" + "0" * 16}, Code.NOT_FOUND),
])
def test_error_rows(rpc, method, fields, code):
    got, text = rpc.fails(method, **fields)
    assert got == code, text
    assert text


def test_unknown_migrations_are_pending(rpc):
    assert rpc.GetMigrationStatus(migration_id="nothing").status == "pending"
    assert rpc.IsMigrationApplied(migration_id="nothing").applied is False


def test_unreachable_target(start_bfm, tree, connect, connection_env, private_postgres):
    write_core(tree)
    database = private_postgres.create_database()
    env = connection_env("core", private_postgres, database, CONNECT_TIMEOUT="1s")
    bfm = start_bfm(env, tree=tree)
    private_postgres.kill()
    code, text = connect(bfm).fails("Migrate", connection="core", target={"connection": "core"})
    assert code == Code.INTERNAL and "unreachable" in text.lower() or "reach" in text.lower() or "connect" in text.lower()


def test_dependencies_that_are_missing(rpc, core):
    core_tree_write(core, "core_bad_20250104120000_bad.sql", "-- bfm-depends: nowhere\nSELECT 1;")
    core.client.post("/api/v1/migrations/reindex")
    code, text = rpc.fails("Migrate", connection="core", target=target())
    assert code == Code.INTERNAL and "nowhere" in text


@pytest.mark.parametrize("token, text", [(None, "missing"), ("wrong", "invalid")])
def test_tokens(core, connect, token, text):
    client = connect(core, token=token)
    for method in client.service.methods_by_name:
        if method == "Health":
            assert client.Health().status == "healthy"
            continue
        code, details = client.fails(method)
        assert code == Code.UNAUTHENTICATED and text in details, method


def test_auth_off(make_bfm, tree, connect, postgres, database, connection_env):
    write_core(tree)
    bfm = make_bfm({**connection_env("core", postgres, database), "BFM_GRPC_AUTH": "off"}, tree=tree).start()
    assert connect(bfm, token=None).Migrate(connection="core", target=target()).success
    assert connect(bfm, token="wrong").fails("Migrate")[0] == Code.UNAUTHENTICATED
    assert bfm.wait_log(lambda line: "BFM_GRPC_AUTH" in line.get("warning", ""))


def test_health(rpc):
    answer = rpc.Health()
    assert answer.status == "healthy" and answer.checks["executor"] == "ok"
    assert set(answer.checks) == {"executor", "target core", "target tenants"}


def test_proto_is_offered(core):
    answer = core.client.get("/api/v1/migration.proto")
    assert answer.status == 200 and answer.text == PROTO.read_text(encoding="utf-8")


def test_metrics_and_log(rpc, core):
    rpc.ListMigrations()
    rpc.fails("GetMigration", migration_id="nothing")
    text = core.client.get("/metrics").text
    assert 'bfm_grpc_calls_total{method="/migration.MigrationService/ListMigrations",code="OK"} 1' in text
    assert 'bfm_grpc_calls_total{method="/migration.MigrationService/GetMigration",code="NOT_FOUND"} 1' in text
    line = core.wait_log(lambda line: line["msg"] == "call" and line.get("status") == "NOT_FOUND")
    assert line["method"].endswith("GetMigration") and line["token"] == "api_user"


def test_many_messages_and_a_slow_reader(start_bfm, tree, connect, postgres, database, connection_env):
    """A stream that nobody reads neither holds the run up nor anybody else."""
    for i in range(2500):
        tree.write("postgresql/core/core_t_%014d_m%d.sql" % (20250101000000 + i, i), "SELECT %d;" % i)
    bfm = start_bfm(connection_env("core", postgres, database), tree=tree)
    client = connect(bfm)
    stream = client.StreamMigrate(connection="core", target=target(), timeout=600)
    first = next(stream)
    assert first.status == "running"
    other = connect(bfm)
    wait_until(lambda: other.ListRuns(limit=1).runs[0].status == "succeeded", 300, "the run to end unread")
    rest = list(stream)
    assert len(rest) == 4999 and rest[-1].progress == 100
    assert [m.status for m in rest[1::2]] == ["running"] * 2499


def test_streams_end_with_the_server(rpc, core):
    core_tree_write(core, "core_slow_20250104120000_slow.sql", "SELECT pg_sleep(600);")
    core.client.post("/api/v1/migrations/reindex")
    answer = rpc.MigrateUp(connection="core", target=target(), **{"async": True})
    got, failed = [], []

    def read():
        try:
            got.extend(event.event for event in rpc.WatchRun(run_id=answer.run_id))
        except grpc.RpcError as error:
            failed.append(error.code())

    reader = threading.Thread(target=read)
    reader.start()
    core.wait_log(lambda line: line["msg"] == "migration running" and "slow" in str(line.get("migration")))
    core.process.terminate()
    core.process.terminate()
    reader.join(60 * SLOWER)
    assert not reader.is_alive() and (failed == [Code.UNAVAILABLE] or got[-1] == "run_ended")


def test_load_by_another_client(core, tmp_path):
    (tmp_path / "message").write_bytes(bytes(5))
    done = subprocess.run(["h2load", "-n", "5000", "-c", "4", "-m", "100", "-d", "message", "-H",
                           "content-type: application/grpc", "-H", "te: trailers",
                           "http://127.0.0.1:%s/migration.MigrationService/Health" % core.env["BFM_GRPC_PORT"]],
                          cwd=tmp_path, stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    assert "5000 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout, done.stdout
