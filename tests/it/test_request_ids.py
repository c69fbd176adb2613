"""X-Request-ID and traceparent: in every answer, and in every line that belongs to the request."""
import json
import re

import pytest
from api_helpers import USERS, core, up, write_core  # noqa: F401
from harness.client import Client

MADE = re.compile(r"^[0-9a-f]{32}$")
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "00-" + TRACE + "-b7ad6b7169203331-01"
UP = "/api/v1/migrations/up"


def lines_of(server, request_id):
    return [line for line in server.log() if line.get("request_id") == request_id]


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/health", 200),
    ("HEAD", "/livez", 200),
    ("GET", "/api/v1/migrations", 200),
    ("GET", "/api/v1/migrations/nobody", 404),
    ("POST", "/api/v1/migrations/up", 400),
    ("PUT", "/health", 405),
    ("OPTIONS", "/api/v1/migrations", 204),
    ("GET", "/nowhere", 404),
    ("GET", "/api/v1/openapi.json", 200),
])
def test_every_answer_has_one(core, method, path, status):
    made = core.client.request(method, path)
    assert made.status == status
    assert MADE.match(made.headers["X-Request-ID"]), made.headers
    taken = core.client.request(method, path, headers={"X-Request-ID": "mine ~ 1"})
    assert taken.headers["X-Request-ID"] == "mine ~ 1"


def test_answers_that_come_before_a_route_have_one(core):
    assert MADE.match(Client("127.0.0.1", core.port, token="wrong").get("/api/v1/migrations").headers["X-Request-ID"])
    for request in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20000 + b"\r\n\r\n",
                    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"):
        with core.client.raw() as raw:
            raw.send(request)
            head = raw.read_to_end().decode()
        assert re.search(r"^X-Request-ID: [0-9a-f]{32}\r$", head, re.M), head


def test_streams_have_one(core):
    with core.client.raw() as raw:
        raw.send("GET /api/v1/events HTTP/1.1\r\nHost: x\r\nX-Request-ID: listener\r\nAuthorization: Bearer %s\r\n\r\n"
                 % core.client.token)
        received = b""
        while b"\r\n\r\n" not in received:
            received += raw.socket.recv(4096)
        assert b"X-Request-ID: listener\r\n" in received


@pytest.mark.parametrize("given", ["x" * 129, "caf\xe9", "a\tb"])
def test_what_is_not_one_is_replaced(core, given):
    with core.client.raw() as raw:
        raw.send(b"GET /health HTTP/1.0\r\nX-Request-ID: " + given.encode("latin-1") + b"\r\n\r\n")
        assert re.search(r"^X-Request-ID: [0-9a-f]{32}\r$", raw.read_to_end().decode(), re.M)


def test_two_of_them_are_none(core):
    with core.client.raw() as raw:
        raw.send(b"GET /health HTTP/1.0\r\nX-Request-ID: a\r\nX-Request-ID: b\r\n\r\n")
        assert re.search(r"^X-Request-ID: [0-9a-f]{32}\r$", raw.read_to_end().decode(), re.M)


def test_the_steps_of_a_run_carry_those_of_its_request(core):
    body = {"connection": "core", "target": {}}
    answer = core.client.request("POST", UP, body, {"X-Request-ID": "deploy-42", "traceparent": PARENT})
    assert answer.status == 200
    core.wait_log(lambda line: line["msg"] == "request" and line.get("request_id") == "deploy-42")
    lines = lines_of(core, "deploy-42")
    kinds = [line["msg"] for line in lines]
    assert kinds.count("migration applied") == 2 and kinds.count("run started") == kinds.count("run ended") == 1
    assert {line["trace_id"] for line in lines} == {TRACE}
    spans = {line["span_id"] for line in lines}
    assert len(spans) == 1 and re.match(r"^[0-9a-f]{16}$", spans.pop())
    assert "b7ad6b7169203331" not in json.dumps(lines), "that is the client's span"
    history = core.client.get("/api/v1/migrations/%s/history" % USERS).json["history"]
    assert {json.loads(item["execution_context"])["request_id"] for item in history} == {"deploy-42"}


def test_steps_of_an_asynchronous_run_too(core):
    answer = core.client.request("POST", UP, {"connection": "core", "target": {}, "async": True}, {"X-Request-ID": "later"})
    assert answer.status == 202
    ended = core.wait_log(lambda line: line["msg"] == "run ended" and line["run_id"] == answer.json["run_id"])
    assert (ended["status"], ended["applied"], ended["skipped"], ended["failed"], ended["not_run"]) == ("succeeded", 2, 0, 0, 0)
    assert [line["msg"] for line in lines_of(core, "later")].count("migration applied") == 2


def test_a_failed_step_says_who_asked(core, tree):
    tree.write("postgresql/core/20250109000000_bad.up.sql", "-- bfm-schema: core\nSELECT * FROM nowhere;\n")
    core.client.post("/api/v1/migrations/reindex")
    answer = up(core.client)
    failed = core.wait_log(lambda line: line["msg"] == "migration failed")
    assert failed["request_id"] == answer.headers["X-Request-ID"] and failed["sqlstate"] == "42P01"


def test_a_wrong_traceparent_counts_as_none(core):
    core.client.get("/api/v1/runs", {"X-Request-ID": "odd", "traceparent": PARENT.upper()})
    line = core.wait_log(lambda found: found.get("request_id") == "odd")
    assert "trace_id" not in line and "span_id" not in line


def test_probes_and_scrapes_leave_no_lines(core):
    for path in ("/health", "/api/v1/health", "/livez", "/readyz", "/metrics"):
        assert core.client.get(path).status == 200
    Client("127.0.0.1", core.port, token="wrong").get("/metrics")
    core.client.get("/api/v1/runs")
    core.wait_log(lambda line: line.get("path") == "/api/v1/runs")
    requests = [(line["path"], line["status"]) for line in core.log() if line["msg"] == "request"]
    assert requests == [("/metrics", 401), ("/api/v1/runs", 200)]


def test_auto_migrate_makes_one_per_run(start_bfm, tree, postgres, database, connection_env):
    write_core(tree)
    server = start_bfm({**connection_env("core", postgres, database), "BFM_AUTO_MIGRATE": "on"}, tree=tree)
    server.wait_log(lambda line: line["msg"] == "auto-migrate round ended")
    ids = {line.get("request_id") for line in server.log() if line["msg"] in ("run started", "migration applied", "run ended")}
    assert len(ids) == 1 and MADE.match(ids.pop())
