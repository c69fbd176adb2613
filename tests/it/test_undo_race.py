"""An undo of a migration and an up of what depends on it, at the same moment, at one server and at two: whoever comes
first, what is applied has what it depends on (bfm-api.md §6.3, D10), and every recorded start has an end."""
import pytest
from api_helpers import up
from once_helpers import in_threads, journal, make_effects, step_id, trace

ROUNDS = 6
SCHEMAS = ["s%d" % index for index in range(12)]
BASE, LEAF = step_id(1), step_id(2)


def write_pair(tree):
    """step2 depends on step1; both take long enough for others to come in between."""
    pause = "SELECT pg_sleep(0.01);\n"
    tree.write("postgresql/tenants/20250101000000_step1.up.sql", "CREATE TABLE t1 (id int);\n" + pause + trace(1))
    tree.write("postgresql/tenants/20250101000000_step1.down.sql", "DROP TABLE t1;\n" + pause)
    tree.write("postgresql/tenants/20250102000000_step2.up.sql",
               "-- bfm-depends: step1\nCREATE TABLE t2 (id int);\n" + pause + trace(2))
    tree.write("postgresql/tenants/20250102000000_step2.down.sql", "DROP TABLE t2;\n" + pause)


@pytest.fixture(params=["one server", "one connection", "two on sqlite", "two on postgresql"])
def servers(request, make_bfm, tree, postgres, database, make_database, connection_env, state_env, tmp_path):
    make_effects(postgres, database)
    write_pair(tree)
    more = {"MAX_OPEN_CONNS": "1"} if request.param == "one connection" else {}
    env = connection_env("tenants", postgres, database)
    if more:
        env["BFM_DB_MAX_OPEN_CONNS"] = "1"
    if request.param == "two on sqlite":
        env["BFM_STATE_DB_PATH"] = str(tmp_path / "shared.db")
    elif request.param == "two on postgresql":
        env.update(state_env(postgres, make_database()))
    group = [make_bfm(env, tree=tree) for _ in range(2 if request.param.startswith("two") else 1)]
    for server in group:
        server.start(ready=False)
    for server in group:
        server.wait_healthy()
    return group


def check_pairs(server, postgres, database):
    rows = journal(postgres, database)
    assert {schema for schema, found in rows if found == LEAF} <= {schema for schema, found in rows if found == BASE}
    for found in (BASE, LEAF):
        items = server.client.get("/api/v1/migrations/%s/executions" % found).json["executions"]
        assert {item["schema"] for item in items if item["applied"]} == {
            schema for schema, other in rows if other == found}


def check_ends(server):
    """As many ends as starts, for each migration in each schema."""
    for found in (BASE, LEAF):
        history = server.client.get("/api/v1/migrations/%s/history?limit=1000" % found).json["history"]
        for schema in SCHEMAS:
            states = [item["status"] for item in history if item["schema"] == schema]
            starts = states.count("pending")
            assert starts > 0 and len(states) - starts >= starts, (found, schema, states)


def test_undo_and_up_of_a_dependent(servers, postgres, database):
    first = servers[0].client

    def one(index):
        """Half of them undo the base of a schema, half of them apply its leaf."""
        client = servers[(index // 2) % len(servers)].client if index % 2 else servers[-1].client
        schema = SCHEMAS[index // 2]
        if index % 2:
            return client.post("/api/v1/migrations/down", {"migration_id": BASE, "schemas": [schema]})
        return up(client, "tenants", schemas=[schema], target={"version": "20250102000000"})

    for number in range(ROUNDS):
        answer = up(first, "tenants", schemas=SCHEMAS, target={"version": "20250101000000"})
        assert answer.status == 200, answer
        answers = in_threads(2 * len(SCHEMAS), one)
        assert {answer.status for answer in answers} <= {200, 206, 409}, answers
        check_pairs(servers[0], postgres, database)
        answer = first.post("/api/v1/migrations/down", {"migration_id": LEAF, "schemas": SCHEMAS})
        assert answer.status == 200, answer
        check_pairs(servers[0], postgres, database)
    check_ends(servers[0])
