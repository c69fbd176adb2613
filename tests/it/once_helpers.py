"""What the tests of "exactly once" and of faults share: scripts that leave a trace each time they take effect, and the
records that must agree afterwards: tables, journal, executions."""
import http.client
import threading
import urllib.parse

import pytest
from api_helpers import up
from harness.mariadb import MariaDB
from harness.postgres import Postgres
from harness.processes import wait_until

LOST = (OSError, http.client.HTTPException)  # what a client sees of a server that dies


def version(number):
    return "202501%02d000000" % number


def step_id(number, connection="tenants"):
    return "%s_step%d_postgresql_%s" % (version(number), number, connection)


def step_path(number, direction="up", connection="tenants"):
    return "postgresql/%s/%s_step%d.%s.sql" % (connection, version(number), number, direction)


def trace(number, direction="up"):
    """A statement that shows every time its script took effect."""
    return "INSERT INTO public.effects VALUES ('{{.Schema}}', 'step%d', '%s');\n" % (number, direction)


def write_steps(tree, count, connection="tenants"):
    """Dynamic migrations step1 ... stepN: each creates a table, leaves a trace and can be undone."""
    for number in range(1, count + 1):
        tree.write(step_path(number, connection=connection), "CREATE TABLE t%d (id int);\n" % number + trace(number))
        tree.write(step_path(number, "down", connection), "DROP TABLE t%d;\n" % number + trace(number, "down"))


def make_effects(server, database):
    server.query(database, "CREATE TABLE public.effects (schema_name text, migration text, direction text)")


def effects(server, database, direction="up"):
    """{(schema, "stepN"): how often it took effect}"""
    return {(schema, name): count for schema, name, count in server.query(
        database, "SELECT schema_name, migration, count(*) FROM public.effects WHERE direction = %s GROUP BY 1, 2",
        (direction,))}


def found_tables(server, database, schemas):
    return {(schema, table) for schema, table in server.query(
        database, "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(%s)", (list(schemas),))}


def journal(server, database):
    """{(schema, base ID)} of what the target says is applied."""
    if server.query(database, "SELECT to_regclass('bfm.journal') IS NULL")[0][0]:
        return set()
    return set(server.query(database, "SELECT schema_name, migration_id FROM bfm.journal WHERE kind = 'up'"))


def executions(bfm, migration_id):
    """{schema: whether it is applied} by the state database."""
    answer = bfm.client.get("/api/v1/migrations/%s/executions" % urllib.parse.quote(migration_id))
    assert answer.status == 200, answer
    return {row["schema"]: row["applied"] for row in answer.json["executions"]}


def applied_by_state(bfm, schemas, count):
    return {(schema, step_id(number)) for number in range(1, count + 1)
            for schema, applied in executions(bfm, step_id(number)).items() if applied and schema in schemas}


def check_all(bfm, server, database, schemas, count):
    """Every step is there once in every schema, and everybody knows it."""
    wanted = {(schema, number) for schema in schemas for number in range(1, count + 1)}
    ids = {(schema, step_id(number)) for schema, number in wanted}
    assert found_tables(server, database, schemas) == {(schema, "t%d" % number) for schema, number in wanted}
    assert {row for row in journal(server, database) if row[0] in schemas} == ids
    assert applied_by_state(bfm, schemas, count) == ids
    seen = {key: times for key, times in effects(server, database).items() if key[0] in schemas}
    assert seen == {(schema, "step%d" % number): 1 for schema, number in wanted}


def finish(bfm, schemas, count, attempts=5, **fields):
    """Repeats the request until nothing is left to do; everything it names was applied or skipped."""
    for _ in range(attempts):
        answer = up(bfm.client, "tenants", schemas=list(schemas), **fields)
        if answer.status == 200:
            break
    assert answer.status == 200, answer
    wanted = {"%s_%s" % (schema, step_id(number)) for schema in schemas for number in range(1, count + 1)}
    assert set(answer.json["applied"] + answer.json["skipped"]) == wanted
    assert len(answer.json["applied"] + answer.json["skipped"]) == len(wanted)
    return answer.json


@pytest.fixture
def durable_postgres():
    """As private_postgres, but what was committed survives kill(), as in production."""
    server = Postgres({"synchronous_commit": "on"})
    try:
        yield server.start()
    finally:
        if server.process is not None:
            server.resume()
        server.stop()


@pytest.fixture
def durable_mariadb():
    """As private_mariadb, but what was committed survives kill(), as in production."""
    server = MariaDB({"innodb-flush-log-at-trx-commit": 2})  # written, if not synced: the machine stays
    try:
        yield server.start()
    finally:
        if server.process is not None:
            server.resume()
        server.stop()


class Background:
    """work() in a thread; what it returned or raised is asked for with result()."""

    def __init__(self, work):
        self._value = self._error = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work):
        try:
            self._value = work()
        except Exception as error:  # pylint: disable=broad-except
            self._error = error

    @property
    def is_done(self):
        return not self._thread.is_alive()

    def result(self, timeout=120):
        self._thread.join(timeout)
        assert self.is_done, "still running after %g s" % timeout
        if self._error is not None:
            raise self._error
        return self._value


def in_threads(count, work):
    """[work(0), work(1), ...], all begun at the same moment."""
    barrier = threading.Barrier(count)

    def body(index):
        barrier.wait()
        return work(index)

    running = [Background(lambda index=index: body(index)) for index in range(count)]
    return [one.result(120) for one in running]


class Holder:
    """A session that holds something in a transaction until release()."""

    def __init__(self, server, database, *statements):
        self.connection = server.connect(database)
        self.connection.autocommit = False
        self.pid = self.connection.info.backend_pid
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()

    def release(self):
        self.connection.close()


def waiting(server, database, event_type="Lock"):
    """[(pid, query)] of sessions of the database that wait for a lock."""
    return server.query("postgres", "SELECT pid, query FROM pg_stat_activity WHERE datname = %s AND state = 'active' "
                        "AND wait_event_type = %s", (database, event_type))


def wait_for_waiting(server, database, count=1):
    wait_until(lambda: len(waiting(server, database)) >= count, what="a session to wait for a lock")


def terminate_sessions(server, database):
    """Ends every other session of the database and waits until they are gone."""
    def gone():
        return not server.query("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                                "WHERE datname = %s AND pid <> pg_backend_pid()", (database,))

    wait_until(gone, what="the sessions to end")
