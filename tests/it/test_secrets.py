"""A password and a token that nobody may ever see, over every way in which something can fail (DESIGN.md §5)."""
import json
import signal
import socket

import pytest
from api_helpers import up
from harness.client import Client
from harness.processes import wait_until
from harness.server import run_bfm
from once_helpers import in_threads

HOST_CANARY = "canary-host.invalid"
TOKEN = "canary-t0ken \\\"%22'; select"
PASSWORD = "canary-p4ss '\" \\ %70 $x"
USER = "canary_user"


class Seen:
    """Everything that clients got, by which way it failed, and what may not be in it."""

    def __init__(self, *secrets):
        self.texts = []
        self.paths = set()
        self.secrets = [form for secret in secrets for form in (secret, json.dumps(secret)[1:-1])]

    def add(self, answer):
        self.texts.append("%s\n%s" % (answer.text, answer.headers))
        return answer

    def fail(self, path, answer, status, reason=""):
        """A way to fail that was not seen before: it must look like this."""
        assert path not in self.paths, path
        assert answer.status == status and reason in answer.text, (path, answer)
        self.paths.add(path)
        return self.add(answer)

    def note(self, path, text, reason):
        """The same, of what a program said."""
        assert path not in self.paths, path
        assert reason in text, (path, text[-3000:])
        self.paths.add(path)
        self.texts.append(text)

    def check(self, bfm):
        said = self.texts + [bfm.stdout, bfm.stderr]
        for secret in self.secrets:
            for text in said:
                assert secret not in text, (secret, text[-3000:])


@pytest.fixture
def closed_port():
    with socket.socket() as bound:  # bound and not listening: refused
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def env(postgres, database, connection_env, closed_port):
    """Seven ways in which a target cannot be used, one that works, and an API token with everything in it."""
    class Other:
        host, port = HOST_CANARY, 5432

    full = {"BFM_API_TOKEN": TOKEN}
    for name, extra in [("works", {}), ("password", {"DB_PASSWORD": PASSWORD}),
                        ("user", {"DB_USERNAME": USER, "DB_PASSWORD": PASSWORD}),
                        ("database", {"DB_NAME": "canary_database", "DB_PASSWORD": postgres.password}),
                        ("port", {"DB_PORT": closed_port, "DB_PASSWORD": PASSWORD}),
                        ("tls", {"SSLMODE": "require", "DB_PASSWORD": PASSWORD}),
                        ("verify", {"SSLMODE": "verify-full", "DB_PASSWORD": PASSWORD})]:
        full.update(connection_env(name, postgres, database, **extra))
    full.update(connection_env("host", Other, database, DB_PASSWORD=PASSWORD))
    return full


SCRIPTS = {
    "syntax": "SELEKT 1;", "missing": "SELECT * FROM nowhere;", "constraint": "CREATE TABLE t (i int CHECK (i > 1));\n"
    "INSERT INTO t VALUES (0);", "divide": "SELECT 1 / 0;", "raise": "DO $$ BEGIN RAISE 'told' USING DETAIL = 'more', "
    "HINT = 'still more'; END $$;", "context": "DO $$ BEGIN EXECUTE 'SELECT 1/0'; END $$;",
    "connection": "SELECT pg_terminate_backend(pg_backend_pid());", "privilege": "SET LOCAL ROLE pg_monitor;\n"
    "CREATE TABLE nope (id int);", "cancel": "-- bfm-statement-timeout: 50ms\nSELECT pg_sleep(9);",
    "index": "-- bfm-transaction: off\nCREATE INDEX CONCURRENTLY i ON nowhere (id);",
}


FILE_TOKEN = "canary-file-token-0123456789"
CONNECTIONS = {  # and what the reason says
    "password": "authentication", "user": "authentication", "database": "does not exist", "port": "refused", "tls": "TLS",
    "verify": "TLS", "host": "lookup failed"}


@pytest.fixture
def tokens_path(tmp_path):
    return tmp_path / "tokens.json"


def write_tokens(path, **entries):
    path.write_text(json.dumps([{"name": name, "token": FILE_TOKEN + name, **entry} for name, entry in entries.items()]))
    path.chmod(0o600)
    return str(path)


def fail_connections(seen, bfm):
    names = sorted(CONNECTIONS)
    for name, answer in zip(names, in_threads(len(names), lambda index: up(bfm.client, names[index], schemas=["s"]))):
        seen.fail("connect: " + name, answer, 206, CONNECTIONS[name])
        assert len(answer.json["errors"]) == 1, answer
        seen.add(up(bfm.client, name, schemas=["s"]))
    for name in names:
        body = {"connection": name, "target": {}, "schema": "s"}
        assert seen.add(bfm.client.post("/api/v1/migrate", body)).status == 500
    answer = seen.fail("reconcile with what is away", bfm.client.post("/api/v1/reconcile"), 200, "error")
    assert len([target for target in answer.json["targets"] if "error" in target]) == len(names), answer


def fail_scripts(seen, bfm):
    for number, name in enumerate(sorted(SCRIPTS)):
        answer = up(bfm.client, "works", target={"version": "202502%02d000000" % (number + 1)}, schemas=["s"])
        seen.fail("script: " + name, answer, 206)
        assert len(answer.json["errors"]) == 1, answer


def fail_authorization(seen, bfm):
    def get(header, path="/api/v1/migrations"):
        return Client("127.0.0.1", bfm.port).get(path, {} if header is None else {"Authorization": header})

    for path, header, reason in (
            ("no token", None, "missing"), ("no scheme", TOKEN.replace(" ", ""), "format"), ("nothing", "Bearer", "format"),
            ("other scheme", "Basic " + TOKEN, "Bearer scheme"), ("longer token", "Bearer %sx" % TOKEN, "invalid API token"),
            ("shorter token", "Bearer " + TOKEN[:-1], "invalid API token"),
            ("expired token", "Bearer " + FILE_TOKEN + "old", "expired"),
            ("unknown file token", "Bearer " + FILE_TOKEN + "ol", "invalid API token")):
        seen.fail(path, get(header), 401, reason)
    limited = Client("127.0.0.1", bfm.port, FILE_TOKEN + "limited")
    seen.fail("scope", limited.post("/api/v1/migrations/reindex"), 403, "lacks scope admin")
    seen.fail("connection not seen", up(limited, "password"), 403, "may not use connection")
    seen.fail("schema not seen", up(limited, "works", schemas=["us"]), 403, "may not use schema")


def fail_requests(seen, bfm):
    post, get = bfm.client.post, bfm.client.get
    ups, downs = "/api/v1/migrations/up", "/api/v1/migrations/down"
    first = "20250101000000_first_postgresql_works"
    for path, body, reason in (
            ("broken JSON", '{"connection":', "invalid JSON"), ("not an object", "[]", "object"), ("no body", "", "object"),
            ("wrong type", '{"connection": 1}', "connection"), ("NUL", '{"connection": "\\u0000"}', "NUL"),
            ("no connection", '{"target": {}}', "required"), ("no target", '{"connection": "works"}', "required"),
            ("bad schema", {"connection": "works", "target": {}, "schemas": ["x" * 64]}, "schema"),
            ("other target", {"connection": "works", "target": {"connection": "host"}}, "differs")):
        seen.fail(path, post(ups, body), 400, reason)
    seen.fail("unknown connection", up(bfm.client, "nowhere"), 206, "not found")
    seen.fail("unknown migration", post(downs, {"migration_id": "nobody"}), 404, "not found")
    seen.fail("unknown route", get("/api/nothing"), 404, "")
    seen.fail("unknown file", get("/runtime-config.js"), 404, "")
    seen.fail("wrong method", bfm.client.request("DELETE", "/api/v1/migrations"), 405, "")
    seen.fail("bad percent", get("/api/v1/migrations/%zz"), 400, "percent")
    seen.fail("too long", post(ups, "x" * (2 << 20)), 413, "")
    assert up(bfm.client, "works", target={"version": "20250101000000"}, schemas=["s"]).status == 200
    seen.fail("no down script", post("/api/v1/migrations/%s/rollback" % first, {"schemas": ["s"]}), 200, "rollback SQL")
    seen.fail("order across connections", post("/api/v1/migrations/order-batch", {
        "connection": "host", "migration_ids": [first]}), 400, "belong")
    with bfm.client.raw() as raw:
        raw.send(b"NONSENSE\r\n\r\n")
        seen.note("not HTTP", raw.read_to_end().decode("latin-1"), "400")
    for path in ("/health", "/readyz", "/api/v1/openapi.json", "/api/v1/migrations", "/api/v1/migrations?token=x",
                 "/api/v1/migrations/executions/recent",
                 "/api/v1/migrations/20250201000000_connection_postgresql_works/history"):
        seen.add(get(path))


def fail_start(seen, env, tree, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    base = {**env, "BFM_STATE_BACKEND": "sqlite", "BFM_SFM_PATH": tree.root}
    broken = tmp_path / "broken.json"
    for path, extra, reason in (
            ("start: password twice", {"WORKS_DB_PASSWORD_FILE": str(secret)}, "only one of"),
            ("start: no password file", {"WORKS_DB_PASSWORD": "", "WORKS_DB_PASSWORD_FILE": str(tmp_path / "none")},
             "readable file"),
            ("start: port is a password", {"BFM_HTTP_PORT": PASSWORD}, "BFM_HTTP_PORT: expected"),
            ("start: tokens are not JSON", {"BFM_API_TOKENS_FILE": str(secret)}, "invalid JSON"),
            ("start: tokens are wrong", {"BFM_API_TOKENS_FILE": str(broken)}, "[0]: scopes: expected")):
        write_tokens(broken, wrong={"scopes": [PASSWORD]})
        result = run_bfm("serve", env={**base, **extra})
        assert result.returncode == 1
        seen.note(path, result.stdout + result.stderr, reason)


def fail_reload(seen, bfm, tokens_path):
    for path, text, reason in (("reload: not JSON", PASSWORD, "invalid JSON"),
                               ("reload: wrong entry", json.dumps([{"name": PASSWORD, "token": PASSWORD}]), "[0]: ")):
        tokens_path.write_text(text)
        bfm.signal(signal.SIGHUP)
        line = bfm.wait_log(lambda line, reason=reason: reason in line.get("error", ""))
        seen.note(path, json.dumps(line), reason)


def test_no_secret_in_anything_that_fails(start_bfm, tree, env, postgres, tmp_path, tokens_path):
    for name in ["works", *CONNECTIONS]:
        tree.write("postgresql/%s/20250101000000_first.up.sql" % name, "SELECT 1;")
    for number, (name, text) in enumerate(sorted(SCRIPTS.items())):
        tree.write("postgresql/works/202502%02d000000_%s.up.sql" % (number + 1, name), text)
    env["BFM_API_TOKENS_FILE"] = write_tokens(
        tokens_path, old={"scopes": ["read"], "expires": "2020-01-01T00:00:00Z"},
        limited={"scopes": ["read", "migrate"], "connections": ["works"], "schemas": ["eu_*"]})
    bfm = start_bfm(env, tree=tree)
    seen = Seen(TOKEN, PASSWORD, postgres.password, USER, HOST_CANARY, postgres.host, FILE_TOKEN)
    fail_connections(seen, bfm)
    fail_scripts(seen, bfm)
    fail_authorization(seen, bfm)
    fail_requests(seen, bfm)
    fail_start(seen, env, tree, tmp_path)
    fail_reload(seen, bfm, tokens_path)
    bfm.stop()
    seen.check(bfm)
    assert len(seen.paths) >= 40, len(seen.paths)


STATES = {
    "password": ({"BFM_STATE_DB_PASSWORD": PASSWORD}, "authentication"),
    "user": ({"BFM_STATE_DB_USERNAME": USER, "BFM_STATE_DB_PASSWORD": PASSWORD}, ""),
    "database": ({"BFM_STATE_DB_NAME": "canary_database"}, ""),
    "host": ({"BFM_STATE_DB_HOST": HOST_CANARY, "BFM_STATE_DB_PASSWORD": PASSWORD}, ""),
    "port": ({"BFM_STATE_DB_PORT": "1", "BFM_STATE_DB_PASSWORD": PASSWORD}, "refused"),
    "tls": ({"BFM_STATE_DB_SSLMODE": "require", "BFM_STATE_DB_PASSWORD": PASSWORD}, "TLS"),
}


@pytest.mark.parametrize("name", sorted(STATES))
def test_no_secret_when_the_state_database_cannot_be_used(make_bfm, env, state_env, postgres, database, tree, name):
    extra, reason = STATES[name]
    tree.write("postgresql/works/20250101000000_first.up.sql", "SELECT 1;")
    bfm = make_bfm({**env, **state_env(postgres, database), **extra}, tree=tree).start(ready=False)
    seen = Seen(TOKEN, PASSWORD, postgres.password, USER, HOST_CANARY, postgres.host, "canary_database")
    line = bfm.wait_log(lambda line: "cannot be used" in line["msg"])
    assert reason in line["error"], line
    for method, path in (("GET", "/health"), ("GET", "/readyz"), ("GET", "/api/v1/migrations"),
                         ("POST", "/api/v1/reconcile"), ("POST", "/api/v1/migrations/reindex")):
        answer = seen.add(bfm.client.request(method, path))
        assert answer.status == 503, answer
    wait_until(lambda: len([one for one in bfm.log() if "cannot be used" in one["msg"]]) >= 2, what="another try")
    bfm.stop()
    seen.check(bfm)
