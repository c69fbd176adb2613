"""Idempotency-Key: the same request with the same key is the same run, wherever it arrives and whatever is killed."""
import pytest
from api_helpers import expect_error
from harness.processes import wait_until
from once_helpers import (LOST, Background, Holder, check_all, effects, in_threads, make_effects, step_id, wait_for_waiting,
                          write_steps)
from test_runs import GATE, cancel, list_runs, show, wait_end

REPLAYED = "Idempotency-Replayed"


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def env(request, tree, postgres, database, shared_state, connection_env):
    make_effects(postgres, database)
    write_steps(tree, 2)
    return {**connection_env("tenants", postgres, database), **shared_state(request.param)}


@pytest.fixture
def servers(env, make_bfm, tree):
    pair = [make_bfm(env, tree=tree) for _ in range(2)]
    for server in pair:
        server.start(ready=False)
    for server in pair:
        server.wait_healthy()
    return pair


def send(bfm, key, schemas=("a",), path="/api/v1/migrations/up", **fields):
    body = {"connection": "tenants", "target": {}, "schemas": list(schemas), **fields}
    return bfm.client.request("POST", path, body, {"Idempotency-Key": key})


def same(first, again):
    """The second answer is the first one."""
    assert (again.status, again.text) == (first.status, first.text)
    assert REPLAYED not in first.headers and again.headers[REPLAYED] == "true"


def test_the_same_key_is_the_same_run(servers, postgres, database):
    first = send(servers[0], "k")
    assert first.status == 200 and len(first.json["applied"]) == 2
    same(first, send(servers[0], "k"))
    same(first, send(servers[1], "k"))
    assert len(list_runs(servers[1])["items"]) == 1
    other = send(servers[1], "k2")
    assert other.json["skipped"] and other.json["run_id"] != first.json["run_id"]
    check_all(servers[0], postgres, database, ["a"], 2)


def test_another_request_is_refused(servers):
    assert send(servers[0], "k").status == 200
    for server in servers:
        assert "used for another request" in expect_error(send(server, "k", ["b"]), 422)
    body = {"connection": "tenants", "target": {}, "schema": "a"}
    expect_error(servers[0].client.request("POST", "/api/v1/migrate", body, {"Idempotency-Key": "k"}), 422)
    assert len(list_runs(servers[0])["items"]) == 1


@pytest.mark.parametrize("key, good", [("x", True), ("a b ~!", True), ("x" * 255, True), ("x" * 256, False),
                                       ("é".encode().decode("latin-1"), False), ("a\tb", False)])
def test_which_keys_are_keys(start_bfm, tree, postgres, database, connection_env, key, good):
    make_effects(postgres, database)
    write_steps(tree, 1)
    bfm = start_bfm(connection_env("tenants", postgres, database), tree=tree)
    answer = send(bfm, key)
    if good:
        assert answer.status == 200, answer
        same(answer, send(bfm, key))
    else:
        expect_error(answer, 400)
        assert effects(postgres, database) == {}


def test_a_refused_request_leaves_its_key_free(servers):
    expect_error(send(servers[0], "k", ["pg_bad"]), 400)
    answer = send(servers[1], "k", ["a"])
    assert answer.status == 200 and REPLAYED not in answer.headers


def test_failures_are_repeated_not_run_again(servers, postgres, database):
    postgres.query(database, "CREATE SCHEMA a; CREATE TABLE a.t1 (odd int)")
    first = send(servers[0], "k")
    assert first.status == 206 and first.json["errors"]
    postgres.query(database, "DROP TABLE a.t1")
    for server in servers:
        same(first, send(server, "k"))
    assert effects(postgres, database) == {}
    run_id = first.json["run_id"]
    path = "/api/v1/runs/%s/retry" % run_id
    again = servers[1].client.request("POST", path, {}, {"Idempotency-Key": "again"})
    assert again.status == 200 and len(again.json["applied"]) == 2, again
    same(again, servers[0].client.request("POST", path, {}, {"Idempotency-Key": "again"}))
    check_all(servers[0], postgres, database, ["a"], 2)


def test_who_comes_meanwhile_waits_for_the_same_run(servers, postgres, database):
    with Holder(postgres, database, GATE):
        waiting = [Background(lambda: send(servers[0], "k"))]
        wait_for_waiting(postgres, database)
        run_id = list_runs(servers[0])["items"][0]["run_id"]
        waiting += [Background(lambda server=server: send(server, "k")) for server in servers]
        wait_until(lambda: all(len(list_runs(server)["items"]) == 1 for server in servers), what="one run")
        assert not any(one.is_done for one in waiting)
    first, *others = [one.result() for one in waiting]
    assert first.status == 200 and first.json["run_id"] == run_id
    for answer in others:
        same(first, answer)
    check_all(servers[0], postgres, database, ["a"], 2)


def test_64_at_once_at_both_servers(servers, postgres, database):
    answers = in_threads(64, lambda index: send(servers[index % 2], "k", ["a", "b"]))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert len([answer for answer in answers if REPLAYED not in answer.headers]) == 1
    assert len(list_runs(servers[0])["items"]) == 1
    check_all(servers[0], postgres, database, ["a", "b"], 2)


def test_async_is_accepted_again(servers, postgres, database):
    with Holder(postgres, database, GATE):
        first = send(servers[0], "k", **{"async": True})
        assert first.status == 202
        for server in servers:
            again = send(server, "k", **{"async": True})
            same(first, again)
            assert again.headers["Location"] == first.headers["Location"]
    wait_end(servers[1], first.json["run_id"], "succeeded")
    again = send(servers[1], "k", **{"async": True})
    assert again.status == 202 and again.json == {"run_id": first.json["run_id"], "status": "succeeded"}
    assert len(list_runs(servers[0])["items"]) == 1


def has_started(bfm, run_id):
    return any(line["msg"] == "run started" and line["run_id"] == run_id for line in bfm.log())


def test_a_cancelled_run_answers_everybody(servers, postgres, database):
    with Holder(postgres, database, GATE):
        waiting = [Background(lambda server=server: send(server, "k")) for server in servers]
        wait_for_waiting(postgres, database)
        run_id = list_runs(servers[0])["items"][0]["run_id"]
        owner = wait_until(lambda: next((server for server in servers if has_started(server, run_id)), None),
                           what="one of them to say that it runs")
        other = servers[1 - servers.index(owner)]  # it goes first: a run that has ended is no conflict anywhere
        assert (cancel(other, run_id).status, cancel(owner, run_id).status) == (409, 202)
        answers = [one.result() for one in waiting]
    assert {answer.status for answer in answers} == {206} and len({answer.text for answer in answers}) == 1


def test_long_answers_are_made_again(servers):
    schemas = ["tenant_with_a_rather_long_name_%05d" % index for index in range(700)]
    first = send(servers[0], "k", schemas)
    assert first.status == 200 and len(first.text) > 64 * 1024
    again = send(servers[1], "k", schemas)
    assert again.status == 200 and again.headers[REPLAYED] == "true"
    assert again.json["run_id"] == first.json["run_id"] and again.json["rebuilt"] is True
    assert sorted(again.json["applied"]) == sorted(first.json["applied"]) and again.json["errors"] == []


@pytest.mark.parametrize("point", ["key_claimed", "run_entered"])
def test_a_run_that_never_began_may_begin(env, make_bfm, tree, postgres, database, point):
    bfm = make_bfm({**env, "BFM_CRASH_AT": point}, tree=tree)
    bfm.start()
    with pytest.raises(LOST):
        send(bfm, "k")
    heir = make_bfm(env, tree=tree)
    heir.start()
    answer = Background(lambda: send(heir, "k")).result(90)
    assert answer.status == 200 and len(answer.json["applied"]) == 2, answer
    same_id = answer.json["run_id"]
    assert show(heir, same_id)["counts"]["applied"] == 2
    assert len(list_runs(heir)["items"]) == 1
    check_all(heir, postgres, database, ["a"], 2)


def test_killed_in_the_middle(env, make_bfm, tree, postgres, database):
    bfm = make_bfm({**env, "BFM_CRASH_AT": "lane_settled"}, tree=tree)
    bfm.start()
    with pytest.raises(LOST):
        send(bfm, "k", ["a", "b"])
    heir = make_bfm(env, tree=tree)
    heir.start()
    answer = Background(lambda: send(heir, "k", ["a", "b"])).result(90)
    assert answer.status == 206 and answer.headers[REPLAYED] == "true", answer
    assert "interrupted" in answer.json["errors"][-1] and answer.json["rebuilt"] is True
    run_id = answer.json["run_id"]
    done = {"%s_%s" % (step["schema"], step["migration_id"]) for step in show(heir, run_id)["steps"]
            if step["status"] == "applied"}
    assert set(answer.json["applied"]) == done and done
    again = heir.client.post("/api/v1/runs/%s/retry" % run_id)
    assert again.status == 200 and set(again.json["applied"]) | done == {
        "%s_%s" % (schema, step_id(number)) for schema in "ab" for number in (1, 2)}
    check_all(heir, postgres, database, ["a", "b"], 2)
