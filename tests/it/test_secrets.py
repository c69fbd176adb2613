"""A password and a token that nobody may ever see, over every way in which something can fail (DESIGN.md §5)."""
import json
import socket

import pytest
from api_helpers import up
from harness.client import Client
from harness.processes import wait_until
from once_helpers import in_threads

HOST_CANARY = "canary-host.invalid"
TOKEN = "canary-t0ken \\\"%22'; select"
PASSWORD = "canary-p4ss '\" \\ %70 $x"
USER = "canary_user"


class Seen:
    """Everything that clients got, and what may not be in it."""

    def __init__(self, *secrets):
        self.texts = []
        self.secrets = [form for secret in secrets for form in (secret, json.dumps(secret)[1:-1])]

    def add(self, answer):
        self.texts.append("%s\n%s" % (answer.text, answer.headers))
        return answer

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


def test_no_secret_in_anything_that_fails(start_bfm, tree, env, postgres):
    names = ["works", "password", "user", "database", "port", "tls", "verify", "host"]
    for name in names:
        tree.write("postgresql/%s/20250101000000_first.up.sql" % name, "SELECT 1;")
    for number, (name, text) in enumerate(sorted(SCRIPTS.items())):
        tree.write("postgresql/works/202502%02d000000_%s.up.sql" % (number + 1, name), text)
    bfm = start_bfm(env, tree=tree)
    seen = Seen(TOKEN, PASSWORD, postgres.password, USER, HOST_CANARY, postgres.host)

    def call(method, path, body=None, headers=None, client=bfm.client):
        return seen.add(client.request(method, path, body, headers))

    for answer in in_threads(len(names) - 1, lambda index: up(bfm.client, names[index + 1], schemas=["s"])):
        seen.add(answer)
        assert answer.status == 206 and len(answer.json["errors"]) == 1, answer
    for name in names[1:]:
        assert call("POST", "/api/v1/migrate", {"connection": name, "target": {}, "schema": "s"}).status == 500
    for number, name in enumerate(sorted(SCRIPTS)):
        answer = seen.add(up(bfm.client, "works", target={"version": "202502%02d000000" % (number + 1)},
                             schemas=["s"]))
        assert answer.status == 206 and len(answer.json["errors"]) == 1, answer
    answer = call("POST", "/api/v1/reconcile")
    assert answer.status == 200
    assert len([target for target in answer.json["targets"] if "error" in target]) == len(names) - 1, answer
    for header in (None, "Bearer", "Basic " + TOKEN, "Bearer " + TOKEN + "x", "Bearer " + TOKEN[:-1],
                   "Bearer  " + TOKEN, "bearer", TOKEN):
        anonymous = Client("127.0.0.1", bfm.port)
        headers = {} if header is None else {"Authorization": header}
        assert call("GET", "/api/v1/migrations", None, headers, anonymous).status == 401, header
    for path in ("up", "down", "order-batch"):
        for body in ('{"connection":', "[]", '{"connection": 1}', "", '{"migration_id": "\\u0000"}'):
            assert call("POST", "/api/v1/migrations/" + path, body).status == 400, (path, body)
    for path in ("/health", "/readyz", "/api/v1/openapi.json", "/api/v1/migrations", "/api/v1/migrations/nobody",
                 "/nothing", "/api/nothing", "/runtime-config.js", "/api/v1/migrations/executions/recent",
                 "/api/v1/migrations/20250201000000_connection_postgresql_works/history"):
        call("GET", path)
    call("DELETE", "/api/v1/migrations")
    call("GET", "/api/v1/migrations?token=x")
    with bfm.client.raw() as raw:
        raw.send(b"NONSENSE\r\n\r\n")
        seen.texts.append(raw.read_to_end().decode("latin-1"))
    bfm.stop()
    seen.check(bfm)


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
