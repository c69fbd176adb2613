"""The HTTP layer (contract section 1): a thread per connection, kept alive."""
import http.server
import itertools
import select
import socket
import ssl
import struct
import threading
from urllib.parse import urlsplit

from . import answers
from .engine import FORM, NOT_A_FORM, Refused, Request, authenticate, parse_form, parse_query

STATUS = {"commit": "double", "branch": "", "rustc_version": "", "hostname": "double", "version": "1.1.4"}
KNOWN = {
    "/v1/sql": ("GET", "POST"), "/v1/sql/parse": ("GET", "POST"), "/v1/sql/format": ("GET", "POST"),
    "/health": ("GET", "POST"), "/ready": ("GET", "POST"), "/v1/health": ("GET", "POST"),
    "/status": ("GET",), "/config": ("GET",), "/metrics": ("GET",),
}
WITHOUT_AUTH = ("/v1/health", "/v1/influxdb/ping", "/v1/influxdb/health")
TOO_LONG = "Failed to buffer the request body: length limit exceeded"
BODY_LIMIT = 64 * 1024 * 1024


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 65536

    def setup(self):
        super().setup()
        self.server.count_connection(1)

    def finish(self):
        self.server.count_connection(-1)
        try:
            super().finish()
        except OSError:
            pass

    def handle(self):
        try:
            super().handle()
        except OSError:
            pass  # the client has gone

    def log_message(self, *_args):
        pass

    def send_error(self, code, message=None, explain=None):
        """What http.server itself refuses."""
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 %d refused\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % code)

    def serve(self):
        number = next(self.server.numbers)
        url = urlsplit(self.path)
        self.body_read = False
        answer, how = self.answer(number, url.path, url.query)
        self.server.events.write("answered", number, status=answer.status if answer else None,
                                 code=answer.code if answer else None, how=how)
        unread = 0 if self.body_read else self.body_length()
        self.close_connection = self.close_connection or unread > 0
        self.send(answer, how)
        self.drain(unread)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = serve

    # --- asking ---

    def body_length(self):
        try:
            return int(self.headers.get("content-length", 0))
        except ValueError:
            return 0

    def answer(self, number, path, query):
        if self.command == "OPTIONS":
            return answers.empty(200), "whole"
        role = "rw"
        if path.startswith("/v1/") and path not in WITHOUT_AUTH:
            role, refusal = authenticate(self.headers, self.server.engine.users())
            if refusal is not None:
                self.note(number, path, None)
                return refusal, "whole"
        method = "GET" if self.command == "HEAD" else self.command
        if path not in KNOWN:
            self.note(number, path, None)
            return answers.empty(404), "whole"
        if method not in KNOWN[path]:
            self.note(number, path, None)
            return answers.empty(405), "whole"
        if path != "/v1/sql":
            return self.answer_other(number, path)
        try:
            request = self.read_request(number, query)
        except Refused as refused:
            self.note(number, path, None)
            return refused.answer, "whole"
        self.note(number, path, request)
        return self.server.engine.serve(request, role)

    def answer_other(self, number, path):
        self.note(number, path, None)
        fault = self.server.engine.faults.find(path)
        if fault is not None:
            fault.wait("before")
        if path in ("/health", "/ready", "/v1/health"):
            return answers.json_body({}), "whole"
        if path == "/status":
            return answers.json_body(STATUS), "whole"
        return answers.text(501, "not in the double: %s" % path), "whole"

    def read_request(self, number, query):
        parameters, form = parse_query(query), {}
        if self.command == "POST":
            if not self.headers.get("content-type", "").lower().startswith(FORM):
                raise Refused(415, NOT_A_FORM)
            limit = self.server.settings.get("body_limit", BODY_LIMIT)
            if limit and self.body_length() > limit:
                raise Refused(413, TOO_LONG)
            form = parse_form(self.rfile.read(self.body_length()).decode("utf-8", "replace"))
            self.body_read = True
        return Request(number, parameters, form, self.headers, self.is_gone)

    def note(self, number, path, request):
        self.server.events.write(
            "request", number, method=self.command, path=path, sql=request and request.sql, db=request and request.db,
            port=self.client_address[1], headers={key.lower(): value for key, value in self.headers.items()})

    def is_gone(self):
        """Whether the client has closed its side. Never blocks."""
        if isinstance(self.connection, ssl.SSLSocket):
            return False
        try:
            readable, _, _ = select.select([self.connection], [], [], 0)
            return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    # --- answering ---

    def send(self, answer, how):
        if answer is None:
            self.cut()
            return
        lines = ["HTTP/1.1 %d %s" % (answer.status, self.responses.get(answer.status, ("",))[0]),
                 "access-control-allow-origin: *", "content-length: %d" % len(answer.body)]
        lines += ["%s: %s" % header for header in answer.headers]
        if self.close_connection:
            lines.append("connection: close")
        data = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        body = b"" if self.command == "HEAD" else answer.body
        if how == "half":
            data += body[:len(body) // 2]
            self.close_connection = True
            self.wfile.write(data)
            return
        self.wfile.write(data + body)

    def drain(self, unread):
        """Takes what is still being sent, so that the answer is not lost with a reset."""
        while unread > 0 and self.connection.fileno() >= 0:
            taken = len(self.rfile.read1(min(unread, 65536)))
            unread = unread - taken if taken else 0

    def cut(self):
        """Ends the connection with a reset."""
        self.close_connection = True
        if self.connection.fileno() >= 0:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
            self.connection.close()


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, port, settings, engine, events):
        super().__init__(("127.0.0.1", port), Handler)
        self.settings, self.engine, self.events = settings, engine, events
        self.numbers = itertools.count(events.last_request() + 1)
        self.connections = self.most_connections = 0
        self._lock = threading.Lock()
        self._context = None
        if settings.get("tls"):
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(settings["tls"]["cert"], settings["tls"]["key"])

    def finish_request(self, request, client_address):
        if self._context is not None:
            request.settimeout(30)
            try:
                request = self._context.wrap_socket(request, server_side=True)
            except OSError:
                return  # the client does not like the certificate
            request.settimeout(None)
        try:
            super().finish_request(request, client_address)
        finally:
            request.close()

    def handle_error(self, request, client_address):
        self.events.write("broken", 0)
        super().handle_error(request, client_address)

    def count_connection(self, change):
        with self._lock:
            self.connections += change
            self.most_connections = max(self.most_connections, self.connections)
