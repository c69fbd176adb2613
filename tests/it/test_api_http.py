"""What holds for every request: bfm-api.md §4.1, and the routes that need no database."""
import json
import re
import time

import pytest
from api_helpers import USERS, core, expect, expect_error, up  # noqa: F401
from harness.client import Client

ROUTES = [
    ("POST", "/api/v1/migrate"), ("POST", "/api/v1/migrations/up"), ("POST", "/api/v1/migrations/down"),
    ("POST", "/api/v1/migrations/order-batch"), ("POST", "/api/v1/migrations/reindex"), ("POST", "/api/v1/reconcile"),
    ("GET", "/api/v1/migrations"), ("GET", "/api/v1/migrations/" + USERS), ("GET", "/api/v1/migrations/x/status"),
    ("GET", "/api/v1/migrations/x/applied"), ("GET", "/api/v1/migrations/x/history"),
    ("GET", "/api/v1/migrations/x/executions"), ("GET", "/api/v1/migrations/x/skipped"),
    ("POST", "/api/v1/migrations/x/rollback"), ("GET", "/api/v1/migrations/executions/recent"),
    ("GET", "/api/v1/migrations/skipped/recent"),
]
OPEN_ROUTES = ["/health", "/api/v1/health", "/api/v1/openapi.json", "/api/v1/openapi.yaml", "/readyz",
               "/api/v1/migration.proto"]


@pytest.fixture
def bare(start_bfm, tree):
    """A server without any connection or migration."""
    return start_bfm({}, tree=tree)


def anonymous(bfm):
    return Client("127.0.0.1", bfm.port, token=None)


# --- auth ---

def test_every_route_marked_a_needs_the_token(bare):
    for method, path in ROUTES:
        expect_error(anonymous(bare).request(method, path), 401, "missing Authorization header")


@pytest.mark.parametrize("header, text", [
    ("", "missing Authorization header"),
    ("Bearer", "invalid Authorization header format"),
    ("token-without-scheme", "invalid Authorization header format"),
    ("Basic abc", "authorization header must use Bearer scheme"),
    ("Token {token}", "authorization header must use Bearer scheme"),
    ("Bearer wrong", "invalid API token"),
    ("Bearer {token}x", "invalid API token"),
    ("Bearer  {token}", "invalid API token"),
    ("Bearer {upper}", "invalid API token"),
])
def test_bad_authorization_is_named(bare, header, text):
    token = bare.env["BFM_API_TOKEN"]
    value = header.format(token=token, upper=token.upper())
    expect_error(anonymous(bare).get("/api/v1/migrations", {"Authorization": value}), 401, text)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_in_any_case(bare, scheme):
    headers = {"Authorization": "%s %s" % (scheme, bare.env["BFM_API_TOKEN"])}
    assert anonymous(bare).get("/api/v1/migrations", headers).status == 200


def test_two_authorization_headers_are_refused(bare):
    token = bare.env["BFM_API_TOKEN"]
    with bare.client.raw() as connection:
        connection.send("GET /api/v1/migrations HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
                        "Authorization: Bearer other\r\n\r\n" % token)
        assert connection.read_response().status == 401


def test_open_routes_need_no_token(bare):
    for path in OPEN_ROUTES:
        assert anonymous(bare).get(path).status == 200, path


# --- routing ---

@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v1", "/api/v2/migrations", "/api/v1/migration",
                                  "/api/v1/migrations/x/unknown", "/api/v1/migrations/x/status/y",
                                  "/api/v1//migrations", "/api/v1/migrations//status"])
def test_unknown_api_paths_are_404(bare, path):
    expect_error(bare.client.get(path), 404, "Not found")


@pytest.mark.parametrize("method, path, allow", [
    ("GET", "/api/v1/migrate", "POST, OPTIONS"), ("GET", "/api/v1/migrations/up", "POST, OPTIONS"),
    ("POST", "/api/v1/migrations", "GET, HEAD, OPTIONS"), ("DELETE", "/api/v1/migrations/x", "GET, HEAD, OPTIONS"),
    ("POST", "/health", "GET, HEAD, OPTIONS"), ("PUT", "/api/v1/migrations/x/rollback", "POST, OPTIONS"),
    ("POST", "/api/v1/migrations/executions/recent", "GET, HEAD, OPTIONS"),
])
def test_wrong_methods_are_405(bare, method, path, allow):
    answer = bare.client.request(method, path)
    expect_error(answer, 405, "method not allowed")
    assert answer.headers["Allow"] == allow


def test_head_is_get_without_the_body(core):
    for path in ("/health", "/api/v1/migrations", "/api/v1/migrations/" + USERS, "/api/v1/openapi.json"):
        got, head = core.client.get(path), core.client.request("HEAD", path)
        assert head.status == got.status == 200
        assert head.body == b""
        assert head.headers["Content-Type"] == got.headers["Content-Type"]
        assert head.headers["Content-Length"] == got.headers["Content-Length"] == str(len(got.body))


def test_a_trailing_slash_changes_nothing(core):
    for path in ("/health", "/api/v1/migrations", "/api/v1/migrations/" + USERS, "/api/v1/migrations/x/status",
                 "/api/v1/migrations/executions/recent"):
        assert core.client.get(path + "/").json == core.client.get(path).json
    assert up(core.client).status == 200
    answer = core.client.post("/api/v1/migrations/up/", {"connection": "core", "target": {}})
    assert answer.status == 200 and len(answer.json["skipped"]) == 2


def test_json_answers_say_so(core):
    for path in ("/health", "/api/v1/migrations", "/api/v1/migrations/x/status"):
        assert core.client.get(path).headers["Content-Type"] == "application/json; charset=utf-8"


# --- CORS ---

ALLOW_HEADERS = ("Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, accept, origin, "
                 "Cache-Control, X-Requested-With, X-Client-Type, Idempotency-Key, Last-Event-ID")


def cors_headers(answer):
    return {key.lower(): value for key, value in answer.headers.items()
            if key.lower().startswith("access-control-") or key.lower() == "vary"}


def test_every_origin_is_allowed_by_default(bare):
    for answer in (bare.client.get("/health", {"Origin": "https://a.example"}),
                   anonymous(bare).get("/api/v1/migrations", {"Origin": "https://a.example"}),
                   bare.client.get("/api/nowhere", {"Origin": "https://a.example"})):
        assert cors_headers(answer) == {
            "access-control-allow-origin": "*",
            "access-control-allow-methods": "POST, OPTIONS, GET, PUT, DELETE, PATCH",
            "access-control-max-age": "86400",
            "access-control-allow-headers": ALLOW_HEADERS,
        }


def test_without_an_origin_there_are_no_cors_headers(bare):
    assert cors_headers(bare.client.get("/health")) == {}


def test_a_list_of_origins(start_bfm, tree):
    bfm = start_bfm({"BFM_CORS_ALLOWED_ORIGINS": "https://a.example, https://b.example:8443"}, tree=tree)
    for origin in ("https://a.example", "https://b.example:8443"):
        headers = cors_headers(bfm.client.get("/health", {"Origin": origin}))
        assert headers["access-control-allow-origin"] == origin
        assert headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in headers
    for origin in ("https://c.example", "https://a.example.evil", "http://a.example", "null"):
        assert cors_headers(bfm.client.get("/health", {"Origin": origin})) == {}


def test_no_origin_at_all(start_bfm, tree):
    bfm = start_bfm({"BFM_CORS_ALLOWED_ORIGINS": "none"}, tree=tree)
    assert cors_headers(bfm.client.get("/health", {"Origin": "https://a.example"})) == {}


@pytest.mark.parametrize("path", ["/api/v1/migrate", "/api/v1/migrations/x/rollback", "/health", "/nowhere",
                                  "/api/nowhere", "/"])
def test_options_is_204_on_any_path(bare, path):
    answer = anonymous(bare).request("OPTIONS", path, headers={
        "Origin": "https://a.example", "Access-Control-Request-Method": "POST"})
    assert answer.status == 204
    assert answer.body == b""
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert anonymous(bare).request("OPTIONS", path).status == 204


# --- bodies ---

UP = "/api/v1/migrations/up"
NESTED = b'{"connection":"core","target":{},"x":' + b"[" * 10000 + b"]" * 10000 + b"}"

BAD_BODIES = {
    "empty": b"",
    "blank": b"  \n",
    "no json": b"connection=core",
    "half": b'{"connection":"core"',
    "two values": b'{"connection":"core","target":{}}{}',
    "array": b"[]",
    "string": b'"x"',
    "null": b"null",
    "duplicate key": b'{"connection":"core","connection":"other","target":{}}',
    "duplicate inner key": b'{"connection":"core","target":{"schema":"a","schema":"b"}}',
    "NUL escape": b'{"connection":"co\\u0000re","target":{}}',
    "NUL byte": b'{"connection":"co\0re","target":{}}',
    "control character": b'{"connection":"co\nre","target":{}}',
    "invalid UTF-8": b'{"connection":"core","target":{"schema":"\xff"}}',
    "overlong UTF-8": b'{"connection":"core","target":{"schema":"\xc0\xaf"}}',
    "lone surrogate": b'{"connection":"core","target":{"schema":"\\ud800"}}',
    "10,000 levels": NESTED,
    "10,000 objects": b'{"a":' * 10000 + b"1" + b"}" * 10000,
    "single quotes": b"{'connection':'core'}",
    "trailing comma": b'{"connection":"core","target":{},}',
    "comment": b'{"connection":"core",/* x */"target":{}}',
}


@pytest.fixture
def hostile(core):
    """The server, which must be alive and unchanged afterwards."""
    yield core
    assert core.client.get("/health").status == 200
    assert core.client.get("/api/v1/migrations/executions/recent").json == {"executions": []}


def test_bodies_that_are_no_json_objects_are_400(hostile):
    for name, body in BAD_BODIES.items():
        for path in (UP, "/api/v1/migrate", "/api/v1/migrations/down", "/api/v1/migrations/order-batch"):
            answer = hostile.client.post(path, body)
            assert answer.status == 400, (name, path, answer)
            expect_error(answer, 400)


@pytest.mark.parametrize("fields, text", [
    ({"connection": None}, 'field "connection" is required'),
    ({"connection": ""}, 'field "connection" is required'),
    ({"connection": 7}, 'field "connection" must be a string'),
    ({"connection": ["core"]}, 'field "connection" must be a string'),
    ({"target": None}, 'field "target" is required'),
    ({"target": "core"}, 'field "target" must be an object'),
    ({"target": []}, 'field "target" must be an object'),
    ({"target": {"schema": 1}}, 'field "target.schema" must be a string'),
    ({"target": {"tables": "users"}}, 'field "target.tables" must be an array of strings'),
    ({"target": {"tables": [None]}}, 'field "target.tables" must be an array of strings'),
    ({"target": {"tags": {"a": "b"}}}, 'field "target.tags" must be an array of strings'),
    ({"schemas": "tenant1"}, 'field "schemas" must be an array of strings'),
    ({"schemas": [1]}, 'field "schemas" must be an array of strings'),
    ({"schemas": ["s%d" % i for i in range(10001)]}, 'field "schemas" has more than 10000 entries'),
    ({"target": {"tags": ["a=b"] * 101}}, 'field "target.tags" has more than 100 entries'),
    ({"dry_run": "true"}, 'field "dry_run" must be true or false'),
    ({"dry_run": 1}, 'field "dry_run" must be true or false'),
    ({"ignore_dependencies": "no"}, 'field "ignore_dependencies" must be true or false'),
    ({"target": {"version": "x" * 65537}}, 'field "target.version" holds a string of more than 65536 bytes'),
])
def test_wrong_fields_are_named(hostile, fields, text):
    body = {"connection": "core", "target": {}, **fields}
    expect_error(hostile.client.post(UP, {k: v for k, v in body.items() if v is not None}), 400, text)
    expect_error(hostile.client.post(UP, body), 400, text)  # null is as good as absent


@pytest.mark.parametrize("schema", ["x" * 64, "ä" * 32, "", "pg_catalog", "pg_toast"])
def test_unusable_schema_names_are_400(hostile, schema):
    expect_error(hostile.client.post(UP, {"connection": "core", "target": {}, "schemas": ["good", schema]}), 400,
                 re.compile("schema 2 of the request"))


def test_unknown_fields_are_ignored(core):
    body = {"connection": "core", "target": {"also": [{}]}, "dry_run": True, "force": "yes", "x": {"y": [None]}}
    assert core.client.post(UP, body).status == 200


def test_the_content_type_of_a_request_does_not_matter(core):
    body = json.dumps({"connection": "core", "target": {}, "dry_run": True})
    for value in ("text/plain", "application/x-www-form-urlencoded", "nonsense"):
        assert core.client.post(UP, body, {"Content-Type": value}).status == 200


def test_a_body_of_two_megabytes_is_413(hostile):
    body = b'{"connection":"core","target":{},"x":"' + b"a" * (2 << 20) + b'"}'
    with hostile.client.raw() as connection:
        connection.send("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n"
                        % (UP, hostile.env["BFM_API_TOKEN"], len(body)))
        expect_error(connection.read_response("POST"), 413)


def test_a_long_body_is_read_off_the_loop(core):
    """Just below the limit of 1 MiB, and many values."""
    body = b'{"connection":"core","target":{},"dry_run":true,"x":[' + b"1," * 500000 + b"1]}"
    assert len(body) < 1 << 20
    assert core.client.post(UP, body).status == 200
    expect_error(core.client.post(UP, body[:-1]), 400)
    expect_error(core.client.post(UP, body[:-1] + b',"x":1}'), 400, re.compile('"x" is given twice'))


def test_malformed_percent_encoding_is_400(core):
    for path in ("/api/v1/migrations/%zz", "/api/v1/migrations/%", "/api/v1/migrations/a%00b",
                 "/api/v1/migrations?schema=%g0"):
        expect_error(core.client.get(path), 400, re.compile("percent-encoding"))


# --- who asks ---

@pytest.mark.parametrize("headers, by, method", [
    ({}, "api_user", "api"),
    ({"User-Agent": "curl/7.88"}, "api_user", "api"),
    ({"X-Client-Type": "frontend"}, "frontend_user", "manual"),
    ({"X-Client-Type": "FfM"}, "frontend_user", "manual"),
    ({"X-Requested-With": "XMLHttpRequest"}, "frontend_user", "manual"),
    ({"X-Requested-With": "FfM"}, "frontend_user", "manual"),
    ({"Origin": "https://a.example"}, "frontend_user", "manual"),
    ({"User-Agent": "Mozilla/5.0 (X11; Linux)"}, "frontend_user", "manual"),
    ({"User-Agent": "Opera/9.80"}, "frontend_user", "manual"),
])
def test_callers_are_classified(core, headers, by, method):
    answer = core.client.post(UP, {"connection": "core", "target": {"version": "20250101120000"}}, headers)
    assert answer.status == 200
    for item in core.client.get("/api/v1/migrations/%s/history" % USERS).json["history"]:
        assert item["executed_by"] == by
        assert item["execution_method"] == method
        assert json.loads(item["execution_context"]) == {
            "connection_type": "http", "endpoint": UP, "method": "POST",
            "request_id": answer.headers["X-Request-ID"]}


def test_the_request_id_is_kept(core):
    headers = {"X-Request-Id": 'trace "7"\\'}
    core.client.post(UP, {"connection": "core", "target": {}}, headers)
    history = core.client.get("/api/v1/migrations/%s/history" % USERS).json["history"]
    assert json.loads(history[0]["execution_context"])["request_id"] == 'trace "7"\\'


# --- log ---

def test_one_line_per_request_except_health(core):
    core.client.get("/api/v1/health")
    core.client.get("/health")
    answer = core.client.get("/api/v1/migrations?schema=core", {"X-Request-Id": "abc"})
    anonymous(core).get("/api/v1/migrations/x")
    core.client.post("/api/nowhere", {})
    core.wait_log(lambda line: line.get("path") == "/api/nowhere")
    lines = [line for line in core.log() if line["msg"] == "request"]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("GET", "/api/v1/migrations", 200), ("GET", "/api/v1/migrations/x", 401), ("POST", "/api/nowhere", 404)]
    assert lines[0]["bytes"] == len(answer.body)
    assert lines[0]["request_id"] == "abc"
    assert lines[0]["duration_us"] > 0
    assert [line["route"] for line in lines] == ["/api/v1/migrations", "/api/v1/migrations/{id}", "other"]
    assert [line.get("token") for line in lines] == ["api_user", None, None]
    assert not [key for key in lines[0] if key in ("trace_id", "span_id")], "the client was in no trace"


# --- health, description, files ---

def test_health(bare):
    for path in ("/health", "/api/v1/health"):
        answer = anonymous(bare).get(path)
        assert answer.status == 200
        assert answer.json == {"status": "healthy", "checks": {"executor": "ok"}}


def test_health_is_quick(bare):
    client = Client("127.0.0.1", bare.port, token=None, keep_alive=True)
    client.get("/health")
    taken = []
    while len(taken) < 10 and min(taken, default=5) >= 5:  # the machine may be busy with something else for a moment
        start = time.monotonic()
        for _ in range(200):
            assert client.get("/health").status == 200
        taken.append(time.monotonic() - start)
    assert min(taken) < 5, taken
    client.close()


def test_the_api_describes_itself(bare):
    as_json, as_yaml = bare.client.get("/api/v1/openapi.json"), bare.client.get("/api/v1/openapi.yaml")
    assert as_json.headers["Content-Type"].startswith("application/json")
    assert as_yaml.headers["Content-Type"] == "application/x-yaml"
    assert as_json.body == as_yaml.body
    paths = as_json.json["paths"]
    for method, path in ROUTES:
        path = path.replace(USERS, "{id}").replace("/x", "/{id}")
        assert method.lower() in paths[path], path
    for path in OPEN_ROUTES:
        assert paths[path]["get"]["security"] == []


def test_without_a_dashboard_other_paths_are_404(bare):
    for path in ("/", "/dashboard", "/index.html", "/runtime-config.js"):
        expect_error(anonymous(bare).get(path), 404, "Not found")


@pytest.fixture
def dashboard(tmp_path):
    folder = tmp_path / "front"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<h1>index</h1>")
    (folder / "assets" / "app.js").write_text("let a;")
    (folder / "assets" / "ä b.css").write_text("a{}")
    (folder / "assets" / "big.png").write_bytes(bytes(range(256)) * 8192)
    (folder / ".secret").write_text("hidden")
    (tmp_path / "outside.txt").write_text("outside")
    (folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    return folder


def test_dashboard_files_are_served(start_bfm, tree, dashboard):
    bfm = start_bfm({"BFM_FRONTEND_PATH": dashboard}, tree=tree)
    client = anonymous(bfm)
    script = client.get("/assets/app.js")
    assert (script.status, script.text) == (200, "let a;")
    assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert client.get("/assets/%C3%A4%20b.css").headers["Content-Type"] == "text/css; charset=utf-8"
    assert client.get("/assets/big.png").body == (dashboard / "assets" / "big.png").read_bytes()
    head = client.request("HEAD", "/assets/big.png")
    assert head.headers["Content-Length"] == str(2 << 20) and head.body == b""
    for path in ("/", "/dashboard", "/migrations/" + USERS, "/nowhere.js", "/assets", "/assets/"):
        answer = client.get(path)
        assert (answer.status, answer.text) == (200, "<h1>index</h1>"), path
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    expect_error(client.get("/api/nowhere"), 404, "Not found")
    expect_error(client.post("/dashboard"), 405)


def test_dashboard_files_are_asked_for_again_but_sent_once(start_bfm, tree, dashboard):
    bfm = start_bfm({"BFM_FRONTEND_PATH": dashboard}, tree=tree)
    client = anonymous(bfm)
    for path in ("/", "/assets/app.js"):
        first = client.get(path)
        tag = first.headers["ETag"]
        assert (first.status, first.headers["Cache-Control"]) == (200, "no-cache")
        assert re.fullmatch(r'"[0-9a-f]{32}"', tag)
        for known in (tag, "W/" + tag, '"other", ' + tag, "*"):
            again = client.get(path, {"If-None-Match": known})
            assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag), known
            assert again.headers["Cache-Control"] == "no-cache"
        assert client.request("HEAD", path, headers={"If-None-Match": tag}).status == 304
        assert client.get(path, {"If-None-Match": '"other"'}).body == first.body
    script = client.get("/assets/app.js").headers["ETag"]
    (dashboard / "assets" / "app.js").write_text("let b;")
    changed = client.get("/assets/app.js", {"If-None-Match": script})
    assert (changed.status, changed.text) == (200, "let b;") and changed.headers["ETag"] != script


@pytest.mark.parametrize("path", ["/../outside.txt", "/assets/../../outside.txt", "/%2e%2e/outside.txt",
                                  "/assets/%2e%2e%2f%2e%2e%2foutside.txt", "/link.txt", "/.secret", "//etc/passwd"])
def test_dashboard_files_end_at_their_folder(start_bfm, tree, dashboard, path):
    bfm = start_bfm({"BFM_FRONTEND_PATH": dashboard}, tree=tree)
    answer = anonymous(bfm).get(path)
    assert (answer.status, answer.text) == (200, "<h1>index</h1>")


def test_a_dashboard_without_an_index(start_bfm, tree, dashboard):
    (dashboard / "index.html").unlink()
    bfm = start_bfm({"BFM_FRONTEND_PATH": dashboard}, tree=tree)
    expect_error(anonymous(bfm).get("/"), 404, "Not found")
    assert anonymous(bfm).get("/assets/app.js").status == 200


def runtime_config(bfm):
    answer = anonymous(bfm).get("/runtime-config.js")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store" and "ETag" not in answer.headers
    return json.loads(re.fullmatch(r"window\.__RUNTIME_CONFIG__ = (\{.*\});\n", answer.text).group(1))


def test_the_dashboard_is_told_no_secret(start_bfm, tree, dashboard):
    bfm = start_bfm({"BFM_FRONTEND_PATH": dashboard, "BFM_FRONTEND_AUTH_ENABLED": "true",
                     "BFM_FRONTEND_AUTH_USERNAME": "ops", "BFM_FRONTEND_AUTH_PASSWORD": "hunter2-secret"}, tree=tree)
    assert runtime_config(bfm) == {"BFM_API_URL": "/api", "BFM_API_TOKEN": "", "BFM_AUTH_ENABLED": "false",
                                   "BFM_AUTH_USERNAME": "", "BFM_AUTH_PASSWORD": ""}


def test_the_dashboard_is_told_the_token_on_demand(start_bfm, tree, dashboard):
    bfm = start_bfm({"BFM_FRONTEND_PATH": dashboard, "BFM_FRONTEND_EXPOSE_TOKEN": "true",
                     "BFM_FRONTEND_API_URL": "https://bfm.example/api", "BFM_FRONTEND_AUTH_ENABLED": "true",
                     "BFM_FRONTEND_AUTH_USERNAME": "ops", "BFM_FRONTEND_AUTH_PASSWORD": "hunter2-secret"}, tree=tree)
    assert runtime_config(bfm) == {
        "BFM_API_URL": "https://bfm.example/api", "BFM_API_TOKEN": bfm.env["BFM_API_TOKEN"],
        "BFM_AUTH_ENABLED": "true", "BFM_AUTH_USERNAME": "ops", "BFM_AUTH_PASSWORD": "hunter2-secret"}


def test_the_dashboard_headers_of_ffm(core):
    """FfM sends these with every request, also without a body."""
    headers = {"Content-Type": "application/json", "X-Client-Type": "frontend", "X-Requested-With": "FfM"}
    assert core.client.get("/api/v1/migrations", headers).json["total"] == 3
    answer = core.client.post("/api/v1/migrations/reindex", headers=headers)
    assert answer.json == {"added": [], "removed": [], "updated": [], "total": 3}
