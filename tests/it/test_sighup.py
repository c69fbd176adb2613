"""SIGHUP reads tokens and secrets again; nobody's connection is dropped (README.md, "Tokens")."""
import json
import signal

import pytest
from api_helpers import up, write_tenants
from harness.client import Client
from harness.processes import wait_until

FIRST, SECOND = "canary-token-first-0123", "canary-token-second-0123"


class Files:
    """Files with secrets in them, and the variables that name them."""

    def __init__(self, folder):
        self.folder = folder

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    def tokens(self, *entries):
        return self.write("tokens.json", json.dumps([
            {"name": name, "token": token, "scopes": list(scopes)} for name, token, scopes in entries]))


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def reload(bfm, message="secrets read again"):
    """Sends SIGHUP and waits until it has taken effect; the line that says so."""
    def count():
        return len([line for line in bfm.log() if line["msg"] == message])

    before = count()
    bfm.signal(signal.SIGHUP)
    wait_until(lambda: count() > before, what=message)
    return [line for line in bfm.log() if line["msg"] == message][-1]


def status(bfm, token, path="/api/v1/migrations"):
    return Client("127.0.0.1", bfm.port, token).get(path).status


def test_tokens_change_without_dropping_a_connection(start_bfm, files, tree):
    write_tenants(tree)
    bfm = start_bfm({"BFM_API_TOKENS_FILE": files.tokens(("a", FIRST, ["read"]))}, tree=tree)
    kept = Client("127.0.0.1", bfm.port, FIRST, keep_alive=True)
    assert kept.get("/api/v1/migrations").status == 200
    port = kept._connection.sock.getsockname()[1]
    assert status(bfm, SECOND) == 401
    files.tokens(("b", SECOND, ["read", "migrate"]))
    assert status(bfm, SECOND) == 401  # not before it is asked for
    assert reload(bfm)["tokens"] == 2
    assert kept.get("/api/v1/migrations").status == 401
    kept.token = SECOND
    assert kept.get("/api/v1/migrations").status == 200
    assert kept._connection.sock.getsockname()[1] == port  # the same connection all the time
    assert bfm.client.get("/api/v1/migrations").status == 200
    kept.close()
    bfm.stop()


def test_a_wrong_file_keeps_what_was_there(start_bfm, files, tree):
    write_tenants(tree)
    bfm = start_bfm({"BFM_API_TOKENS_FILE": files.tokens(("a", FIRST, ["read"]))}, tree=tree)
    refused = "secrets were not read again; the ones before stay in use"
    for text in ('[{"name": "b", "token": "%s", "scopes": ["canary"]}]' % SECOND, "canary {", ""):
        files.write("tokens.json", text)
        assert reload(bfm, refused)["level"] == "error"
        assert status(bfm, FIRST) == 200 and status(bfm, SECOND) == 401
    for _ in range(50):
        reload(bfm, refused)
    lines = [line["error"] for line in bfm.log() if line["msg"] == "configuration" and "error" in line]
    assert lines[0].startswith("BFM_API_TOKENS_FILE: [0]: scopes: expected an array"), lines
    assert len(lines) == 53 and all(line.startswith("BFM_API_TOKENS_FILE: ") for line in lines), lines
    (files.folder / "tokens.json").unlink()
    reload(bfm, refused)
    assert status(bfm, FIRST) == 200
    files.tokens(("b", SECOND, ["read"]))
    reload(bfm)
    assert status(bfm, FIRST) == 401 and status(bfm, SECOND) == 200
    bfm.stop()
    for secret in (FIRST, SECOND, "canary {"):
        assert secret not in bfm.stdout + bfm.stderr


def test_the_api_token_is_read_again(start_bfm, files, tree):
    write_tenants(tree)
    bfm = start_bfm({"BFM_API_TOKEN": None, "BFM_API_TOKEN_FILE": files.write("token", FIRST + "\n")}, tree=tree)
    assert status(bfm, FIRST) == 200
    files.write("token", SECOND + "\n")
    reload(bfm)
    assert status(bfm, FIRST) == 401 and status(bfm, SECOND) == 200
    files.write("token", "")
    reload(bfm, "secrets were not read again; the ones before stay in use")
    assert status(bfm, SECOND) == 200


def backends(server, application):
    return {pid for (pid,) in server.query("postgres", "SELECT pid FROM pg_stat_activity WHERE application_name = %s",
                                           (application,))}


def set_password(server, text):
    server.query("postgres", "ALTER ROLE bfm PASSWORD %s", (text,))


def terminate(server, application):
    server.query("postgres", "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                             "WHERE application_name = %s", (application,))


def test_new_logins_use_the_new_password_and_connections_stay(start_bfm, files, tree, private_postgres,
                                                             connection_env):
    database = private_postgres.create_database()
    write_tenants(tree)
    env = connection_env("tenants", private_postgres, database, DB_PASSWORD_FILE=files.write(
        "password", private_postgres.password))
    env.pop("TENANTS_DB_PASSWORD")
    bfm = start_bfm({**env, "BFM_DB_CONN_MAX_LIFETIME_MINUTES": 0, "BFM_DB_CONN_MAX_IDLE_TIME_MINUTES": 0}, tree=tree)
    assert up(bfm.client, "tenants", schemas=["s1"]).status == 200
    idle = backends(private_postgres, "bfm")
    assert idle
    set_password(private_postgres, "canary-rotated ' \\ \"")
    files.write("password", "canary-rotated ' \\ \"\n")
    assert reload(bfm)["passwords_changed"] == 1
    assert backends(private_postgres, "bfm") == idle  # they are still there
    assert up(bfm.client, "tenants", schemas=["s2"]).status == 200
    assert backends(private_postgres, "bfm") & idle  # and in use
    terminate(private_postgres, "bfm")
    assert up(bfm.client, "tenants", schemas=["s3"]).status == 200  # a new login
    assert not backends(private_postgres, "bfm") & idle
    # the old one would not do, and the moment that it is put right it is used
    set_password(private_postgres, "canary-other")
    terminate(private_postgres, "bfm")
    answer = up(bfm.client, "tenants", schemas=["s4"])
    assert answer.status == 206 and "authentication" in answer.text, answer
    files.write("password", "canary-other")
    assert reload(bfm)["passwords_changed"] == 1
    assert up(bfm.client, "tenants", schemas=["s4"]).status == 200
    assert reload(bfm)["passwords_changed"] == 0
    bfm.stop()
    assert "canary-rotated" not in bfm.stdout and "canary-other" not in bfm.stdout


def test_the_state_database_gets_its_new_password(start_bfm, files, tree, private_postgres, state_env):
    write_tenants(tree)
    env = state_env(private_postgres, private_postgres.create_database())
    env.pop("BFM_STATE_DB_PASSWORD")
    env["BFM_STATE_DB_PASSWORD_FILE"] = files.write("password", private_postgres.password)
    bfm = start_bfm(env, tree=tree)
    set_password(private_postgres, "canary-other")
    terminate(private_postgres, "bfm-state")
    wait_until(lambda: bfm.client.get("/health").status == 503, what="the state database to be missed")
    files.write("password", "canary-other")
    assert reload(bfm)["passwords_changed"] == 1
    bfm.wait_healthy()
    assert bfm.client.get("/api/v1/migrations").status == 200
    assert backends(private_postgres, "bfm-state")


def test_many_signals_and_the_end(start_bfm, files, tree):
    write_tenants(tree)
    bfm = start_bfm({"BFM_API_TOKENS_FILE": files.tokens(("a", FIRST, ["read"]))}, tree=tree)
    for _ in range(50):
        bfm.signal(signal.SIGHUP)
        assert status(bfm, FIRST) == 200
    reload(bfm)
    for _ in range(3):
        bfm.signal(signal.SIGHUP)
    bfm.stop()


# --- targets of other kinds, and the state in MariaDB ---

def test_a_mysql_target_gets_its_new_password(start_bfm, files, tree, private_mariadb, mysql_env):
    tree.write("mysql/shop/20250101000000_a.up.sql", "CREATE TABLE a (id int);\n")
    env = mysql_env("shop", private_mariadb, DB_PASSWORD_FILE=files.write("password", private_mariadb.password),
                    MAX_OPEN_CONNS=1)
    env.pop("SHOP_DB_PASSWORD")
    bfm = start_bfm(env, tree=tree)
    assert up(bfm.client, "shop", schemas=["s1"]).status == 200
    set_mariadb_password(private_mariadb, "canary-other")
    end_mariadb_sessions(private_mariadb)
    answer = up(bfm.client, "shop", schemas=["s2"])
    assert answer.status == 206 and "canary" not in answer.text, answer
    files.write("password", "canary-other")
    assert reload(bfm)["passwords_changed"] == 1
    assert up(bfm.client, "shop", schemas=["s2"]).status == 200
    bfm.stop()
    assert "canary-other" not in bfm.stdout


def set_mariadb_password(server, text):
    server.query(None, "ALTER USER %s@'%%%%' IDENTIFIED BY %%s" % server.user, (text,))


def end_mariadb_sessions(server):
    for (session,) in server.query(None, "SELECT id FROM information_schema.processlist WHERE user = %s",
                                   (server.user,)):
        server.query(None, "KILL %s", (session,))


def test_the_state_in_mariadb_gets_its_new_password(start_bfm, files, tree, private_mariadb, mysql_state_env):
    write_tenants(tree)
    env = mysql_state_env(private_mariadb, private_mariadb.create_database())
    env.pop("BFM_STATE_DB_PASSWORD")
    env["BFM_STATE_DB_PASSWORD_FILE"] = files.write("password", private_mariadb.password)
    bfm = start_bfm(env, tree=tree)
    set_mariadb_password(private_mariadb, "canary-other")
    end_mariadb_sessions(private_mariadb)
    wait_until(lambda: bfm.client.get("/health").status == 503, what="the state database to be missed")
    files.write("password", "canary-other")
    assert reload(bfm)["passwords_changed"] == 1
    bfm.wait_healthy()
    assert bfm.client.get("/api/v1/migrations").status == 200


def test_an_etcd_target_gets_its_new_password(start_bfm, files, tree, make_etcd, etcd_env):
    etcd = make_etcd()
    etcd.enable_auth("app")
    tree.write("etcd/settings/20250101000000_a.up.json", '[{"key": "a", "value": "b"}]')
    bfm = start_bfm(etcd_env("settings", etcd, PREFIX="app/", DB_USERNAME=etcd.user,
                             DB_PASSWORD_FILE=files.write("password", etcd.password)), tree=tree)
    assert up(bfm.client, "settings", schemas=["s1"]).status == 200
    etcd.change_password("canary-other")
    answer = up(bfm.client, "settings", schemas=["s2"])
    assert answer.status == 206 and "canary" not in answer.text, answer
    files.write("password", "canary-other")
    assert reload(bfm)["passwords_changed"] == 1
    assert up(bfm.client, "settings", schemas=["s2"]).status == 200


def test_a_greptimedb_target_gets_its_new_password(start_bfm, files, tree, make_greptimedb, greptimedb_env):
    """The first password is a wrong one."""
    server = make_greptimedb(users={"u": ("rw", "canary-right")})
    tree.write("greptimedb/metrics/20250101000000_a.up.sql", 'CREATE TABLE a ("ts" TIMESTAMP(3) TIME INDEX);\n')
    env = greptimedb_env("metrics", server, DB_USERNAME="u", DB_PASSWORD_FILE=files.write("password", "canary-wrong"))
    env.pop("METRICS_DB_PASSWORD", None)
    bfm = start_bfm(env, tree=tree)
    answer = up(bfm.client, "metrics", schemas=["s1"])
    assert answer.status == 206 and "canary" not in answer.text, answer
    files.write("password", "canary-right")
    assert reload(bfm)["passwords_changed"] == 1
    assert up(bfm.client, "metrics", schemas=["s1"]).status == 200
