"""An HTTP server that misbehaves on request, for the tests of the HTTP client driver."""
import http.server
import json
import ssl
import threading
import urllib.parse


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.served = 0
        with self.server.lock:
            self.server.connections += 1
            self.number = self.server.connections

    def do_GET(self):
        self._serve()

    def do_POST(self):
        self._serve()

    def log_message(self, format, *args):
        pass

    def _serve(self):
        server = self.server
        url = urllib.parse.urlsplit(self.path)
        unread = url.path.startswith("/unread")
        body = b"" if unread else self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.served += 1
        with server.lock:
            server.requests[url.path] = server.requests.get(url.path, 0) + 1
            server.busy += 1
            server.most_busy = max(server.most_busy, server.busy)
        try:
            name = url.path.strip("/").split("/")[0].replace("-", "_")
            getattr(self, "_" + name)(url, body)
        finally:
            with server.lock:
                server.busy -= 1

    def _answer(self, value, status=200, kind="application/json"):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _echo(self, url, body):
        self._answer({"method": self.command, "path": self.path, "body": body.decode(), "connection": self.number,
                      "headers": {key.lower(): value for key, value in self.headers.items()}})

    def _stats(self, url, body):
        with self.server.lock:
            value = {"connections": self.server.connections, "most_busy": self.server.most_busy,
                     "requests": dict(self.server.requests)}
        self._answer(value)

    def _status(self, url, body):
        self._answer({}, int(url.path.split("/")[2]))

    def _text(self, url, body):
        self._answer(b"nothing of that kind", 404, "text/plain")

    def _redirect(self, url, body):
        self.send_response(302)
        self.send_header("Location", "/echo")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _big(self, url, body):
        self._answer(b"x" * int(url.path.split("/")[2]))

    def _drop(self, url, body):
        self.close_connection = True

    def _drop_half(self, url, body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"half":')
        self.close_connection = True

    def _drop_second(self, url, body):
        """The first request of a connection is answered, the second never."""
        if self.served == 1:
            self._echo(url, body)
        else:
            self.close_connection = True

    def _unread(self, url, body):
        """Reads so many bytes of the body and closes."""
        self.rfile.read(int(url.path.split("/")[2]))
        self.close_connection = True

    def _leave(self, url, body):
        """Answers, and closes without having said so."""
        self._echo(url, body)
        self.close_connection = True

    def _silent(self, url, body):
        """Says nothing until the client goes away."""
        self.rfile.read(1)
        with self.server.lock:
            self.server.requests["/gone"] = self.server.requests.get("/gone", 0) + 1
        self.close_connection = True

    def _meet(self, url, body):
        """Answers once as many are here as the path says: proof that they run side by side."""
        number = int(url.path.split("/")[2])
        with self.server.lock:
            barrier = self.server.barriers.setdefault(url.path, threading.Barrier(number))
        try:
            barrier.wait(55)
            self._answer({})
        except threading.BrokenBarrierError:
            self._answer({}, 500)

    # --- a gateway of etcd that answers what it was told to ---

    def _script(self, url, body):
        """Sets the answers to come: [{"status": 503, "body": ...} or {"do": "drop"}, ...]; then all is well. Or
        {"auth": "PASSWORD"}: calls need the token of a login with it; "steps" are answers that come first, and "then" is
        the answer to a call with the token, whatever calls of earlier clients are still on their way."""
        with self.server.lock:
            script = json.loads(body)
            if isinstance(script, list):
                script = {"steps": script}
            self.server.password = script.get("auth")
            self.server.script = script.get("steps", [])
            self.server.then = script.get("then", {})
            self.server.log = []
        self._answer({})

    def _log(self, url, body):
        with self.server.lock:
            self._answer({"calls": list(self.server.log)})

    def _v3(self, url, body):
        server, step, answer = self.server, {}, {"header": {"revision": "7"}}
        token = self.headers.get("Authorization")
        with server.lock:
            server.log.append({"path": url.path, "body": body.decode(), "token": token,
                               "timeout": self.headers.get("Grpc-Timeout"),
                               "leader": self.headers.get("Grpc-Metadata-Hasleader")})
            if server.script:
                step = server.script.pop(0)
            elif server.password is not None:
                step = self._check_token(url.path, json.loads(body), token)
        if "do" in step:
            getattr(self, "_" + step["do"].replace("-", "_"))(url, body)
            return
        text = step.get("body", answer)
        self._answer(text.encode() if isinstance(text, str) else text, step.get("status", 200),
                     step.get("type", "application/json"))

    def _check_token(self, path, body, token):
        if path == "/v3/auth/authenticate":
            if body["password"] != self.server.password:
                return error(400, 3, "etcdserver: authentication failed, invalid user ID or password")
            self.server.token = "token-%d" % len(self.server.log)
            return {"body": {"token": self.server.token}}
        if token is None:
            return error(400, 3, "etcdserver: user name is empty")
        return self.server.then if token == self.server.token else error(401, 16, "etcdserver: invalid auth token")

    def _not_http(self, url, body):
        self.wfile.write(b"SSH-2.0-none of yours\r\n")
        self.close_connection = True


def error(status, code, message):
    return {"status": status, "body": {"error": message, "message": message, "code": code}}


class HttpPeer(http.server.ThreadingHTTPServer):
    """Serves from the moment it is made until stop(). `tls`: (certificate, key); `client_ca`: clients need one of it."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, tls=None, client_ca=None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.connections = self.busy = self.most_busy = 0
        self.requests = {}
        self.barriers = {}
        self.script, self.log = [], []
        self.password = self.token = None
        self.then = {}
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            if client_ca is not None:
                context.load_verify_locations(client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def port(self):
        return self.server_address[1]

    def handle_error(self, request, client_address):
        pass  # clients that go away, or end the handshake, are what is tested

    def stop(self):
        self.shutdown()
        self._thread.join()
        self.server_close()
