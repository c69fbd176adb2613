"""WatchRun and WatchEvents: what the event streams of HTTP say (test_events.py), as messages."""
import json
import threading

import grpc
import pytest
from api_helpers import core  # noqa: F401
from grpc_helpers import connect, messages  # noqa: F401
from harness.processes import SLOWER, wait_until
from test_sighup import reload
from test_tokens import entry, token_of, tokens_file, two  # noqa: F401

Code = grpc.StatusCode
TENANTS = {"connection": "tenants", "target": {"connection": "tenants"}}


class Watcher:
    """Reads a stream in a thread of its own."""

    def __init__(self, client, method="WatchEvents", **fields):
        self.got, self.code = [], None
        self.stream = getattr(client, method)(timeout=600, **fields)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        try:
            for message in self.stream:
                self.got.append(message)
            self.code = Code.OK
        except grpc.RpcError as error:
            self.code = error.code()

    def wait(self, count):
        wait_until(lambda: len(self.got) >= count or self.code, what="%d events" % count)
        assert len(self.got) >= count, self.code
        return self.got

    def end(self):
        self.thread.join(60 * SLOWER)
        assert not self.thread.is_alive()
        return self.code


def begun(client):
    """A watcher that has its place: of its first run it saw the start."""
    watcher = Watcher(client)
    wait_until(lambda: client.MigrateUp(**TENANTS, schemas=["warm_up"]).success and watcher.got, what="the stream to begin")
    wait_until(lambda: watcher.got[-1].event == "run_ended", what="the end of a run")
    return watcher


def test_events_of_all_runs(core, connect):
    client = connect(core)
    watcher = begun(client)
    before = len(watcher.got)
    runs = [client.MigrateUp(**TENANTS, schemas=[schema]).run_id for schema in ("a", "b")]
    got = watcher.wait(before + 10)[before:]
    assert [event.run_id for event in got] == [runs[0]] * 5 + [runs[1]] * 5
    assert [event.event for event in got] == ["run_started", "queued", "running", "applied", "run_ended"] * 2
    assert [event.seq for event in got] == list(range(got[0].seq, got[0].seq + 10))
    for event in got:
        said = json.loads(event.json)
        assert (said["seq"], said["event"], said["run_id"], said["at"]) == (event.seq, event.event, event.run_id, event.at)
    watcher.stream.cancel()
    assert watcher.end() == Code.CANCELLED


def test_a_reader_goes_on_where_it_was(core, connect):
    client = connect(core)
    watcher = begun(client)
    last = watcher.got[-1].id
    watcher.stream.cancel()
    run = client.MigrateUp(**TENANTS, schemas=["a"]).run_id
    again = Watcher(client, last_event_id=last).wait(5)
    assert [event.event for event in again] == ["run_started", "queued", "running", "applied", "run_ended"]
    whole = list(client.WatchRun(run_id=run))
    assert whole == again
    for index, event in enumerate(whole):
        assert list(client.WatchRun(run_id=run, last_event_id=event.id)) == whole[index + 1:]
    http = core.client.get("/api/v1/runs/%s/events" % run, {"Last-Event-ID": whole[-1].id})  # the same IDs
    assert http.status == 204


def test_what_is_missing_is_said(core, connect):
    client = connect(core)
    run = client.MigrateUp(**TENANTS, schemas=["a"]).run_id
    first = Watcher(client, last_event_id="another-server-17").wait(1)[0]
    assert first.event == "reset" and "another server" in json.loads(first.json)["reason"] and first.id
    events = list(client.WatchRun(run_id=run, last_event_id="another-server-17"))
    assert [event.event for event in events] == ["reset", "run_started", "queued", "running", "applied", "run_ended"]
    assert json.loads(events[0].json)["run_id"] == run


def test_a_run_of_which_no_events_are_here(core, connect, make_bfm, tree):
    run = connect(core).MigrateUp(**TENANTS, schemas=["a"]).run_id
    core.stop()
    core.start()
    client = connect(core)
    code, text = client.fails("WatchRun", run_id=run)
    assert code == Code.FAILED_PRECONDITION and "has ended" in text and "GetRun" in text
    assert list(client.WatchRun(run_id=run, last_event_id="another-server-17")) == []  # it has everything


def test_limited_tokens(start_bfm, two, connect, tokens_file, tree):
    bfm = start_bfm({**two, "BFM_API_TOKENS_FILE": tokens_file([
        entry("eu", ["read"], schemas=["eu_*"]), entry("writer", ["migrate"])])}, tree=tree)
    watcher = Watcher(connect(bfm, token=token_of("eu")))
    main = connect(bfm)
    wait_until(lambda: main.MigrateUp(**TENANTS, schemas=["eu_0", "us_0"]).success and watcher.got, what="the stream to begin")
    wait_until(lambda: watcher.got[-1].event == "run_ended", what="the end of a run")
    before = len(watcher.got)
    main.MigrateUp(**TENANTS, schemas=["eu_1", "us_1"])
    got = watcher.wait(before + 5)[before:]
    assert [(event.event, event.schema) for event in got] == [
        ("run_started", ""), ("queued", "eu_1"), ("running", "eu_1"), ("applied", "eu_1"), ("run_ended", "")]
    assert not any("us_" in event.json or '"lanes"' in event.json for event in got)
    assert connect(bfm, token=token_of("writer")).fails("WatchEvents")[0] == Code.PERMISSION_DENIED


def test_a_token_taken_away_ends_the_stream(start_bfm, two, connect, tokens_file, tree):
    path = tokens_file([entry("reader", ["read"])])
    bfm = start_bfm({**two, "BFM_API_TOKENS_FILE": path}, tree=tree)
    main, watcher = connect(bfm), Watcher(connect(bfm, token=token_of("reader")))
    wait_until(lambda: main.MigrateUp(**TENANTS, schemas=["a"]).success and watcher.got, what="the stream to begin")
    tokens_file([])
    reload(bfm)
    wait_until(lambda: main.MigrateUp(**TENANTS, schemas=["b"]).success and watcher.code, what="the stream to end")
    assert watcher.end() == Code.UNAUTHENTICATED


def test_the_server_ends_the_stream(core, connect):
    watcher = begun(connect(core))
    core.process.terminate()
    assert watcher.end() == Code.UNAVAILABLE


def test_a_slow_reader_gets_long_events(core, connect, tree):
    """Longer than what may wait for a reader, all at once: they wait in the window, and none is lost."""
    tree.write("postgresql/tenants/20250104120000_long.up.sql", "DO $$BEGIN RAISE EXCEPTION '%', repeat(chr(1), 900); END$$;")
    core.client.post("/api/v1/migrations/reindex")
    client = connect(core, options=[("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65536)])
    schemas = ["s%03d" % number for number in range(200)]
    stream = client.WatchEvents(timeout=600)
    warm = threading.Event()
    got = []

    def read():
        got.append(next(stream))
        warm.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    other = connect(core)
    wait_until(lambda: other.MigrateUp(**TENANTS, schemas=["s000"]).run_id and warm.is_set(), what="the stream to begin")
    run = other.MigrateUp(**TENANTS, schemas=schemas, timeout=300).run_id  # while nobody reads
    for event in stream:
        got.append(event)
        if (event.run_id, event.event) == (run, "run_ended"):
            break
    assert [event.seq for event in got] == list(range(got[0].seq, got[-1].seq + 1))
    assert sorted(event.schema for event in got if (event.run_id, event.event) == (run, "failed")) == schemas
