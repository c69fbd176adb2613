"""The state in a MariaDB that is reached over TLS, by BFM_STATE_DB_SSLMODE."""
import pytest
from api_helpers import up
from harness.certificates import Certificates
from harness.mariadb import MariaDB
from once_helpers import check_all, finish, make_effects, write_steps


@pytest.fixture(scope="module")
def secure():
    server = MariaDB(tls=True)
    try:
        server.start().query(None, "CREATE DATABASE state")
        yield server
    finally:
        server.stop()


def handshakes(server):
    return int(server.query(None, "SHOW GLOBAL STATUS LIKE 'Ssl_finished_accepts'")[0][1])


@pytest.fixture
def world(tree, postgres, database, connection_env):
    make_effects(postgres, database)
    write_steps(tree, 1)
    return connection_env("tenants", postgres, database)


@pytest.mark.parametrize("mode", ["disable", "require", "verify-ca", "verify-full"])
def test_what_is_asked_for(start_bfm, tree, world, secure, mysql_state_env, postgres, database, mode):
    secure.query(None, "DROP DATABASE IF EXISTS state")
    secure.query(None, "CREATE DATABASE state")
    before = handshakes(secure)
    env = {**mysql_state_env(secure, "state"), "BFM_STATE_DB_SSLMODE": mode}
    if mode.startswith("verify"):
        env["BFM_STATE_DB_TLS_CA"] = secure.ca
    if mode == "verify-full":
        env["BFM_STATE_DB_HOST"] = "localhost"
    bfm = start_bfm({**world, **env}, tree=tree)
    finish(bfm, ["a"], 1)
    check_all(bfm, postgres, database, ["a"], 1)
    assert (handshakes(secure) > before) is (mode != "disable")


def test_a_server_of_somebody_else_is_not_trusted(start_bfm, tree, world, secure, mysql_state_env, tmp_path):
    other = Certificates(tmp_path / "other", "somebody else")
    env = {**mysql_state_env(secure, "state"), "BFM_STATE_DB_SSLMODE": "verify-ca", "BFM_STATE_DB_TLS_CA": other.ca}
    bfm = start_bfm({**world, **env}, tree=tree, ready=False)
    line = bfm.wait_log(lambda line: line["msg"] == "state database cannot be used yet")
    assert "certificate" in line["error"], line
    assert secure.password not in line["error"]
    assert up(bfm.client, "tenants", schemas=["a"]).status == 503
