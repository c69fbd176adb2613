"""What goes wrong at and on the way to a GreptimeDB: what is said again, what fails and what stays in doubt
(greptimedb-http.md §5 and §6). All of it with the double."""
import re

import pytest

from greptimedb_helpers import (CONNECTION, IDEMPOTENT_TABLE, TABLE, expect_applied, expect_failed, expect_no_leak,
                                failed_detail, run, sent_in, step_id, write_step, write_steps)
from harness.greptimedb.answers import CODES
from once_helpers import Background

# The column "Client" of the contract's table.
AGAIN = (1009, 4008, 4009, 4010, 6000, 6001)                    # R
UNKNOWN = (1000, 1003, 1005, 1006, 1007, 1008, 4007, 5000)      # A
CREATES_DATABASE = 4004
FAILS = tuple(code for code in CODES if code not in AGAIN + UNKNOWN + (CREATES_DATABASE,))
REFUSED_USER = range(7000, 7006)  # a failure of the schema as a whole, as if the target were away
IN_DOUBT = "not known whether it took effect"

# Of each: settings of a fault, what the error must have, whether the statement took effect, how one ends that can be
# repeated ("again" or "fails"), and one that cannot ("again", "fails" or "doubt").
OTHER_ANSWERS = {
    "408 done": ({"reply": {"status": 408}}, "408", True, "again", "doubt"),
    "408 not done": ({"execute": "no", "reply": {"status": 408}}, "408", False, "again", "doubt"),
    "429": ({"execute": "no", "reply": {"status": 429, "body": "Request body memory limit exceeded: 1"}}, "429", False,
            "again", "again"),
    "502": ({"execute": "no", "reply": {"status": 502, "body": "<html>bad gateway", "content_type": "text/html"}},
            "502", False, "again", "doubt"),
    "503": ({"reply": {"status": 503, "body": "no healthy upstream"}}, "503", True, "again", "doubt"),
    "504": ({"reply": {"status": 504}}, "504", True, "again", "doubt"),
    "413": ({"execute": "no", "reply": {"status": 413, "body": "Failed to buffer the request body: length limit "
                                        "exceeded"}}, "413", False, "fails", "fails"),
    "415": ({"execute": "no", "reply": {"status": 415, "body": "Form requests must"}}, "415", False, "fails", "fails"),
    "422": ({"execute": "no", "reply": {"status": 422, "body": "Failed to deserialize"}}, "422", False, "fails",
            "fails"),
    "404": ({"execute": "no", "reply": {"status": 404}}, "404", False, "fails", "fails"),
    "405": ({"execute": "no", "reply": {"status": 405}}, "405", False, "fails", "fails"),
    "redirected": ({"execute": "no", "reply": {"status": 307, "headers": [["location", "http://127.0.0.1:1/"]]}}, "307",
                   False, "fails", "fails"),
    "200 with text": ({"reply": {"status": 200, "body": "hello"}}, "200", True, "again", "doubt"),
    "200 with half a body": ({"reply": "half"}, "", True, "again", "doubt"),
    "200 with an error": ({"execute": "no", "reply": {"code": 2000, "status": 200}}, "2000", False, "fails", "fails"),
    "200 with an unknown outcome": ({"reply": {"code": 1003, "status": 200}}, "1003", True, "again", "doubt"),
    "cut before": ({"execute": "no", "reply": "drop"}, "", False, "again", "doubt"),
    "cut behind": ({"reply": "drop"}, "", True, "again", "doubt"),
    "a new code, 4xx": ({"execute": "no", "reply": {"code": 4999, "status": 400}}, "4999", False, "fails", "fails"),
    "a new code, 5xx": ({"execute": "no", "reply": {"code": 1999, "status": 500}}, "1999", False, "again", "doubt"),
}


@pytest.fixture
def server(private_greptimedb):
    return private_greptimedb


@pytest.fixture
def start(start_bfm, tree, server, greptimedb_env):
    def begin(**extra):
        return start_bfm(greptimedb_env(CONNECTION, server, **extra), tree=tree)
    return begin


def errors_by_schema(answer):
    """Of a step, or of a schema as a whole: "c1_{id}: ..." or "schema c1: ..."."""
    return {re.match(r"(?:schema )?(\w+?)[_:]", error).group(1): error for error in answer.json["errors"]}


def run_all(bfm, cases, **fields):
    """One request for all schemas; (schemas that were applied, errors by schema, details by schema)"""
    answer = run(bfm, *cases, **fields)
    assert answer.status in (200, 206), answer
    assert "rolled back" not in answer.text.lower(), answer
    return ({one.split("_", 1)[0] for one in answer.json["applied"]}, errors_by_schema(answer),
            {item["schema"]: item for item in answer.json["details"]})


# --- every code ---

def test_the_table_is_complete():
    assert len(FAILS) + len(AGAIN) + len(UNKNOWN) + 1 == len(CODES) == 40


@pytest.mark.parametrize("kind", ["repeatable", "not repeatable"])
def test_every_code(start, tree, server, kind):
    """Each code befalls the second statement of a schema of its own, once, before it took effect."""
    second = "CREATE TABLE IF NOT EXISTS" if kind == "repeatable" else "CREATE TABLE"
    write_step(tree, 1, IDEMPOTENT_TABLE % "a" + second + ' {{.Schema}}.b ("ts" TIMESTAMP TIME INDEX);\n' + TABLE % "c")
    codes = [code for code in CODES if code != CREATES_DATABASE]
    for code in codes:
        server.fault(r"c%d\.b " % code, execute="no", reply={"code": code, "text": "said by the test"})
    applied, errors, details = run_all(start(), ["c%d" % code for code in codes])
    for code in codes:
        schema, sent = "c%d" % code, len(server.sent("c%d.b " % code))
        doubt = code in UNKNOWN and kind != "repeatable"
        if code in AGAIN or code in UNKNOWN and not doubt:
            assert schema in applied and schema not in errors and sent == 2, (code, errors.get(schema))
            assert details[schema]["attempts"] == 2, details[schema]
            assert server.tables(schema) == ["a", "b", "c"]
            continue
        assert schema not in applied and sent == 1, (code, errors.get(schema))
        assert (IN_DOUBT in errors[schema]) is doubt, errors[schema]
        for part in (str(code), CODES[code][0], "statement 2", ":2"):
            assert part in errors[schema], errors[schema]
        if code not in REFUSED_USER:
            assert (details[schema]["statement"], details[schema]["line"]) == (2, 2), details[schema]
        assert ("statement 1 stays applied" in errors[schema]) is not doubt, errors[schema]
        assert "/resolve" in errors[schema] if doubt else "/resolve" not in errors[schema]
        assert server.tables(schema) == ["a"]


def test_what_failed_goes_on_at_the_statement(start, tree, server):
    """After each code that says that nothing was done, the same request goes on with the statement that failed."""
    write_step(tree, 1, TABLE % "a" + 'CREATE TABLE {{.Schema}}.b ("ts" TIMESTAMP TIME INDEX);\n' + TABLE % "c")
    for code in FAILS:
        server.fault(r"c%d\.b " % code, execute="no", reply={"code": code})
    bfm, schemas = start(), ["c%d" % code for code in FAILS]
    assert run_all(bfm, schemas)[0] == set()
    applied, errors, _ = run_all(bfm, schemas)
    assert applied == set(schemas) and not errors
    for schema in schemas:
        assert [one.split()[2].split(".")[-1] for one in sent_in(server, schema, "CREATE TABLE")] == list("abbc")


@pytest.mark.parametrize("repeatable", [True, False], ids=["repeatable", "not repeatable"])
def test_every_other_answer(start, tree, server, repeatable):
    second = "CREATE TABLE IF NOT EXISTS" if repeatable else "CREATE TABLE"
    write_step(tree, 1, IDEMPOTENT_TABLE % "a" + second + ' {{.Schema}}.b ("ts" TIMESTAMP TIME INDEX);\n' + TABLE % "c")
    schemas = {"f%d" % at: name for at, name in enumerate(OTHER_ANSWERS)}
    for schema, name in schemas.items():
        server.fault(r"%s\.b " % schema, **OTHER_ANSWERS[name][0])
    applied, errors, _ = run_all(start(), schemas)
    for schema, name in schemas.items():
        _, part, done, when_repeatable, when_not = OTHER_ANSWERS[name]
        ends, sent = when_repeatable if repeatable else when_not, len(server.sent(schema + ".b "))
        if ends == "again":
            assert schema in applied and sent == 2, (name, errors.get(schema), sent)
            continue
        assert schema not in applied and sent == 1, (name, sent)
        assert (IN_DOUBT in errors[schema]) is (ends == "doubt"), (name, errors[schema])
        assert part in errors[schema] and "statement 2" in errors[schema], (name, errors[schema])
        assert server.tables(schema) == (["a", "b"] if done else ["a"]), name


# --- trying again ---

def test_it_gives_up(start, tree, server):
    write_step(tree, 1, TABLE % "a")
    fault = server.fault("CREATE TABLE a ", times=0, execute="no", reply={"code": 4009, "text": "busy"})
    bfm = start()
    answer = run(bfm, "s")
    expect_failed(answer, "4009", "RegionBusy", "busy", "statement 1")
    assert failed_detail(answer)["attempts"] == fault.hits() == 5
    fault.release()
    expect_applied(run(bfm, "s"), "s_" + step_id(1))


def test_the_database_is_made_with_patience(start, tree, server):
    write_step(tree, 1, TABLE % "a")
    server.fault("CREATE DATABASE", execute="no", reply={"code": 1009})
    server.fault("CREATE DATABASE", reply="drop")
    server.fault("CREATE DATABASE", execute="no", reply={"status": 429})
    expect_applied(run(start(), "s"), "s_" + step_id(1))
    assert len(server.sent("CREATE DATABASE")) == 4 and server.tables("s") == ["a"]


def test_a_database_that_cannot_be_made(start, tree, server):
    write_step(tree, 1, TABLE % "a")
    server.fault("CREATE DATABASE", execute="no", reply={"code": 1002, "text": "Unexpected, violated: Invalid"})
    bfm = start()
    expect_failed(run(bfm, "s"), "1002", "Unexpected", "could not be created")
    assert server.sent("CREATE TABLE") == server.executed("CREATE TABLE") or server.executed("CREATE TABLE") == []
    expect_applied(run(bfm, "s"), "s_" + step_id(1))


def test_a_database_dropped_in_the_middle(start, tree, server):
    """It is made again: its absence is noticed by the statement."""
    write_steps(tree, 2)
    bfm = start()
    assert run(bfm, "s", target={"version": "20250401000000"}).status == 200
    server.execute("DROP DATABASE s")
    expect_applied(run(bfm, "s"), "s_" + step_id(2))
    assert server.tables("s") == ["t2"]


# --- size ---

def test_a_large_statement(start, tree, server):
    """Larger than what is sent before the server says that it may go on."""
    text = "x" * (3 * 1024 * 1024)
    write_step(tree, 1, TABLE % "a" + "INSERT INTO a VALUES (0, '%s', 1);\n" % text)
    expect_applied(run(start(), "s"), "s_" + step_id(1))
    assert server.query('SELECT "host" FROM a', "s") == [(text,)]


def test_a_statement_that_is_too_large(start, tree, server):
    server.change(body_limit=100 * 1024)
    write_step(tree, 1, TABLE % "a" + "INSERT INTO a VALUES (0, '%s', 1);\n" % ("x" * 200 * 1024))
    bfm = start()
    expect_failed(run(bfm, "s"), "413", "http.body_limit", "statement 2", "statement 1 stays applied")
    server.change(body_limit=0)
    expect_applied(run(bfm, "s"), "s_" + step_id(1))
    assert len(server.executed("INSERT")) == 1


# --- time ---

def test_a_statement_that_takes_too_long(start, tree, server):
    write_step(tree, 1, "-- bfm-statement-timeout: 300ms\n" + TABLE % "a" + "INSERT INTO a VALUES (0, 'x', 1);\n")
    held = server.hold("INSERT")
    bfm = start()
    answer = run(bfm, "s")
    expect_failed(answer, IN_DOUBT, "statement 2")
    held.release()
    assert len(server.sent("INSERT")) == 1


def test_the_server_is_asked_to_take_as_long_as_the_script_may(start, tree, server):
    """Its own timeout would be shorter."""
    server.change(http_timeout=1)
    write_step(tree, 1, "-- bfm-statement-timeout: 2m\n" + TABLE % "a")
    server.fault("CREATE TABLE", before=2)
    expect_applied(run(start(), "s"), "s_" + step_id(1))
    assert server.requests("CREATE TABLE")[0]["headers"].get("x-greptime-timeout")


def test_ddl_that_ends_later_in_the_background(start, tree, server):
    """A 408 did not stop it: the repetition finds its work done, or does it first."""
    write_step(tree, 1, IDEMPOTENT_TABLE % "a" + TABLE % "b")
    later = server.fault("IF NOT EXISTS a ", execute="later", reply={"status": 408})
    expect_applied(run(start(), "s"), "s_" + step_id(1))
    later.release()
    assert server.tables("s") == ["a", "b"]


# --- away ---

def test_a_server_that_is_not_there(start, tree, server):
    write_steps(tree, 1)
    bfm = start()
    server.kill()
    answer = run(bfm, "s")
    assert answer.status == 206 and "refused" in answer.json["errors"][0], answer
    expect_no_leak(answer, server)
    server.start()
    expect_applied(run(bfm, "s"), "s_" + step_id(1))


def test_a_server_that_starts_again_in_the_middle(start, tree, server):
    """Repeatable statements are not disturbed by it."""
    write_step(tree, 1, IDEMPOTENT_TABLE % "a" + IDEMPOTENT_TABLE % "b" + IDEMPOTENT_TABLE % "c")
    held = server.hold("EXISTS b ")
    bfm = start()
    running = Background(lambda: run(bfm, "s"))
    held.wait()
    server.kill()
    server.start()
    expect_applied(running.result(), "s_" + step_id(1))
    assert server.tables("s") == ["a", "b", "c"]


def test_a_server_that_does_not_answer(start, tree, server):
    """Nothing that is held up holds up the rest, and health says who it is."""
    write_step(tree, 1, IDEMPOTENT_TABLE % "a")
    bfm = start(CONNECT_TIMEOUT="3s", STATEMENT_TIMEOUT="3s")
    server.pause()
    try:
        answer = run(bfm, "s")
        assert answer.status == 206 and len(answer.json["errors"]) == 1, answer
        expect_no_leak(answer, server)
    finally:
        server.resume()
    assert bfm.client.get("/health").status in (200, 503)
    answer = run(bfm, "s")
    assert answer.status == 200, answer
    assert server.tables("s") == ["a"]


def test_an_idle_connection_that_the_server_closed(start, tree, server):
    """Kept connections die with the server; that costs nobody anything."""
    write_steps(tree, 2)
    bfm = start()
    assert run(bfm, "s", target={"version": "20250401000000"}).status == 200
    server.kill()
    server.start()
    expect_applied(run(bfm, "s"), "s_" + step_id(2))
