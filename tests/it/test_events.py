"""Server-sent events of runs: complete, in order, resumable, bounded."""
import json
import os
import subprocess
import threading

import pytest
from api_helpers import core, expect_error, up  # noqa: F401
from harness.processes import wait_until

READER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "events_reader.mjs")


class Listener:
    """Frames of one connection: a thread that gathers them until the server ends it."""

    def __init__(self, server, path, headers=None, token=None):
        self.connection = server.client.raw(timeout=60)
        lines = ["GET %s HTTP/1.1" % path, "Host: x", "Authorization: Bearer " + (token or server.client.token)]
        lines += ["%s: %s" % item for item in (headers or {}).items()]
        self.connection.send("\r\n".join(lines) + "\r\n\r\n")
        self.bytes = b""
        self.is_over = False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while True:
            try:
                piece = self.connection.socket.recv(65536)
            except OSError:
                piece = b""
            if not piece:
                break
            self.bytes += piece
        self.is_over = True

    @property
    def status(self):
        return int(self.bytes.split(b" ", 2)[1])

    @property
    def frames(self):
        """What is there of complete frames, without comments."""
        head, _, rest = self.bytes.partition(b"\r\n\r\n")
        text = _dechunk(rest) if b"chunked" in head.lower() else rest.decode()
        frames = []
        for frame in text.split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in frame.split("\n") if not line.startswith(":") and ": " in line)
            if "data" in fields:
                frames.append((fields.get("event"), json.loads(fields["data"]), fields.get("id")))
        return frames

    def wait(self, predicate):
        wait_until(lambda: predicate(self.frames), 60)
        return self.frames

    def close(self):
        self.connection.socket.shutdown(2)
        self.thread.join(20)
        self.connection.socket.close()


def _dechunk(data):
    out = b""
    while b"\r\n" in data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0 or len(data) < length + 2:
            out += data[:length]
            break
        out += data[:length]
        data = data[length + 2:]
    return out.decode("utf-8", "ignore")


def names(frames):
    return [name for name, _, _ in frames]


def test_a_run_from_its_beginning_to_its_end(core):
    run = up(core.client).json["run_id"]
    listener = Listener(core, "/api/v1/runs/%s/events" % run)
    wait_until(lambda: listener.is_over)
    frames = listener.frames
    assert names(frames) == ["run_started", "queued", "running", "applied", "queued", "running", "applied", "run_ended"] or \
        names(frames) == ["run_started", "queued", "queued", "running", "applied", "running", "applied", "run_ended"], frames
    seqs = [data["seq"] for _, data, _ in frames]
    assert seqs == sorted(set(seqs))
    assert all(data["run_id"] == run and data["connection"] == "core" for _, data, _ in frames)
    ended = frames[-1][1]
    assert (ended["status"], ended["applied"], ended["failed"], ended["lanes"]) == ("succeeded", 2, 0, 1)
    last = core.client.get("/api/v1/runs/%s/events" % run, {"Last-Event-ID": frames[-1][2]})
    assert (last.status, last.body) == (204, b"")
    again = Listener(core, "/api/v1/runs/%s/events" % run, {"Last-Event-ID": frames[2][2]})
    wait_until(lambda: again.is_over)
    assert again.frames == frames[3:]


def test_all_runs_from_now_on(core):
    up(core.client)
    listener = Listener(core, "/api/v1/events")
    wait_until(lambda: b"retry:" in listener.bytes)
    run = up(core.client).json["run_id"]
    frames = listener.wait(lambda found: "run_ended" in names(found))
    assert {data["run_id"] for _, data, _ in frames} == {run}
    assert names(frames).count("skipped") == 2
    listener.close()


def test_what_an_event_says_of_a_failure(core, tree):
    tree.write("postgresql/core/20250109000000_bad.up.sql", "-- bfm-schema: core\nSELECT 1;\nSELECT * FROM nowhere;\n")
    core.client.post("/api/v1/migrations/reindex")
    run = up(core.client).json["run_id"]
    listener = Listener(core, "/api/v1/runs/%s/events" % run)
    wait_until(lambda: listener.is_over)
    failed = [data for name, data, _ in listener.frames if name == "failed"]
    assert len(failed) == 1 and failed[0]["sqlstate"] == "42P01" and failed[0]["line"] == 3, failed
    assert listener.frames[-1][1]["status"] == "failed"


def test_reset_tells_of_what_is_missing(core):
    run = up(core.client).json["run_id"]
    listener = Listener(core, "/api/v1/events", {"Last-Event-ID": "another-server-17"})
    frames = listener.wait(lambda found: found)
    assert frames[0][0] == "reset" and "restart" in frames[0][1]["reason"]
    listener.close()
    core.stop()
    core.start()
    past = Listener(core, "/api/v1/runs/%s/events" % run)
    wait_until(lambda: past.is_over)
    assert names(past.frames) == ["reset"] and past.frames[0][1]["run_id"] == run
    assert core.client.get("/api/v1/runs/%s/events" % run, {"Last-Event-ID": past.frames[0][2]}).status == 204


def test_unknown_runs_and_wrong_tokens(core):
    expect_error(core.client.get("/api/v1/runs/nothing/events"), 404)
    assert core.client.request("GET", "/api/v1/events", headers={"Authorization": "Bearer wrong"}).status == 401
    head = core.client.request("HEAD", "/api/v1/events")
    assert head.status == 200 and head.headers["Content-Type"] == "text/event-stream" and head.body == b""


def test_streams_end_with_the_server(core):
    listeners = [Listener(core, "/api/v1/events") for _ in range(5)]
    wait_until(lambda: all(b"retry:" in listener.bytes for listener in listeners))
    core.stop()
    for listener in listeners:
        wait_until(lambda: listener.is_over)
        assert names(listener.frames) == ["shutdown"]


@pytest.fixture
def many(start_bfm, tree, postgres, database, connection_env):
    """A server with 20 migrations of a dynamic-schema connection."""
    for number in range(20):
        tree.write("postgresql/tenants/202501010000%02d_step.up.sql" % number, "CREATE TABLE t%d (id int);\n" % number)
    return start_bfm(connection_env("tenants", postgres, database), tree=tree)


def run_thread(server, schemas):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(up(server.client, "tenants", schemas=schemas)))
    thread.start()
    return thread, answers


def test_cut_ten_times_during_2000_steps_nothing_is_lost_or_doubled(many):
    schemas = ["t%03d" % number for number in range(100)]
    watcher = Listener(many, "/api/v1/events")
    wait_until(lambda: b"retry:" in watcher.bytes)
    thread, answers = run_thread(many, schemas)
    run = watcher.wait(lambda found: found)[0][1]["run_id"]
    reader = subprocess.run(["node", READER, many.url + "/api/v1/runs/%s/events" % run, many.client.token, "10", "400"],
                            stdout=subprocess.PIPE, text=True, timeout=300, check=True)
    thread.join()
    assert answers[0].status == 200 and len(answers[0].json["applied"]) == 2000
    lines = [json.loads(line) for line in reader.stdout.splitlines()]
    assert lines.pop()["connections"] == 12, "the first, ten after cuts, and the one that is told that it is over"
    seqs = [line["data"]["seq"] for line in lines]
    assert seqs == sorted(set(seqs)), "doubled or out of order"
    kinds = [line["event"] for line in lines]
    assert "reset" not in kinds
    applied = {(line["data"]["migration_id"], line["data"]["schema"]) for line in lines if line["event"] == "applied"}
    assert len(applied) == kinds.count("applied") == 2000
    assert (kinds[0], kinds[-1], kinds.count("running")) == ("run_started", "run_ended", 2000)
    watcher.close()


def test_a_reader_that_does_not_read_slows_nobody(many):
    slow = many.client.raw(timeout=60)
    slow.send("GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % many.client.token)
    for number in range(3):
        answer = up(many.client, "tenants", schemas=["s%d_%d" % (number, lane) for lane in range(20)])
        assert answer.status == 200 and len(answer.json["applied"]) == 400
    assert many.client.get("/health").status == 200
    slow.socket.close()


def test_a_thousand_readers_at_once(many):
    listeners = []
    for _ in range(1000):
        connection = many.client.raw(timeout=60)
        connection.send("GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % many.client.token)
        listeners.append(connection)
    for connection in listeners:
        received = b""
        while b"retry:" not in received:
            received += connection.socket.recv(65536)
    assert up(many.client, "tenants", schemas=["one"]).status == 200
    for connection in listeners:
        received = b""
        while b"event: run_ended" not in received:
            piece = connection.socket.recv(65536)
            assert piece, received[-200:]
            received += piece
        assert received.count(b"event: applied") == 20
        connection.socket.close()
