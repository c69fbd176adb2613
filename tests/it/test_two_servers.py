"""Two servers with one state database and one target: together they do everything once (DESIGN.md §3, §4)."""
import pytest
from api_helpers import up
from once_helpers import check_all, in_threads, make_effects, step_id, write_steps

STEPS = 5


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def servers(request, make_bfm, tree, postgres, database, shared_state, connection_env):
    """Both run; the state is in one file or in one database."""
    make_effects(postgres, database)
    write_steps(tree, STEPS)
    env = {**connection_env("tenants", postgres, database), **shared_state(request.param)}
    pair = [make_bfm(env, tree=tree) for _ in range(2)]
    for server in pair:
        server.start(ready=False)
    for server in pair:
        server.wait_healthy()
    return pair


def ids_of(schemas):
    return {"%s_%s" % (schema, step_id(number)) for schema in schemas for number in range(1, STEPS + 1)}


def check_answers(answers, wanted):
    """Each one names everything, and each thing was applied by exactly one of them."""
    applied = []
    for answer in answers:
        assert answer.status == 200, answer
        assert answer.json["errors"] == [], answer
        assert set(answer.json["applied"] + answer.json["skipped"]) == wanted, answer
        assert not set(answer.json["applied"]) & set(answer.json["skipped"]), answer
        applied += answer.json["applied"]
    assert sorted(applied) == sorted(wanted)


def test_64_equal_requests_at_both(servers, postgres, database):
    answers = in_threads(64, lambda index: up(servers[index % 2].client, "tenants", schemas=["one"]))
    check_answers(answers, ids_of(["one"]))
    for server in servers:
        check_all(server, postgres, database, ["one"], STEPS)


def test_many_tenants_at_both(servers, postgres, database):
    schemas = ["t%d" % index for index in range(20)]
    orders = [schemas, schemas[::-1]]
    answers = in_threads(2, lambda index: up(servers[index].client, "tenants", schemas=orders[index]))
    check_answers(answers, ids_of(schemas))
    for server in servers:
        check_all(server, postgres, database, schemas, STEPS)


def test_undoing_at_both(servers, postgres, database):
    last = step_id(STEPS)
    assert up(servers[0].client, "tenants", schemas=["one"]).status == 200
    answers = in_threads(16, lambda index: servers[index % 2].client.post(
        "/api/v1/migrations/down", {"migration_id": last, "schemas": ["one"]}))
    assert [answer.status for answer in answers] == [200] * 16, answers
    assert sum(answer.json["applied"] == ["one_" + last] for answer in answers) == 1, answers
    assert sum(answer.json["skipped"] == ["one_%s (not applied)" % last] for answer in answers) == 15, answers
    assert postgres.query(database, "SELECT count(*) FROM public.effects WHERE direction = 'down'") == [(1,)]
    assert up(servers[1].client, "tenants", schemas=["one"]).json["applied"] == ["one_" + last]
