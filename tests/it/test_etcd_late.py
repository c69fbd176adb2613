"""Copies of requests to etcd that arrive when nobody thinks of them any more: nothing is applied again."""
import http.client
import http.server
import json
import threading

import pytest
from api_helpers import down, expect, up
from etcd_helpers import delete, delete_prefix, keys, name_id, put, puts, undone, write


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        relay = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if relay.keeps(body):  # it is on its way, and the connection breaks
            self.close_connection = True
            return
        answer = relay.forward(self.path, body)
        self.send_response(answer[0])
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer[1])))
        self.end_headers()
        self.wfile.write(answer[1])

    def log_message(self, format, *args):
        pass


class Relay(http.server.ThreadingHTTPServer):
    """Stands between BfM and an etcd. It remembers every request that changes something; of those whose numbers (from 1)
    are in `late` it delivers nothing yet."""

    daemon_threads = True

    def __init__(self, etcd):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.etcd, self.lock = etcd, threading.Lock()
        self.late, self.changes, self.kept = set(), [], []
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    @property
    def endpoints(self):
        return "127.0.0.1:%d" % self.server_address[1]

    def keeps(self, body):
        if not any("request_range" not in operation for operation in json.loads(body).get("success", [])):
            return False
        with self.lock:
            self.changes.append(body)
            if len(self.changes) not in self.late:
                return False
            self.kept.append(body)
            return True

    def forward(self, path, body):
        peer = http.client.HTTPConnection(self.etcd.host, self.etcd.port, timeout=60)
        try:
            peer.request("POST", path, body, {"Content-Type": "application/json"})
            answer = peer.getresponse()
            return answer.status, answer.read()
        finally:
            peer.close()

    def deliver(self, bodies):
        """How many of them take effect."""
        answers = [self.forward("/v3/kv/txn", body) for body in bodies]
        assert {status for status, _ in answers} == {200}, answers
        return sum(json.loads(text).get("succeeded", False) for _, text in answers)

    def stop(self):
        self.shutdown()
        self.thread.join()
        self.server_close()


@pytest.fixture
def relay(etcd):
    relay = Relay(etcd)
    yield relay
    relay.stop()


@pytest.fixture
def late_bfm(start_bfm, tree, etcd_env, relay):
    return lambda: start_bfm(etcd_env("conf", relay, PREFIX="/app"), tree=tree)


SCRIPTS = {"small": ([put("a", "1"), delete("b")], [delete("a")]), "kept": ([put("a", "1"), delete("b")], None),
           "chunks": (puts(400), [delete_prefix("k")]), "kept chunks": (puts(400), None)}


@pytest.mark.parametrize("script", SCRIPTS)
def test_first_copy_arrives_behind_the_undo(late_bfm, relay, tree, etcd, script):
    operations, undo = SCRIPTS[script]
    write(tree, 1, operations, undo)
    server = late_bfm()
    relay.late = {1}
    expect(up(server.client, "conf", schemas=["t"]), 200, applied=["t_" + name_id(1)])
    assert relay.kept == relay.changes[:1] and relay.changes[1] == relay.changes[0]  # the same was sent again
    assert keys(etcd) and relay.deliver(relay.kept) == 0
    expect(down(server.client, name_id(1), schemas=["t"]), 200, applied=["t_" + name_id(1)])
    before = etcd.revision()
    assert keys(etcd) == {} and relay.deliver(relay.kept) == 0
    assert keys(etcd) == {} and etcd.revision() == before and undone(etcd) == {("t", name_id(1))}


@pytest.mark.parametrize("script", SCRIPTS)
def test_all_copies_of_all_that_was_sent(late_bfm, relay, tree, etcd, script):
    operations, undo = SCRIPTS[script]
    write(tree, 1, operations, undo)
    server = late_bfm()
    for _ in range(2):
        for step, there in ((lambda: up(server.client, "conf", schemas=["t"]), True),
                            (lambda: down(server.client, name_id(1), schemas=["t"]), False)):
            relay.late = {len(relay.changes) + 1}
            expect(step(), 200, applied=["t_" + name_id(1)])
            revision = etcd.revision()
            assert relay.deliver(relay.changes) == 0
            assert etcd.revision() == revision and bool(keys(etcd)) == there
    assert len(relay.kept) == 4 and undone(etcd) == {("t", name_id(1))}
