"""Nothing is HTTP-only: every route has a method of the gRPC API that says the same, to the same tokens."""
import json

import grpc
import pytest
from api_helpers import ORDERS, TENANT, USERS, core, tables  # noqa: F401
from google.protobuf.json_format import MessageToDict
from grpc_helpers import connect, messages  # noqa: F401
from harness.processes import wait_until
from test_tokens import client_of, entry, token_of, tokens_file, two  # noqa: F401

Code = grpc.StatusCode
TARGET = {"connection": "core"}
TENANTS = {"connection": "tenants", "target": {"connection": "tenants"}}

# The method of each route; None: something of HTTP itself, or of the other standard services.
TWINS = {
    "POST /api/v1/migrate": "Migrate", "POST /api/v1/migrations/up": "MigrateUp",
    "POST /api/v1/migrations/down": "MigrateDown", "POST /api/v1/migrations/order-batch": "OrderBatch",
    "POST /api/v1/migrations/reindex": "ReindexMigrations", "POST /api/v1/reconcile": "Reconcile",
    "GET /api/v1/migrations/executions/recent": "ListExecutions",
    "GET /api/v1/migrations/skipped/recent": "ListSkipped", "GET /api/v1/migrations": "ListMigrations",
    "GET /api/v1/migrations/{id}": "GetMigration", "GET /api/v1/migrations/{id}/status": "GetMigrationStatus",
    "GET /api/v1/migrations/{id}/applied": "IsMigrationApplied",
    "GET /api/v1/migrations/{id}/history": "GetMigrationHistory",
    "GET /api/v1/migrations/{id}/executions": "ListExecutions", "GET /api/v1/migrations/{id}/skipped": "ListSkipped",
    "POST /api/v1/migrations/{id}/rollback": "RollbackMigration",
    "POST /api/v1/migrations/{id}/resolve": "ResolveMigration", "GET /api/v1/plan": "PlanMigrations",
    "GET /api/v1/tenants": "ListTenants", "GET /api/v1/gate": "CheckGate", "GET /api/v1/runs": "ListRuns",
    "GET /api/v1/runs/{id}": "GetRun", "POST /api/v1/runs/{id}/cancel": "CancelRun",
    "POST /api/v1/runs/{id}/retry": "RetryRun", "GET /api/v1/events": "WatchEvents",
    "GET /api/v1/runs/{id}/events": "WatchRun", "GET /api/v1/health": "Health", "GET /health": "Health",
    "GET /readyz": None,  # grpc.health.v1
    "GET /livez": None, "GET /metrics": None,
    "GET /api/v1/openapi.json": None, "GET /api/v1/openapi.yaml": None, "GET /api/v1/migration.proto": None,  # reflection
}
ONLY_GRPC = {"StreamMigrate"}


@pytest.fixture
def rpc(core, connect):
    return connect(core)


def test_every_route_has_a_method(core, messages):
    paths = core.client.get("/api/v1/openapi.json").json["paths"]
    routes = {"%s %s" % (method.upper(), path) for path, methods in paths.items()
              for method in methods if method in ("get", "post", "put", "delete", "patch")}
    assert routes - {"GET /{path}", "GET /runtime-config.js"} == set(TWINS)
    methods = set(messages.DESCRIPTOR.services_by_name["MigrationService"].methods_by_name)
    assert methods == {name for name in TWINS.values() if name} | ONLY_GRPC


def plain(message):
    return MessageToDict(message, preserving_proto_field_name=True, including_default_value_fields=True)


def says_all(said, message, renamed=(), besides=()):
    """Whatever HTTP says the message says, too: numbers as they are, times and texts to the letter."""
    renamed = dict(renamed)
    for key, value in said.items():
        if key in besides:
            continue
        key = renamed.get(key, key)
        assert key in message, key
        if isinstance(value, dict):
            says_all(value, message[key], renamed, besides)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            assert len(value) == len(message[key]), key
            for one, other in zip(value, message[key]):
                says_all(one, other, renamed, besides)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            assert int(message[key]) == value, key
        else:
            assert message[key] == value, key


def test_reads_say_the_same(rpc, core):
    get = core.client.get
    run = rpc.MigrateUp(connection="core", target=TARGET).run_id
    rpc.MigrateUp(**TENANTS, schemas=["a", "b"])
    rpc.Migrate(connection="core", target=TARGET)
    wait_until(lambda: len(rpc.ListSkipped(limit=10).skipped) == 2, what="the skips to be recorded")
    says_all(get("/api/v1/migrations").json, plain(rpc.ListMigrations()))
    says_all(get("/api/v1/migrations/" + ORDERS).json, plain(rpc.GetMigration(migration_id=ORDERS)))
    says_all(get("/api/v1/migrations/%s/status" % USERS).json, plain(rpc.GetMigrationStatus(migration_id=USERS)))
    says_all(get("/api/v1/migrations/%s/history" % USERS).json, plain(rpc.GetMigrationHistory(migration_id=USERS)))
    says_all(get("/api/v1/migrations/%s/executions" % TENANT).json, plain(rpc.ListExecutions(migration_id=TENANT)))
    says_all(get("/api/v1/migrations/skipped/recent").json, plain(rpc.ListSkipped()))
    says_all(get("/api/v1/runs").json, plain(rpc.ListRuns()), {"items": "runs"}, {"counts"})
    shown, message = get("/api/v1/runs/" + run).json, plain(rpc.GetRun(run_id=run))
    says_all({key: shown[key] for key in ("lanes", "steps", "execution_context")}, message)
    says_all({**{key: value for key, value in shown.items() if key in message["run"]}, **shown["counts"]}, message["run"])
    assert json.loads(message["request_json"]) == shown["request"]
    says_all(get("/api/v1/tenants?connection=tenants").json, plain(rpc.ListTenants(connection="tenants")),
             besides={"connection", "failed"})
    for schema in ("", "c"):
        says_all(get("/api/v1/gate?connection=tenants&schema=" + schema).json,
                 plain(rpc.CheckGate(connection="tenants", schema=schema)), {"error": "reason"}, {"connection"} | (
                     {"failed"} if schema else set()))
    says_all(get("/api/v1/plan?connection=tenants&schema=a&schema=c").json,
             plain(rpc.PlanMigrations(**TENANTS, schemas=["a", "c"])), besides={"connection"})
    says_all(get("/api/v1/health").json, {**plain(rpc.Health()), "checks": {"executor": "ok"}})


def test_runs_say_the_same(rpc, core, tree, database, make_database, postgres):
    tree.write("postgresql/core/core_bad_20250104120000_bad.sql", "SELECT 1;\nDO $$BEGIN RAISE NOTICE 'one'; END$$;\nSELECT nonsense;")
    core.client.post("/api/v1/migrations/reindex")
    message = plain(rpc.MigrateUp(connection="core", target=TARGET))
    assert [(row["migration_id"], row["status"]) for row in message["details"]] == [
        (USERS, "applied"), (ORDERS, "applied"), ("20250104120000_bad_postgresql_core", "failed")]
    failed = message["details"][2]
    assert (failed["sqlstate"], failed["statement"], failed["line"], failed["attempts"]) == ("42703", "3", "3", "1")
    said = core.client.post("/api/v1/migrations/up", {"connection": "core", "target": {}}).json
    message = plain(rpc.MigrateUp(connection="core", target=TARGET))
    says_all({key: said[key] for key in ("success", "applied", "skipped", "errors")}, message)
    says_all(said["details"][0], message["details"][0], besides={"duration_ms"})
    undone = plain(rpc.RollbackMigration(migration_id=ORDERS))
    assert undone["success"] and undone["applied"] == ["core_" + ORDERS] and undone["run_id"]
    assert undone["details"][0]["status"] == "rolled_back" and undone["message"]
    retried = rpc.RetryRun(run_id=message["run_id"])
    assert not retried.success and "nonsense" in retried.errors[0]


def test_notices_are_told(rpc, core, tree):
    tree.write("postgresql/core/core_n_20250104120000_n.sql", "DO $$BEGIN RAISE NOTICE 'one'; RAISE NOTICE 'two'; END$$;")
    core.client.post("/api/v1/migrations/reindex")
    answer = rpc.Migrate(connection="core", target={**TARGET, "tables": ["n"]})
    assert [("one" in text, "two" in text) for text in answer.details[0].notices] == [(True, False), (False, True)]


def test_up_never_fails_for_its_migrations(rpc):
    """As its route, with one schema or many; Migrate does fail then."""
    answer = rpc.MigrateUp(connection="nowhere", target={"connection": "nowhere"})
    assert (answer.success, list(answer.errors)) == (False, ["connection nowhere not found"])
    answer = rpc.MigrateUp(**TENANTS)
    assert not answer.success and "dynamic schema" in answer.errors[0]
    assert rpc.fails("Migrate", connection="nowhere", target={})[0] == Code.INTERNAL


def test_environment(rpc, postgres, database):
    rpc.Migrate(**TENANTS, environment="staging")
    rpc.Migrate(**TENANTS, environment="staging", schema_name="named")
    assert tables(postgres, database, "cli_staging") == tables(postgres, database, "named") == ["items"]


# --- on_error and max_failures ---

@pytest.fixture
def blocked(rpc, core, postgres, database, tree):
    """20 schemas, in all of which a migration fails, one after another."""
    tree.write("postgresql/tenants/20250104120000_bad.up.sql", "SELECT nonsense;")
    tree.write("postgresql/tenants/20250104120000_bad.down.sql", "SELECT nonsense;")
    core.client.post("/api/v1/migrations/reindex")
    return ["s%02d" % number for number in range(20)]


def failed_lanes(rpc, answer):
    return rpc.GetRun(run_id=answer.run_id).run.lanes_failed


def test_failures_are_limited(rpc, blocked):
    every = rpc.MigrateUp(**TENANTS, schemas=blocked, on_error="continue")
    assert failed_lanes(rpc, every) == 20
    for how in ({"on_error": "stop"}, {"max_failures": 3}):
        answer = rpc.MigrateUp(**TENANTS, schemas=blocked, **how)
        assert 0 < failed_lanes(rpc, answer) < 20 and any("left alone" in error for error in answer.errors), how
    again = rpc.RetryRun(run_id=answer.run_id)  # keeps the limit
    assert failed_lanes(rpc, again) < 20
    assert failed_lanes(rpc, rpc.RetryRun(run_id=again.run_id, on_error="continue")) == 20


@pytest.mark.parametrize("method, fields", [
    ("MigrateUp", TENANTS), ("Migrate", TENANTS), ("StreamMigrate", TENANTS), ("MigrateDown", {"migration_id": TENANT}),
    ("RollbackMigration", {"migration_id": TENANT}), ("RetryRun", {"run_id": "0" * 12 + "-" + "0" * 16})])
def test_wrong_limits(rpc, method, fields):
    for how, text in (({"on_error": "perhaps"}, "on_error"), ({"max_failures": -1}, "max_failures"),
                      ({"on_error": "stop", "max_failures": 3}, "contradicts")):
        code, details = rpc.fails(method, **fields, **how)
        assert code == Code.INVALID_ARGUMENT and text in details


def test_nobody_waits(rpc, core, postgres, database):
    for method, fields in (("MigrateUp", {**TENANTS, "schemas": ["a"]}), ("Migrate", {**TENANTS, "schema": "b"}),
                           ("MigrateDown", {"migration_id": TENANT, "schemas": ["a"]}),
                           ("RollbackMigration", {"migration_id": TENANT, "schemas": ["b"]})):
        answer = getattr(rpc, method)(**fields, **{"async": True})
        assert answer.success and answer.run_id and answer.status == "running"
        assert list(rpc.WatchRun(run_id=answer.run_id))[-1].event == "run_ended"
    assert tables(postgres, database, "a") == tables(postgres, database, "b") == []
    assert rpc.fails("StreamMigrate", **TENANTS, **{"async": True})[0] == Code.INVALID_ARGUMENT


# --- pages ---

def pages(rpc, method, field, **fields):
    got, cursor = [], ""
    while True:
        answer = getattr(rpc, method)(limit=2, cursor=cursor, **fields)
        page = list(getattr(answer, field))
        assert len(page) <= 2
        got.extend(page)
        cursor = answer.next_cursor
        if not cursor:
            return got


def test_pages(rpc, core):
    schemas = ["s%d" % number for number in range(5)]
    for _ in range(2):
        rpc.MigrateUp(**TENANTS, schemas=schemas)
    wait_until(lambda: len(rpc.ListSkipped(limit=100).skipped) == 5, what="the skips to be recorded")
    for method, field, fields in (("ListMigrations", "items", {}), ("ListExecutions", "executions", {}),
                                  ("ListExecutions", "executions", {"migration_id": TENANT}),
                                  ("ListSkipped", "skipped", {}), ("ListSkipped", "skipped", {"migration_id": TENANT}),
                                  ("GetMigrationHistory", "history", {"migration_id": TENANT})):
        whole = getattr(rpc, method)(**fields, **({} if method == "ListMigrations" else {"limit": 100}))
        assert not whole.next_cursor
        assert pages(rpc, method, field, **fields) == list(getattr(whole, field)) != [], method
        for wrong in ("odd", "7a00", "ff"):
            code, text = rpc.fails(method, cursor=wrong, **fields)
            assert code == Code.INVALID_ARGUMENT and "cursor" in text
        assert rpc.fails(method, limit=10001, **fields)[0] == Code.INVALID_ARGUMENT
    first = rpc.ListMigrations(limit=1)
    assert first.total == 3 and len(rpc.ListMigrations(cursor=first.next_cursor).items) == 2
    said = core.client.get("/api/v1/migrations?limit=1").json  # the same cursors
    assert said["next_cursor"] == first.next_cursor


# --- tokens ---

def test_tokens_allow_the_same(start_bfm, two, connect, tokens_file, tree):
    """What a token may not do over HTTP it may not do here: method by method, by scope."""
    names = ("read", "migrate", "rollback", "admin")
    bfm = start_bfm({**two, "BFM_API_TOKENS_FILE": tokens_file([entry(name, [name]) for name in names])}, tree=tree)
    fields = {"MigrateUp": TENANTS, "Migrate": TENANTS, "StreamMigrate": TENANTS, "PlanMigrations": TENANTS}
    unknown = "0" * 12 + "-" + "0" * 16
    for name in names:
        client = connect(bfm, token=token_of(name))
        for route, method in TWINS.items():
            if method in (None, "Health", "WatchEvents"):
                continue
            verb, path = route.split()
            said = client_of(bfm, name).request(verb, path.replace("{id}", unknown), {} if verb == "POST" else None)
            code = code_of(client, method, fields.get(method, {}))
            assert (said.status == 403) == (code == Code.PERMISSION_DENIED), (name, route, said, code)


def code_of(client, method, fields):
    try:
        answer = getattr(client, method)(**fields)
        if method in ("StreamMigrate", "WatchRun"):
            list(answer)
    except grpc.RpcError as error:
        return error.code()
    return Code.OK


def test_limited_tokens_see_the_same(start_bfm, two, connect, tokens_file, tree):
    bfm = start_bfm({**two, "BFM_API_TOKENS_FILE": tokens_file([
        entry("eu", ["read", "migrate"], schemas=["eu_*"]), entry("core", ["read", "migrate"], connections=["core"])])},
                    tree=tree)
    run = connect(bfm).MigrateUp(**TENANTS, schemas=["eu_1", "us_1"]).run_id
    europe, only_core = connect(bfm, token=token_of("eu")), connect(bfm, token=token_of("core"))
    shown = europe.GetRun(run_id=run)
    assert [lane.schema for lane in shown.lanes] == ["eu_1"] and [step.schema for step in shown.steps] == ["eu_1"]
    assert shown.run.lanes == shown.run.applied == 0 and not shown.request_json
    assert [row.schema for row in europe.ListExecutions(limit=100).executions] == ["eu_1"]
    assert europe.ListTenants(connection="tenants").schemas == 1
    for client, method, fields in ((europe, "MigrateUp", {**TENANTS, "schemas": ["us_1"]}),
                                   (europe, "StreamMigrate", {**TENANTS, "schema": "us_1"}),
                                   (europe, "Migrate", {**TENANTS, "environment": "staging"}),
                                   (europe, "PlanMigrations", {**TENANTS, "schemas": ["us_1"]}),
                                   (europe, "CheckGate", {"connection": "tenants", "schema": "us_1"}),
                                   (only_core, "MigrateUp", TENANTS), (only_core, "ListTenants", {"connection": "tenants"}),
                                   (only_core, "ListRuns", {"connection": "tenants"})):
        assert client.fails(method, **fields)[0] == Code.PERMISSION_DENIED, method
    for method in ("GetRun", "WatchRun"):
        assert only_core.fails(method, run_id=run)[0] == Code.NOT_FOUND
