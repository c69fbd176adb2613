"""The server killed at named points (src/base/crash.h) and at random, then started again: DESIGN.md §4. The program
under test must be built with -DCRASH_POINTS=ON."""
import os
import random
import re
import signal
import time

import pytest
from api_helpers import down, up
from harness.processes import wait_until
from harness.server import TOP
from once_helpers import (LOST, Background, Holder, check_all, effects, executions, finish, journal, make_effects,
                          step_id, step_path, terminate_sessions, trace, version, write_steps)

# Statements of a script without a transaction; True: it runs outside of one, so that it can be in doubt.
OFF_UP = [("CREATE TABLE t2 (id int)", False), (trace(2).rstrip(";\n"), False),
          ("CREATE INDEX CONCURRENTLY t2_id ON t2 (id)", True), ("REINDEX INDEX CONCURRENTLY t2_id", True)]
OFF_DOWN = [("DROP INDEX CONCURRENTLY t2_id", True), ("DROP TABLE t2", False),
            (trace(2, "down").rstrip(";\n"), False)]
ONLY_OUTSIDE = ("notx_started",)  # points that only such statements reach
ONLY_INSIDE = ("step_sent",)      # points that scripts without a transaction do not reach
ELSEWHERE = ("adopt_moved", "adopt_imported",  # test_adopt.py
             "key_claimed", "run_entered",     # test_idempotency.py
             "etcd_sent", "etcd_done",         # test_etcd.py
             "greptimedb_begun", "greptimedb_sent", "greptimedb_ran")  # test_greptimedb_doubt.py


def off_script(statements):
    return "-- bfm-transaction: off\n" + "".join(text + ";\n" for text, _ in statements)


def find_points():
    """{name: whether it is numbered by statement}, as the sources have them."""
    points = {}
    for folder, _, files in os.walk(os.path.join(TOP, "src")):
        for name in files:
            if name.endswith(".c"):
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    for nth, point in re.findall(r'crash_point(_nth)?\("(\w+)"', file.read()):
                        points[point] = nth != ""
    for point in ELSEWHERE:
        del points[point]
    return points


def find_cases():
    for point, numbered in sorted(find_points().items()):
        for direction in ("up", "down"):
            if not numbered:
                yield point, direction, 1, [point]
            if not numbered and point not in ONLY_INSIDE:
                yield point, direction, 2, [point]
            if numbered:
                statements = enumerate(OFF_UP if direction == "up" else OFF_DOWN, 1)
                yield point, direction, 2, ["%s_%d" % (point, nth) for nth, (_, outside) in statements
                                            if outside or point not in ONLY_OUTSIDE]


CASES = list(find_cases())


@pytest.fixture
def world(tree, postgres, database, connection_env, tmp_path):
    """The environment of servers that share everything; step2 runs without a transaction."""
    make_effects(postgres, database)
    write_steps(tree, 3)
    tree.write(step_path(2), off_script(OFF_UP))
    tree.write(step_path(2, "down"), off_script(OFF_DOWN))
    env = connection_env("tenants", postgres, database, LOCK_TIMEOUT="20s")
    env["BFM_STATE_DB_PATH"] = str(tmp_path / "shared.db")
    return env


def request(bfm, direction, number, schema):
    if direction == "up":
        return up(bfm.client, "tenants", target={"version": version(number)}, schemas=[schema])
    return down(bfm.client, step_id(number), schemas=[schema])


def expect_killed(bfm):
    assert bfm.wait_exit(30) == -signal.SIGKILL, "the point was never reached\n" + bfm.describe()
    bfm.set_env({"BFM_CRASH_AT": None})


def index_is_valid(postgres, database, schema):
    rows = postgres.query(database, "SELECT i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
                          "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s", (schema,))
    assert len(rows) <= 1, rows
    return bool(rows) and rows[0][0]


def test_there_are_points():
    assert len(find_points()) >= 5


@pytest.mark.parametrize("point, direction, number, names", CASES,
                         ids=["%s-%s-%s" % (case[0], case[1], "tx" if case[2] == 1 else "off") for case in CASES])
def test_killed_at(make_bfm, world, tree, postgres, database, point, direction, number, names):
    """Each name kills a server of its own that works on a schema of its own."""
    healthy = make_bfm(world, tree=tree).start()
    if direction == "down":
        for name in names:
            assert request(healthy, "up", number, name).status == 200
    victims = [make_bfm(dict(world, BFM_CRASH_AT=name), tree=tree) for name in names]
    for victim in victims:
        victim.start(ready=False)
    for victim, name in zip(victims, names):
        victim.wait_healthy()
        with pytest.raises(LOST):
            request(victim, direction, number, name)
    for victim in victims:
        expect_killed(victim)
        victim.start(ready=False)
    for victim in victims:
        victim.wait_healthy()
    again = [Background(lambda victim=victim, name=name: request(victim, direction, number, name))
             for victim, name in zip(victims, names)]
    for name, answer in zip(names, [one.result(90) for one in again]):
        assert answer.status == 200 and answer.json["errors"] == [], (name, answer)
        assert len(answer.json["applied"] + answer.json["skipped"]) == 1, (name, answer)
    check_victims(victims[0], postgres, database, direction, number, names)
    assert point in names[0]


def check_victims(bfm, postgres, database, direction, number, names):
    done = {(name, step_id(number)) for name in names} if direction == "up" else set()
    assert journal(postgres, database) == done
    assert executions(bfm, step_id(number)) == {name: direction == "up" for name in names}
    assert effects(postgres, database) == {(name, "step%d" % number): 1 for name in names}
    undone = {(name, "step%d" % number): 1 for name in names} if direction == "down" else {}
    assert effects(postgres, database, "down") == undone
    for name in names:
        assert index_is_valid(postgres, database, name) == (direction == "up" and number == 2)
    rows = postgres.query(database, "SELECT count(*) FROM pg_tables WHERE tablename = %s", ("t%d" % number,))
    assert rows == [(len(names) if direction == "up" else 0,)]


# --- at random ---

TENANTS, STEPS, ROUNDS = 20, 5, 10


def test_killed_at_random(start_bfm, tree, postgres, database, connection_env):
    make_effects(postgres, database)
    write_steps(tree, STEPS)
    bfm = start_bfm(connection_env("tenants", postgres, database), tree=tree)
    dice = random.Random(20250101)
    begin = time.monotonic()
    finish(bfm, ["warm%d" % index for index in range(TENANTS)], STEPS)
    full = time.monotonic() - begin
    for number in range(ROUNDS):
        schemas = ["r%d_%d" % (number, index) for index in range(TENANTS)]
        run = Background(lambda schemas=schemas: up(bfm.client, "tenants", schemas=schemas))
        time.sleep(full * dice.random())  # the moment of the crash, not a wait for anything
        bfm.kill()
        try:
            run.result()
        except LOST:
            pass
        bfm.start()
        finish(bfm, schemas, STEPS)
        check_all(bfm, postgres, database, schemas, STEPS)


# --- an index that was being built ---

SLOW_INDEX = ("-- bfm-transaction: off\n-- bfm-lock-timeout: 60s\nCREATE TABLE t1 (id int);\n" + trace(1) +
              "CREATE INDEX CONCURRENTLY t1_id ON t1 (id);\n")


@pytest.fixture
def building(start_bfm, tree, postgres, database, connection_env):
    """(server killed while it builds an index, holder of the snapshot that the build waits for)"""
    make_effects(postgres, database)
    tree.write(step_path(1), SLOW_INDEX)
    bfm = start_bfm(connection_env("tenants", postgres, database), tree=tree)
    with Holder(postgres, database, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT 1") as holder:
        run = Background(lambda: up(bfm.client, "tenants", schemas=["a"]))
        wait_until(lambda: postgres.query(database, "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'virtualxid' "
                                          "AND query LIKE '%%CONCURRENTLY%%'"), what="the build to wait")
        bfm.kill()
        with pytest.raises(LOST):
            run.result()
        yield bfm, holder


def index_oid(postgres, database):
    rows = postgres.query(database, "SELECT to_regclass('a.t1_id')::oid")
    return rows[0][0]


def test_an_invalid_index_is_built_again(building, postgres, database):
    bfm, holder = building
    postgres.query("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s "
                   "AND pid <> %s", (database, holder.pid))
    before = index_oid(postgres, database)
    assert before and not index_is_valid(postgres, database, "a")
    holder.release()
    bfm.start()
    finish(bfm, ["a"], 1)
    assert index_is_valid(postgres, database, "a") and index_oid(postgres, database) != before
    check_all(bfm, postgres, database, ["a"], 1)


def test_an_index_whose_build_went_on_is_kept(building, postgres, database):
    bfm, holder = building
    before = index_oid(postgres, database)
    bfm.start()
    again = Background(lambda: finish(bfm, ["a"], 1))
    bfm.wait_log(lambda line: line["msg"] == "migration running")
    holder.release()
    again.result(90)
    assert index_is_valid(postgres, database, "a") and index_oid(postgres, database) == before
    check_all(bfm, postgres, database, ["a"], 1)


# --- a statement that nobody can check ---

OPAQUE = "-- bfm-transaction: off\nCREATE TABLE t1 (id int);\nDO $$ BEGIN %s END $$;\n" % trace(1).rstrip("\n")


@pytest.mark.parametrize("point, effect", [("notx_started_2", 0), ("notx_sent_2", None), ("notx_done_2", 1)])
def test_a_statement_in_doubt_is_left_to_people(start_bfm, tree, postgres, database, connection_env, point, effect):
    make_effects(postgres, database)
    tree.write(step_path(1), OPAQUE)
    bfm = start_bfm(dict(connection_env("tenants", postgres, database), BFM_CRASH_AT=point), tree=tree)
    with pytest.raises(LOST):
        up(bfm.client, "tenants", schemas=["a"])
    expect_killed(bfm)
    bfm.start()
    if point == "notx_done_2":
        finish(bfm, ["a"], 1)
        check_all(bfm, postgres, database, ["a"], 1)
        return
    for _ in range(2):
        answer = up(bfm.client, "tenants", schemas=["a"])
        assert answer.status == 206 and answer.json["applied"] == [], answer
        assert "not known" in answer.json["errors"][0] and "statement 2" in answer.json["errors"][0], answer
        assert step_path(1).split("/")[-1] + ":3" in answer.json["errors"][0], answer
        assert executions(bfm, step_id(1)).get("a") is False
    times = effects(postgres, database).get(("a", "step1"), 0)
    assert times == effect if effect is not None else times in (0, 1)
    # What the error tells people to do.
    path = "/api/v1/migrations/%s/resolve" % step_id(1)
    body = {"schema": "a", "as": "applied" if times else "not_applied"}
    wait_until(lambda: bfm.client.post(path, body).status == 200, what="the statement to be nobody's")
    finish(bfm, ["a"], 1)
    check_all(bfm, postgres, database, ["a"], 1)


def test_a_step_whose_session_was_killed_too(start_bfm, tree, postgres, database, connection_env):
    """Server and session die while the script runs: nothing of it is there, and the next run does it."""
    make_effects(postgres, database)
    tree.write(step_path(1), "CREATE TABLE t1 (id int);\n" + trace(1) + "SELECT pg_advisory_xact_lock(1);\n")
    bfm = start_bfm(connection_env("tenants", postgres, database), tree=tree)
    with Holder(postgres, database, "SELECT pg_advisory_lock(1)"):
        run = Background(lambda: up(bfm.client, "tenants", schemas=["a"]))
        wait_until(lambda: postgres.query(database, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' "
                                          "AND NOT granted"), what="the script to wait")
        bfm.kill()
        with pytest.raises(LOST):
            run.result()
        terminate_sessions(postgres, database)
    assert journal(postgres, database) == set() and effects(postgres, database) == {}
    bfm.start()
    assert executions(bfm, step_id(1)).get("a", False) is False
    finish(bfm, ["a"], 1)
    check_all(bfm, postgres, database, ["a"], 1)
