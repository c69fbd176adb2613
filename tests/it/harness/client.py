"""HTTP clients: one for requests, one for bytes."""
import http.client
import json
import socket


class Response:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers  # http.client.HTTPMessage: names in any case
        self.body = body

    @property
    def text(self):
        return self.body.decode("utf-8")

    @property
    def json(self):
        return json.loads(self.text)

    def __repr__(self):
        return "<Response %d %s>" % (self.status, self.body[:2000].decode("utf-8", "replace"))


class Client:
    """One connection per request unless keep_alive. Sends the Bearer token unless token is None."""

    def __init__(self, host, port, token=None, timeout=120.0, keep_alive=False):
        self.host, self.port, self.token, self.timeout, self.keep_alive = host, port, token, timeout, keep_alive
        self._connection = None

    def request(self, method, path, body=None, headers=None):
        """`body`: bytes or str are sent as they are, anything else as JSON."""
        sent = {}
        if self.token is not None:
            sent["Authorization"] = "Bearer " + self.token
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            sent["Content-Type"] = "application/json"
        if isinstance(body, str):
            body = body.encode("utf-8")
        sent.update(headers or {})
        connection = self._connection or http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        self._connection = None
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            response = Response(answer.status, answer.headers, answer.read())
        except BaseException:
            connection.close()
            raise
        if self.keep_alive:
            self._connection = connection
        else:
            connection.close()
        return response

    def get(self, path, headers=None):
        return self.request("GET", path, headers=headers)

    def post(self, path, body=None, headers=None):
        return self.request("POST", path, body, headers)

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def raw(self, timeout=60.0):
        return RawConnection(self.host, self.port, timeout)


class RawConnection:
    """A socket for exact bytes; a context manager."""

    def __init__(self, host, port, timeout=60.0):
        self.socket = socket.create_connection((host, port), timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)

    def read_to_end(self):
        """Everything until the peer closes."""
        pieces = []
        while True:
            try:
                piece = self.socket.recv(65536)
            except ConnectionResetError:
                break
            if not piece:
                break
            pieces.append(piece)
        return b"".join(pieces)

    def read_response(self, method="GET"):
        """The next response of the connection; pipelined ones are read one after another."""
        answer = http.client.HTTPResponse(_Unbuffered(self.socket), method=method)
        answer.begin()
        return Response(answer.status, answer.headers, answer.read())


class _Unbuffered:
    """Lets HTTPResponse read from a socket without taking bytes of the next response."""

    def __init__(self, sock):
        self.sock = sock

    def makefile(self, *_args, **_kwargs):
        return _ByteReader(self.sock)


class _ByteReader:
    def __init__(self, sock):
        self.sock = sock

    def readline(self, limit=-1):
        line = bytearray()
        while not line.endswith(b"\n") and (limit < 0 or len(line) < limit):
            piece = self.sock.recv(1)
            if not piece:
                break
            line += piece
        return bytes(line)

    def read(self, size=-1):
        data = bytearray()
        while size < 0 or len(data) < size:
            piece = self.sock.recv(65536 if size < 0 else size - len(data))
            if not piece:
                break
            data += piece
        return bytes(data)

    def readinto(self, view):
        data = self.read(len(view))
        view[:len(data)] = data
        return len(data)

    def flush(self):
        pass

    def close(self):
        pass
