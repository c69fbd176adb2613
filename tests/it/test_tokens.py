"""Several tokens at once: what each may do, what it may see, and who it is in the history (README.md, "Tokens")."""
import hashlib
import json
import os
import re

import pytest
from api_helpers import ORDERS, TENANT, USERS, down, expect, migrate, rollback, up, write_core, write_tenants
from harness.client import Client
from harness.server import TOP, run_bfm

SCOPES = ("read", "migrate", "rollback", "admin")

# What each route of the router needs: one of these scopes, or nothing at all. A new route has to be added here.
OPEN = ()
NEEDED = {
    ("POST", "/api/v1/migrate"): ("migrate",),
    ("POST", "/api/v1/migrations/up"): ("migrate",),
    ("POST", "/api/v1/migrations/down"): ("rollback",),
    ("POST", "/api/v1/migrations/order-batch"): ("read",),
    ("POST", "/api/v1/migrations/reindex"): ("admin",),
    ("POST", "/api/v1/reconcile"): ("admin",),
    ("GET", "/api/v1/migrations/executions/recent"): ("read",),
    ("GET", "/api/v1/migrations/skipped/recent"): ("read",),
    ("GET", "/api/v1/migrations"): ("read",),
    ("GET", "/api/v1/migrations/{id}"): ("read",),
    ("GET", "/api/v1/migrations/{id}/status"): ("read",),
    ("GET", "/api/v1/migrations/{id}/applied"): ("read",),
    ("GET", "/api/v1/migrations/{id}/history"): ("read",),
    ("GET", "/api/v1/migrations/{id}/executions"): ("read",),
    ("GET", "/api/v1/migrations/{id}/skipped"): ("read",),
    ("POST", "/api/v1/migrations/{id}/rollback"): ("rollback",),
    ("POST", "/api/v1/migrations/{id}/resolve"): ("migrate",),
    ("GET", "/api/v1/plan"): ("read",),
    ("GET", "/api/v1/runs"): ("read",),
    ("GET", "/api/v1/runs/{id}"): ("read",),
    ("POST", "/api/v1/runs/{id}/cancel"): ("migrate", "rollback", "admin"),
    ("POST", "/api/v1/runs/{id}/retry"): ("migrate", "rollback"),
    ("GET", "/api/v1/events"): ("read",),
    ("GET", "/api/v1/runs/{id}/events"): ("read",),
    ("GET", "/api/v1/tenants"): ("read",),
    ("GET", "/api/v1/gate"): ("read",),
    ("GET", "/metrics"): ("read",),
    ("GET", "/api/v1/health"): OPEN,
    ("GET", "/health"): OPEN,
    ("GET", "/livez"): OPEN,
    ("GET", "/readyz"): OPEN,
    ("GET", "/api/v1/openapi.json"): OPEN,
    ("GET", "/api/v1/openapi.yaml"): OPEN,
    ("GET", "/api/v1/migration.proto"): OPEN,
}


def token_of(name):
    return "canary-token-of-%s-0123456789" % name.replace(" ", "-")


def entry(name, scopes, hashed=False, **rest):
    token = token_of(name)
    secret = {"token_sha256": hashlib.sha256(token.encode()).hexdigest()} if hashed else {"token": token}
    return {"name": name, "scopes": list(scopes), **secret, **rest}


@pytest.fixture
def tokens_file(tmp_path):
    """tokens_file([entries]) writes the file and returns its path, which stays the same."""
    path = tmp_path / "tokens.json"

    def write(entries, mode=0o600):
        path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
        path.chmod(mode)
        return str(path)

    return write


def client_of(bfm, name):
    return Client("127.0.0.1", bfm.port, token_of(name))


def refused(answer, name, what):
    assert answer.status == 403, answer
    assert answer.json == {"error": 'token "%s" %s' % (name, what)}, answer


def read_router():
    """{(method, pattern): scopes} as the table in the source says it."""
    with open(os.path.join(TOP, "src", "api", "api.c"), encoding="utf-8") as file:
        text = file.read()
    table = text[text.index("static const struct route routes[]"):]
    table = table[:table.index("};")]
    rows = re.findall(r'\{"(\w+)",\s*"([^"]+)",\s*([\w |]+),\s*([\w |]+),', table)
    assert len(rows) == table.count('{"'), "a row that this test cannot read"
    return {(method, pattern): tuple(scope for scope in SCOPES if "GRANT_" + scope.upper() in scopes)
            for method, pattern, _flags, scopes in rows}


def status_of(bfm, method, path, token):
    """Status and body of an answer that may be a stream without an end: only as far as its head, unless it is 403."""
    with bfm.client.raw() as raw:
        body = b"{}" if method == "POST" else b""
        authorization = "" if token is None else "Authorization: Bearer %s\r\n" % token
        raw.send(b"%s %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (
            method.encode(), path.encode(), authorization.encode(), len(body), body))
        head = raw.socket.recv(12)
        while len(head) < 12:
            head += raw.socket.recv(12 - len(head))
        status = int(head.split()[1])
        return status, raw.read_to_end().decode() if status in (401, 403) else ""


def test_every_scope_against_every_route(start_bfm, tokens_file, tree):
    router = read_router()
    unknown = set(router) - set(NEEDED)
    assert not unknown, "say what these routes need: %r" % sorted(unknown)
    assert {route: NEEDED[route] for route in router} == router
    write_core(tree)
    names = {scope: "only-" + scope for scope in SCOPES}
    bfm = start_bfm({"BFM_API_TOKENS_FILE": tokens_file(
        [entry(name, [scope], hashed=scope in ("migrate", "admin")) for scope, name in names.items()])}, tree=tree)
    checks = 0
    for method, pattern in router:
        needed = NEEDED[method, pattern]
        path = pattern.replace("{id}", "nobody")
        assert (status_of(bfm, method, path, None)[0] == 401) == (needed != OPEN), (method, path)
        for scope, name in names.items():
            status, body = status_of(bfm, method, path, token_of(name))
            if needed == OPEN or scope in needed:
                assert status not in (401, 403), (method, path, scope, status, body)
            else:
                assert status == 403 and 'token \\"%s\\" lacks scope ' % name in body, (method, path, scope, body)
            checks += 1
    assert checks == 4 * len(router) and checks >= 80
    bfm.stop()


@pytest.fixture
def two(postgres, database, make_database, connection_env, tree):
    """Connections core and tenants."""
    write_core(tree)
    write_tenants(tree)
    return {**connection_env("core", postgres, database), **connection_env("tenants", postgres, make_database())}


def test_a_name_is_who_did_it(start_bfm, two, tokens_file, tree):
    bfm = start_bfm({**two, "BFM_API_TOKENS_FILE": tokens_file([entry("deploy pipeline", SCOPES, hashed=True)])},
                    tree=tree)
    client = client_of(bfm, "deploy pipeline")
    expect(up(client), 200, applied=[USERS, ORDERS])
    rows = client.get("/api/v1/migrations/%s/history" % USERS).json["history"]
    assert {(row["executed_by"], row["execution_method"]) for row in rows} == {("deploy pipeline", "api")}
    headers = {"X-Client-Type": "frontend"}
    assert client.request("POST", "/api/v1/migrations/down", {"migration_id": ORDERS}, headers).status == 200
    row = client.get("/api/v1/migrations/%s/history" % ORDERS).json["history"][0]
    assert (row["executed_by"], row["execution_method"]) == ("deploy pipeline", "manual")
    assert bfm.client.request("POST", "/api/v1/migrations/up", {"connection": "core", "target": {}},
                              headers).status == 200  # the main token keeps the contract's classification
    row = client.get("/api/v1/migrations/%s/history" % ORDERS).json["history"][0]
    assert (row["executed_by"], row["execution_method"]) == ("frontend_user", "manual")


def nothing_ran(bfm, postgres, env):
    for name in ("CORE", "TENANTS"):
        found = postgres.query(env[name + "_DB_NAME"], "SELECT count(*) FROM pg_tables WHERE tablename IN "
                               "('users', 'orders', 'items')")
        assert found == [(0,)], found
    assert bfm.client.get("/api/v1/migrations/executions/recent").json["executions"] == []


def test_what_lies_outside_is_refused_and_nothing_runs(start_bfm, two, tokens_file, tree, postgres):
    bfm = start_bfm({**two, "BFM_API_TOKENS_FILE": tokens_file([
        entry("eu", SCOPES, connections=["tenants"], schemas=["eu_*", "*_shared"]),
        entry("core-only", SCOPES, connections=["c*e"]),
        entry("schemas-only", SCOPES, schemas=["eu_*"]),
        entry("named core", SCOPES, schemas=["core"])])}, tree=tree)
    eu, core = client_of(bfm, "eu"), client_of(bfm, "core-only")
    schemas, named = client_of(bfm, "schemas-only"), client_of(bfm, "named core")
    refused(up(eu), "eu", 'may not use connection "core"')
    refused(up(eu, "nowhere"), "eu", 'may not use connection "nowhere"')  # nobody learns what there is
    refused(up(core, "tenants", schemas=["eu_1"]), "core-only", 'may not use connection "tenants"')
    refused(up(eu, "tenants", schemas=["us_1"]), "eu", 'may not use schema "us_1"')
    refused(up(eu, "tenants", schemas=["eu_1", "us_1"]), "eu", 'may not use schema "us_1"')
    refused(up(eu, "tenants", schemas=["us_1"], target={"version": "1"}), "eu", 'may not use schema "us_1"')
    refused(up(eu, "tenants", schemas=["us_1"], dry_run=True), "eu", 'may not use schema "us_1"')
    refused(migrate(eu, "tenants", schema="us_1"), "eu", 'may not use schema "us_1"')
    refused(migrate(eu, "tenants", environment="us"), "eu", 'may not use schema "cli_us"')
    refused(up(schemas), "schemas-only", 'may not use schema "core"')  # the declared one of fixed migrations
    refused(down(eu, USERS), "eu", 'may not use connection "core"')
    refused(rollback(eu, USERS), "eu", 'may not use connection "core"')
    refused(rollback(schemas, ORDERS, {"schemas": ["eu_1"]}), "schemas-only", 'may not use schema "core"')
    refused(down(eu, TENANT, schemas=["eu_1", "us_1"]), "eu", 'may not use schema "us_1"')
    refused(eu.post("/api/v1/migrations/order-batch", {"connection": "core", "migration_ids": [USERS]}), "eu",
            'may not use connection "core"')
    nothing_ran(bfm, postgres, two)
    expect(up(eu, "tenants", schemas=["eu_1", "a_shared"]), 200, applied=["eu_1_" + TENANT, "a_shared_" + TENANT])
    assert up(named).status == 200
    assert up(core).status == 200


def test_dependencies_elsewhere_need_to_be_seen_too(start_bfm, two, tokens_file, tree, postgres):
    tree.write("postgresql/tenants/20250104000000_after.up.sql",
               "-- bfm-requires: connection=core schema=core target=create_users\nCREATE TABLE after (id int);")
    bfm = start_bfm({**two, "BFM_API_TOKENS_FILE": tokens_file([
        entry("eu", SCOPES, connections=["tenants"]), entry("both", SCOPES, connections=["tenants", "core"])])},
        tree=tree)
    target = {"version": "20250104000000"}
    refused(up(client_of(bfm, "eu"), "tenants", schemas=["eu_1"], target=target), "eu",
            'may not use connection "core"')
    nothing_ran(bfm, postgres, two)
    answer = up(client_of(bfm, "eu"), "tenants", schemas=["eu_1"], target=target, ignore_dependencies=True)
    assert answer.status == 200, answer
    assert up(client_of(bfm, "both"), "tenants", schemas=["eu_2"], target=target).status == 200


def test_a_refused_undo_does_not_name_the_schemas_of_others(start_bfm, two, tokens_file, tree):
    tree.write("postgresql/tenants/tenants_base_20250101000000_base.sql", "CREATE TABLE base (id int);")
    tree.write("postgresql/tenants/tenants_base_20250101000000_base_down.sql", "DROP TABLE base;")
    tree.write("postgresql/tenants/20250106000000_after.up.sql", "-- bfm-depends: base\nCREATE TABLE after (id int);")
    bfm = start_bfm({**two, "BFM_API_TOKENS_FILE": tokens_file([entry("base", SCOPES, schemas=["tenants", "eu_*"])])},
                    tree=tree)
    assert up(bfm.client, "tenants", schemas=["us_secret"], target={"version": "20250106000000"}).status == 200
    base = "20250101000000_base_postgresql_tenants"
    answer = down(bfm.client, base)
    assert answer.status == 409 and "us_secret" in answer.json["error"], answer
    answer = down(client_of(bfm, "base"), base)
    assert answer.status == 409 and base in answer.json["error"] and "us_secret" not in answer.text, answer


def test_what_is_about_everything_needs_a_token_for_everything(start_bfm, two, tokens_file, tree):
    bfm = start_bfm({**two, "BFM_API_TOKENS_FILE": tokens_file([
        entry("eu", SCOPES, schemas=["eu_*"]), entry("core", SCOPES, connections=["core"]),
        entry("all", SCOPES, connections=["*"], schemas=["*"])])}, tree=tree)
    schemas = "is limited to some schemas, and this is about all of them"
    connections = "is limited to some connections, and this is about all of them"
    reindex, reconcile = "/api/v1/migrations/reindex", "/api/v1/reconcile"
    refused(client_of(bfm, "eu").post(reindex), "eu", schemas)
    refused(client_of(bfm, "eu").post(reconcile, {"connection": "core"}), "eu", schemas)
    refused(client_of(bfm, "core").post(reindex), "core", connections)
    refused(client_of(bfm, "core").post(reconcile), "core", connections)
    refused(client_of(bfm, "core").post(reconcile, {"connection": "tenants"}), "core",
            'may not use connection "tenants"')
    answer = client_of(bfm, "core").post(reconcile, {"connection": "core"})
    assert [target["connection"] for target in answer.json["targets"]] == ["core"], answer
    assert client_of(bfm, "all").post(reindex).status == 200
    assert client_of(bfm, "all").post(reconcile).status == 200


def test_lists_show_only_what_is_seen(start_bfm, two, tokens_file, tree):
    tree.write("postgresql/tenants/20250105000000_never.up.sql", "SELECT 1 / 0;")
    bfm = start_bfm({**two, "BFM_API_TOKENS_FILE": tokens_file([
        entry("eu", ["read"], connections=["tenants"], schemas=["eu_*"]), entry("core", ["read"], connections=["core"]),
        entry("us", ["read"], schemas=["us_*"])])}, tree=tree)
    eu, core, us = (client_of(bfm, name) for name in ("eu", "core", "us"))
    item = {"version": "20250103120000"}
    assert up(bfm.client).status == 200
    for _ in range(2):  # the second time they are skipped
        assert up(bfm.client, "tenants", schemas=["eu_1", "eu_2", "us_1"], target=item).status == 200
    never = {"version": "20250105000000"}
    assert up(bfm.client, "tenants", schemas=["eu_1"], target=never).status == 206
    never = "20250105000000_never_postgresql_tenants"

    def listed(client, query=""):
        return {one["migration_id"]: one for one in client.get("/api/v1/migrations" + query).json["items"]}

    assert set(listed(bfm.client)) == {USERS, ORDERS, TENANT, never}
    assert set(listed(core)) == {USERS, ORDERS}
    assert set(listed(eu)) == {TENANT, never} and set(listed(eu, "?connection=core")) == set()
    assert set(listed(us)) == {TENANT, never}  # what declares another schema is not seen
    # figures are about the schemas that are seen
    assert [listed(one)[TENANT]["schemas_applied"] for one in (bfm.client, eu, us)] == [3, 2, 1]
    assert [listed(one)[never]["status"] for one in (bfm.client, eu, us)] == ["failed", "failed", "pending"]
    assert "division by zero" in json.dumps(listed(bfm.client)[never])
    assert "division by zero" not in json.dumps(listed(us)[never])
    path = "/api/v1/migrations/%s/" % never
    assert "division by zero" in eu.get(path + "status").json["error_message"]
    assert us.get(path + "status").json == {"migration_id": never, "status": "pending", "applied": False}
    assert us.get("/api/v1/migrations/%s/status" % TENANT).json["status"] == "applied"

    def schemas(client, path, key):
        return sorted({row["schema"] for row in client.get("/api/v1/migrations" + path).json[key]})

    for path, key in (("/executions/recent?limit=100", "executions"), ("/skipped/recent?limit=100", "skipped"),
                      ("/%s/executions" % TENANT, "executions"), ("/%s/history" % TENANT, "history"),
                      ("/%s/skipped?limit=100" % TENANT, "skipped")):
        assert schemas(eu, path, key) == ["eu_1", "eu_2"], path
        assert schemas(us, path, key) == ["us_1"], path
    assert schemas(core, "/executions/recent?limit=100", "executions") == ["core"]
    # newer rows of others do not use up the limit
    assert schemas(core, "/executions/recent?limit=1", "executions") == ["core"]
    for path in ("", "/status", "/applied", "/history", "/executions", "/skipped"):
        refused(eu.get("/api/v1/migrations/%s%s" % (USERS, path)), "eu", 'may not use connection "core"')
        refused(us.get("/api/v1/migrations/%s%s" % (USERS, path)), "us", 'may not use schema "core"')
        refused(eu.get("/api/v1/migrations/us_1_%s%s" % (TENANT, path)), "eu", 'may not use schema "us_1"')
        assert eu.get("/api/v1/migrations/eu_1_%s%s" % (TENANT, path)).status == 200, path


def test_a_token_expires(start_bfm, two, tokens_file, tree):
    bfm = start_bfm({**two, "BFM_API_TOKENS_FILE": tokens_file([
        entry("old", SCOPES, expires="2020-01-01T00:00:00Z"), entry("new", SCOPES, expires="2999-01-01T00:00:00+01:00")])},
        tree=tree)
    answer = client_of(bfm, "old").get("/api/v1/migrations")
    assert answer.status == 401 and answer.json == {"error": "API token has expired"}
    assert client_of(bfm, "new").get("/api/v1/migrations").status == 200
    assert bfm.wait_log(lambda line: "[0]: expires: the token has expired" in line.get("warning", ""))
    for token in (token_of("new")[:-1], token_of("new") + "0", hashlib.sha256(token_of("new").encode()).hexdigest()):
        answer = Client("127.0.0.1", bfm.port, token).get("/api/v1/migrations")
        assert answer.status == 401 and answer.json == {"error": "invalid API token"}, token


def check(path):
    return run_bfm("serve", "--check", env={"BFM_API_TOKEN": "canary-main-token", "BFM_STATE_BACKEND": "sqlite",
                                            "BFM_STATE_DB_PATH": "/nonexistent/state.db", "BFM_API_TOKENS_FILE": path})


def test_a_wrong_file_is_refused_at_start_by_entry(tokens_file, tmp_path):
    good = entry("good", ["read"])
    result = check(tokens_file([good, entry("bad", ["canary-scope"]), {**good, "expires": "canary-time"},
                                {"name": "odd", "token": "canary secret", "scopes": ["read"], "canary-key": 1}]))
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "BFM_API_TOKENS_FILE: " + line for line in (
            "[1]: scopes: expected an array of at least one of read, migrate, rollback, admin",
            "[2]: name: expected one that no entry before it has",
            "[2]: expected a token that neither BFM_API_TOKEN nor an entry before it is",
            "[2]: expires: expected a time such as 2030-01-31T12:00:00Z",
            "[3]: expected no other keys than name, token, token_sha256, expires, scopes, connections, schemas",
            "[3]: token: expected 1 to 4096 visible ASCII characters")]
    for text in ("", '[{"name": "canary', "[]]", '{"name": "canary"}'):
        result = check(tokens_file(text))
        assert result.returncode == 1 and result.stderr.startswith("BFM_API_TOKENS_FILE: "), result.stderr
        assert "canary" not in result.stdout + result.stderr
    missing = check(str(tmp_path / "missing"))
    assert missing.returncode == 1
    assert missing.stderr.startswith("BFM_API_TOKENS_FILE: expected the path of a readable file"), missing.stderr


def test_a_file_that_everybody_can_read_is_warned_about(tokens_file):
    warning = "BFM_API_TOKENS_FILE: every user of this machine can read the file"
    for mode, warned in ((0o600, False), (0o640, False), (0o644, True)):
        result = check(tokens_file([entry("good", ["read"])], mode))
        assert result.returncode == 0, result.stderr
        assert (warning in result.stdout + result.stderr) == warned, oct(mode)
        assert "canary" not in result.stdout + result.stderr
