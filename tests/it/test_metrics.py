"""GET /metrics, GET /livez, and what figures say after a known load."""
import json
import re
import subprocess

import pytest
from api_helpers import ORDERS, USERS, core, down, expect_error, up  # noqa: F401
from harness.client import Client
from harness.processes import wait_until
from once_helpers import Background, Holder, wait_for_waiting

LINE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


def scrape(client):
    """{(name, frozenset of labels): value}, after promtool has nothing to say against the text."""
    answer = client.get("/metrics")
    assert answer.status == 200, answer
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    checked = subprocess.run(["promtool", "check", "metrics"], input=answer.text, text=True, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, timeout=60, check=False)
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stdout + answer.text
    series = {}
    for line in answer.text.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value = LINE.match(line).groups()
        key = (name, frozenset(LABEL.findall(labels or "")))
        assert key not in series, "twice: " + line
        series[key] = float(value)
    return series


def value(series, name, **labels):
    return series.get((name, frozenset(labels.items())), 0)


def test_liveness_needs_nothing(core):
    answer = Client("127.0.0.1", core.port, token=None).get("/livez")
    assert (answer.status, answer.json) == (200, {"status": "alive"})
    head = core.client.request("HEAD", "/livez")
    assert (head.status, head.body) == (200, b"")
    assert core.client.post("/livez", {}).status == 405


def test_livez_answers_without_the_state_database(start_bfm, tree, private_postgres, state_env):
    private_postgres.query("postgres", "CREATE DATABASE state")
    server = start_bfm(state_env(private_postgres, "state"), tree=tree)
    private_postgres.kill()
    wait_until(lambda: server.client.get("/readyz").status == 503, 60)
    assert server.client.get("/livez").status == 200
    assert value(scrape(server.client), "bfm_state_up") == 0
    private_postgres.start()
    wait_until(lambda: server.client.get("/readyz").status == 200, 60)
    series = scrape(server.client)
    assert value(series, "bfm_state_up") == 1
    assert value(series, "bfm_pool_open_connections", role="state", connection="") > 0
    assert value(series, "bfm_pool_connect_failures_total", role="state", connection="") > 0


def test_requests_are_counted_by_route(core):
    before = scrape(core.client)
    for number in range(7):
        assert core.client.get("/api/v1/migrations/%s" % (USERS if number else "nobody")).status in (200, 404)
        assert core.client.get("/nowhere/%d" % number).status == 404
    core.client.get("/api/v1/migrations/%s/status" % USERS)
    core.client.request("BREW", "/health")
    with core.client.raw() as raw:
        raw.send(b"nonsense\r\n\r\n")
        raw.read_to_end()
    series = scrape(core.client)

    def grown(name, **labels):
        return value(series, name, **labels) - value(before, name, **labels)

    total = "bfm_http_requests_total"
    detail = "/api/v1/migrations/{id}"
    assert grown(total, route=detail, method="GET", status="200") == 6
    assert grown(total, route=detail, method="GET", status="404") == 1
    assert grown(total, route=detail + "/status", method="GET", status="200") == 1
    assert grown(total, route="other", method="GET", status="404") == 7
    assert grown(total, route="/metrics", method="GET", status="200") == 1
    assert grown("bfm_http_request_duration_seconds_count", route=detail, method="GET") == 7
    assert grown("bfm_http_request_duration_seconds_bucket", route=detail, method="GET", le="+Inf") == 7
    assert grown("bfm_http_request_duration_seconds_sum", route=detail, method="GET") > 0
    assert grown(total, route="other", method="other", status="400") == 2, "one was no method, one no request"
    assert not [key for key in series if "nobody" in str(key) or "nowhere" in str(key)]


def test_runs_and_steps_are_counted_by_outcome(core, tree):
    tree.write("postgresql/core/20250109000000_bad.up.sql",
               "-- bfm-schema: core\n-- bfm-tags: bad=yes\nSELECT * FROM nowhere;\n")
    tree.write("postgresql/core/20250110000000_after.up.sql",
               "-- bfm-schema: core\n-- bfm-tags: bad=yes\n-- bfm-depends: bad\nSELECT 1;\n")
    core.client.post("/api/v1/migrations/reindex")
    answers = [up(core.client, target={"tags": ["env=prod"]}),
               up(core.client, target={"tags": ["env=prod"]}),
               up(core.client, target={"tags": ["env=prod"]}, dry_run=True),
               up(core.client, target={"tags": ["bad=yes"]}),
               down(core.client, ORDERS)]
    assert [answer.status for answer in answers] == [200, 200, 200, 206, 200]
    assert up(core.client, connection="tenants", schemas=["a", "b", "c"]).status == 200
    attempts = sum(detail["attempts"] for answer in answers for detail in answer.json["details"])
    series = scrape(core.client)

    def steps(connection, outcome):
        return value(series, "bfm_steps_total", connection=connection, outcome=outcome)

    assert {outcome: steps("core", outcome) for outcome in ("applied", "skipped", "failed", "not_run", "rolled_back")} \
        == {"applied": 2, "skipped": 2, "failed": 1, "not_run": 1, "rolled_back": 1}
    assert steps("core", "dry_run") == 2
    assert steps("tenants", "applied") == 3
    assert value(series, "bfm_step_duration_seconds_count", connection="core", outcome="applied") == 2
    assert value(series, "bfm_step_duration_seconds_count", connection="core", outcome="failed") == 1
    assert value(series, "bfm_step_duration_seconds_count", connection="core", outcome="skipped") == 0
    assert value(series, "bfm_step_attempts_total", connection="core") == attempts >= 4
    assert value(series, "bfm_runs_total", kind="up", status="succeeded") == 3
    assert value(series, "bfm_runs_total", kind="up", status="failed") == 1
    assert value(series, "bfm_runs_total", kind="down", status="succeeded") == 1
    assert value(series, "bfm_runs_total", kind="dry_run", status="succeeded") == 1
    assert all(value(series, "bfm_runs_in_progress", kind=kind) == 0 for kind in ("up", "down", "dry_run"))
    assert value(series, "bfm_lanes_total", connection="core", outcome="failed") == 1
    assert value(series, "bfm_lanes_total", connection="tenants", outcome="succeeded") == 3
    assert value(series, "bfm_migrations") == 5
    assert value(series, "bfm_events_window_events") > 20


def test_retries_show_as_attempts(start_bfm, tree, postgres, database, connection_env):
    tree.write("postgresql/core/20250108000000_first.up.sql", "-- bfm-schema: core\nSELECT 1;\n")
    postgres.query(database, "CREATE SCHEMA shop; CREATE TABLE shop.held (id int)")
    server = start_bfm(connection_env("core", postgres, database, LOCK_TIMEOUT="1500ms"), tree=tree)
    assert up(server.client).status == 200, "the journal and the schema are there from now on"
    before = value(scrape(server.client), "bfm_step_attempts_total", connection="core")
    tree.write("postgresql/core/20250109000000_locked.up.sql", "-- bfm-schema: core\nALTER TABLE shop.held ADD x int;\n")
    server.client.post("/api/v1/migrations/reindex")
    with Holder(postgres, database, "LOCK TABLE shop.held"):
        running = Background(lambda: server.client.request("POST", "/api/v1/migrations/up", {"connection": "core", "target": {"version": "20250109000000"}},
                                                           {"X-Request-ID": "one-that-waits"}))
        wait_for_waiting(postgres, database)
        series = scrape(server.client)
        assert value(series, "bfm_runs_in_progress", kind="up") == 1
        assert value(series, "bfm_lanes_in_progress", state="executing") == 1
        assert value(series, "bfm_pool_busy_connections", role="target", connection="core") >= 1
        line = server.wait_log(lambda found: found["msg"] == "migration is tried again" and found["attempts"] == 3)
    answer = running.result()
    assert answer.status == 200 and answer.json["details"][0]["attempts"] >= 3, answer
    assert (line["reason"], line["sqlstate"], line["level"]) == ("lock_timeout", "55P03", "warn")
    assert line["request_id"] == "one-that-waits"
    series = scrape(server.client)
    attempts = answer.json["details"][0]["attempts"]
    assert value(series, "bfm_step_retries_total", connection="core", reason="lock_timeout") == attempts - 1
    assert value(series, "bfm_step_attempts_total", connection="core") == before + attempts
    with server.client.raw(timeout=30) as raw:
        raw.send("GET /api/v1/runs/%s/events HTTP/1.0\r\nAuthorization: Bearer %s\r\n\r\n"
                 % (answer.json["run_id"], server.client.token))
        events = [json.loads(found[6:]) for found in raw.read_to_end().decode().splitlines() if found.startswith("data: ")]
    told = [event for event in events if event["event"] == "attempt"]
    assert [event["attempts"] for event in told] == list(range(2, attempts + 1))
    assert {(event["reason"], event["sqlstate"]) for event in told} == {("lock_timeout", "55P03")}


def test_500_tenants_add_no_series(core):
    up(core.client, connection="tenants", schemas=["first"])
    scrape(core.client)
    before = set(scrape(core.client))
    for start in range(0, 500, 125):
        answer = up(core.client, connection="tenants", schemas=["tenant_%d" % number for number in range(start, start + 125)])
        assert answer.status == 200
    series = scrape(core.client)
    assert set(series) == before
    assert value(series, "bfm_steps_total", connection="tenants", outcome="applied") == 501
    assert value(series, "bfm_pool_waits_total", role="target", connection="tenants") > 0
    assert value(series, "bfm_pool_wait_seconds_total", role="target", connection="tenants") > 0
    assert value(series, "bfm_pool_open_connections", role="target", connection="tenants") <= \
        value(series, "bfm_pool_max_connections", role="target", connection="tenants")


def test_what_is_just_so(core, postgres):
    assert up(core.client).status == 200
    series = scrape(core.client)
    assert value(series, "bfm_target_up", connection="core") == 1
    assert value(series, "bfm_target_last_contact_timestamp_seconds", connection="core") > 1.7e9
    assert value(series, "bfm_state_up") == 1
    assert value(series, "process_resident_memory_bytes") > 1e6
    assert value(series, "process_open_fds") > 5
    assert value(series, "process_max_fds") > 100
    assert value(series, "process_cpu_seconds_total") > 0
    started = postgres.query("postgres", "SELECT extract(epoch FROM now())")[0][0]
    assert abs(value(series, "process_start_time_seconds") - float(started)) < 600
    assert value(series, "bfm_loop_turn_seconds_count") > 10
    assert value(series, "bfm_loop_longest_turn_seconds") > 0
    assert value(series, "bfm_log_lines_dropped_total") == 0
    assert value(series, "bfm_state_queue_records") == 0
    assert [key for key in series if key[0] == "bfm_build_info"]


def test_a_target_that_is_away_is_down(start_bfm, tree, private_postgres, connection_env):
    private_postgres.query("postgres", "CREATE DATABASE target")
    tree.write("postgresql/core/20250109000000_one.up.sql", "-- bfm-schema: core\nSELECT 1;\n")
    server = start_bfm(connection_env("core", private_postgres, "target"), tree=tree)
    wait_until(lambda: value(scrape(server.client), "bfm_target_up", connection="core") == 1, 60)
    private_postgres.kill()
    up(server.client)
    series = scrape(server.client)
    assert value(series, "bfm_target_up", connection="core") == 0
    assert value(series, "bfm_pool_connect_failures_total", role="target", connection="core") > 0


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps([
        {"name": "prometheus", "token": "scrape-it", "scopes": ["read"]},
        {"name": "deploy", "token": "deploy-it", "scopes": ["migrate"]},
        {"name": "tenant", "token": "some-of-it", "scopes": ["read"], "schemas": ["acme"]},
    ]))
    return str(path)


def test_who_may_see_them(start_bfm, tree, tokens):
    server = start_bfm({"BFM_API_TOKENS_FILE": tokens}, tree=tree)

    def ask(token):
        return Client("127.0.0.1", server.port, token=token).get("/metrics")

    assert ask(server.client.token).status == 200
    assert ask("scrape-it").status == 200
    expect_error(ask("deploy-it"), 403)
    expect_error(ask("some-of-it"), 403)
    expect_error(ask("wrong"), 401)
    expect_error(ask(None), 401)


def test_open_to_everybody_if_told_so(start_bfm, tree):
    server = start_bfm({"BFM_METRICS_AUTH": "off"}, tree=tree)
    assert Client("127.0.0.1", server.port, token=None).get("/metrics").status == 200
    assert Client("127.0.0.1", server.port, token=None).get("/api/v1/migrations").status == 401


def test_off(start_bfm, tree):
    server = start_bfm({"BFM_METRICS": "off"}, tree=tree)
    expect_error(server.client.get("/metrics"), 404, re.compile("BFM_METRICS"))
    assert server.client.get("/livez").status == 200
