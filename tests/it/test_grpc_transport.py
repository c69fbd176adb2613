"""gRPC's framing, limits, deadlines and ends, by Debian's grpcio against a server without a meaning."""
import gzip
import itertools
import socket
import struct
import subprocess
import threading

import grpc
import pytest

from harness.processes import SLOWER, wait_until
from harness.server import SANITIZER, base_environment, command_of, find_binary

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
INTERNAL_ERROR, REFUSED_STREAM, ENHANCE_YOUR_CALM = 2, 7, 11
NO_TABLE = struct.pack(">HI", 1, 0)  # a setting: headers are written out, not indexed


class Echo:
    def __init__(self, folder, *options):
        binary = find_binary().rsplit("/", 1)[0] + "/tests/server_grpc_echo"
        self.errors = open(folder / "errors", "w+", encoding="utf-8")
        self.process = subprocess.Popen([*command_of(binary), *map(str, options)], env=base_environment(), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.port = int(self.process.stdout.readline())
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def stop(self, status=0):
        if self.process.poll() is None:
            self.process.terminate()
        assert self.process.wait(30 * SLOWER) == status
        self.errors.seek(0)
        text = self.errors.read()
        assert not SANITIZER.search(text), text


@pytest.fixture
def echo(request, tmp_path):
    server = Echo(tmp_path, *getattr(request, "param", ()))
    try:
        yield server
        server.stop()
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait(10)
        server.process.stdout.close()
        server.errors.close()


def limits(*options):
    """Sets limits of the server of a test."""
    return pytest.mark.parametrize("echo", [options], indirect=True, ids=[" ".join(options)])


@pytest.fixture
def channel(echo):
    with connect(echo) as made:
        yield made


def connect(echo, **kwargs):
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
               ("grpc.use_local_subchannel_pool", 1)]
    return grpc.insecure_channel("127.0.0.1:%d" % echo.port, options=options, **kwargs)


def unary(channel, method="Unary"):
    return channel.unary_unary("/test.Echo/" + method)


def failure_of(call):
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code(), error.value.details()


class Frames:
    """HTTP/2 by hand."""

    def __init__(self, port, preface=PREFACE):
        self.socket = socket.create_connection(("127.0.0.1", port), 20 * SLOWER)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(preface)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, kind, flags=0, stream=0, payload=b""):
        self.socket.sendall(struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload)

    def frames(self):
        """Every frame until the server closes."""
        rest = b""
        while True:
            try:
                piece = self.socket.recv(65536)
            except ConnectionResetError:
                return
            if not piece:
                return
            rest += piece
            while len(rest) >= 9:
                length = int.from_bytes(rest[:3], "big")
                if len(rest) < 9 + length:
                    break
                yield rest[3], rest[4], int.from_bytes(rest[5:9], "big"), rest[9:9 + length]
                rest = rest[9 + length:]

    def goaway(self):
        """The error code of the GOAWAY that ends the connection; None without one."""
        code = None
        for kind, _, _, payload in self.frames():
            if kind == GOAWAY:
                code = int.from_bytes(payload[4:8], "big")
        return code

    def flood(self, frame, count):
        try:
            for _ in range(count):
                self.send(*frame)
        except (BrokenPipeError, ConnectionResetError):
            pass


def literal(name, value):
    """A header field of HPACK that is not indexed."""
    def text(data):
        assert len(data) < 127
        return bytes((len(data),)) + data
    return b"\0" + text(name) + text(value)


def status(code):
    """How the value of grpc-status is written in an answer, at least where nothing may be indexed (NO_TABLE)."""
    number = b"%d" % code.value[0]
    return bytes((len(number),)) + number


def request_headers(method=b"POST", path=b"/test.Echo/Unary", content=b"application/grpc", extra=b""):
    return (literal(b":method", method) + literal(b":scheme", b"http") + literal(b":path", path)
            + literal(b":authority", b"x") + literal(b"content-type", content) + literal(b"te", b"trailers") + extra)


def test_unary(channel):
    answer, call = unary(channel).with_call(b"hello")
    assert answer == b"hello"
    assert ("echo-path", "/test.Echo/Unary") in call.initial_metadata()
    assert unary(channel)(b"") == b""


@pytest.mark.parametrize("size", [1, 16383, 16384, 65535, 65536, 1 << 20, 4 << 20])
def test_sizes(channel, size):
    data = bytes(range(256)) * (size // 256 + 1)
    assert unary(channel)(data[:size]) == data[:size]


def test_too_large(channel):
    code, text = failure_of(lambda: unary(channel)(b"x" * ((4 << 20) + 1)))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED, text
    assert unary(channel)(b"still there") == b"still there"


def test_failure_text(channel):
    code, text = failure_of(lambda: unary(channel, "Fail")("100% dä\nx".encode()))
    assert (code, text) == (grpc.StatusCode.FAILED_PRECONDITION, "100% dä\nx")


def test_unknown_method(channel):
    assert failure_of(lambda: unary(channel, "Nothing")(b""))[0] == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("size", [10, 100000])
def test_gzip(channel, size):
    call = channel.unary_unary("/test.Echo/Unary")
    assert call(b"a" * size, compression=grpc.Compression.Gzip) == b"a" * size


def test_unknown_compression(channel):
    code, _ = failure_of(lambda: unary(channel)(b"a" * 5000, compression=grpc.Compression.Deflate))
    assert code == grpc.StatusCode.UNIMPLEMENTED


def test_gzip_bomb(channel):
    code, _ = failure_of(lambda: unary(channel)(b"\0" * (5 << 20), compression=grpc.Compression.Gzip))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_stream(channel):
    answers = channel.unary_stream("/test.Echo/Many")(b"10000")
    assert [int(answer) for answer in answers] == list(range(10000))


def test_slow_reader_is_bounded(echo, channel):
    """Who does not read gets only so much, and the rest when he reads on."""
    answers = channel.unary_stream("/test.Echo/Many")(b"300000")
    assert next(answers) == b"0"
    with connect(echo) as other:  # nobody else waits for him
        for i in range(50):
            assert unary(other)(b"%d" % i) == b"%d" % i
    assert sum(1 for _ in answers) == 299999


def test_cancel_stream(echo, channel):
    answers = channel.unary_stream("/test.Echo/Many")(b"100000000")
    next(answers)
    answers.cancel()
    wait_until(lambda: [line for line in echo.lines if line.startswith("gone after")], what="the server to hear of it")


def test_chat(channel):
    chat = channel.stream_stream("/test.Echo/Chat")(iter([b"1", b"", b"3" * 100000]))
    assert list(chat) == [b"1", b"", b"3" * 100000]


def test_deadline(echo, channel):
    code, _ = failure_of(lambda: unary(channel, "Hang")(b"", timeout=0.3))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED
    wait_until(lambda: "gone" in echo.lines, what="the server to hear of it")


def test_deadline_by_the_server(echo):
    """The client that sent the deadline does not watch it: the server does."""
    with Frames(echo.port) as peer:
        peer.send(SETTINGS)
        peer.send(HEADERS, 0x4, 1, request_headers(path=b"/test.Echo/Hang", extra=literal(b"grpc-timeout", b"200m")))
        peer.send(DATA, 0x1, 1, b"\0\0\0\0\0")
        for kind, flags, stream, payload in peer.frames():
            if kind == HEADERS and stream == 1:
                assert flags & 1 and b"4" in payload
                break
    wait_until(lambda: "gone" in echo.lines, what="the handler to hear of it")


def test_cancel(echo, channel):
    call = unary(channel, "Hang").future(b"")
    wait_until(lambda: "hanging" in echo.lines, what="the call to arrive")
    call.cancel()
    wait_until(lambda: "gone" in echo.lines, what="the server to hear of it")


def test_thousand_streams_on_one_connection(echo, channel):
    calls = [unary(channel, "Hang").future(b"") for _ in range(1000)]
    wait_until(lambda: echo.lines.count("hanging") == 1000, 60, "all of them to arrive")
    for i in range(20):
        assert unary(channel)(b"%d" % i) == b"%d" % i
    for call in calls:
        call.cancel()
    wait_until(lambda: echo.lines.count("gone") == 1000, 60, "all of them to go")
    assert unary(channel)(b"and on") == b"and on"


def test_stop_finishes_calls(echo, channel):
    """GOAWAY, and calls under way get their answer."""
    answers = channel.unary_stream("/test.Echo/Many")(b"100000")
    next(answers)
    echo.process.terminate()
    assert sum(1 for _ in answers) == 99999
    assert echo.process.wait(20 * SLOWER) == 0


def test_stop_ends_endless_calls(echo, channel):
    ask, done = threading.Event(), []

    def questions():
        yield b"1"
        ask.wait(20 * SLOWER)

    chat = channel.stream_stream("/test.Echo/Chat")(questions())
    assert next(chat) == b"1"
    echo.process.terminate()
    done.append(failure_of(lambda: next(chat)))
    ask.set()
    assert done[0] == (grpc.StatusCode.UNAVAILABLE, "the server is stopping")
    assert echo.process.wait(20 * SLOWER) == 0


def test_killed_client(echo):
    """Its call is noticed to be nobody's at once, not when something is sent."""
    with Frames(echo.port) as peer:
        peer.send(SETTINGS)
        peer.send(HEADERS, 0x4, 1, request_headers(path=b"/test.Echo/Hang"))
        peer.send(DATA, 0x1, 1, b"\0\0\0\0\0")
        wait_until(lambda: "hanging" in echo.lines, what="the call to arrive")
        peer.socket.shutdown(socket.SHUT_WR)
        wait_until(lambda: "gone" in echo.lines, what="the server to hear of it")


def test_windows_of_a_busy_reader(echo):
    """Who takes megabytes in small windows sends thousands of frames for a reason."""
    size = 4000000
    packed = gzip.compress(b"x" * size)
    with Frames(echo.port) as peer:
        peer.send(SETTINGS, payload=struct.pack(">HI", 4, 2000))
        peer.send(HEADERS, 0x4, 1, request_headers(extra=literal(b"grpc-encoding", b"gzip")))
        peer.send(DATA, 0x1, 1, struct.pack(">BI", 1, len(packed)) + packed)
        got = 0
        for kind, flags, _, payload in peer.frames():
            assert kind != GOAWAY
            if kind == DATA:
                got += len(payload)
                for stream in (0, 1):
                    peer.send(WINDOW_UPDATE, 0, stream, struct.pack(">I", len(payload)))
            if kind == HEADERS and flags & 1:
                break
        assert got == size + 5


# --- abuse ---

@limits("write=300")
@pytest.mark.parametrize("method, message", [(b"Unary", b"x" * 100000), (b"Many", b"1000000")])
def test_closed_window(echo, method, message):
    """Who asks and opens no window for the answer is not waited for, and nothing is kept for him."""
    with Frames(echo.port) as peer, connect(echo) as other:
        peer.send(SETTINGS, payload=struct.pack(">HI", 4, 0))
        peer.send(HEADERS, 0x4, 1, request_headers(path=b"/test.Echo/" + method))
        body = struct.pack(">BI", 0, len(message)) + message
        for at in range(0, len(body), 16000):
            peer.send(DATA, int(at + 16000 >= len(body)), 1, body[at:at + 16000])
        assert next(payload for kind, _, stream, payload in peer.frames()
                    if kind == RST_STREAM and stream == 1) == struct.pack(">I", ENHANCE_YOUR_CALM)
        assert unary(other)(b"alive") == b"alive"
    if method == b"Many":
        wait_until(lambda: [line for line in echo.lines if line.startswith("gone after")], what="the handler to hear of it")


@limits("requests=1000000", "request=2000")
def test_requests_that_are_not_complete_have_a_limit(echo):
    """Whole messages without an end of their stream count as well; what came too late may be asked again."""
    with Frames(echo.port) as peer:
        peer.send(SETTINGS, payload=NO_TABLE)
        for stream in range(1, 120, 2):
            peer.send(HEADERS, 0x4, stream, request_headers())
            peer.send(DATA, 0, stream, struct.pack(">BI", 0, 15000) + b"x" * 15000)
        ends = list(itertools.islice(((kind, payload) for kind, flags, stream, payload in peer.frames()
                                      if (kind == HEADERS and flags & 1) or (kind == RST_STREAM and any(payload))), 60))
        late = [payload for kind, payload in ends if kind == HEADERS and status(grpc.StatusCode.CANCELLED) in payload]
        full = [payload for kind, payload in ends
                if kind == HEADERS and status(grpc.StatusCode.RESOURCE_EXHAUSTED) in payload]
        refused = [payload for kind, payload in ends if kind == RST_STREAM and payload == struct.pack(">I", REFUSED_STREAM)]
        assert 30 < len(late) < 45 and len(full) + len(refused) == 60 - len(late)
    with connect(echo) as own:
        assert unary(own)(b"alive") == b"alive"


@limits("request=1000")
def test_half_a_streamed_message_is_given_up(echo):
    with Frames(echo.port) as peer:
        peer.send(SETTINGS)
        peer.send(HEADERS, 0x4, 1, request_headers(path=b"/test.Echo/Chat"))
        peer.send(DATA, 0, 1, b"\0\0\0\0\5ab")
        assert any(kind == HEADERS and flags & 1 and status(grpc.StatusCode.CANCELLED) in payload
                   for kind, flags, _, payload in peer.frames())


@limits("request=1000")
def test_half_of_the_headers(echo):
    with Frames(echo.port) as peer:
        peer.send(SETTINGS)
        peer.send(HEADERS, 0, 1, request_headers())
        assert peer.goaway() is None



def test_bad_preface(echo):
    with Frames(echo.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") as peer:
        assert peer.goaway() in (None, 1)


@limits("request=1000")
def test_silence_is_not_waited_for(echo):
    with Frames(echo.port, b"") as peer:
        assert peer.goaway() is None


@limits("idle=1000")
def test_idle_connection_gets_goaway(echo):
    with Frames(echo.port) as peer:
        peer.send(SETTINGS)
        assert peer.goaway() == 0
        for _ in range(5):  # what comes late is read, so that no reset throws the GOAWAY away
            peer.send(PING, 0, 0, b"12345678")
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.socket.recv(1) == b""


@pytest.mark.parametrize("content, status", [(b"text/plain", b"415"), (b"application/grpcweb", b"415")])
def test_content_type(echo, content, status):
    with Frames(echo.port) as peer:
        peer.send(SETTINGS)
        peer.send(HEADERS, 0x5, 1, request_headers(content=content))
        assert any(kind == HEADERS and status in payload for kind, _, _, payload in peer.frames())


def test_get(echo):
    with Frames(echo.port) as peer:
        peer.send(SETTINGS)
        peer.send(HEADERS, 0x5, 1, request_headers(method=b"GET"))
        assert any(kind == HEADERS and b"405" in payload for kind, _, _, payload in peer.frames())


@limits("request=1000")
def test_half_a_request_is_given_up(echo):
    with Frames(echo.port) as peer:
        peer.send(SETTINGS)
        peer.send(HEADERS, 0x4, 1, request_headers())
        peer.send(DATA, 0, 1, b"\0\0\0\0\5ab")
        assert any(kind == HEADERS and flags & 1 for kind, flags, _, _ in peer.frames())


def test_large_headers(channel):
    code, _ = failure_of(lambda: unary(channel)(b"", metadata=[("x-%d" % i, "v" * 500) for i in range(30)]))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("frame", [
    (SETTINGS, 0, 0, b""), (PING, 0, 0, b"12345678"), (DATA, 0, 1, b""), (WINDOW_UPDATE, 0, 0, b"\0\0\0\1")],
    ids=["settings", "ping", "empty data", "window update"])
def test_floods(echo, channel, frame):
    with Frames(echo.port) as peer:
        peer.send(SETTINGS)
        if frame[0] == DATA:
            peer.send(HEADERS, 0x4, 1, request_headers())
        peer.flood(frame, 20000)
        assert peer.goaway() == ENHANCE_YOUR_CALM
    assert unary(channel)(b"alive") == b"alive"


def test_continuation_flood(echo, channel):
    with Frames(echo.port) as peer:
        peer.send(SETTINGS)
        peer.send(HEADERS, 0, 1, request_headers())
        peer.flood((CONTINUATION, 0, 1, literal(b"x", b"y")), 20000)
        assert peer.goaway() in (None, 1, ENHANCE_YOUR_CALM)
    assert unary(channel)(b"alive") == b"alive"


def test_rapid_reset(echo, channel):
    with Frames(echo.port) as peer:
        peer.send(SETTINGS)
        try:
            for stream in range(1, 40001, 2):
                peer.send(HEADERS, 0x4, stream, request_headers(path=b"/test.Echo/Hang"))
                peer.send(RST_STREAM, 0, stream, b"\0\0\0\x08")
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert peer.goaway() in (INTERNAL_ERROR, ENHANCE_YOUR_CALM)  # nghttp2's limit, or ours
    assert unary(channel)(b"alive") == b"alive"


def test_pings_of_an_idle_client(echo):
    with Frames(echo.port) as peer:
        peer.send(SETTINGS)
        for _ in range(6):
            peer.send(PING, 0, 0, b"12345678")
        assert peer.goaway() == ENHANCE_YOUR_CALM


def test_oversized_frame(echo, channel):
    with Frames(echo.port) as peer:
        peer.send(SETTINGS)
        peer.flood((DATA, 0, 1, b"x" * 20000), 1)
        assert peer.goaway() in (1, 6)
    assert unary(channel)(b"alive") == b"alive"


def test_many_clients(echo):
    results = []

    def work():
        with connect(echo) as own:
            results.append(all(unary(own)(b"%d" % i) == b"%d" % i for i in range(50)))

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60 * SLOWER)
    assert results == [True] * 20


def test_connection_lost_in_the_middle(echo):
    for size in range(0, 90, 7):
        with Frames(echo.port) as peer:
            data = request_headers()
            frame = struct.pack(">I", len(data))[1:] + bytes((HEADERS, 4)) + struct.pack(">I", 1) + data
            peer.send(SETTINGS)
            peer.socket.sendall(frame[:size])
    with connect(echo) as own:
        assert unary(own)(b"alive") == b"alive"
