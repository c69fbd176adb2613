"""GreptimeDB targets (bfm-api.md §3.3, greptimedb-http.md). Tests that take `greptimedb` hold for a real server, too,
when BFM_TEST_GREPTIMEDB_URL names one; the others look into the double."""
import pytest

from api_helpers import down, migrate, rollback
from greptimedb_helpers import (CONNECTION, IDEMPOTENT_TABLE, TABLE, expect_applied, expect_failed, expect_no_leak,
                                failed_detail, run, sent_in, step_id, step_path, version, write_step, write_steps)
from harness.certificates import Certificates
from harness.processes import wait_until
from once_helpers import Background


@pytest.fixture
def start(start_bfm, tree, greptimedb, greptimedb_env):
    """start(MAX_OPEN_CONNS=2) is a server whose connection metrics is `greptimedb`."""
    def begin(**extra):
        return start_bfm(greptimedb_env(CONNECTION, greptimedb, **extra), tree=tree)
    return begin


@pytest.fixture
def start_private(start_bfm, tree, private_greptimedb, greptimedb_env):
    """The same for `private_greptimedb`."""
    def begin(**extra):
        return start_bfm(greptimedb_env(CONNECTION, private_greptimedb, **extra), tree=tree)
    return begin


# --- up and down ---

def test_it_migrates(start, tree, greptimedb, greptimedb_name):
    name = greptimedb_name
    stem = "greptimedb/metrics/%s_cpu_20250401070000_create_cpu" % name
    tree.write(stem + ".sql", "-- a header; with a semicolon\n" + TABLE % "cpu" +
               "INSERT INTO cpu VALUES (0, 'a', 1);\n")
    tree.write(stem + "_down.sql", "DROP TABLE cpu;\n")
    bfm = start()
    answer = migrate(bfm.client, CONNECTION, schema=name)
    expect_applied(answer, "%s_cpu_20250401070000_create_cpu" % name)
    assert greptimedb.tables(name) == ["cpu"]
    assert greptimedb.query("SELECT count(*) AS n FROM cpu", name) == [(1,)]
    again = migrate(bfm.client, CONNECTION, schema=name)
    assert again.status == 200 and again.json["applied"] == [] and len(again.json["skipped"]) == 1, again
    base = "20250401070000_create_cpu_greptimedb_metrics"
    item = bfm.client.get("/api/v1/migrations").json["items"][0]
    assert (item["migration_id"], item["backend"], item["status"]) == (base, "greptimedb", "applied"), item
    expect_applied(down(bfm.client, base), "%s_%s" % (name, base))
    assert greptimedb.tables(name) == []
    assert down(bfm.client, base).json["skipped"] == ["%s_%s (not applied)" % (name, base)]
    assert rollback(bfm.client, base).status == 400
    expect_applied(migrate(bfm.client, CONNECTION, schema=name), "%s_cpu_20250401070000_create_cpu" % name)


def test_steps_in_order_and_undone(start, tree, greptimedb, greptimedb_name):
    write_steps(tree, 3)
    bfm = start()
    ids = ["%s_%s" % (greptimedb_name, step_id(number)) for number in (1, 2, 3)]
    expect_applied(run(bfm, greptimedb_name), *ids)
    assert greptimedb.tables(greptimedb_name) == ["t1", "t2", "t3"]
    answer = rollback(bfm.client, step_id(2), {"schemas": [greptimedb_name]})
    assert answer.status == 200 and answer.json["success"], answer
    assert greptimedb.tables(greptimedb_name) == ["t1", "t3"]
    expect_applied(run(bfm, greptimedb_name), ids[1])


def test_a_server_that_starts_again_remembers(start, tree, greptimedb_name):
    write_steps(tree, 2)
    bfm = start()
    assert run(bfm, greptimedb_name).status == 200
    bfm.stop()
    bfm.start()
    answer = run(bfm, greptimedb_name)
    assert answer.status == 200 and answer.json["applied"] == [] and len(answer.json["skipped"]) == 2, answer
    reconciled = bfm.client.post("/api/v1/reconcile", {})
    assert reconciled.status == 200, reconciled
    assert len(run(bfm, greptimedb_name).json["skipped"]) == 2


def test_dry_run(start_private, tree, private_greptimedb):
    write_steps(tree, 2)
    bfm = start_private()
    answer = run(bfm, "dry", dry_run=True)
    assert answer.status == 200 and len(answer.json["applied"]) == 2, answer
    assert all(one.endswith(" (dry-run)") for one in answer.json["applied"])
    assert private_greptimedb.executed("CREATE") == [] and "dry" not in private_greptimedb.databases()


def test_many_schemas_at_once(start_private, tree, private_greptimedb):
    write_steps(tree, 2)
    bfm = start_private(MAX_OPEN_CONNS=3)
    schemas = ["m%d" % number for number in range(30)]
    gate = private_greptimedb.hold("CREATE TABLE t1", times=0)
    running = Background(lambda: run(bfm, *schemas))
    gate.wait(3)
    assert private_greptimedb.stats()["in_flight"] == 3
    gate.release()
    answer = running.result()
    assert answer.status == 200 and len(answer.json["applied"]) == 60, answer
    assert private_greptimedb.stats()["most_in_flight"] == 3
    assert private_greptimedb.stats()["most_connections"] <= 4  # one is the test's own question
    for schema in schemas:
        assert private_greptimedb.tables(schema) == ["t1", "t2"]


def test_one_connection_is_enough(start_private, tree, private_greptimedb):
    write_steps(tree, 2)
    bfm = start_private(MAX_OPEN_CONNS=1)
    assert len(run(bfm, "a", "b", "c").json["applied"]) == 6
    assert private_greptimedb.stats()["most_in_flight"] == 1


# --- names ---

def test_the_database_is_made_through_public(start_private, tree, private_greptimedb):
    write_steps(tree, 1)
    expect_applied(run(start_private(), "fresh"), "fresh_" + step_id(1))
    made = private_greptimedb.requests("CREATE DATABASE")
    assert [event["db"] for event in made] == ["public"] and "IF NOT EXISTS" in made[0]["sql"], made
    assert sent_in(private_greptimedb, "fresh") == [TABLE[:-2] % "t1"]
    assert {event["db"] for event in private_greptimedb.requests("CREATE TABLE")} <= {"fresh", "greptime-fresh"}
    assert all("db=" in event["path"] or event["db"] for event in private_greptimedb.requests())


def test_a_database_that_is_there_is_used(start, tree, greptimedb, greptimedb_name):
    write_steps(tree, 1)
    greptimedb.execute("CREATE DATABASE " + greptimedb_name)
    greptimedb.execute("CREATE TABLE old (ts TIMESTAMP TIME INDEX)", greptimedb_name)
    assert run(start(), greptimedb_name).status == 200
    assert greptimedb.tables(greptimedb_name) == ["old", "t1"]


def test_a_database_that_must_not_be_made(start, tree, greptimedb, greptimedb_name):
    write_steps(tree, 1)
    bfm = start(CREATE_SCHEMA="off")
    expect_failed(run(bfm, greptimedb_name), "4004", "does not exist", "METRICS_CREATE_SCHEMA")
    assert greptimedb_name not in greptimedb.databases()
    greptimedb.execute("CREATE DATABASE " + greptimedb_name)
    assert run(bfm, greptimedb_name).status == 200


@pytest.mark.parametrize("end", ["-a-b", "MyDb", "mydb", ".dotted", ":colon", "_under", "-"])
def test_names_are_exact(start, tree, greptimedb, greptimedb_name, end):
    """A database of nearly the same name is another one."""
    write_steps(tree, 1)
    name = greptimedb_name + end
    others = [greptimedb_name + other for other in ("", "mYdB", "_a-b", "-a", "a-b", "xdotted", "xunder")]
    for other in others:
        greptimedb.execute('CREATE DATABASE "%s"' % other)
    expect_applied(run(start(), name), "%s_%s" % (name, step_id(1)))
    assert greptimedb.tables(name) == ["t1"]
    assert not any(greptimedb.tables(other) for other in others)


@pytest.mark.parametrize("name", ["1digit", "with space", "quote'", 'double"', "semi;colon", "sl/ash", "ä", "@at"])
def test_names_that_it_cannot_have(start_private, tree, private_greptimedb, name):
    write_steps(tree, 1)
    answer = run(start_private(), name)
    assert answer.status in (206, 400) and "applied" not in answer.json.get("applied", []), answer
    assert private_greptimedb.executed("CREATE") == []


def test_schema_of_the_connection_and_of_the_script(start, tree, greptimedb, greptimedb_name):
    write_step(tree, 1, "CREATE TABLE {{.Schema}}.t_{{.Connection}} (ts TIMESTAMP TIME INDEX, \"v\" STRING);\n"
               "INSERT INTO t_{{.Connection}} VALUES (1, '{{.Schema}} {{.Version}}'), (2, '{{1,2}}');\n")
    tree.write("greptimedb/metrics/20250409000000_fixed.up.sql",
               "-- bfm-schema: %sfixed\n" % greptimedb_name + TABLE % "f")
    bfm = start(SCHEMA=greptimedb_name)
    assert run(bfm).status == 200
    assert greptimedb.tables(greptimedb_name) == ["t_metrics"]
    assert greptimedb.tables(greptimedb_name + "fixed") == ["f"]
    assert greptimedb.query('SELECT "v" FROM t_metrics ORDER BY ts', greptimedb_name) == [
        ("%s %s" % (greptimedb_name, version(1)),), ("{{1,2}}",)]


# --- statements ---

def test_one_statement_per_request(start_private, tree, private_greptimedb):
    write_step(tree, 1, "-- first; not yet\n/* nor; here */" + TABLE % "a" + ";;\n"
               "INSERT INTO a VALUES (1, 'x;y', 1), (2, 'it''s \\', 2), (3, $$a;'b$$, 3); -- behind; it\n"
               "INSERT INTO a VALUES (4, '+%2B&=?#\u00e4\u20ac', 4);\n" + TABLE % '"b:c"')
    answer = run(start_private(), "s")
    assert answer.status == 200, answer
    sent = sent_in(private_greptimedb, "s")
    assert [one.split("(")[0].strip().split()[-1] for one in sent if one.startswith("CREATE")] == ["a", '"b:c"'], sent
    assert len(sent) == 4 and len(private_greptimedb.executed("INSERT")) == 2, sent
    hosts = private_greptimedb.query('SELECT "host" FROM a ORDER BY ts', "s")
    assert [host for host, in hosts] == ["x;y", "it's \\", "a;'b", "+%2B&=?#\u00e4\u20ac"]


def test_a_failure_says_where_and_why(start, tree, greptimedb, greptimedb_name):
    write_step(tree, 1, TABLE % "a" + "\nCREATE TABLE b (\n  ts TIMESTAMP TIME INDEX,\n  name STRING);\n" + TABLE % "c")
    bfm = start()
    answer = run(bfm, greptimedb_name)
    expect_failed(answer, "%s_%s: " % (greptimedb_name, step_id(1)), "2000", "InvalidSyntax", "'name'", "statement 2",
                  "%s:3" % step_path(1).split("/")[-1], "statement 1 stays applied")
    detail = failed_detail(answer)
    assert (detail["statement"], detail["line"], detail["attempts"]) == (2, 3, 1), detail
    expect_no_leak(answer, greptimedb)
    assert greptimedb.tables(greptimedb_name) == ["a"]
    status = bfm.client.get("/api/v1/migrations/%s_%s/status" % (greptimedb_name, step_id(1))).json
    assert status["status"] == "failed" and status["applied"] is False and "2000" in status["error_message"], status


def test_what_stood_in_the_way_is_gone(start_private, tree, private_greptimedb):
    """The same script again goes on at the statement that failed."""
    write_step(tree, 1, TABLE % "a" + TABLE % "b" + TABLE % "c")
    bfm = start_private()
    private_greptimedb.execute("CREATE DATABASE s")
    private_greptimedb.execute(TABLE % "b", "s")
    expect_failed(run(bfm, "s"), "4000", "TableAlreadyExists", "statement 2")
    private_greptimedb.execute("DROP TABLE b", "s")
    mark = private_greptimedb.mark()
    expect_applied(run(bfm, "s"), "s_" + step_id(1))
    assert [one.split()[2] for one in sent_in(private_greptimedb, "s", "CREATE TABLE", mark)] == ["b", "c"]
    assert private_greptimedb.tables("s") == ["a", "b", "c"]


def test_a_first_statement_that_fails_leaves_nothing_begun(start, tree, greptimedb, greptimedb_name):
    write_step(tree, 1, "CREATE TABLE a (ts STRING TIME INDEX);\n")
    bfm = start()
    expect_failed(run(bfm, greptimedb_name), "2000")
    write_step(tree, 1, TABLE % "a")
    assert bfm.client.post("/api/v1/migrations/reindex").status == 200
    expect_applied(run(bfm, greptimedb_name), "%s_%s" % (greptimedb_name, step_id(1)))


def test_a_down_that_fails_goes_on_later(start_private, tree, private_greptimedb):
    write_step(tree, 1, TABLE % "a" + TABLE % "b", "DROP TABLE b;\nDROP TABLE c;\nDROP TABLE a;\n")
    bfm = start_private()
    assert run(bfm, "s").status == 200
    answer = down(bfm.client, step_id(1), schemas=["s"])
    expect_failed(answer, "schema s: ", "4001", "TableNotFound", "statement 2")
    assert bfm.client.get("/api/v1/migrations/s_%s/applied" % step_id(1)).json == {"applied": True}
    private_greptimedb.execute(TABLE % "c", "s")
    expect_applied(down(bfm.client, step_id(1), schemas=["s"]), "s_" + step_id(1))
    assert private_greptimedb.tables("s") == [] and len(private_greptimedb.sent("DROP TABLE b")) == 1


@pytest.mark.parametrize("text", ["BEGIN;\n" + TABLE % "a" + "COMMIT;\n", "USE public;\n" + TABLE % "a"])
def test_what_could_not_mean_what_it_says_is_invalid(start_private, tree, private_greptimedb, text):
    write_step(tree, 1, text)
    bfm = start_private()
    item = bfm.client.get("/api/v1/migrations").json["items"][0]
    assert item["status"] == "invalid" and item["error_message"], item
    assert run(bfm, "s").json["applied"] == []
    assert private_greptimedb.executed("CREATE") == []


def test_a_schema_that_fails_does_not_stop_others(start, tree, greptimedb, greptimedb_name):
    write_steps(tree, 2)
    names = [greptimedb_name + end for end in "abc"]
    greptimedb.execute("CREATE DATABASE " + names[1])
    greptimedb.execute(TABLE % "t1", names[1])
    answer = run(start(), *names)
    assert answer.status == 206 and len(answer.json["applied"]) == 4, answer
    assert any("4000" in error for error in answer.json["errors"]), answer
    assert greptimedb.tables(names[0]) == greptimedb.tables(names[2]) == ["t1", "t2"]


# --- who asks, and how ---

@pytest.mark.parametrize("wrong, code", [
    ({"DB_PASSWORD": "canary-wrong"}, "7002"), ({"DB_USERNAME": "canary-bob"}, "7000"),
    ({"DB_USERNAME": "", "DB_PASSWORD": ""}, "7003")])
def test_wrong_credentials(start_private, tree, private_greptimedb, wrong, code):
    write_steps(tree, 1)
    bfm = start_private(**wrong)
    answer = run(bfm, "s")
    assert answer.status == 206 and code in answer.json["errors"][0], answer
    for secret in ("canary", private_greptimedb.user + "'", private_greptimedb.password):
        assert secret not in answer.text and secret not in bfm.stdout, answer
    assert private_greptimedb.executed("CREATE") == []


def test_credentials_are_sent_at_once(start_private, tree, private_greptimedb):
    write_steps(tree, 1)
    assert run(start_private(), "s").status == 200
    assert all("authorization" in event["headers"] for event in private_greptimedb.requests())


def test_a_server_without_users(start_bfm, tree, make_greptimedb, greptimedb_env):
    write_steps(tree, 1)
    server = make_greptimedb(users={})
    env = greptimedb_env(CONNECTION, server)
    del env["METRICS_DB_USERNAME"], env["METRICS_DB_PASSWORD"]
    assert run(start_bfm(env, tree=tree), "s").status == 200
    assert not any("authorization" in event["headers"] for event in server.requests("CREATE"))


@pytest.mark.parametrize("role, sql", [("ro", TABLE % "a"), ("wo", "SELECT 1 AS x;\n")])
def test_users_who_may_not(start_bfm, tree, make_greptimedb, greptimedb_env, role, sql):
    write_step(tree, 1, sql)
    server = make_greptimedb(users={"bfm": ["rw", "canary-all"], "some": [role, "canary-some"]})
    server.password = "canary-all"
    server.execute("CREATE DATABASE s")
    env = greptimedb_env(CONNECTION, server, DB_USERNAME="some", DB_PASSWORD="canary-some", CREATE_SCHEMA="off")
    expect_failed(run(start_bfm(env, tree=tree), "s"), "7006", "PermissionDenied")


@pytest.fixture
def secure(make_greptimedb, tmp_path):
    certificates = Certificates(tmp_path / "certificates")
    cert, key = certificates.issue("server")
    server = make_greptimedb(tls={"cert": cert, "key": key})
    server.ca = certificates.ca
    return server


@pytest.mark.parametrize("switch", ["SSL", "TLS", "tls"])
def test_https(start_bfm, tree, secure, greptimedb_env, switch):
    write_steps(tree, 2)
    bfm = start_bfm(greptimedb_env(CONNECTION, secure, **{switch: "true", "TLS_CA": secure.ca}), tree=tree)
    answer = run(bfm, "s")
    assert answer.status == 200 and len(answer.json["applied"]) == 2, answer
    assert len(secure.executed("CREATE TABLE")) == 2


def test_https_of_somebody_unknown(start_bfm, tree, secure, greptimedb_env):
    write_steps(tree, 1)
    bfm = start_bfm(greptimedb_env(CONNECTION, secure, TLS="true"), tree=tree)
    expect_failed(run(bfm, "s"), "certificate")
    assert secure.requests() == []


def test_not_a_greptimedb(start_bfm, tree, postgres, greptimedb_env):
    """A server that speaks something else."""
    class Other:
        host, port, user = postgres.host, postgres.port, ""

    write_steps(tree, 1)
    answer = run(start_bfm(greptimedb_env(CONNECTION, Other), tree=tree), "s")
    assert answer.status == 206 and answer.json["applied"] == [], answer


# --- the scripts in the program, health ---

def test_the_scripts_in_the_program(start_bfm, greptimedb, greptimedb_env, greptimedb_name):
    bfm = start_bfm(greptimedb_env(CONNECTION, greptimedb))
    answer = run(bfm, greptimedb_name)
    assert answer.status == 200 and len(answer.json["applied"]) == 2, answer
    assert greptimedb.tables(greptimedb_name) == ["request_errors", "requests"]
    ids = [item["migration_id"] for item in bfm.client.get("/api/v1/migrations?connection=metrics").json["items"]]
    for migration_id in reversed(ids):
        answer = down(bfm.client, migration_id, schemas=[greptimedb_name])
        assert answer.status == 200 and len(answer.json["applied"]) == 1, answer
    assert greptimedb.tables(greptimedb_name) == []


def test_metrics_and_requirements(start, tree, greptimedb, greptimedb_name):
    """RequiresTable and RequiresSchema are looked for by exact name."""
    write_steps(tree, 1)
    write_step(tree, 2, "-- bfm-requires: connection=metrics target=step1 table=T1\n" + TABLE % "t2")
    bfm = start()
    answer = run(bfm, greptimedb_name, target={"version": version(1)})
    assert answer.status == 200, answer
    answer = run(bfm, greptimedb_name)
    assert answer.status == 206 and "T1" in answer.json["errors"][0], answer
    greptimedb.execute('CREATE TABLE "T1" (ts TIMESTAMP TIME INDEX)', greptimedb_name)
    assert run(bfm, greptimedb_name).status == 200
    wait_until(lambda: bfm.client.get("/metrics").status == 200, what="metrics")
    assert 'connection="metrics"' in bfm.client.get("/metrics").text


def test_idempotent_scripts(start, tree, greptimedb, greptimedb_name):
    write_step(tree, 1, IDEMPOTENT_TABLE % "a" + "ALTER TABLE a ADD COLUMN IF NOT EXISTS extra STRING;\n"
               "DROP TABLE IF EXISTS nosuch;\n")
    greptimedb.execute("CREATE DATABASE " + greptimedb_name)
    greptimedb.execute(TABLE % "a", greptimedb_name)
    assert run(start(), greptimedb_name).status == 200
