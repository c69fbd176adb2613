"""The double of GreptimeDB says what the contract quotes. What needs no settings or faults of its own also holds for a
real server, when BFM_TEST_GREPTIMEDB_URL names one."""
import base64
import http.client
import socket
import time
from urllib.parse import urlencode

import pytest

from harness.client import Client
from harness.greptimedb.answers import CODES
from harness.greptimedb.handle import PASSWORD, USER, SqlFailed
from harness.processes import wait_until
from once_helpers import Background

TABLE = 'CREATE TABLE %s ("ts" TIMESTAMP(3) TIME INDEX, "host" STRING PRIMARY KEY, cpu DOUBLE)'
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def db(greptimedb, greptimedb_name):
    """A database of its own, and how to ask in it."""
    greptimedb.execute("CREATE DATABASE " + greptimedb_name)

    class Db:
        name = greptimedb_name

        @staticmethod
        def post(sql, **kwargs):
            return greptimedb.post(sql, **{"db": greptimedb_name, **kwargs})

        @staticmethod
        def execute(sql):
            return greptimedb.execute(sql, greptimedb_name)

        @staticmethod
        def query(sql):
            return greptimedb.query(sql, greptimedb_name)

        @staticmethod
        def tables():
            return greptimedb.tables(greptimedb_name)

    return Db


def expect_error(answer, status, code, text=None):
    assert answer.status == status, answer
    body = answer.json
    assert sorted(body) == ["code", "error", "execution_time_ms"], answer
    assert isinstance(body["execution_time_ms"], int)
    assert body["code"] == code, answer
    if text is not None:
        assert body["error"] == text, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-greptime-err-code"] == str(code)
    assert answer.headers["x-greptime-err-msg"].startswith("error: ")
    assert "x-greptime-format" not in answer.headers and "x-greptime-execution-time" not in answer.headers


def basic(user, password, scheme="Basic"):
    return "%s %s" % (scheme, base64.b64encode(("%s:%s" % (user, password)).encode()).decode())


# --- success ---

def test_success_bodies(db):
    answer = db.post(TABLE % "cpu")
    assert answer.status == 200 and sorted(answer.json) == ["execution_time_ms", "output"], answer
    assert answer.json["output"] == [{"affectedrows": 0}]
    assert answer.headers["x-greptime-format"] == "greptimedb_v1"
    assert answer.headers["x-greptime-execution-time"].isdigit()
    assert db.execute("INSERT INTO cpu VALUES (0, 'a', 66.6)") == {"affectedrows": 1}
    found = db.execute("SELECT cpu, ts FROM cpu")["records"]
    assert found["schema"]["column_schemas"] == [{"name": "cpu", "data_type": "Float64"},
                                                 {"name": "ts", "data_type": "TimestampMillisecond"}]
    assert (found["rows"], found["total_rows"]) == ([[66.6, 0]], 1)
    assert db.execute("USE public")["records"]["rows"] == []
    assert db.execute("SELECT cpu FROM cpu WHERE cpu < 0")["records"]["rows"] == []


def test_same_key_overwrites(db):
    db.execute(TABLE % "cpu")
    assert db.execute("INSERT INTO cpu VALUES (0, 'a', 1), (0, 'b', 2), (1, 'a', 3)") == {"affectedrows": 3}
    assert db.execute("INSERT INTO cpu (host, ts, cpu) VALUES ('a', 0, NULL)") == {"affectedrows": 1}
    assert db.query("SELECT ts, host, cpu FROM cpu ORDER BY host, ts") == [(0, "a", None), (1, "a", 3), (0, "b", 2)]
    db.execute("DELETE FROM cpu WHERE ts = 0 AND host = 'b'")
    assert db.query("SELECT count(*) AS n FROM cpu") == [(2,)]


def test_databases(greptimedb, greptimedb_name):
    name = greptimedb_name
    assert greptimedb.execute("CREATE DATABASE " + name) == {"affectedrows": 1}
    assert greptimedb.execute("CREATE DATABASE IF NOT EXISTS " + name) == {"affectedrows": 1}
    expect_error(greptimedb.post("CREATE DATABASE " + name), 400, 1004, "Schema %s already exists" % name)
    assert greptimedb.execute("CREATE SCHEMA %sB WITH (ttl = '7d')" % name) == {"affectedrows": 1}
    assert name + "b" in greptimedb.databases() and name + "B" not in greptimedb.databases()
    assert {"public", "information_schema"} <= greptimedb.databases()
    assert "pg_catalog" not in greptimedb.databases()
    found = greptimedb.query("SELECT schema_name FROM information_schema.schemata WHERE schema_name = '%s'" % name)
    assert found == [(name,)]
    assert greptimedb.execute("SHOW DATABASES LIKE '%s'" % name)["records"]["rows"] == [[name]]
    expect_error(greptimedb.post("DROP DATABASE " + name, db=name), 400, 1004, "Schema `%s` is in use" % name)
    greptimedb.execute(TABLE % (name + ".t"))
    assert greptimedb.execute("DROP DATABASE " + name) == {"affectedrows": 0}
    expect_error(greptimedb.post("DROP DATABASE " + name), 400, 1004,
                 "Failed to find schema, schema info: " + name)
    assert greptimedb.execute("DROP DATABASE IF EXISTS " + name) == {"affectedrows": 0}
    assert greptimedb.post("CREATE DATABASE `1%s`" % name).json["code"] == 1002
    assert greptimedb.post("CREATE DATABASE `1%s`" % name).status == 500


def test_which_database(greptimedb, greptimedb_name):
    name = greptimedb_name
    expect_error(greptimedb.post("SELEC", db=name), 400, 4004, "Database not found: " + name)  # before parsing
    expect_error(greptimedb.post("SELECT 1", db=""), 400, 4004)
    greptimedb.execute("CREATE DATABASE `%s-b`" % name)
    expect_error(greptimedb.post("SELECT 1", db=name + "-b"), 400, 4004)
    assert greptimedb.post("SELECT 1", db="greptime-%s-b" % name).status == 200
    greptimedb.execute("CREATE DATABASE %sMIXED" % name)
    expect_error(greptimedb.post("SELECT 1", db=name + "MIXED"), 400, 4004)
    assert greptimedb.post("SELECT 1", db=name + "mixed").status == 200
    expect_error(greptimedb.post("SELECT 1", db="pg_catalog"), 400, 4004)
    greptimedb.execute("CREATE DATABASE %s.dotted" % name)
    assert name + ".dotted" in greptimedb.databases()


# --- several statements ---

def test_stops_at_the_first_failure(db):
    answer = db.post("; ".join(TABLE % name for name in "aab"))
    expect_error(answer, 400, 4000, "Table already exists: `greptime.%s.a`" % db.name)
    assert db.tables() == ["a"]


def test_a_syntax_error_anywhere_runs_nothing(db):
    answer = db.post(TABLE % "a" + "; CREATE TABLE b (ts TIMESTAMP)")
    expect_error(answer, 400, 2000, "Missing time index constraint")
    expect_error(db.post(TABLE % "a" + "; SELEC 1"), 400, 1001, "SQL statement is not supported, keyword: SELEC")
    assert db.tables() == []


def test_several_outputs(db):
    answer = db.post(";; -- first\n%s; /* then */ USE public; SELECT 1 AS one;;" % (TABLE % "a"))
    assert [sorted(item) for item in answer.json["output"]] == [["affectedrows"], ["records"], ["records"]], answer


def test_a_read_that_fails_does_not_stop_what_follows(db):
    assert db.post("SELECT 1 / 0 AS x; " + TABLE % "a").status != 200
    assert db.tables() == ["a"]


def test_show_databases_swallows_the_semicolon(db):
    expect_error(db.post("SHOW DATABASES; SELECT 1"), 400, 1001, "SQL statement is not supported, keyword: SELECT")
    assert db.post("SELECT 1; SHOW DATABASES").status == 200
    assert db.post("SHOW DATABASES LIKE 'x'; SELECT 1").status == 200


# --- errors ---

@pytest.mark.parametrize("sql", ["", "  \n", ";", ";;", "-- nothing", "/* nothing */ ;"])
def test_empty_statements(db, sql):
    expect_error(db.post(sql), 400, 1004, "Invalid SQL, error: empty statements")


@pytest.mark.parametrize("verb", ["BEGIN", "COMMIT", "UPDATE t SET x = 1", "PREPARE p", "LOCK t", "SELEC 1"])
def test_unsupported_verbs(db, verb):
    expect_error(db.post(verb), 400, 1001, "SQL statement is not supported, keyword: " + verb.split()[0])


@pytest.mark.parametrize("sql, code", [
    ("SET nonsense_variable = 1", 1001), ("USE nosuch_db", 1004), ("DROP TABLE nosuch", 4001),
    ("ALTER TABLE nosuch ADD COLUMN x INT", 4001), ("INSERT INTO nosuch VALUES (1)", 4001),
    ("CREATE TABLE `1x` (ts TIMESTAMP TIME INDEX)", 1004), ("ALTER TABLE t DROP COLUMN nosuch", 4002),
    ("ALTER TABLE t ADD COLUMN cpu INT", 4003), ("ALTER TABLE t DROP COLUMN host", 1004),
    ("ALTER TABLE t DROP COLUMN ts", 1004), ("ALTER TABLE t ADD COLUMN x INT NOT NULL", 1004),
    ("ALTER TABLE t RENAME t2", 4000), ("DROP DATABASE information_schema", 1001)])
def test_codes_of_statements(db, sql, code):
    db.execute(TABLE % "t")
    db.execute(TABLE % "t2")
    expect_error(db.post(sql), CODES[code][1], code)


@pytest.mark.parametrize("sql, code", [
    ("TRUNCATE TABLE nosuch", 4001), ("CREATE TABLE information_schema.t (ts TIMESTAMP TIME INDEX)", 1001),
    ("CREATE TABLE t2 (ts STRING TIME INDEX)", 2000),
    ("CREATE TABLE t2 (ts TIMESTAMP TIME INDEX, host STRING PRIMARY KEY, PRIMARY KEY (host))", 2000),
    ("CREATE TABLE t2 (ts TIMESTAMP TIME INDEX, ts2 TIMESTAMP TIME INDEX)", 2000),
    ("CREATE TABLE x ('", 2000), ("ALTER TABLE t DROP COLUMN IF EXISTS x", 2000),
    ("ALTER TABLE t ADD COLUMN x INT, DROP COLUMN cpu", 2000)])
def test_codes_that_the_contract_leaves_open(private_greptimedb, sql, code):
    """What the double takes them for; none of them has an effect."""
    private_greptimedb.execute(TABLE % "t")
    expect_error(private_greptimedb.post(sql), CODES[code][1], code)
    assert private_greptimedb.tables("public") == ["t"]


def test_texts_of_missing_schemas(db):
    expect_error(db.post(TABLE % "nosuch_db.t"), 400, 1004, "Failed to find schema, schema info: nosuch_db")
    expect_error(db.post("SELECT * FROM nosuch_db.t"), 400, 4001,
                 "Failed to plan SQL: Table not found: greptime.nosuch_db.t")
    assert db.query("SHOW TABLES FROM nosuch_db") == []


@pytest.mark.parametrize("word", "id name version checksum status type timestamp time date value key hash message user "
                         "path source step".split())
def test_keywords_are_no_columns(db, word):
    expect_error(db.post("CREATE TABLE k (ts TIMESTAMP TIME INDEX, %s STRING)" % word), 400, 2000)
    db.execute('CREATE TABLE k (ts TIMESTAMP TIME INDEX, "%s" STRING)' % word)
    expect_error(db.post("ALTER TABLE k ADD COLUMN %s INT" % word), 400, 2000)


def test_identifiers_strings_and_comments(db):
    db.execute('CREATE TABLE Mixed (ts TIMESTAMP TIME INDEX, "Host" STRING)')
    db.execute('CREATE TABLE "Mixed" (ts TIMESTAMP TIME INDEX)')
    assert db.tables() == ["Mixed", "mixed"]
    db.execute("INSERT INTO mixed VALUES (1, 'it''s \\'), (2, $$a;b'$$), (3, '-- no /* comment')")
    assert db.query('SELECT "Host" FROM mixed ORDER BY ts') == [("it's \\",), ("a;b'",), ("-- no /* comment",)]
    assert db.post("SELECT 1 # x").status == 400
    assert db.post("INSERT INTO mixed VALUES (1, 5)").status == 400


def test_alter_table(db):
    db.execute(TABLE % "t")
    db.execute("INSERT INTO t VALUES (0, 'a', 1)")
    db.execute("ALTER TABLE t ADD COLUMN x INT, ADD COLUMN IF NOT EXISTS cpu DOUBLE")
    db.execute("ALTER TABLE t MODIFY COLUMN x BIGINT")
    db.execute("ALTER TABLE t DROP COLUMN cpu")
    db.execute("ALTER TABLE t RENAME t3")
    assert db.tables() == ["t3"]
    names = db.query("SELECT column_name, semantic_type FROM information_schema.columns WHERE table_name = 't3' AND "
                     "table_schema = '%s' ORDER BY column_name" % db.name)
    assert names == [("host", "TAG"), ("ts", "TIMESTAMP"), ("x", "FIELD")]
    db.execute("CREATE TABLE IF NOT EXISTS t3 (other TIMESTAMP TIME INDEX)")
    db.execute("CREATE TABLE t4 LIKE t3")
    db.execute("TRUNCATE TABLE t3")
    assert db.query("SELECT count(*) AS n FROM t3") == [(0,)]
    db.execute("DROP TABLE t3")
    db.execute("DROP TABLE IF EXISTS t3")
    assert db.tables() == ["t4"]


# --- HTTP ---

def ask(server, method, path, body=None, headers=None, user=True):
    sent = {"Authorization": basic(USER, PASSWORD)} if user else {}
    sent.update(headers or {})
    return Client(server.host, server.port).request(method, path, body, sent)


def test_paths_and_methods(private_greptimedb):
    for path in ("/health", "/ready", "/v1/health"):
        for method in ("GET", "POST"):
            answer = ask(private_greptimedb, method, path, user=False)
            assert (answer.status, answer.text) == (200, "{}"), answer
    assert ask(private_greptimedb, "GET", "/status", user=False).json["version"] == "1.1.4"
    for method, path, status in (("GET", "/nosuch", 404), ("PUT", "/v1/sql", 405), ("POST", "/status", 405),
                                 ("GET", "/v1/nosuch", 404)):
        answer = ask(private_greptimedb, method, path)
        assert (answer.status, answer.body) == (status, b""), answer
    for path in ("/v1/nosuch", "/v1/sql"):
        expect_error(ask(private_greptimedb, "PUT", path, user=False), 401, 7003)


@pytest.mark.parametrize("path, body, headers, status, text", [
    ("/v1/sql?sql=SELECT+1", "", {}, 415, "Form requests must have `Content-Type: application/x-www-form-urlencoded`"),
    ("/v1/sql?sql=SELECT+1", "{}", {"Content-Type": "application/json"}, 415,
     "Form requests must have `Content-Type: application/x-www-form-urlencoded`"),
    ("/v1/sql?limit=x", "", FORM, 400, "Failed to deserialize query string: "),
    ("/v1/sql?sql=a&sql=b", "", FORM, 400, "Failed to deserialize query string: "),
    ("/v1/sql", "sql=a&sql=b", FORM, 422, "Failed to deserialize form body: "),
    ("/v1/sql", "sql=" + "x" * 2000, FORM, 413, "Failed to buffer the request body: length limit exceeded"),
], ids=["no form", "json", "bad parameter", "twice in query", "twice in form", "too large"])
def test_refused_by_the_framework(make_greptimedb, path, body, headers, status, text):
    answer = ask(make_greptimedb(body_limit=1000), "POST", path, body, headers)
    assert answer.status == status and answer.text.startswith(text), answer
    assert answer.headers["content-type"].startswith("text/plain")
    assert not [name for name in answer.headers if name.lower().startswith("x-greptime")]


def test_parameters(private_greptimedb):
    server = private_greptimedb
    server.execute("CREATE DATABASE a")
    server.execute("CREATE DATABASE b")
    for name in "ab":
        server.execute("CREATE TABLE only_%s (ts TIMESTAMP TIME INDEX)" % name, db=name)

    def tables(query="", form=None, headers=None):
        body = urlencode({"sql": "SHOW TABLES", **(form or {})})
        answer = ask(server, "POST", "/v1/sql" + query, body, {**FORM, **(headers or {})})
        return [row[0] for row in answer.json["output"][0]["records"]["rows"]]

    assert tables() == []
    assert tables(headers={"x-greptime-db-name": "a"}) == ["only_a"]
    assert tables(form={"db": "b"}, headers={"x-greptime-db-name": "a"}) == ["only_b"]
    assert tables("?db=a", {"db": "b"}, {"x-greptime-db-name": "b"}) == ["only_a"]
    odd = ask(server, "GET", "/v1/sql?sql=SELECT+1%2B1+AS+x&format=nonsense")
    assert odd.json["output"][0]["records"]["rows"] == [[2]]
    expect_error(ask(server, "GET", "/v1/sql"), 400, 1004, "sql parameter is required.")
    limited = ask(server, "POST", "/v1/sql?limit=1", "sql=SHOW+DATABASES&limit=2", FORM).json["output"][0]["records"]
    assert len(limited["rows"]) == 1 and limited["total_rows"] == 1


@pytest.mark.parametrize("headers, code, text", [
    ({}, 7003, "Not found http or grpc authorization header"),
    ({"Authorization": "Basic"}, 7004, "Invalid http authorization header"),
    ({"Authorization": "Digest abc"}, 7004, "Unsupported http auth scheme, name: digest"),
    ({"Authorization": "Basic ***"}, 7004, None),
    ({"Authorization": basic("bob", "x")}, 7000, "User not found, username: bob"),
    ({"Authorization": basic(USER, "x")}, 7002, "Username and password does not match, username: " + USER),
    ({"Authorization": basic(USER, PASSWORD), "x-greptime-auth": basic("bob", "x")}, 7000, None)])
def test_who_is_refused(private_greptimedb, headers, code, text):
    answer = ask(private_greptimedb, "GET", "/v1/sql?sql=SELECT+1", headers=headers, user=False)
    expect_error(answer, 401, code, text)
    assert "www-authenticate" not in answer.headers and answer.json["execution_time_ms"] == 0


def test_who_is_let_in(make_greptimedb):
    server = make_greptimedb(users={"reader": ["ro", "r"], "writer": ["wo", "w"], USER: ["rw", PASSWORD]})
    path = "/v1/sql?sql="
    headers = {"Authorization": basic("bob", "x"), "x-greptime-auth": basic(USER, PASSWORD, "bAsIc")}
    assert ask(server, "GET", path + "SELECT+1", headers=headers).status == 200
    answer = ask(server, "GET", path + "CREATE+DATABASE+x", headers={"Authorization": basic("reader", "r")})
    expect_error(answer, 403, 7006, "User is not authorized to perform this action")
    both = "CREATE+DATABASE+x;SHOW+TABLES"
    expect_error(ask(server, "GET", path + both, headers={"Authorization": basic("writer", "w")}), 403, 7006)
    assert "x" in server.databases()
    open_to_all = make_greptimedb(users={})
    assert ask(open_to_all, "GET", path + "SELECT+1", headers={"Authorization": "nonsense"}).status == 200


# --- faults, time and ends ---

def test_timeout(make_greptimedb):
    server = make_greptimedb(http_timeout=1)
    slow = server.hold("CREATE DATABASE slow", times=0)
    answer = server.post("CREATE DATABASE slow; CREATE DATABASE never")
    assert (answer.status, answer.body) == (408, b"")
    assert not [name for name in answer.headers if name.lower().startswith("x-greptime")]
    waiting = Background(lambda: server.post("CREATE DATABASE slow2", headers={"x-greptime-timeout": "0s"}))
    slow.wait(2)
    slow.release()
    assert waiting.result().status == 200
    wait_until(lambda: "slow" in server.databases(), what="what was begun to end")
    assert "never" not in server.databases()


def test_a_server_without_a_timeout_heeds_no_header(private_greptimedb):
    fault = private_greptimedb.fault("SELECT", before=0.3)
    assert private_greptimedb.post("SELECT 1", headers={"x-greptime-timeout": "10ms"}).status == 200
    assert fault.hits() == 1


@pytest.mark.parametrize("settings, made", [
    ({"execute": "no", "reply": "drop"}, False), ({"reply": "drop"}, True), ({"reply": "half"}, True)])
def test_lost_answers(private_greptimedb, settings, made):
    private_greptimedb.fault("CREATE DATABASE x", **settings)
    with pytest.raises((OSError, http.client.HTTPException)):
        private_greptimedb.post("CREATE DATABASE x")
    assert ("x" in private_greptimedb.databases()) is made
    assert private_greptimedb.post("CREATE DATABASE x").status == (400 if made else 200)


def test_replies(private_greptimedb):
    server = private_greptimedb
    server.fault("first", skip=1, times=2, execute="no", reply={"status": 429, "body": "Request body memory limit "
                                                                "exceeded: x"})
    statuses = [server.post("SELECT 'first'").status for _ in range(4)]
    assert statuses == [200, 429, 429, 200]
    server.fault("coded", execute="no", reply={"code": 4007})
    expect_error(server.post("SELECT 'coded'"), 401, 4007)
    server.fault("lying", reply={"code": 1003, "status": 200})
    expect_error(server.post("SELECT 'lying'"), 200, 1003)
    server.fault("CREATE DATABASE empty", reply={"status": 408})
    assert server.post("CREATE DATABASE empty").body == b""
    later = server.fault("CREATE DATABASE later", execute="later", reply={"status": 408})
    assert server.post("CREATE DATABASE later").status == 408
    assert {"empty"} <= server.databases() and "later" not in server.databases()
    later.release()
    wait_until(lambda: "later" in server.databases(), what="it to be made in the background")
    assert server.sent("CREATE DATABASE later") == server.executed("later") == ["CREATE DATABASE later"]


def test_killed_and_started_again(private_greptimedb):
    server = private_greptimedb
    server.execute("CREATE DATABASE kept")
    held = server.hold("CREATE DATABASE lost")
    running = Background(lambda: server.post("CREATE DATABASE lost"))
    held.wait()
    server.kill()
    with pytest.raises((OSError, http.client.HTTPException)):
        running.result()
    server.start()
    assert "kept" in server.databases() and "lost" not in server.databases()
    server.kill()
    server.forget()
    server.start()
    assert "kept" not in server.databases()
    assert len(server.sent("CREATE DATABASE")) == 2


def test_a_client_that_leaves(private_greptimedb):
    """What has begun ends; the statements behind it do not run."""
    held = private_greptimedb.hold("CREATE DATABASE begun")
    body = urlencode({"sql": "CREATE DATABASE begun; CREATE DATABASE behind"})
    with socket.create_connection((private_greptimedb.host, private_greptimedb.port)) as client:
        client.sendall(("POST /v1/sql HTTP/1.1\r\nhost: x\r\ncontent-type: %s\r\nauthorization: %s\r\n"
                        "content-length: %d\r\n\r\n%s" % (FORM["Content-Type"], basic(USER, PASSWORD), len(body),
                                                         body)).encode())
        held.wait()
    wait_until(lambda: private_greptimedb.stats()["in_flight"] == 0, what="the request to be given up")
    held.release()
    wait_until(lambda: "begun" in private_greptimedb.databases(), what="what was begun to end")
    assert "behind" not in private_greptimedb.databases()


def test_connections_are_kept(private_greptimedb):
    with Client(private_greptimedb.host, private_greptimedb.port).raw() as client:
        for _ in range(3):
            client.send("GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            assert client.read_response().text == "{}"
        assert private_greptimedb.stats()["connections"] == 1


def test_one_of_several_makers_wins(private_greptimedb):
    makers = [Background(lambda: private_greptimedb.post(TABLE % "mutex")) for _ in range(8)]
    codes = sorted(maker.result().json.get("code", 0) for maker in makers)
    assert codes == [0] + [4000] * 7


def test_what_fails_is_told(private_greptimedb):
    with pytest.raises(SqlFailed, match="4001"):
        private_greptimedb.execute("DROP TABLE nosuch")
    begin = time.time()
    assert private_greptimedb.query("SELECT now() AS n")[0][0] >= int(begin * 1000) - 1000
