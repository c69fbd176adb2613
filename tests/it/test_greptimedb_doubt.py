"""GreptimeDB statements of which nobody knows whether they took effect: after lost answers, kills of bfm and losses of
the state database (DESIGN.md §4). All of it with the double, whose list of what happened says what is true."""
import http.client
import re
import signal

import pytest

from api_helpers import down, expect_error
from greptimedb_helpers import (CONNECTION, IDEMPOTENT_TABLE, TABLE, expect_applied, expect_failed, resolve, run,
                                sent_in, step_id, write_step)
from harness.processes import wait_until
from once_helpers import LOST, Background, durable_postgres, in_threads  # noqa: F401

ONCE = "INSERT INTO a VALUES (%d, 'x', 1);\n"
SCRIPT = IDEMPOTENT_TABLE % "a" + ONCE % 1 + ONCE % 2
UNDO = ONCE % 3 + ONCE % 4 + "DROP TABLE a;\n"
IN_DOUBT = "not known whether it took effect"


@pytest.fixture
def server(private_greptimedb):
    return private_greptimedb


@pytest.fixture
def env(server, greptimedb_env, tree, tmp_path):
    """Of servers that share their state; step1 is there."""
    write_step(tree, 1, SCRIPT, UNDO)
    env = greptimedb_env(CONNECTION, server)
    env["BFM_STATE_DB_PATH"] = str(tmp_path / "shared.db")
    return env


@pytest.fixture
def bfm(start_bfm, env, tree):
    return start_bfm(env, tree=tree)


def sent(server, number):
    return len(server.sent("VALUES (%d," % number))


def done(server, number):
    return len(server.executed("VALUES (%d," % number))


def lose(server, number, took_effect):
    server.fault(r"VALUES \(%d," % number, execute="yes" if took_effect else "no", reply="drop")


def change(bfm, tree, text):
    write_step(tree, 1, text, UNDO)
    assert bfm.client.post("/api/v1/migrations/reindex").status == 200


# --- a person decides ---

@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("took_effect", [True, False])
def test_up(bfm, server, number, took_effect):
    lose(server, number, took_effect)
    answer = run(bfm, "s")
    error = expect_failed(answer, IN_DOUBT, "statement %d" % (number + 1), ":%d" % (number + 1), "/resolve",
                          "not_applied")
    assert "migrations/%s/resolve" % step_id(1) in error
    assert sent(server, number) == 1 and (number == 2 or sent(server, 2) == 0)
    again = run(bfm, "s")
    expect_failed(again, IN_DOUBT)
    assert sent(server, number) == 1
    answer = resolve(bfm, step_id(1), "s", "applied" if took_effect else "not_applied")
    assert answer.status == 200, answer
    body = answer.json
    assert (body["migration_id"], body["schema"], body["statement"], body["statements"]) == (step_id(1), "s",
                                                                                             number + 1, 3), answer
    assert body["complete"] is (took_effect and number == 2), answer
    answer = run(bfm, "s")
    if body["complete"]:
        assert answer.status == 200 and answer.json["skipped"] == ["s_" + step_id(1)], answer
    else:
        expect_applied(answer, "s_" + step_id(1))
    assert sent(server, number) == (1 if took_effect else 2)
    assert done(server, 1) == done(server, 2) == 1
    assert bfm.client.get("/api/v1/migrations/s_%s/applied" % step_id(1)).json == {"applied": True}
    late = resolve(bfm, step_id(1), "s", "applied")
    if body["complete"]:  # the decision was the last that was done there, so its answer may have been lost
        assert late.status == 200 and "already decided" in late.json["message"], late
    else:
        expect_error(late, 404)


@pytest.mark.parametrize("number", [3, 4])
@pytest.mark.parametrize("took_effect", [True, False])
def test_down(bfm, server, number, took_effect):
    assert run(bfm, "s").status == 200
    lose(server, number, took_effect)
    expect_failed(down(bfm.client, step_id(1), schemas=["s"]), IN_DOUBT, "statement %d" % (number - 2))
    assert bfm.client.get("/api/v1/migrations/s_%s/applied" % step_id(1)).json == {"applied": True}
    answer = resolve(bfm, step_id(1), "s", "applied" if took_effect else "not_applied")
    assert answer.status == 200 and answer.json["statement"] == number - 2, answer
    expect_applied(down(bfm.client, step_id(1), schemas=["s"]), "s_" + step_id(1))
    assert done(server, 3) == done(server, 4) == 1 and server.tables("s") == []
    expect_applied(run(bfm, "s"), "s_" + step_id(1))


def test_one_schema_in_doubt_is_no_other(bfm, server):
    server.fault(r"VALUES \(1,", reply="drop")
    answer = run(bfm, "a", "b", "c")
    assert answer.status == 206 and len(answer.json["applied"]) == 2 and len(answer.json["errors"]) == 1, answer
    schema = answer.json["errors"][0].split("_")[0]
    for other in {"a", "b", "c"} - {schema}:
        expect_error(resolve(bfm, step_id(1), other, "applied"), 404)
    assert resolve(bfm, step_id(1), schema, "applied").status == 200
    expect_applied(run(bfm, schema), "%s_%s" % (schema, step_id(1)))
    assert done(server, 1) == done(server, 2) == 3


def test_requests_that_make_no_sense(bfm, server):
    lose(server, 1, True)
    run(bfm, "s")
    path = "/api/v1/migrations/%s/resolve" % step_id(1)
    for body in ({"schema": "s"}, {"schema": "s", "as": "maybe"}, {"schema": 1, "as": "applied"}, [], "x"):
        expect_error(bfm.client.post(path, body), 400)
    expect_error(resolve(bfm, "20250101000000_nosuch_greptimedb_metrics", "s", "applied"), 404)
    expect_error(resolve(bfm, step_id(1), "never", "applied"), 404)
    assert bfm.client.get(path).status == 405
    expect_failed(run(bfm, "s"), IN_DOUBT)
    assert resolve(bfm, step_id(1), "s", "applied").status == 200


def test_the_script_was_changed_meanwhile(bfm, server, tree):
    lose(server, 1, True)
    run(bfm, "s")
    change(bfm, tree, SCRIPT.replace("VALUES (1", "VALUES (9"))
    expect_error(resolve(bfm, step_id(1), "s", "applied"), 409, re.compile("changed"))
    expect_failed(run(bfm, "s"), "changed", "statements 1-2")
    change(bfm, tree, SCRIPT)
    assert resolve(bfm, step_id(1), "s", "applied").status == 200
    expect_applied(run(bfm, "s"), "s_" + step_id(1))


def test_what_comes_behind_is_corrected_meanwhile(bfm, server, tree):
    lose(server, 1, True)
    run(bfm, "s")
    change(bfm, tree, IDEMPOTENT_TABLE % "a" + ONCE % 1 + "-- better\n" + ONCE % 5 + ONCE % 6 + "INSERT nonsense;\n")
    expect_failed(run(bfm, "s"), IN_DOUBT, "statement 2 of 5")
    answer = resolve(bfm, step_id(1), "s", "applied")
    assert (answer.status, answer.json["statements"], answer.json["complete"]) == (200, 5, False), answer
    expect_failed(run(bfm, "s"), "statement 5")
    change(bfm, tree, IDEMPOTENT_TABLE % "a" + ONCE % 1 + ONCE % 5 + ONCE % 6)
    expect_applied(run(bfm, "s"), "s_" + step_id(1))
    assert [sent(server, number) for number in (1, 2, 5, 6)] == [1, 0, 1, 1]
    listed = bfm.client.get("/api/v1/migrations").json["items"]
    assert [item["status"] for item in listed if item["migration_id"] == step_id(1)] == ["applied"]


def test_it_is_on_record_who_decided(bfm, server):
    lose(server, 1, True)
    run(bfm, "s")
    assert resolve(bfm, step_id(1), "s", "applied").status == 200
    history = bfm.client.get("/api/v1/migrations/%s/history" % step_id(1)).json["history"]
    assert any("resolve" in str(row) for row in history), history


def test_while_somebody_is_at_work(bfm, server):
    held = server.hold(r"VALUES \(1,")
    running = Background(lambda: run(bfm, "s"))
    held.wait()
    expect_error(resolve(bfm, step_id(1), "s", "applied"), 409)
    held.release()
    expect_applied(running.result(), "s_" + step_id(1))
    assert done(server, 1) == done(server, 2) == 1


# --- kills ---

def finish_by_the_truth(bfm, server, direction="up"):
    """Runs it to its end, deciding by what the double knows; every statement took effect once."""
    for _ in range(6):
        answer = run(bfm, "s") if direction == "up" else down(bfm.client, step_id(1), schemas=["s"])
        if answer.status == 200:
            break
        assert IN_DOUBT in answer.json["errors"][0], answer
        statement = [item for item in answer.json["details"] if item["status"] == "failed"][0]["statement"]
        number = statement - 1 if direction == "up" else statement + 2
        took_effect = done(server, number) if number <= 4 else server.executed("DROP TABLE a")
        how = "applied" if took_effect else "not_applied"
        assert resolve(bfm, step_id(1), "s", how).status == 200
    assert answer.status == 200, answer
    for number in (1, 2) if direction == "up" else (3, 4):
        assert done(server, number) == 1, server.events("executed")


POINTS = ["lane_claimed", "lane_executed", "lane_settled"] + [
    "greptimedb_%s_%d" % (what, nth) for what in ("begun", "sent", "ran") for nth in (1, 2, 3)]


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at(make_bfm, env, tree, server, point, direction):
    bfm = make_bfm(env, tree=tree).start()
    if direction == "down":
        assert run(bfm, "s").status == 200
    bfm.stop()
    bfm.set_env({"BFM_CRASH_AT": point})
    bfm.start()
    with pytest.raises(LOST):
        if direction == "up":
            run(bfm, "s")
        else:
            down(bfm.client, step_id(1), schemas=["s"])
    assert bfm.wait_exit(30) == -signal.SIGKILL, "the point was never reached"
    bfm.set_env({"BFM_CRASH_AT": None})
    bfm.start()
    wait_until(lambda: server.stats()["in_flight"] == 0, what="the lost request to end")
    finish_by_the_truth(bfm, server, direction)
    assert server.tables("s") == (["a"] if direction == "up" else [])


def test_killed_while_a_statement_runs(make_bfm, env, tree, server):
    """The server goes on with it, as nothing tells it that nobody waits any more."""
    bfm = make_bfm(env, tree=tree).start()
    held = server.hold("IF NOT EXISTS a ")
    running = Background(lambda: run(bfm, "s"))
    held.wait()
    bfm.kill()
    with pytest.raises(LOST):
        running.result()
    bfm.start()
    held.release()
    expect_applied(run(bfm, "s"), "s_" + step_id(1))
    assert done(server, 1) == done(server, 2) == 1
    assert 1 <= len(sent_in(server, "s", "IF NOT EXISTS a ")) <= 2


# --- several servers ---

@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def shared_env(request, env):
    """The state is in one file, or in one database of a server."""
    if request.param == "postgresql":
        state_env, make_database, server = map(request.getfixturevalue, ("state_env", "make_database", "postgres"))
        env.update(state_env(server, make_database()))
    elif request.param == "mysql":
        state_env, make_database, server = map(request.getfixturevalue,
                                               ("mysql_state_env", "make_mysql_database", "mariadb"))
        env.update(state_env(server, make_database()))
    return env


def test_two_servers_at_the_same_migration(make_bfm, shared_env, tree, server):
    pair = [make_bfm(shared_env, tree=tree) for _ in range(2)]
    for one in pair:
        one.start(ready=False)
    for one in pair:
        one.wait_healthy()
    schemas = ["s%d" % number for number in range(5)]
    answers = in_threads(16, lambda index: run(pair[index % 2], *schemas[::1 if index % 3 else -1]))
    wanted = {"%s_%s" % (schema, step_id(1)) for schema in schemas}
    applied = []
    for answer in answers:
        assert answer.status == 200 and set(answer.json["applied"] + answer.json["skipped"]) == wanted, answer
        applied += answer.json["applied"]
    assert sorted(applied) == sorted(wanted)
    for number in (1, 2):
        assert sent(server, number) == done(server, number) == len(schemas)


def test_a_server_takes_over(make_bfm, env, tree, server):
    """The first dies in the middle; the second waits until nobody moves the step, then goes on."""
    first, second = (make_bfm(env, tree=tree).start() for _ in range(2))
    held = server.hold("IF NOT EXISTS a ")
    running = Background(lambda: run(first, "s"))
    held.wait()
    waiting = Background(lambda: run(second, "s"))
    first.kill()
    with pytest.raises(LOST):
        running.result()
    held.release()
    expect_applied(waiting.result(), "s_" + step_id(1))
    assert done(server, 1) == done(server, 2) == 1


# --- the state database ---

@pytest.fixture
def with_state(env, durable_postgres, state_env):  # noqa: F811
    """The state is in a PostgreSQL that the test may kill."""
    durable_postgres.query("postgres", "CREATE DATABASE state")
    return dict(env, **state_env(durable_postgres, "state"))


def test_the_state_database_is_away_while_a_statement_ends(start_bfm, with_state, tree, server,
                                                           durable_postgres):  # noqa: F811
    bfm = start_bfm(with_state, tree=tree)
    held = server.hold(r"VALUES \(1,")
    running = Background(lambda: run(bfm, "s"))
    held.wait()
    durable_postgres.kill()
    held.release()
    wait_until(lambda: done(server, 1) == 1, what="the statement to end")
    assert not running.is_done and sent(server, 2) == 0
    durable_postgres.start()
    expect_applied(running.result(), "s_" + step_id(1))
    assert sent(server, 1) == sent(server, 2) == done(server, 2) == 1


def test_the_state_database_stays_away(make_bfm, with_state, tree, server, durable_postgres):  # noqa: F811
    """It is told that the target is ahead; the next run goes on."""
    bfm = make_bfm(dict(with_state, BFM_STATE_WAIT="1s"), tree=tree).start()
    held = server.hold(r"VALUES \(1,")
    running = Background(lambda: run(bfm, "s"))
    held.wait()
    durable_postgres.kill()
    held.release()
    answer = running.result()
    assert answer.status >= 500 or answer.json["errors"], answer
    assert sent(server, 2) == 0
    durable_postgres.start()
    bfm.wait_healthy()
    finish_by_the_truth(bfm, server)


def test_shutdown_waits_for_a_statement(bfm, server):
    held = server.hold(r"VALUES \(1,")
    running = Background(lambda: run(bfm, "s"))
    held.wait()
    bfm.signal(signal.SIGTERM)
    bfm.wait_log(lambda line: line["msg"] == "signal received")
    held.release()
    try:
        running.result()
    except (OSError, http.client.HTTPException):
        pass
    assert bfm.wait_exit() == 0
    assert done(server, 1) == 1
    bfm.start()
    finish_by_the_truth(bfm, server)
