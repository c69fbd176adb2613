"""What a token with patterns cannot find out or change outside of them: by IDs, runs, refusals and streams."""
import signal

import pytest
from api_helpers import TENANT, USERS, down, expect_error, up, write_core, write_tenants
from harness.client import Client
from harness.processes import wait_until
from once_helpers import Holder
from test_events import Listener
from test_tokens import SCOPES, client_of, entry, refused, token_of, tokens_file, two  # noqa: F401

BASE = "/api/v1/migrations/"
SHORT = TENANT[:TENANT.index("_postgresql_")]  # {version}_{name}, a legacy form


@pytest.fixture
def bfm(start_bfm, two, tokens_file, tree):  # noqa: F811
    return start_bfm({**two, "BFM_API_TOKENS_FILE": tokens_file([
        entry("eu", SCOPES, connections=["tenants"], schemas=["eu_*"]), entry("core", SCOPES, connections=["core"]),
        entry("us", SCOPES, schemas=["us_*"]), entry("base", SCOPES, schemas=["tenants", "eu_*"])])}, tree=tree)


def test_an_id_tells_nothing_of_other_places(bfm, tree):
    tree.write("postgresql/core/%s.up.sql" % SHORT, "SELECT 1;")
    assert bfm.client.post(BASE + "reindex").status == 200
    assert up(bfm.client, "tenants", schemas=["us_1"], target={"version": TENANT[:14]}).status == 200
    eu = client_of(bfm, "eu")
    answer = bfm.client.get(BASE + SHORT)
    assert answer.status == 409 and "_core" in answer.text, answer
    answer = eu.get(BASE + SHORT)  # for this token it can mean one thing only
    assert answer.status == 200 and answer.json["migration_id"] == TENANT, answer
    short = USERS[:USERS.index("_postgresql_")]
    assert bfm.client.get(BASE + short).status == 200
    for form in (short, "core_" + short, "core_users_" + short):  # as if it were not there
        assert expect_error(eu.get(BASE + form), 404) == expect_error(eu.get(BASE + "nothing"), 404)
        assert expect_error(down(eu, form), 404) == "migration not found: " + form
    for schema in ("us_1", "us_9"):  # whether or not there is anything
        for path in ("", "/status", "/history", "/executions"):
            refused(eu.get(BASE + schema + "_" + TENANT + path), "eu", 'may not use schema "%s"' % schema)
    order = {"connection": "tenants", "migration_ids": [USERS]}
    assert "does not belong" in expect_error(bfm.client.post(BASE + "order-batch", order), 400)
    assert expect_error(eu.post(BASE + "order-batch", order), 400) == "migration not found: " + USERS


def test_a_step_that_is_refused_behind_its_lock_names_no_other_schema(bfm, tree):
    for version in ("20250101000000", "20250101000001"):  # either of them holds `after` up
        name = "tenants_base_%s_base" % version
        tree.write("postgresql/tenants/%s.sql" % name, "SELECT 1;")
        tree.write("postgresql/tenants/%s_down.sql" % name, "SELECT 1;")
    tree.write("postgresql/tenants/20250106000000_after.up.sql", "-- bfm-depends: base\nCREATE TABLE after (id int);")
    assert bfm.client.post(BASE + "reindex").status == 200
    base = "20250101000000_base_postgresql_tenants"
    after = {"version": "20250106000000"}
    assert up(bfm.client, "tenants", schemas=["us_secret"], target=after).status == 200
    other = "20250101000001_base_postgresql_tenants"
    answer = down(bfm.client, other)
    assert answer.status == 200, answer
    answer = down(client_of(bfm, "base"), base)
    assert answer.status == 206 and "another schema" in answer.text and "us_secret" not in answer.text, answer
    history = client_of(bfm, "base").get(BASE + base + "/history")
    assert "another schema" in history.text and "us_secret" not in history.text, history


def test_a_refused_undo_is_repeated_without_names(bfm, tree):
    tree.write("postgresql/tenants/tenants_base_20250101000000_base.sql", "SELECT 1;")
    tree.write("postgresql/tenants/tenants_base_20250101000000_base_down.sql", "SELECT 1;")
    tree.write("postgresql/tenants/20250106000000_after.up.sql", "-- bfm-depends: base\nCREATE TABLE after (id int);")
    assert bfm.client.post(BASE + "reindex").status == 200
    assert up(bfm.client, "tenants", schemas=["us_secret"], target={"version": "20250106000000"}).status == 200
    body = {"migration_id": "20250101000000_base_postgresql_tenants"}
    for _ in range(2):
        for token, is_named in ((bfm.client.token, True), (token_of("base"), False)):
            answer = Client("127.0.0.1", bfm.port, token).request("POST", BASE + "down", body, {"Idempotency-Key": "key"})
            assert answer.status == 409 and ("us_secret" in answer.text) == is_named, answer


def failed_run(bfm, tree):
    tree.write("postgresql/tenants/20250105000000_never.up.sql", "SELECT 1 / 0;")
    assert bfm.client.post(BASE + "reindex").status == 200
    answer = up(bfm.client, "tenants", schemas=["eu_1", "us_1"], target={"version": "20250105000000"})
    assert answer.status == 206
    return answer.json["run_id"]


def test_a_retry_names_no_schema_of_somebody_elses_run(bfm, tree):
    path = "/api/v1/runs/%s/retry" % failed_run(bfm, tree)
    answer = client_of(bfm, "eu").post(path)
    assert answer.status == 403 and "us_1" not in answer.text, answer
    assert expect_error(client_of(bfm, "core").post(path), 404).startswith("run not found")


@pytest.fixture
def long_run(bfm, two, postgres):  # noqa: F811
    """ID of a run of connection tenants that goes on until the test ends."""
    assert up(bfm.client, "tenants", schemas=["us_0"]).status == 200
    database = two["TENANTS_DB_NAME"]
    with Holder(postgres, database, "LOCK TABLE bfm.journal IN ACCESS EXCLUSIVE MODE"):
        answer = up(bfm.client, "tenants", schemas=["us_1"], **{"async": True})
        assert answer.status == 202, answer
        yield answer.json["run_id"]


def test_a_run_under_way_is_out_of_reach(bfm, long_run):
    path = "/api/v1/runs/" + long_run
    for method, rest in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry")):
        assert expect_error(client_of(bfm, "core").request(method, path + rest), 404).startswith("run not found")
    answer = client_of(bfm, "eu").get(path)
    assert answer.status == 200 and answer.json["lanes"] == [] and "us_1" not in answer.text, answer
    answer = client_of(bfm, "eu").post(path + "/cancel")  # admin, but not of us_1
    assert "all schemas" in expect_error(answer, 403)
    assert bfm.client.get(path).json["status"] == "running"
    assert bfm.client.post(path + "/cancel").status == 202


def test_figures_of_a_lane_without_a_schema_are_for_all_schemas(bfm):
    run_id = up(bfm.client).json["run_id"]
    wait_until(lambda: bfm.client.get("/api/v1/runs/" + run_id).json.get("ended_at"), what="the run to be on record")
    assert bfm.client.get("/api/v1/runs/" + run_id).json["lanes"][0]["applied"] == 2
    run = client_of(bfm, "us").get("/api/v1/runs/" + run_id).json
    assert [set(lane) for lane in run["lanes"]] == [{"number", "schema", "status", "duration_ms"}], run
    assert run["steps"] == []


def test_runs_of_other_connections_cannot_be_counted(bfm, tree):
    failed_run(bfm, tree)
    refused(client_of(bfm, "core").get("/api/v1/runs?connection=tenants&limit=1"), "core",
            'may not use connection "tenants"')
    assert client_of(bfm, "core").get("/api/v1/runs").json == {"items": []}
    mine = up(bfm.client).json["run_id"]
    wait_until(lambda: bfm.client.get("/api/v1/runs/" + mine).status == 200, what="the run to be on record")
    for number in range(3):
        assert up(bfm.client, "tenants", schemas=["us_1"], target={"version": "20250105000000"}).status == 206
    wait_until(lambda: len(bfm.client.get("/api/v1/runs?status=failed").json["items"]) == 4, what="four failed runs")
    page = client_of(bfm, "core").get("/api/v1/runs?limit=1").json  # behind three that are passed over
    assert [run["run_id"] for run in page["items"]] == [mine] and "next_cursor" not in page, page
    assert client_of(bfm, "core").get("/api/v1/runs?limit=1&status=failed").json == {"items": []}


def test_no_cursor_names_a_row_of_somebody_else(start_bfm, two, tokens_file, tree, postgres, make_database, state_env):  # noqa: F811
    state = make_database()
    bfm = start_bfm({**two, **state_env(postgres, state), "BFM_API_TOKENS_FILE": tokens_file([
        entry("eu", ["read"], connections=["tenants"], schemas=["eu_*"])])}, tree=tree)
    schemas = ["eu_%d" % number for number in range(4)]
    assert up(bfm.client, "tenants", schemas=schemas).status == 200
    # more newer ones of others than one read has, two at each time but the last, which many share
    postgres.query(state, "INSERT INTO migrations_executions (migration_id, schema, version, connection, backend, status, "
                   "applied, created_at, updated_at) SELECT migration_id, 'us_' || n, version, connection, backend, status, "
                   "applied, created_at, updated_at + make_interval(secs => LEAST(n, 12000) / 2) FROM migrations_executions, "
                   "generate_series(2, 12500) n WHERE schema = 'eu_3'")
    for path in ("/executions/recent", "/%s/executions" % TENANT):
        found, cursor, pages = [], "", 0
        while cursor is not None:
            answer = client_of(bfm, "eu").get("/api/v1/migrations%s?limit=3%s" % (path, cursor))
            assert answer.status == 200, answer
            found += [row["schema"] for row in answer.json["executions"]]
            cursor = answer.json.get("next_cursor")
            assert cursor is None or b"us_" not in bytes.fromhex(cursor), bytes.fromhex(cursor)
            cursor = cursor and "&cursor=" + cursor
            pages += 1
        assert sorted(found) == schemas and pages >= 3, (found, pages)


def test_a_stream_ends_before_it_says_more_than_the_token_may_know(bfm, tokens_file):  # noqa: F811
    stream = Listener(bfm, "/api/v1/events", token=token_of("eu"))
    wait_until(lambda: b"retry:" in stream.bytes, what="the stream to begin")
    assert up(bfm.client, "tenants", schemas=["eu_1"]).status == 200
    seen = len(stream.wait(lambda frames: frames and frames[-1][0] == "run_ended"))
    tokens_file([entry("eu", ["read"], connections=["core"])])
    bfm.signal(signal.SIGHUP)
    bfm.wait_log(lambda line: line["msg"] == "secrets read again")
    assert up(bfm.client, "tenants", schemas=["eu_2"]).status == 200
    wait_until(lambda: stream.bytes.endswith(b"0\r\n\r\n"), what="the stream to end")
    assert len(stream.frames) == seen, stream.frames[seen:]
    stream.close()
