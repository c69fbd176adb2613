"""Idempotency keys over gRPC, as metadata: the same rules as over HTTP (test_idempotency.py)."""
import grpc
import pytest
from grpc_helpers import connect, messages  # noqa: F401
from once_helpers import Background, Holder, check_all, effects, make_effects, step_id, wait_for_waiting, write_steps
from test_runs import GATE, list_runs

Code = grpc.StatusCode
REPLAYED = "idempotency-replayed"
SELECT = {"connection": "tenants", "target": {"connection": "tenants"}}


@pytest.fixture
def env(tree, postgres, database, shared_state, connection_env):
    make_effects(postgres, database)
    write_steps(tree, 2)
    return {**connection_env("tenants", postgres, database), **shared_state("sqlite")}


@pytest.fixture
def pair(env, make_bfm, tree, connect):
    """A client of each of two servers with one state."""
    servers = [make_bfm(env, tree=tree) for _ in range(2)]
    for server in servers:
        server.start(ready=False)
    for server in servers:
        server.wait_healthy()
    return [connect(server) for server in servers]


def send(client, key, method="MigrateUp", **fields):
    return client.call(method, metadata=[("idempotency-key", key)], **fields)


def up(client, key, schemas=("a",), **fields):
    return send(client, key, **SELECT, schemas=list(schemas), **fields)


def same(first, again):
    assert again[0] == first[0]
    assert REPLAYED not in first[1] and again[1][REPLAYED] == "true"


def runs_of(client):
    return list(client.ListRuns().runs)


def test_the_same_key_is_the_same_run(pair, postgres, database):
    first = up(pair[0], "k")
    assert first[0].success and len(first[0].applied) == 2 and first[0].details
    same(first, up(pair[0], "k"))
    same(first, up(pair[1], "k"))
    assert len(runs_of(pair[1])) == 1
    assert up(pair[1], "k2")[0].skipped
    assert effects(postgres, database) == {("a", "step1"): 1, ("a", "step2"): 1}


def test_every_method_takes_a_key(pair):
    for method, fields in (("Migrate", {**SELECT, "schema": "a"}), ("MigrateDown", {"migration_id": step_id(2), "schemas": ["a"]}),
                           ("RollbackMigration", {"migration_id": step_id(1), "schemas": ["a"]})):
        first = send(pair[0], "key of " + method, method, **fields)
        assert first[0].success and first[0].applied, method
        for client in pair:
            same(first, send(client, "key of " + method, method, **fields))
    assert len(runs_of(pair[0])) == 3


def test_what_failed_is_repeated_not_run_again(pair, postgres, database):
    postgres.query(database, "CREATE SCHEMA a; CREATE TABLE a.t1 (odd int)")
    first = up(pair[0], "k")
    assert not first[0].success and first[0].errors
    postgres.query(database, "DROP TABLE a.t1")
    for client in pair:
        same(first, up(client, "k"))
    assert effects(postgres, database) == {}
    again = send(pair[1], "again", "RetryRun", run_id=first[0].run_id)
    assert again[0].success and len(again[0].applied) == 2
    same(again, send(pair[0], "again", "RetryRun", run_id=first[0].run_id))


def test_a_refusal_that_is_kept(pair):
    """Nothing to undo ends the call with a code: so does the repetition."""
    def failure(client):
        with pytest.raises(grpc.RpcError) as error:
            send(client, "k", "RollbackMigration", migration_id=step_id(1), schemas=["a"])
        return error.value.code(), error.value.details(), dict(error.value.initial_metadata() or ()).get(REPLAYED) or dict(
            error.value.trailing_metadata() or ()).get(REPLAYED)

    code, text, replayed = failure(pair[0])
    assert (code, replayed) == (Code.FAILED_PRECONDITION, None)
    for client in pair:
        assert failure(client) == (code, text, "true")
    assert len(runs_of(pair[0])) == 1


def test_another_request_is_refused(pair):
    up(pair[0], "k")
    for client in pair:
        for method, fields in (("MigrateUp", {**SELECT, "schemas": ["b"]}), ("Migrate", {**SELECT, "schema": "a"}),
                               ("StreamMigrate", {**SELECT, "schema": "a"})):
            code, text = client.fails(method, metadata=[("idempotency-key", "k")], **fields)
            assert code == Code.INVALID_ARGUMENT and "used for another request" in text
    assert len(runs_of(pair[0])) == 1


@pytest.mark.parametrize("key, good", [("x", True), ("a b ~!", True), ("x" * 255, True), ("x" * 256, False), ("", False)])
def test_which_keys_are_keys(start_bfm, env, tree, connect, postgres, database, key, good):
    client = connect(start_bfm(env, tree=tree))
    if good:
        same(up(client, key), up(client, key))
    else:
        code, text = client.fails("MigrateUp", metadata=[("idempotency-key", key)], **SELECT, schemas=["a"])
        assert code == Code.INVALID_ARGUMENT and "idempotency-key" in text
        assert effects(postgres, database) == {}


def test_who_comes_meanwhile_waits_for_the_same_run(pair, postgres, database):
    with Holder(postgres, database, GATE):
        waiting = [Background(lambda: up(pair[0], "k"))]
        wait_for_waiting(postgres, database)
        waiting += [Background(lambda client=client: up(client, "k")) for client in pair]
        assert not any(one.is_done for one in waiting)
    first, *others = [one.result() for one in waiting]
    assert first[0].success
    for answer in others:
        same(first, answer)
    assert effects(postgres, database) == {("a", "step1"): 1, ("a", "step2"): 1}


def test_async_is_accepted_again(pair, postgres, database):
    with Holder(postgres, database, GATE):
        first = up(pair[0], "k", **{"async": True})
        assert first[0].run_id and first[0].status == "running"
        for client in pair:
            same(first, up(client, "k", **{"async": True}))
    assert list(pair[0].WatchRun(run_id=first[0].run_id))[-1].event == "run_ended"
    assert up(pair[0], "k", **{"async": True})[0].status == "succeeded"


def test_long_answers_are_made_again(pair):
    schemas = ["tenant_with_a_rather_long_name_%05d" % index for index in range(400)]
    first, _ = up(pair[0], "k", schemas, timeout=300)
    assert first.success and len(first.SerializeToString()) > 32 * 1024
    again, about = up(pair[1], "k", schemas, timeout=300)
    assert about[REPLAYED] == "true" and again.rebuilt and again.success and again.run_id == first.run_id
    assert sorted(again.applied) == sorted(first.applied) and not again.errors


def test_streams_are_repeated(pair, env, make_bfm, tree, connect):
    """From memory where the run was, and from what is on record elsewhere."""
    first, about = send(pair[0], "k", "StreamMigrate", **SELECT, schema="a")
    assert [message.status for message in first] == ["running", "success"] * 2 and REPLAYED not in about
    for client in pair:
        again, about = send(client, "k", "StreamMigrate", **SELECT, schema="a")
        assert about[REPLAYED] == "true" and again[0].run_id == first[0].run_id

        def told(messages):
            return [(one.migration_id, one.status, one.message, one.progress, one.attempts) for one in messages]

        assert told(again) == told(first)
    assert len(runs_of(pair[0])) == 1


def test_streams_repeat_failures(pair, postgres, database):
    postgres.query(database, "CREATE SCHEMA a; CREATE TABLE a.t2 (odd int)")
    first, _ = send(pair[0], "k", "StreamMigrate", **SELECT, schema="a")
    assert [message.status for message in first] == ["running", "success", "running", "failed"]
    again, _ = send(pair[1], "k", "StreamMigrate", **SELECT, schema="a")
    assert [message.status for message in again] == ["running", "success", "running", "failed"]
    assert "t2" in again[-1].message and again[-1].message


def test_killed_in_the_middle(env, make_bfm, tree, connect, postgres, database):
    bfm = make_bfm({**env, "BFM_CRASH_AT": "lane_settled"}, tree=tree)
    bfm.start()
    with pytest.raises(grpc.RpcError):
        up(connect(bfm), "k", ["a", "b"])
    heir = make_bfm(env, tree=tree)
    heir.start()
    answer, about = up(connect(heir), "k", ["a", "b"], timeout=90)
    assert about[REPLAYED] == "true" and answer.rebuilt and not answer.success
    assert "interrupted" in answer.errors[-1] and answer.applied
    assert connect(heir).RetryRun(run_id=answer.run_id).success
    assert len(list_runs(heir)["items"]) == 2
    check_all(heir, postgres, database, ["a", "b"], 2)
