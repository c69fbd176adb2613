"""Ending while others wait and while the state database is away: DESIGN.md §9, beside test_shutdown.py."""
import signal

import pytest
from api_helpers import up
from harness.processes import wait_until
from once_helpers import (Background, Holder, check_all, finish, found_tables, make_effects, step_id, step_path, trace,
                          wait_for_waiting, write_steps)


@pytest.fixture
def blocked(start_bfm, tree, postgres, database, connection_env):
    """(server, holder): step1 waits until the holder lets go."""
    make_effects(postgres, database)
    write_steps(tree, 2)
    tree.write(step_path(1), "SELECT pg_advisory_xact_lock(1);\nCREATE TABLE t1 (id int);\n" + trace(1))
    bfm = start_bfm(connection_env("tenants", postgres, database, LOCK_TIMEOUT="60s"), tree=tree)
    with Holder(postgres, database, "SELECT pg_advisory_lock(1)") as holder:
        yield bfm, holder


def post_up(bfm, raw, schema):
    body = ('{"connection":"tenants","target":{},"schemas":["%s"]}' % schema).encode()
    raw.send(b"POST /api/v1/migrations/up HTTP/1.1\r\nHost: x\r\n"
             b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
             % (bfm.env["BFM_API_TOKEN"].encode(), len(body), body))


def test_what_waits_is_told_to_come_back(blocked, postgres, database):
    """The step that runs ends; requests for the same work and probes on open connections get 503."""
    bfm, holder = blocked
    with bfm.client.raw() as probe, bfm.client.raw() as waiter:
        probe.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert probe.read_response().status == 200
        run = Background(lambda: up(bfm.client, "tenants", schemas=["a"]))
        wait_for_waiting(postgres, database)
        post_up(bfm, waiter, "a")
        bfm.wait_log(lambda line: line["msg"] == "run started" and
                     len([one for one in bfm.log() if one["msg"] == "run started"]) == 2)
        probe.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert probe.read_response().status == 200
        bfm.signal(signal.SIGTERM)
        bfm.wait_log(lambda line: line["msg"] == "signal received")
        refused = waiter.read_response()
        assert refused.status == 503 and int(refused.headers["Retry-After"]) > 0, refused
        assert not run.is_done
        holder.release()
        assert bfm.wait_exit(30) == 0, bfm.describe()
        answer = run.result()
    assert answer.status == 206 and answer.json["applied"] == ["a_" + step_id(1)], answer
    assert len(answer.json["errors"]) == 1 and "not run" in answer.json["errors"][0], answer
    bfm.check_output()
    assert found_tables(postgres, database, ["a"]) == {("a", "t1")}
    bfm.start()
    finish(bfm, ["a"], 2)
    check_all(bfm, postgres, database, ["a"], 2)


def test_readyz_while_it_ends(blocked, postgres, database):
    bfm, holder = blocked
    with bfm.client.raw() as probe:
        run = Background(lambda: up(bfm.client, "tenants", schemas=["a"]))
        wait_for_waiting(postgres, database)
        # The request is under way when the signal comes: its connection is still served.
        probe.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\n")
        bfm.signal(signal.SIGTERM)
        bfm.wait_log(lambda line: line["msg"] == "signal received")
        probe.send(b"\r\n")
        answer = probe.read_response()
        assert answer.status == 503, answer
        holder.release()
        assert bfm.wait_exit(30) == 0, bfm.describe()
        run.result()
    bfm.check_output()


def test_many_lanes_end_behind_their_steps(start_bfm, tree, postgres, database, connection_env):
    make_effects(postgres, database)
    write_steps(tree, 5)
    schemas = ["s%d" % index for index in range(200)]
    bfm = start_bfm(connection_env("tenants", postgres, database), tree=tree)
    run = Background(lambda: up(bfm.client, "tenants", schemas=schemas))
    wait_until(lambda: postgres.query(database, "SELECT count(*) > 20 FROM public.effects")[0][0],
               what="the run to be under way")
    bfm.signal(signal.SIGINT)
    assert bfm.wait_exit(30) == 0, bfm.describe()
    bfm.check_output()
    answer = run.result()
    assert answer.status == 206 and 0 < len(answer.json["applied"]) < 1000, answer.status
    done = postgres.query(database, "SELECT count(*) FROM public.effects")[0][0]
    assert done == len(answer.json["applied"])
    bfm.start()
    assert len(finish(bfm, schemas, 5)["skipped"]) == done
    check_all(bfm, postgres, database, schemas, 5)


def test_hanging_up_does_not_end_it(start_bfm):
    bfm = start_bfm()
    bfm.signal(signal.SIGPIPE)
    for _ in range(3):
        assert bfm.client.get("/health").status == 200
