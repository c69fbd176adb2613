"""What every TCP connection of the server is set to, and how many of them there can be (README.md, "Configuration")."""
import ctypes
import os
import re
import socket

import pytest
from api_helpers import up, write_tenants
from harness.processes import wait_until
from harness.server import command_of, find_binary

PIDFD_GETFD = 438
libc = ctypes.CDLL(None, use_errno=True)

GRPC = 256  # connections of gRPC that there is always room for


def sockets_of(pid):
    """Copies of the TCP sockets of a process that are connected: {(own port, peer's port): socket}."""
    found = {}
    process = os.pidfd_open(pid)
    try:
        for name in os.listdir("/proc/%d/fd" % pid):
            try:
                if not os.readlink("/proc/%d/fd/%s" % (pid, name)).startswith("socket:"):
                    continue
            except FileNotFoundError:
                continue
            copy = libc.syscall(PIDFD_GETFD, process, int(name), 0)
            assert copy >= 0, os.strerror(ctypes.get_errno())
            one = socket.socket(fileno=copy)
            try:
                if one.family == socket.AF_INET and one.type == socket.SOCK_STREAM:
                    found[one.getsockname()[1], one.getpeername()[1]] = one
                    continue
            except OSError:
                pass  # it listens
            one.close()
    finally:
        os.close(process)
    return found


def settings_of(one):
    option = one.getsockopt
    return (option(socket.SOL_SOCKET, socket.SO_KEEPALIVE), option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            option(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL), option(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
            option(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))


@pytest.fixture
def env(postgres, make_database, connection_env, state_env, tree):
    write_tenants(tree)
    return {**connection_env("tenants", postgres, make_database()), **state_env(postgres, make_database())}


@pytest.mark.parametrize("extra, expected", [
    ({}, (1, 30, 10, 3, 60000)),
    ({"BFM_TCP_KEEPALIVE_IDLE": "2m", "BFM_TCP_KEEPALIVE_INTERVAL": "7s", "BFM_TCP_KEEPALIVE_COUNT": "5",
      "BFM_TCP_USER_TIMEOUT": "1500ms"}, (1, 120, 7, 5, 1500)),
    ({"BFM_TCP_KEEPALIVE_IDLE": "0", "BFM_TCP_USER_TIMEOUT": "0"}, None)])
def test_every_connection_has_its_keep_alive(start_bfm, env, postgres, tree, extra, expected):
    bfm = start_bfm({**env, **extra}, tree=tree)
    assert up(bfm.client, "tenants", schemas=["s"]).status == 200
    with bfm.client.raw() as raw:
        raw.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.read_response().status == 200
        found = sockets_of(bfm.process.pid)
        try:
            client = (bfm.port, raw.socket.getsockname()[1])
            assert client in found, found
            databases = [ports for ports in found if ports[1] == postgres.port]
            assert len(databases) >= 2  # the target and the state database
            for ports in [client, *databases]:
                settings = settings_of(found[ports])
                if expected is None:
                    assert (settings[0], settings[4]) == (0, 0), (ports, settings)
                else:
                    assert settings == expected, (ports, settings)
        finally:
            for one in found.values():
                one.close()


def test_wrong_values_are_named(make_bfm):
    wrong = {"BFM_TCP_KEEPALIVE_IDLE": "canary", "BFM_TCP_KEEPALIVE_INTERVAL": "0", "BFM_TCP_KEEPALIVE_COUNT": "0",
             "BFM_TCP_USER_TIMEOUT": "-1s", "BFM_DB_CONNECT_TIMEOUT": "0"}
    bfm = make_bfm(wrong)
    with pytest.raises(AssertionError, match="bfm ended with 1"):
        bfm.start()
    for name in wrong:
        assert name + ": expected " in bfm.stderr


def limited(soft, hard):
    return ["prlimit", "--nofile=%d:%d" % (soft, hard), *command_of(find_binary()), "serve"]


def test_open_files_are_raised_to_the_hard_limit(start_bfm, tree):
    write_tenants(tree)
    bfm = start_bfm({"BFM_HTTP_MAX_CONNECTIONS": 100}, tree=tree, command=limited(200, 1000))
    with open("/proc/%d/limits" % bfm.process.pid, encoding="ascii") as file:
        assert re.search(r"^Max open files +1000 +1000 ", file.read(), re.MULTILINE)
    assert not [line for line in bfm.log() if "limit of open files" in line["msg"]]


def test_what_does_not_fit_is_said_and_not_accepted(start_bfm, env, tree):
    extra = {"BFM_HTTP_MAX_CONNECTIONS": 1000, "BFM_DB_MAX_OPEN_CONNS": 20, "TENANTS_MAX_OPEN_CONNS": 30}
    bfm = start_bfm({**env, **extra}, tree=tree, command=limited(476, 476))
    line = bfm.wait_log(lambda line: "limit of open files" in line["msg"])
    assert line["level"] == "warn"
    assert (line["allowed"], line["needed"]) == (476, 1000 + 20 + 30 + 128 + GRPC)
    assert line["http_connections"] == 476 - 20 - 30 - 128 - GRPC
    held = []
    try:
        def answers():
            held.append(bfm.client.raw())
            held[-1].send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            return held[-1].read_response().status

        statuses = [answers() for _ in range(line["http_connections"])]
        assert set(statuses) == {200}
        assert answers() == 503  # one too many, and it is told so
    finally:
        for one in held:
            one.socket.close()
    wait_until(lambda: bfm.client.get("/health").status == 200, what="places to be free again")
    assert up(bfm.client, "tenants", schemas=["s%d" % number for number in range(60)]).status == 200
