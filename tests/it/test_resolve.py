"""Statements in doubt: the server is killed in the middle of one that cannot be asked about, and a person decides."""
import json
import urllib.parse

import pytest
from api_helpers import up
from harness.client import Client
from harness.processes import wait_until
from once_helpers import LOST, Background, Holder, step_id, step_path



@pytest.fixture
def slow(postgres, database):
    """A procedure that leaves a trace, commits it, and then waits while somebody has locked the table public.hold,
    but not for numbers that public.pass lets through."""
    postgres.query(database, "CREATE TABLE public.effects (schema_name text, statement int)")
    postgres.query(database, "CREATE TABLE public.hold (id int)")
    let_pass(postgres, database, 0)
    postgres.query(database, """
        CREATE PROCEDURE public.slow(place text, number int) LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO public.effects VALUES (place, number);
            COMMIT;
            IF NOT public.pass(number) THEN
                LOCK TABLE public.hold IN ACCESS SHARE MODE;
            END IF;
        END $$""")


def let_pass(postgres, database, below):
    postgres.query(database, "CREATE OR REPLACE FUNCTION public.pass(number int) RETURNS boolean LANGUAGE sql AS"
                   " 'SELECT number < %d'" % below)


def script(first, last):
    return "-- bfm-transaction: off\n" + "".join(
        "CALL public.slow('{{.Schema}}', %d);\n" % number for number in range(first, last + 1))


@pytest.fixture
def world(tree, connection_env, postgres, database, slow, tmp_path):
    """One migration of three such statements, undone by three more."""
    tree.write(step_path(1), script(1, 3))
    tree.write(step_path(1, "down"), script(11, 13))
    env = connection_env("tenants", postgres, database)
    env["TENANTS_LOCK_TIMEOUT"] = "60s"
    env["BFM_STATE_DB_PATH"] = str(tmp_path / "shared-state.db")
    return env


def effects(postgres, database, schema="a"):
    """The statements that took effect, in order."""
    return [row[0] for row in postgres.query(
        database, "SELECT statement FROM public.effects WHERE schema_name = %s ORDER BY statement", (schema,))]


def resolve(bfm, how, schema="a", migration_id=step_id(1), client=None):
    return (client or bfm.client).post("/api/v1/migrations/%s/resolve" % urllib.parse.quote(migration_id),
                                       {"schema": schema, "as": how})


def resolve_when_quiet(bfm, how, schema="a"):
    """A row that was moved a moment ago may have somebody at work on it: 409 until then."""
    answers = []

    def decided():
        answers.append(resolve(bfm, how, schema))
        return answers[-1].status != 409

    wait_until(decided, what="the statement to be nobody's")
    return answers[-1]


def kill_within(bfm, postgres, database, number, work):
    """Runs work() until statement `number` is under way in schema a, then kills the server and the session."""
    let_pass(postgres, database, number)
    with Holder(postgres, database, "LOCK TABLE public.hold IN ACCESS EXCLUSIVE MODE"):
        running = Background(work)
        wait_until(lambda: effects(postgres, database)[-1:] == [number], what="statement %d" % number)
        bfm.kill()
        wait_until(lambda: not postgres.query("postgres", """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND query LIKE '%%slow(%%'
            AND pid <> pg_backend_pid() AND state <> 'idle'""", (database,)), what="the session to end")
    with pytest.raises(LOST):
        running.result()


def history(bfm):
    return bfm.client.get("/api/v1/migrations/%s/history" % step_id(1)).json["history"]


def statuses(bfm):
    return [row["status"] for row in history(bfm)]


def expect_in_doubt(bfm, number):
    """Another run stops there, and says what to do."""
    answer = up(bfm.client, "tenants", schemas=["a"])
    error = answer.json["errors"][0]
    assert "statement %d" % number in error and "/api/v1/migrations/%s/resolve" % step_id(1) in error, answer
    assert '"applied"' in error and '"not_applied"' in error, answer


def status_of(bfm):
    """As the list of migrations says: "modified" if another checksum was recorded."""
    listed = bfm.client.get("/api/v1/migrations").json
    return next(item["status"] for item in listed["items"] if item["migration_id"] == step_id(1))


def undo(bfm):
    return bfm.client.post("/api/v1/migrations/down", {"migration_id": step_id(1), "schemas": ["a"]})


@pytest.mark.parametrize("how, after", [("applied", [1, 2, 3]), ("not_applied", [1, 2, 2, 3])])
def test_in_the_middle(make_bfm, world, tree, postgres, database, how, after):
    bfm = make_bfm(world, tree=tree).start()
    kill_within(bfm, postgres, database, 2, lambda: up(bfm.client, "tenants", schemas=["a"]))
    bfm = make_bfm(world, tree=tree).start()
    answer = resolve_when_quiet(bfm, how)
    counted = "applied" if how == "applied" else "not applied"
    assert answer.status == 200, answer
    message = answer.json["message"]
    assert answer.json == {"message": message, "migration_id": step_id(1), "schema": "a", "as": how,
                           "direction": "up", "statement": 2, "statements": 3, "complete": False}
    assert message == ("statement 2 of 3 counts as %s (decided by api_user); the next up goes on with statement %d"
                       % (counted, 3 if how == "applied" else 2))
    row = history(bfm)[0]
    assert (row["status"], row["error_message"], row["executed_by"], row["execution_method"]) == (
        "failed", message, "api_user", "api")
    assert '"resolved":{"statement":2,"as":"%s","statements":3,"direction":"up"}' % how in row["execution_context"]
    assert "request_id" in row["execution_context"] and "/resolve" in row["execution_context"]
    line = bfm.wait_log(lambda line: "in doubt" in line["msg"])
    assert (line["schema"], line["as"], line["statement"], line["executed_by"]) == ("a", how, 2, "api_user")
    recorded = len(history(bfm))
    again = resolve(bfm, how)  # as by somebody who never got the answer
    assert again.status == 200, again
    assert again.json == dict(answer.json, message=message.replace("(decided", "(already decided"))
    other = resolve(bfm, "applied" if how == "not_applied" else "not_applied")
    assert other.status == 409 and "counts as %s already (decided by api_user)" % counted in other.json["error"], other
    assert len(history(bfm)) == recorded
    answer = up(bfm.client, "tenants", schemas=["a"])
    assert answer.status == 200 and answer.json["applied"] == ["a_" + step_id(1)], answer
    assert effects(postgres, database) == after
    assert statuses(bfm)[0] == "applied"
    again = resolve(bfm, how)
    assert again.status == 404 and "no statement is in doubt" in again.json["error"], again


def test_the_last_one(make_bfm, world, tree, postgres, database):
    """With it the migration is applied, and nothing is left to run."""
    bfm = make_bfm(world, tree=tree).start()
    kill_within(bfm, postgres, database, 3, lambda: up(bfm.client, "tenants", schemas=["a"]))
    bfm = make_bfm(world, tree=tree).start()
    answer = resolve_when_quiet(bfm, "applied")
    assert answer.status == 200 and answer.json["complete"] is True, answer
    assert answer.json["message"].endswith("with it the migration is applied"), answer
    row = history(bfm)[0]
    assert (row["status"], row["executed_by"]) == ("applied", "api_user")
    assert '"resolved":{"statement":3,"as":"applied","statements":3,"direction":"up"}' in row["execution_context"]
    applied = bfm.client.get("/api/v1/migrations/%s/executions" % step_id(1)).json["executions"]
    assert [(item["schema"], item["applied"]) for item in applied] == [("a", True)]
    assert postgres.query(database, "SELECT kind, statement FROM bfm.journal") == [("up", None)]
    answer = up(bfm.client, "tenants", schemas=["a"])
    assert answer.status == 200 and answer.json["skipped"] == ["a_" + step_id(1)], answer
    assert effects(postgres, database) == [1, 2, 3]
    reconciled = bfm.client.post("/api/v1/reconcile", {}).json["targets"][0]
    assert reconciled["repaired"] == 0, reconciled


@pytest.mark.parametrize("number, how, after", [(12, "not_applied", [11, 12, 12, 13]), (13, "applied", [11, 12, 13])])
def test_a_down_script(make_bfm, world, tree, postgres, database, number, how, after):
    bfm = make_bfm(world, tree=tree).start()
    let_pass(postgres, database, 100)
    assert up(bfm.client, "tenants", schemas=["a"]).status == 200
    kill_within(bfm, postgres, database, number, lambda: undo(bfm))
    bfm = make_bfm(world, tree=tree).start()
    answer = resolve_when_quiet(bfm, how)
    assert answer.status == 200, answer
    assert (answer.json["direction"], answer.json["statement"]) == ("down", number - 10), answer
    assert answer.json["complete"] is (number == 13)
    if number == 13:
        assert answer.json["message"].endswith("with it the migration is undone"), answer
        assert statuses(bfm)[0] == "rolled_back"
        assert postgres.query(database, "SELECT count(*) FROM bfm.journal") == [(0,)]
    else:
        assert answer.json["message"].endswith("the next down goes on with statement 2"), answer
        answer = undo(bfm)
        assert answer.status == 200, answer
    assert [item for item in effects(postgres, database) if item > 10] == after
    applied = bfm.client.get("/api/v1/migrations/%s/executions" % step_id(1)).json["executions"]
    assert [(item["schema"], item["applied"]) for item in applied] == [("a", False)]


def test_the_error_says_what_to_do(make_bfm, world, tree, postgres, database):
    bfm = make_bfm(world, tree=tree).start()
    kill_within(bfm, postgres, database, 1, lambda: up(bfm.client, "tenants", schemas=["a"]))
    bfm = make_bfm(world, tree=tree).start()
    expect_in_doubt(bfm, 1)
    assert resolve_when_quiet(bfm, "not_applied").status == 200
    assert up(bfm.client, "tenants", schemas=["a"]).status == 200
    assert effects(postgres, database) == [1, 1, 2, 3]


def test_a_changed_script_is_refused(make_bfm, world, tree, postgres, database):
    bfm = make_bfm(world, tree=tree).start()
    kill_within(bfm, postgres, database, 2, lambda: up(bfm.client, "tenants", schemas=["a"]))
    tree.write(step_path(1), script(0, 3))
    bfm = make_bfm(world, tree=tree).start()
    wait_until(lambda: "changed" in resolve(bfm, "applied").json["error"], what="the row to be nobody's")
    answer = resolve(bfm, "applied")
    assert answer.status == 409 and "bring the old text of statements 1-2 back" in answer.json["error"], answer
    assert postgres.query(database, "SELECT kind, statement FROM bfm.journal") == [("started", 2)]


def test_what_comes_behind_may_be_corrected(make_bfm, world, tree, postgres, database):
    """In doubt or not: what was done is not repeated, and the rest is what the script says by now."""
    bfm = make_bfm(world, tree=tree).start()
    kill_within(bfm, postgres, database, 2, lambda: up(bfm.client, "tenants", schemas=["a"]))
    tree.write(step_path(1), script(1, 2) + "CALL public.absent();\nSELECT 1;\n")
    bfm = make_bfm(world, tree=tree).start()
    answer = resolve_when_quiet(bfm, "applied")
    assert (answer.status, answer.json["statement"], answer.json["statements"]) == (200, 2, 4), answer
    answer = up(bfm.client, "tenants", schemas=["a"])
    assert "absent" in answer.json["errors"][0] and "statement 3" in answer.json["errors"][0], answer
    tree.write(step_path(1), "-- bfm-transaction: off\n-- corrected\n" + script(1, 2).split("\n", 1)[1] + script(7, 7))
    assert bfm.client.post("/api/v1/migrations/reindex").status == 200
    answer = up(bfm.client, "tenants", schemas=["a"])
    assert answer.status == 200 and answer.json["applied"] == ["a_" + step_id(1)], answer
    assert effects(postgres, database) == [1, 2, 7]
    assert status_of(bfm) == "applied"


def test_half_undone_and_the_state_is_new(make_bfm, world, tree, postgres, database, tmp_path):
    """The journal's row is of statements of the down script: the up script counts as it is now."""
    bfm = make_bfm(world, tree=tree).start()
    let_pass(postgres, database, 100)
    assert up(bfm.client, "tenants", schemas=["a"]).status == 200
    kill_within(bfm, postgres, database, 12, lambda: undo(bfm))
    bfm = make_bfm(dict(world, BFM_STATE_DB_PATH=str(tmp_path / "new-state.db")), tree=tree).start()
    bfm.client.post("/api/v1/reconcile", {})
    assert status_of(bfm) == "applied"
    assert resolve_when_quiet(bfm, "applied").status == 200
    assert undo(bfm).status == 200
    assert [item for item in effects(postgres, database) if item > 10] == [11, 12, 13]


def test_while_it_runs(start_bfm, world, tree, postgres, database):
    """Neither the run of this server nor that of another one is decided about."""
    world.pop("BFM_STATE_DB_PATH")
    bfm, other = start_bfm(world, tree=tree), start_bfm(world, tree=tree)
    with Holder(postgres, database, "LOCK TABLE public.hold IN ACCESS EXCLUSIVE MODE"):
        running = Background(lambda: up(bfm.client, "tenants", schemas=["a"]))
        wait_until(lambda: effects(postgres, database) == [1], what="statement 1")
        answer = resolve(bfm, "applied")
        assert answer.status == 409 and "a run is at work" in answer.json["error"], answer
        answer = resolve(other, "applied")
        assert answer.status == 409 and "statement 1 is being run" in answer.json["error"], answer
    assert running.result().status == 200
    assert effects(postgres, database) == [1, 2, 3]
    assert resolve(bfm, "applied").status == 404


def test_what_is_refused(start_bfm, world, tree, etcd_env, etcd, tmp_path):
    tree.write("etcd/settings/20250102000000_x.up.json", '[{"key": "a", "value": "b"}]')
    tokens = tmp_path / "tokens"
    reader, limited = ("canary-token-of-%s-0123456789" % name for name in ("reader", "limited"))
    tokens.write_text(json.dumps([
        {"name": "reader", "token": reader, "scopes": ["read"]},
        {"name": "limited", "token": limited, "scopes": ["read", "migrate"], "schemas": ["b"]}]))
    tokens.chmod(0o600)
    world.update(etcd_env("settings", etcd))
    world["BFM_API_TOKENS_FILE"] = str(tokens)
    bfm = start_bfm(world, tree=tree)
    for how in ("", "maybe", "Applied"):
        answer = resolve(bfm, how)
        assert answer.status == 400 and '"as"' in answer.json["error"], answer
    answer = bfm.client.post("/api/v1/migrations/%s/resolve" % step_id(1), {"as": "applied"})
    assert answer.status == 400 and '"schema"' in answer.json["error"], answer
    answer = resolve(bfm, "applied", schema="x" * 64)
    assert answer.status == 400, answer
    answer = resolve(bfm, "applied", migration_id="nobody_knows_it")
    assert answer.status == 404 and "migration not found" in answer.json["error"], answer
    answer = resolve(bfm, "applied")
    assert answer.status == 404 and "no statement is in doubt" in answer.json["error"], answer
    answer = resolve(bfm, "applied", migration_id="20250102000000_x_etcd_settings", schema="s")
    assert answer.status == 409 and "etcd" in answer.json["error"], answer
    assert resolve(bfm, "applied", client=Client("127.0.0.1", bfm.port, token=reader)).status == 403
    assert resolve(bfm, "applied", client=Client("127.0.0.1", bfm.port, token=limited)).status == 403
    assert resolve(bfm, "applied", schema="b", client=Client("127.0.0.1", bfm.port, token=limited)).status == 404
    assert history(bfm) == []
