"""openapi.json is OpenAPI 3.1 and true: every answer of every route that it lists is asked for and held against it.
tests/unit/api/test_openapi.c compares it with the router."""
import hashlib
import http.client
import json
import signal

import pytest
import yaml
from api_helpers import ORDERS, TENANT, USERS, write_core, write_tenants
from harness.client import Client, Response
from harness.processes import wait_until
from jsonschema import Draft202012Validator
from once_helpers import Background, Holder, wait_for_waiting
from openapi_helpers import DescribedApi, resolve

# What a failing disk or memory that is out gives cannot be asked for; these 500s can.
EVOKED_500 = {"/api/v1/migrate", "/api/v1/migrations/down", "/api/v1/migrations/{id}/rollback"}

# The parts of OpenAPI 3.1 (spec.openapis.org/oas/v3.1.0) that the document uses; nothing else may appear.
TEXT = {"type": "string", "minLength": 1}
SCHEMA = {"type": "object"}  # checked as a JSON schema of its own


def shape(needed, **properties):
    return {"type": "object", "required": list(needed), "additionalProperties": False, "properties": properties}


def map_of(schema):
    return {"type": "object", "additionalProperties": schema}


def or_reference(kind, schema):
    return {"if": {"required": ["$ref"]}, "else": schema, "then": shape(
        ["$ref"], **{"$ref": {"type": "string", "pattern": "^#/components/%s/[A-Za-z0-9]+$" % kind}})}


CONTENT = {"type": "object", "minProperties": 1, "additionalProperties": shape(["schema"], schema=SCHEMA)}
PARAMETER = or_reference("parameters", {
    **shape(["name", "in", "schema"], name=TEXT, **{"in": {"enum": ["path", "query", "header"]}}, schema=SCHEMA,
            description=TEXT, required={"type": "boolean"}, style=TEXT, explode={"type": "boolean"}),
    "if": {"properties": {"in": {"const": "path"}}}, "then": {"required": ["required"],
                                                             "properties": {"required": {"const": True}}}})
RESPONSE = or_reference("responses", shape(
    ["description"], description=TEXT, content=CONTENT, headers=map_of(shape(["schema"], schema=SCHEMA, description=TEXT))))
OPERATION = shape(
    ["operationId", "summary", "responses", "tags"], operationId=TEXT, summary=TEXT, description=TEXT,
    tags={"type": "array", "items": TEXT}, parameters={"type": "array", "items": PARAMETER},
    requestBody=shape(["content", "required"], content=CONTENT, required={"type": "boolean"}, description=TEXT),
    responses={"type": "object", "minProperties": 1, "patternProperties": {"^[2-5][0-9][0-9]$": RESPONSE},
               "additionalProperties": False},
    security={"type": "array", "items": map_of({"type": "array", "items": TEXT})})
DOCUMENT = shape(
    ["openapi", "info", "paths", "components", "security"], openapi={"type": "string", "pattern": r"^3\.1\.[0-9]+$"},
    info=shape(["title", "version"], title=TEXT, version=TEXT, description=TEXT),
    servers={"type": "array", "items": shape(["url"], url=TEXT)},
    tags={"type": "array", "items": shape(["name"], name=TEXT, description=TEXT)},
    security={"type": "array"},
    paths={"type": "object", "minProperties": 20, "additionalProperties": False, "patternProperties": {
        "^/": shape([], get=OPERATION, post=OPERATION, parameters={"type": "array", "items": PARAMETER})}},
    components=shape(["securitySchemes", "parameters", "responses", "schemas"], securitySchemes=map_of(
        shape(["type", "scheme"], type={"const": "http"}, scheme={"const": "bearer"}, description=TEXT)),
        parameters=map_of(PARAMETER), responses=map_of(RESPONSE), schemas=map_of(SCHEMA)))


def every(node, path="#"):
    """(path, node) of everything within."""
    yield path, node
    if isinstance(node, (dict, list)):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from every(value, "%s/%s" % (path, key))


@pytest.fixture
def document(start_bfm):
    bfm = start_bfm({})
    return bfm.client.get("/api/v1/openapi.json").json


def test_the_document_is_openapi_3_1(document):
    errors = ["%s: %s" % (error.json_path, error.message[:200])
              for error in Draft202012Validator(DOCUMENT).iter_errors(document)]
    assert not errors, "\n".join(errors)
    used = set()
    for path, node in every(document):
        if path.endswith("/schema") or path.startswith("#/components/schemas/") and path.count("/") == 3:
            Draft202012Validator.check_schema(node)
        if isinstance(node, dict) and "$ref" in node:
            resolve(document, node)
            used.add(node["$ref"])
    made = {"#/components/%s/%s" % (kind, name) for kind in ("schemas", "responses", "parameters")
            for name in document["components"][kind]}
    assert made == used
    operations = [operation for item in document["paths"].values() for method, operation in item.items()
                  if method != "parameters"]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert {tag for operation in operations for tag in operation["tags"]} == {tag["name"] for tag in document["tags"]}


def test_yaml_and_json_are_the_same(start_bfm):
    client = start_bfm({}).client
    as_yaml, as_json = (client.get("/api/v1/openapi." + kind) for kind in ("yaml", "json"))
    assert as_yaml.headers["Content-Type"].startswith("application/x-yaml")
    assert as_json.headers["Content-Type"] == "application/json; charset=utf-8"
    assert yaml.safe_load(as_yaml.text) == as_json.json
    anonymous = Client(client.host, client.port, token=None)
    assert anonymous.get("/api/v1/openapi.yaml").body == as_yaml.body


# --- true ---

UP, MIGRATE, DOWN = "/api/v1/migrations/up", "/api/v1/migrate", "/api/v1/migrations/down"
ONE = "/api/v1/migrations/%s"
ORDER, REINDEX, RECONCILE = "/api/v1/migrations/order-batch", "/api/v1/migrations/reindex", "/api/v1/reconcile"
TWICE = "20250101120000_create_users"  # means two migrations
READS = ("", "/status", "/applied", "/history", "/executions", "/skipped")
RECENT = ("/api/v1/migrations/executions/recent", "/api/v1/migrations/skipped/recent")


def body(connection="core", **fields):
    return {"connection": connection, "target": fields.pop("target", {}), **fields}


def token_of(scope):
    return "canary-token-of-%s-0123456789" % scope


@pytest.fixture
def env(tree, postgres, database, connection_env, make_database, state_env, tmp_path):
    """core and tenants work, away does not; the state can be shared by servers; tokens with one scope each."""
    write_core(tree)
    write_tenants(tree)
    tree.write("postgresql/tenants/20250101120000_create_users.up.sql", "-- bfm-schema: x\nSELECT 1;")
    tree.write("postgresql/tenants/20250104120000_bad.up.sql", "SELECT nonsense;")
    tree.write("postgresql/away/20250105120000_far.up.sql", "-- bfm-schema: far\nSELECT 1;")
    tree.write("postgresql/away/20250105120000_far.down.sql", "SELECT 1;")
    tree.write("postgresql/tenants/20250106120000_forever.up.sql", "SELECT 1;")
    tokens = [{"name": scope, "token_sha256": hashlib.sha256(token_of(scope).encode()).hexdigest(), "scopes": [scope]}
              for scope in ("read", "admin")]
    (tmp_path / "tokens.json").write_text(json.dumps(tokens))
    (tmp_path / "tokens.json").chmod(0o600)
    return {**connection_env("core", postgres, database), **connection_env("tenants", postgres, database),
            **connection_env("away", postgres, database, DB_PORT="1"), **state_env(postgres, make_database()),
            "BFM_API_TOKENS_FILE": str(tmp_path / "tokens.json")}


def run_far(server, postgres):
    """What is applied where nobody can go any more."""
    away = server.env["AWAY_DB_PORT"]
    server.set_env({"AWAY_DB_PORT": postgres.port})
    server.start()
    assert server.client.post(UP, body("away", schemas=["a"])).status == 200
    server.stop()
    server.set_env({"AWAY_DB_PORT": away})


def ask_for_tokens(api, client):
    """401 and 403 of whatever needs a token."""
    clients = {scope: Client(client.host, client.port, token_of(scope)) for scope in ("read", "admin")}
    anonymous = Client(client.host, client.port, token=None)
    for (method, path), operation in api.operations.items():
        if operation.get("security") == []:
            continue
        path = path.replace("{id}", "nobody")
        api.ask(anonymous, method, path, 401)
        lacking = "admin" if method == "GET" or path == ORDER else "read"
        api.ask(clients[lacking], method, path, 403)


def ask_probes(api, client):
    for path in ("/health", "/api/v1/health", "/livez", "/readyz", "/metrics", "/api/v1/openapi.json",
                 "/api/v1/openapi.yaml", "/api/v1/migration.proto"):
        api.get(client, path)


def ask_runs_of_migrations(api, client):
    api.post(client, UP, 200, body(dry_run=True))
    api.post(client, UP, 200, body(target={"tables": ["users"], "tags": ["env=prod"]}, ignore_dependencies=False))
    api.post(client, UP, 200, body(schemas=["core"]))
    api.post(client, UP, 206, body("nowhere"))
    api.post(client, UP, 206, body("tenants", target={"version": "20250104120000"}, schemas=["a"]))
    api.post(client, UP, 400, {"connection": "core"})
    api.post(client, UP, 400, b"[")
    api.post(client, MIGRATE, 200, body(schema="core", target={"tables": ["orders"]}, environment=""))
    api.post(client, MIGRATE, 206, body("tenants", target={"version": "20250104120000"}, schema_name="a"))
    api.post(client, MIGRATE, 400, body(""))
    api.post(client, MIGRATE, 500, body("away"))
    api.post(client, UP, 200, body("tenants", target={"version": "20250103120000"}, schemas=["a", "b", "c"]))


def ask_about_a_fleet(api, client):
    path = "/api/v1/tenants"
    first = api.get(client, path + "?connection=tenants&limit=1").json
    assert first["failed"]
    api.get(client, path + "?connection=tenants&cursor=" + first["next_cursor"])
    api.get(client, path, 400)
    api.get(client, path + "?connection=nowhere", 404)
    path = "/api/v1/gate"
    api.get(client, path + "?connection=core")
    closed = api.get(client, path + "?connection=tenants", 409).json
    assert closed["laggards"] and closed["missing"]
    api.get(client, path + "?connection=tenants&schema=a&version=20991231000000", 409)
    api.get(client, path + "?connection=tenants&version=1", 400)
    api.get(client, path + "?connection=nowhere", 404)
    api.post(client, UP, 200, body("tenants", target={"version": "20250103120000"}, schemas_from="state",
                                   max_failures=2, on_error="continue"))
    api.post(client, UP, 400, body("tenants", schemas_from="state", schemas=["a"]))


def ask_undos(api, client):
    api.post(client, DOWN, 400, {})
    api.post(client, DOWN, 404, {"migration_id": "nobody"})
    api.post(client, DOWN, 409, {"migration_id": USERS})
    api.post(client, DOWN, 409, {"migration_id": TWICE})
    api.post(client, DOWN, 500, {"migration_id": "20250105120000_far_postgresql_away", "schemas": ["a"]})
    api.post(client, DOWN, 200, {"migration_id": TENANT, "schemas": ["a"], "dry_run": True})
    api.post(client, DOWN, 200, {"migration_id": TENANT, "schemas": ["a", "b"]})
    api.post(client, UP, 200, body("tenants", target={"version": "20250106120000"}, schemas=["a"]))
    api.post(client, DOWN, 206, {"migration_id": "20250106120000_forever_postgresql_tenants", "schemas": ["a"]})
    path = ONE + "/rollback"
    api.post(client, path % TENANT, 200, {"schemas": ["c"], "ignore_dependencies": True})
    api.post(client, path % "20250106120000_forever_postgresql_tenants", 200, {"schemas": ["a"]})
    api.post(client, path % TENANT, 400, {"schemas": ["c"]})  # not applied: the answer has the lists of a run
    api.post(client, path % TENANT)  # without a schema it can be nowhere
    api.post(client, path % TENANT, 400, b"{")
    api.post(client, path % "nobody", 404)
    api.post(client, path % USERS, 409)
    api.post(client, path % TWICE, 409)
    api.post(client, path % "20250105120000_far_postgresql_away", 500, {"schemas": ["a"]})


def ask_for_keys(api, client):
    """422: the key of another request. 202: nobody waits."""
    asked = {UP: body("core"), MIGRATE: body("core"), DOWN: {"migration_id": ORDERS, "schemas": ["nobody"]},
             ONE % ORDERS + "/rollback": {"schemas": ["nobody"]}}
    for path, fields in asked.items():
        api.post(client, path, 400 if path.endswith("/rollback") else 200, fields, {"Idempotency-Key": path[-10:]})
        api.post(client, path, 422, {**fields, "x": 1}, {"Idempotency-Key": path[-10:]})
        run_id = api.post(client, path, 202, {**fields, "async": True}).json["run_id"]
        wait_until(lambda: client.get("/api/v1/runs/" + run_id).json["status"] != "running", what="the run to end")


def ask_reads(api, client):
    for read in READS:
        api.get(client, ONE % USERS + read)
        api.get(client, ONE % ("a_" + TENANT) + read)
        api.get(client, ONE % "20250104120000_bad_postgresql_tenants" + read)
        api.get(client, ONE % "nobody" + read, 404 if read in ("", "/history") else 200)
        api.get(client, ONE % TWICE + read, 409)
    api.get(client, ONE % ORDERS)
    for path in ("/api/v1/migrations", ONE % TENANT + "/history", ONE % TENANT + "/executions",
                 ONE % TENANT + "/skipped", *RECENT):
        api.get(client, path)
        first = api.get(client, path + "?limit=1").json
        if "/skipped" not in path:
            api.get(client, "%s?cursor=%s" % (path, first["next_cursor"]))
        api.get(client, path + "?cursor=x", 400)
    api.get(client, "/api/v1/migrations?status=applied&schema=core")


def ask_admin(api, client, tree):
    api.post(client, ORDER, 200, {"migration_ids": [ORDERS, USERS], "connection": "core"})
    api.post(client, ORDER, 400, {"migration_ids": ["nobody"], "connection": "core"})
    tree.write("postgresql/core/20250107120000_new.up.sql", "-- bfm-schema: core\nSELECT 1;")
    api.post(client, REINDEX)
    api.post(client, RECONCILE, 200, {"connection": "core"})
    api.post(client, RECONCILE)  # one target is away, and the answer says so
    api.post(client, RECONCILE, 400, b"[]")
    api.post(client, RECONCILE, 404, {"connection": "nowhere"})


def ask_plans(api, client):
    api.get(client, "/api/v1/plan?connection=core")
    api.get(client, "/api/v1/plan?connection=tenants&schema=a&schema=b&tags=env%3Dprod")
    api.get(client, "/api/v1/plan?connection=tenants")
    api.get(client, "/api/v1/plan", 400)
    api.get(client, "/api/v1/plan?connection=nowhere", 404)


def ask_about_fleets(api, client):
    path = "/api/v1/tenants?connection="
    api.get(client, path + "core")
    first = api.get(client, path + "tenants&limit=1").json
    api.get(client, path + "tenants&cursor=" + first["next_cursor"])
    api.get(client, "/api/v1/tenants", 400)
    api.get(client, path + "tenants&cursor=%FF", 400)
    api.get(client, path + "nowhere", 404)
    path = "/api/v1/gate?connection="
    api.get(client, path + "core")
    api.get(client, path + "core&version=20250101120000&schema=core")
    api.get(client, path + "tenants", 409)
    api.get(client, path + "tenants&version=20250101000000", 409)
    api.get(client, "/api/v1/gate", 400)
    api.get(client, path + "core&version=1", 400)
    api.get(client, path + "nowhere", 404)


def ask_about_runs(api, client):
    runs = api.get(client, "/api/v1/runs?limit=2").json
    api.get(client, "/api/v1/runs?cursor=" + runs["next_cursor"])
    api.get(client, "/api/v1/runs?cursor=x", 400)
    api.get(client, "/api/v1/runs?status=x", 400)
    failed = api.post(client, UP, 206, body("tenants", target={"version": "20250104120000"},
                                            schemas=["a", "b"])).json["run_id"]
    path = "/api/v1/runs/" + failed
    api.get(client, path + "?limit=1")
    api.get(client, path + "?lanes_cursor=x", 400)
    api.get(client, "/api/v1/runs/nobody", 404)
    api.post(client, "/api/v1/runs/nobody/cancel", 404)
    api.post(client, "/api/v1/runs/nobody/retry", 404)
    api.post(client, path + "/cancel", 200)
    api.post(client, path + "/retry", 206, None, {"Idempotency-Key": "again"})
    api.post(client, path + "/retry", 422, {"async": True}, {"Idempotency-Key": "again"})
    api.post(client, path + "/retry", 400, {"async": 1})
    again = api.post(client, path + "/retry", 202, {"async": True}).json["run_id"]
    wait_until(lambda: api.get(client, "/api/v1/runs/" + again).json["status"] != "running", what="the run to end")
    last = api.get(client, "/api/v1/runs/%s/events" % failed)
    api.get(client, "/api/v1/runs/%s/events" % failed, 204, {"Last-Event-ID": last.text.rpartition("id: ")[2].split()[0]})
    api.get(client, "/api/v1/runs/nobody/events", 404)
    return failed


def ask_while_a_run_is_held(api, pair, tree, postgres, database):
    """Cancelled here, but not by the other server; retried once what it failed of is gone."""
    here, there = (server.client for server in pair)
    tree.write("postgresql/tenants/20250108120000_held.up.sql",
               "LOCK TABLE public.held IN ACCESS EXCLUSIVE MODE; CREATE TABLE held (id int);")
    postgres.query(database, "CREATE TABLE public.held (id int)")
    for server in (here, there):
        api.post(server, REINDEX)
    with Holder(postgres, database, "LOCK TABLE public.held IN ACCESS EXCLUSIVE MODE"):
        run_id = api.post(here, UP, 202, body("tenants", target={"version": "20250108120000"}, schemas=["a"],
                                              **{"async": True})).json["run_id"]
        path = "/api/v1/runs/" + run_id
        wait_until(lambda: api.get(here, path).json["lanes"] and api.get(here, path).json["lanes"][0].get("current"),
                   what="the run to be at its step")
        events = Background(lambda: api.get(here, path + "/events"))
        api.post(there, path + "/cancel", 409)
        api.post(there, path + "/retry", 409)
        api.post(here, path + "/cancel", 202)
        assert events.result().text.count("event: run_ended") == 1
    api.post(here, path + "/retry", 200)
    api.get(here, path)


def ask_to_resolve(api, client, tree, postgres, database):
    """A statement that fails behind a commit of its own may have taken effect in part."""
    postgres.query(database, "CREATE PROCEDURE public.half() LANGUAGE plpgsql AS $$ BEGIN COMMIT;"
                   " RAISE EXCEPTION 'no more'; END $$")
    tree.write("postgresql/tenants/20250107120000_half.up.sql", "-- bfm-transaction: off\nCALL public.half();\n")
    api.post(client, REINDEX)
    half = "20250107120000_half_postgresql_tenants"
    api.post(client, UP, 206, body("tenants", target={"version": "20250107120000"}, schemas=["a"]))
    path = ONE + "/resolve"
    api.post(client, path % half, 409, {"schema": "a", "as": "applied"})  # it was moved a moment ago
    postgres.query(database, "UPDATE bfm.journal SET applied_at = now() - interval '1 hour' WHERE migration_id = %s",
                   (half,))
    api.post(client, path % half, 400, {"schema": "a", "as": "perhaps"})
    api.post(client, path % half, 200, {"schema": "a", "as": "applied"})
    api.post(client, path % half, 200, {"schema": "a", "as": "applied"})  # once more: its answer may have been lost
    api.post(client, path % half, 409, {"schema": "a", "as": "not_applied"})
    api.post(client, path % half, 404, {"schema": "b", "as": "applied"})
    api.post(client, path % "nobody", 404, {"schema": "a", "as": "applied"})


def ask_a_stream(api, server):
    """All runs, until the server stops: a stream has no end of its own."""
    connection = http.client.HTTPConnection(server.client.host, server.client.port, timeout=60)
    connection.request("GET", "/api/v1/events", headers={"Authorization": "Bearer " + server.client.token})
    answer = connection.getresponse()  # its head; the stream is open
    rest = Background(answer.read)
    api.post(server.client, UP, 206, body("tenants", target={"version": "20250104120000"}, schemas=["a"]))
    server.stop()
    response = Response(answer.status, answer.headers, rest.result())
    assert "event: shutdown" in response.text and "event: failed" in response.text
    api.check("GET", "/api/v1/events", response)


def count_signals(server):
    return sum(line["msg"] == "signal received" for line in server.log())


def ask_a_stopping_server(api, server, tree, postgres, database):
    """Requests that were begun before and complete now are refused: 503 of every route."""
    tree.write("postgresql/tenants/20250109120000_held.up.sql", "LOCK TABLE public.held IN ACCESS EXCLUSIVE MODE;")
    api.post(server.client, REINDEX)
    sent = {route: server.client.raw(60) for route, operation in api.operations.items()
            if route + (503,) in api.documented()}
    for (method, path), raw in sent.items():
        fields = b"{}" if method == "POST" else b""
        raw.send(b"%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n" % (
            method.encode(), path.replace("{id}", "nobody").encode(), server.client.token.encode(), len(fields)))
    with Holder(postgres, database, "LOCK TABLE public.held IN ACCESS EXCLUSIVE MODE"):
        run = Background(lambda: server.client.post(UP, body("tenants", target={"version": "20250109120000"},
                                                             schemas=["a"])))
        wait_for_waiting(postgres, database, 1)
        signals = count_signals(server)
        server.signal(signal.SIGTERM)
        wait_until(lambda: count_signals(server) > signals, what="the server to be stopping")
        for (method, path), raw in sent.items():
            raw.send(b"\r\n{}" if method == "POST" else b"\r\n")
            answer = raw.read_response()
            assert answer.status == 503, (method, path, answer)
            api.check(method, path.replace("{id}", "nobody"), answer)
            raw.__exit__()
    run.result()
    assert server.wait_exit(60) == 0


def ask_what_anyone_may_get(api, client):
    """Errors that no operation lists; info.description does."""
    for (method, path) in api.operations:
        path = path.replace("{id}", "nobody")
        answer = client.request("PATCH", path)
        api.check_error(answer, 405)
        allowed = {known for known, other in api.operations if other.replace("{id}", "nobody") == path}
        wanted = allowed | {"OPTIONS"} | ({"HEAD"} if "GET" in allowed else set())
        assert set(answer.headers["Allow"].split(", ")) == wanted, (path, answer.headers["Allow"])
        assert client.request("OPTIONS", path).status == 204
    api.check_error(client.get("/api/v1/nothing"), 404)
    api.check_error(client.get(ONE % "%zz"), 400)
    api.check_error(client.post(UP, b" " * (1 << 20) + b"{}"), 413)
    api.check_error(client.get("/health", {"X-Long": "x" * 20000}), 431)


def test_every_answer_of_every_route_is_as_described(make_bfm, tree, env, postgres, database):
    pair = [make_bfm({**env, "BFM_METRICS": switch}, tree=tree) for switch in ("on", "off")]
    run_far(pair[0], postgres)
    for server in pair:
        server.start(ready=False)
    for server in pair:
        server.wait_healthy()
    client = pair[0].client
    api = DescribedApi(client.get("/api/v1/openapi.json").json)
    ask_for_tokens(api, client)
    ask_probes(api, client)
    ask_what_anyone_may_get(api, client)
    ask_runs_of_migrations(api, client)
    ask_about_a_fleet(api, client)
    ask_plans(api, client)
    ask_reads(api, client)
    ask_about_fleets(api, client)
    ask_about_runs(api, client)
    ask_admin(api, client, tree)
    ask_while_a_run_is_held(api, pair, tree, postgres, database)
    ask_undos(api, client)
    ask_for_keys(api, client)
    ask_to_resolve(api, client, tree, postgres, database)
    api.get(pair[1].client, "/metrics", 404)
    ask_a_stream(api, pair[1])
    ask_a_stopping_server(api, pair[0], tree, postgres, database)
    missing = {route for route in api.documented() - api.seen if route[2] != 500 or route[1] in EVOKED_500}
    assert not missing, "described, but nobody asks for it: %s" % sorted(missing)
