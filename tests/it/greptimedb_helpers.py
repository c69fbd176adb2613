"""What the tests of GreptimeDB targets share."""
from urllib.parse import quote

from api_helpers import up

CONNECTION = "metrics"
TABLE = 'CREATE TABLE %s ("ts" TIMESTAMP(3) TIME INDEX, "host" STRING PRIMARY KEY, cpu DOUBLE);\n'
IDEMPOTENT_TABLE = TABLE.replace("TABLE", "TABLE IF NOT EXISTS", 1)


def version(number):
    return "202504%02d000000" % number


def step_id(number, connection=CONNECTION):
    return "%s_step%d_greptimedb_%s" % (version(number), number, connection)


def step_path(number, direction="up", connection=CONNECTION):
    return "greptimedb/%s/%s_step%d.%s.sql" % (connection, version(number), number, direction)


def write_step(tree, number, text, down=None, connection=CONNECTION):
    """A dynamic migration stepN."""
    tree.write(step_path(number, connection=connection), text)
    if down is not None:
        tree.write(step_path(number, "down", connection), down)


def write_steps(tree, count, connection=CONNECTION):
    """Each makes a table tN, and can be undone."""
    for number in range(1, count + 1):
        write_step(tree, number, TABLE % ("t%d" % number), "DROP TABLE t%d;\n" % number, connection)


def run(bfm, *schemas, **fields):
    return up(bfm.client, CONNECTION, schemas=list(schemas), **fields)


def resolve(bfm, migration_id, schema, how):
    return bfm.client.post("/api/v1/migrations/%s/resolve" % quote(migration_id, safe=""),
                           {"schema": schema, "as": how})


def expect_applied(answer, *ids):
    assert answer.status == 200, answer
    assert answer.json["applied"] == list(ids) and answer.json["errors"] == [], answer


def expect_failed(answer, *parts, applied=()):
    """One failure, whose text has all these parts. Nobody says that something was undone."""
    assert answer.status == 206 and answer.json["success"] is False, answer
    assert answer.json["applied"] == list(applied) and len(answer.json["errors"]) == 1, answer
    error = answer.json["errors"][0]
    for part in parts:
        assert part in error, answer
    assert "rolled back" not in answer.text.lower() and "rollback" not in error.lower(), answer
    return error


def failed_detail(answer):
    return [item for item in answer.json["details"] if item["status"] == "failed"][0]


def expect_no_leak(answer, server):
    for secret in (server.host, str(server.port), server.password):
        assert not secret or secret not in answer.text, answer


def sent_in(server, database, pattern="", since=0):
    """The SQL of the requests that the double got for a database, but for questions."""
    return [event["sql"] for event in server.requests(pattern, since)
            if event["db"] in (database, "greptime-" + database) and not event["sql"].startswith(("SELECT", "SHOW"))]
