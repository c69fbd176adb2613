"""The C tests that need real servers: the state stores, the drivers and the targets."""
import glob
import os
import subprocess

import pytest

from harness.certificates import Certificates
from harness.etcd import PASSWORD, ROOT_PASSWORD
from harness.http_peer import HttpPeer
from harness.mariadb import MariaDB
from harness.processes import SLOWER, wait_until
from harness.server import SANITIZER, base_environment, command_of, find_binary
from once_helpers import Background, durable_mariadb  # noqa: F401


def run_component(name, args, env, tmp_path):
    path = os.path.join(os.path.dirname(find_binary()), "tests", name)
    assert os.path.exists(path), "%s is not built; configure with -DTESTS=ON" % path
    full = base_environment()
    full.update(env)
    done = subprocess.run(command_of(path) + args, env=full, cwd=tmp_path, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          timeout=900 * SLOWER, check=False)
    assert done.returncode == 0, done.stdout[-20000:]
    assert not SANITIZER.search(done.stdout), done.stdout[-20000:]
    assert "PASSED" in done.stdout  # a program that ran no test proves nothing


def servers(postgres, database, pgbouncer=None):
    env = {"BFM_TEST_PG_HOST": postgres.host, "BFM_TEST_PG_PORT": str(postgres.port), "BFM_TEST_PG_USER": "postgres",
           "BFM_TEST_PG_DATABASE": database}
    if pgbouncer is not None:
        env["BFM_TEST_PGBOUNCER_PORT"] = str(pgbouncer.port)
    return env


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_store(kind, postgres, database, tmp_path):
    run_component("component_store", [kind], servers(postgres, database), tmp_path)


def test_mysql_store(private_mariadb, tmp_path):
    """A server of its own: connections are killed and settings changed."""
    run_component("component_store", ["mysql"], maria_env(private_mariadb, ""), tmp_path)


def test_mysql_store_survives_its_server(durable_mariadb, tmp_path):
    """The server is killed while batches are under way, and started again by whoever looks after it."""
    env = dict(maria_env(durable_mariadb, ""), BFM_TEST_MARIA_PID=str(durable_mariadb.process.pid))

    test = Background(lambda: run_component("component_store", ["mysql", "test_mysql_server_killed"], env, tmp_path))
    wait_until(lambda: durable_mariadb.process.poll() is not None or test.is_done, 60, "the server to be killed")
    if not test.is_done:
        durable_mariadb.start()  # by this thread: the server ends with the one that started it
    test.result(120)


@pytest.mark.parametrize("name", sorted(
    os.path.basename(path)[:-2] for path in glob.glob(os.path.join(os.path.dirname(__file__), "component_pg*.c"))))
def test_pg(name, postgres, database, pgbouncer, tmp_path):
    run_component(name, [], servers(postgres, database, pgbouncer), tmp_path)


def maria_env(server, database):
    return {"BFM_TEST_MARIA_HOST": server.host, "BFM_TEST_MARIA_PORT": str(server.port),
            "BFM_TEST_MARIA_USER": server.user, "BFM_TEST_MARIA_PASSWORD": server.password,
            "BFM_TEST_MARIA_DATABASE": database}


@pytest.mark.parametrize("name", ["component_maria_cancel", "component_maria_pool"])
def test_maria(name, mariadb, make_mysql_database, tmp_path):
    run_component(name, [], maria_env(mariadb, make_mysql_database()), tmp_path)


@pytest.mark.parametrize(
    "name", ["component_mysql_backend", "component_mysql_corrected", "component_mysql_lost", "component_mysql_session",
             "component_mysql_taken"])
def test_mysql(name, private_mariadb, tmp_path):
    """A server of its own, as the tests' database has a fixed name."""
    run_component(name, [], maria_env(private_mariadb, private_mariadb.create_database()), tmp_path)


def test_maria_settings(private_mariadb, tmp_path):
    """A server of its own, as its defaults are changed."""
    run_component("component_maria", [], maria_env(private_mariadb, private_mariadb.create_database()), tmp_path)


@pytest.mark.parametrize("name", ["component_maria_lost", "component_maria_reset"])
def test_maria_lost(name, private_mariadb, tmp_path):
    env = maria_env(private_mariadb, private_mariadb.create_database())
    env["BFM_TEST_MARIA_PID"] = str(private_mariadb.process.pid)
    run_component(name, [], env, tmp_path)


@pytest.mark.parametrize("name", ["component_maria_stall", "component_maria_tls"])
def test_maria_tls(name, mariadb, tmp_path):
    server, other = MariaDB(tls=True), Certificates(tmp_path / "other", "somebody else")
    try:
        env = maria_env(server.start(), server.create_database())
        mariadb.query(None, "CREATE DATABASE " + env["BFM_TEST_MARIA_DATABASE"])
        env.update({"BFM_TEST_MARIA_CA": server.ca, "BFM_TEST_MARIA_OTHER_CA": other.ca,
                    "BFM_TEST_MARIA_PLAIN_PORT": str(mariadb.port)})
        run_component(name, [], env, tmp_path)
    finally:
        mariadb.query(None, "DROP DATABASE " + env["BFM_TEST_MARIA_DATABASE"])
        server.stop()


@pytest.fixture
def http_env(tmp_path):
    """A server for each way of TLS, and the files to reach it with."""
    ours, other = Certificates(tmp_path / "ours"), Certificates(tmp_path / "other", "somebody else")
    tls, wrong = ours.issue("server"), ours.issue("wrong", names="DNS:canary-name.invalid")
    client = ours.issue("client")
    peers = {"HTTP": HttpPeer(), "HTTPS": HttpPeer(tls), "WRONG_NAME": HttpPeer(wrong),
             "CLIENT_CERT": HttpPeer(tls, client_ca=ours.ca)}
    env = {"BFM_TEST_%s_PORT" % name: str(peer.port) for name, peer in peers.items()}
    env.update({"BFM_TEST_CA": ours.ca, "BFM_TEST_OTHER_CA": other.ca, "BFM_TEST_CERT": client[0],
                "BFM_TEST_KEY": client[1], "BFM_TEST_OTHER_KEY": tls[1],
                "BFM_TEST_LOCKED_KEY": ours.lock(client[1], "secret")})
    yield env
    for peer in peers.values():
        peer.stop()


@pytest.mark.parametrize("name", ["component_curl", "component_curl_lost", "component_curl_tls"])
def test_curl(name, http_env, tmp_path):
    run_component(name, [], http_env, tmp_path)


@pytest.mark.parametrize("name", ["component_etcd_client_rows", "component_etcd_client_ends"])
def test_etcd_client_scripted(name, tmp_path):
    peers = {"A": HttpPeer(), "B": HttpPeer()}
    try:
        run_component(name, [],
                      {"BFM_TEST_FAKE_%s_PORT" % name: str(peer.port) for name, peer in peers.items()}, tmp_path)
    finally:
        for peer in peers.values():
            peer.stop()


def test_etcd_client(etcd, make_etcd, tmp_path):
    ours, other = Certificates(tmp_path / "ours"), Certificates(tmp_path / "other", "somebody else")
    client, named = ours.issue("client"), ours.issue("named", subject="/CN=mig")
    auth = make_etcd(options={"auth-token-ttl": 1})
    tls = make_etcd(tls=ours.issue("server"), client_ca=ours.ca, ca=ours.ca, client=client)
    for server in (auth, tls):
        server.enable_auth()
    full, three = make_etcd(options={"quota-backend-bytes": 4 << 20}), make_etcd(size=3)
    env = {"BFM_TEST_ETCD_PORT": etcd.port, "BFM_TEST_ETCD_FULL_PORT": full.port,
           "BFM_TEST_ETCD_AUTH_PORT": auth.port, "BFM_TEST_ETCD_TLS_PORT": tls.port,
           "BFM_TEST_ETCD_PASSWORD": PASSWORD, "BFM_TEST_ETCD_ROOT_PASSWORD": ROOT_PASSWORD,
           "BFM_TEST_ETCD_ENDPOINTS": three.endpoints,
           "BFM_TEST_ETCD_PIDS": ",".join(str(member.process.pid) for member in three.members),
           "BFM_TEST_CA": ours.ca, "BFM_TEST_OTHER_CA": other.ca, "BFM_TEST_CERT": client[0], "BFM_TEST_KEY": client[1],
           "BFM_TEST_CN_CERT": named[0], "BFM_TEST_CN_KEY": named[1]}
    run_component("component_etcd_client", [], {key: str(value) for key, value in env.items()}, tmp_path)


@pytest.mark.parametrize("name", ["component_etcd_backend", "component_etcd_reads", "component_etcd_tombstones",
                                  "component_etcd_undo"])
def test_etcd_backend(etcd, tmp_path, name):
    run_component(name, [], {"BFM_TEST_ETCD_ENDPOINTS": etcd.endpoints}, tmp_path)
