"""MariaDB as a target, by the API: what takes effect, what the journal says, and that it stays so when the server, the
database or the connection between them dies."""
import contextlib
import random
import signal
import time
import urllib.parse

import pytest
from api_helpers import down, up
from harness.mariadb import MariaDB
from harness.processes import wait_until
from harness.server import run_bfm
from once_helpers import LOST, Background, executions, in_threads

BODY = """-- bfm-tags: kind=routine
CREATE TABLE log (what VARCHAR(80));
CREATE TABLE t (id INT PRIMARY KEY, n INT);

CREATE TRIGGER t_log AFTER INSERT ON t FOR EACH ROW
BEGIN
  IF NEW.n > 1 THEN
    INSERT INTO log VALUES (CONCAT('big;', NEW.id));
  ELSE
    INSERT INTO log VALUES ('small');
  END IF;
END;

CREATE PROCEDURE fill(IN top INT)
fill: BEGIN
  DECLARE i INT DEFAULT 0;
  DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
  WHILE i < top DO
    SET i = i + 1;
    CASE WHEN i = 1 THEN INSERT INTO t VALUES (i, 1); ELSE INSERT INTO t VALUES (i, CASE i WHEN 2 THEN 5 ELSE 9 END);
    END CASE;
  END WHILE;
END fill;

CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN IF(n > 0, n * 2, 0);
CALL fill(3);
"""

# Statements of the scripts that are killed; each leaves a trace that shows how often it took effect.
DATA_UP = ["INSERT INTO effects VALUES ('data up 1')", "INSERT INTO effects VALUES ('data up 2')"]
DATA_DOWN = ["INSERT INTO effects VALUES ('data down')"]
DDL_UP = ["CREATE TABLE t (id INT)", "INSERT INTO effects VALUES ('ddl up 2')", "ALTER TABLE t ADD COLUMN a INT",
          "CREATE TABLE u AS SELECT 1 AS x", "INSERT INTO effects VALUES ('ddl up 5')"]
DDL_DOWN = ["INSERT INTO effects VALUES ('ddl down 1')", "DROP TABLE u", "DROP TABLE t",
            "INSERT INTO effects VALUES ('ddl down 4')"]


def path(number, name, direction="up"):
    return "mysql/shop/202501%02d000000_%s.%s.sql" % (number, name, direction)


def base_id(number, name):
    return "202501%02d000000_%s_mysql_shop" % (number, name)


def version(number):
    return "202501%02d000000" % number


def write(tree, number, name, script, undo=None):
    tree.write(path(number, name), script if isinstance(script, str) else ";\n".join(script) + ";\n")
    if undo is not None:
        tree.write(path(number, name, "down"), undo if isinstance(undo, str) else ";\n".join(undo) + ";\n")


def resolve(bfm, migration_id, schema, decision):
    return bfm.client.post("/api/v1/migrations/%s/resolve" % urllib.parse.quote(migration_id),
                           {"schema": schema, "as": decision})


class Target:
    """Databases of one test, which nobody else uses: the journal's, and `schema(name)`."""

    def __init__(self, server, prefix):
        self.server, self.prefix = server, prefix
        self.journal_schema = prefix + "journal"
        self.names = [self.journal_schema]

    def schema(self, name, effects=False):
        self.names.append(self.prefix + name)
        if effects:
            self.ask("CREATE DATABASE `%s`" % self.names[-1])
            self.ask("CREATE TABLE `%s`.effects (what VARCHAR(80))" % self.names[-1])
        return self.names[-1]

    def ask(self, sql, params=None):
        return self.server.query(None, sql, params)

    def journal(self):
        """{(schema, base ID): "kind statement"}"""
        if "journal" not in self.tables(self.journal_schema):
            return {}
        return {(schema, name): kind if statement is None else "%s %d" % (kind, statement)
                for schema, name, kind, statement in self.ask(
                    "SELECT schema_name, migration_id, kind, statement FROM `%s`.journal" % self.journal_schema)}

    def effects(self, schema):
        return sorted(row[0] for row in self.ask("SELECT what FROM `%s`.effects" % schema))

    def tables(self, schema):
        return {row[0] for row in self.ask(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", (schema,))}

    @contextlib.contextmanager
    def holder(self, schema):
        """While it is open, the table `effects` cannot be altered."""
        with contextlib.closing(self.server.connect(schema)) as connection:
            connection.query("START TRANSACTION")
            connection.query("SELECT * FROM effects")
            yield

    def drop(self):
        for name in self.names:
            self.ask("DROP DATABASE IF EXISTS `%s`" % name.replace("`", "``"))


@pytest.fixture
def target(mariadb, request):
    made = Target(mariadb, "m%08x_" % random.Random(request.node.nodeid).getrandbits(32))
    yield made
    made.drop()


@pytest.fixture
def shop_env(mysql_env, target):
    return mysql_env("shop", target.server, JOURNAL_SCHEMA=target.journal_schema)


def test_routines_and_data(start_bfm, tree, target, shop_env):
    write(tree, 1, "routines", BODY, "DROP FUNCTION twice; DROP PROCEDURE fill; DROP TABLE t; DROP TABLE log")
    write(tree, 2, "data", "INSERT INTO t SELECT 10, twice(4) FROM {{.Schema}}.t WHERE id = 1", "DELETE FROM t WHERE id=10")
    bfm = start_bfm(shop_env, tree=tree)
    schema = target.schema("Tenant-A")
    answer = up(bfm.client, "shop", schemas=[schema])
    assert answer.status == 200 and len(answer.json["applied"]) == 2, answer
    assert target.ask("SELECT id, n FROM `%s`.t ORDER BY id" % schema) == [(1, 1), (2, 5), (3, 9), (10, 8)]
    assert target.ask("SELECT what, count(*) FROM `%s`.log GROUP BY 1 ORDER BY 1" % schema) == [
        ("big;10", 1), ("big;2", 1), ("big;3", 1), ("small", 1)]
    assert target.journal() == {(schema, base_id(1, "routines")): "up", (schema, base_id(2, "data")): "up"}
    assert len(up(bfm.client, "shop", schemas=[schema]).json["skipped"]) == 2
    for number, name in ((2, "data"), (1, "routines")):
        answer = down(bfm.client, base_id(number, name), schemas=[schema])
        assert answer.status == 200, answer
    assert target.tables(schema) == set()
    assert target.journal() == {}


def test_refused_when_loaded(tree, tmp_path):
    write(tree, 1, "delimiter", "SELECT 1;\nDELIMITER //\nCREATE PROCEDURE p() BEGIN END //\nDELIMITER ;\n")
    write(tree, 2, "begin", "SELECT 1;\n\nSTART TRANSACTION;\n")
    write(tree, 3, "open", "CREATE PROCEDURE p()\nBEGIN\n IF 1 THEN SELECT 1; END;\n")
    write(tree, 4, "local", "LOAD DATA LOCAL INFILE 'x' INTO TABLE t")
    done = run_bfm("validate", tree.root, cwd=tmp_path)
    assert done.returncode != 0
    for wanted in ("delimiter.up.sql:2: ", "BfM finds the end of BEGIN ... END by itself", "begin.up.sql:3: ",
                   "open.up.sql:2: ", "this block has no END", "local.up.sql:1: "):
        assert wanted in done.stdout + done.stderr, (wanted, done.stdout, done.stderr)


def test_failure_says_where(start_bfm, tree, target, shop_env):
    write(tree, 1, "bad", "CREATE TABLE t (id INT);\n\nINSERT INTO t\n  VALUES (1, 2);\n")
    bfm = start_bfm(shop_env, tree=tree)
    schema = target.schema("a")
    answer = up(bfm.client, "shop", schemas=[schema])
    assert answer.status != 200 or answer.json["errors"]
    text = " ".join(str(error) for error in answer.json["errors"])
    for wanted in ("error 1136", "SQLSTATE 21S01", "statement 2", "bad.up.sql:3"):
        assert wanted in text, answer
    assert target.journal() == {(schema, base_id(1, "bad")): "done 1"}
    tree.write(path(2, "unused"), "SELECT 1")
    target.ask("ALTER TABLE `%s`.t ADD COLUMN b INT" % schema)
    answer = up(bfm.client, "shop", schemas=[schema], target={"version": version(1)})
    assert answer.status == 200 and len(answer.json["applied"]) == 1, answer


def killed_cases():
    for direction, ddl in (("up", DDL_UP), ("down", DDL_DOWN)):
        yield direction, 1, ["step_sent", "step_committed"]
        yield direction, 2, ["step_committed"] + ["%s_%d" % (point, nth) for nth in range(1, len(ddl) + 1)
                                                  for point in ("notx_sent", "notx_done")]


@pytest.mark.parametrize("direction, number, points", list(killed_cases()),
                         ids=lambda value: str(value) if not isinstance(value, list) else "points")
def test_bfm_killed_at(make_bfm, tree, target, shop_env, tmp_path, direction, number, points):
    """Each point kills a server that works on a schema of its own. What had been sent is not lost: the database goes on
    with it, and the journal tells the next server."""
    name = "data" if number == 1 else "ddl"
    write(tree, 1, "data", DATA_UP, DATA_DOWN)
    write(tree, 2, "ddl", DDL_UP, DDL_DOWN)
    env = dict(shop_env, BFM_STATE_DB_PATH=str(tmp_path / "shared.db"))
    bfm = make_bfm(env, tree=tree).start()
    schemas = [target.schema(point, effects=True) for point in points]

    def request(server, schema):
        if direction == "up":
            return up(server.client, "shop", schemas=[schema], target={"version": version(number)})
        return down(server.client, base_id(number, name), schemas=[schema])

    if direction == "down":
        answer = up(bfm.client, "shop", schemas=schemas, target={"version": version(number)})
        assert answer.status == 200, answer
    for point, schema in zip(points, schemas):
        victim = make_bfm(dict(env, BFM_CRASH_AT=point), tree=tree).start(ready=False)
        victim.wait_healthy()
        with pytest.raises(LOST):
            request(victim, schema)
        assert victim.wait_exit(30) == -signal.SIGKILL, "the point was never reached\n" + victim.describe()
    for schema in schemas:
        answer = request(bfm, schema)
        assert answer.status == 200 and answer.json["errors"] == [], answer
        assert len(answer.json["applied"] + answer.json["skipped"]) == 1, answer
    traces = [text.split("'")[1] for text in (DATA_UP if number == 1 else DDL_UP) if "effects" in text]
    if direction == "down":
        traces += [text.split("'")[1] for text in (DATA_DOWN if number == 1 else DDL_DOWN) if "effects" in text]
    for schema in schemas:
        assert target.effects(schema) == sorted(traces)
        there = {"t", "u"} if (direction, number) == ("up", 2) else set()
        assert target.tables(schema) == {"effects"} | there
    assert executions(bfm, base_id(number, name)) == {schema: direction == "up" for schema in schemas}
    assert target.journal() == ({(schema, base_id(number, name)): "up" for schema in schemas}
                                if direction == "up" else {})


def test_bfm_killed_while_a_statement_waits(start_bfm, tree, target, shop_env):
    """The session lives on in the database: nobody goes on with the migration before it has ended."""
    write(tree, 1, "wait", "CREATE TABLE t (id INT);\nALTER TABLE effects ADD COLUMN a INT;\n"
          "INSERT INTO effects VALUES ('last', 1)")
    bfm = start_bfm(dict(shop_env, SHOP_LOCK_TIMEOUT="60s"), tree=tree)
    schema = target.schema("s", effects=True)
    key = (schema, base_id(1, "wait"))
    with target.holder(schema):
        run = Background(lambda: up(bfm.client, "shop", schemas=[schema]))
        wait_until(lambda: target.journal().get(key) == "started 2", 20, "the mark")
        bfm.kill()
        with pytest.raises(LOST):
            run.result()
        bfm.start()
        run = Background(lambda: up(bfm.client, "shop", schemas=[schema]))
        wait_until(lambda: bfm.client.get("/api/v1/runs").text.count("running") > 0, 20, "the second run")
        assert target.journal()[key] == "started 2"
    answer = run.result()
    assert answer.status == 200 and answer.json["errors"] == [], answer
    assert target.effects(schema) == ["last"]
    assert target.journal()[key] == "up"


@pytest.fixture
def durable():
    """A MariaDB of this test's own that keeps what was committed when it is killed, as in production."""
    server = MariaDB({"innodb-flush-log-at-trx-commit": 1})
    try:
        made = Target(server.start(), "d_")
        yield made
    finally:
        if server.process is not None:
            server.resume()
        server.stop()


def wait_running(target, sign):
    wait_until(lambda: target.ask("SELECT count(*) FROM information_schema.processlist WHERE info LIKE %s AND "
                                  "id <> connection_id()", ("%" + sign + "%",))[0][0] > 0, 20, sign + " to run")


SLOW = "(SELECT SLEEP(5))"


@pytest.mark.parametrize("statement, wanted", [
    ("INSERT INTO effects SELECT CONCAT('x', %s)" % SLOW, "applied"),
    ("CREATE TABLE u AS SELECT %s AS x" % SLOW, "applied"),           # it cannot work twice, so it can be tried again
    ("CREATE OR REPLACE TABLE u AS SELECT %s AS x" % SLOW, "applied"),
    ("ALTER TABLE effects ADD UNIQUE (what), COMMENT = 'slow'", "doubt"),
], ids=["data", "once", "repeatable", "doubt"])
def test_database_killed_in_a_statement(start_bfm, tree, durable, mysql_env, statement, wanted):
    write(tree, 1, "first", "CREATE TABLE t (id INT);\n%s;\nINSERT INTO effects VALUES ('last')" % statement)
    bfm = start_bfm(mysql_env("shop", durable.server), tree=tree)
    durable.journal_schema = "bfm"
    schema = durable.schema("s", effects=True)
    with durable.holder(schema) if wanted == "doubt" else contextlib.nullcontext():
        run = Background(lambda: up(bfm.client, "shop", schemas=[schema]))
        wait_running(durable, statement[:20])
        if wanted == "doubt":
            wait_until(lambda: durable.journal().get((schema, base_id(1, "first"))) == "started 2", 20, "the mark")
        durable.server.kill()
    durable.server.start()
    answer = run.result(90)
    if wanted == "applied":
        assert answer.status == 200 and len(answer.json["applied"]) == 1, answer
        assert durable.journal() == {(schema, base_id(1, "first")): "up"}
    else:
        assert "resolve" in str(answer.json["errors"]), answer
        assert durable.journal() == {(schema, base_id(1, "first")): "started 2"}
        decided = resolve(bfm, base_id(1, "first"), schema, "not_applied")
        assert decided.status == 200, decided
        answer = up(bfm.client, "shop", schemas=[schema])
        assert answer.status == 200 and len(answer.json["applied"]) == 1, answer
    assert durable.effects(schema).count("last") == 1
    assert len(durable.effects(schema)) == (2 if statement.startswith("INSERT") else 1)


def test_doubt_is_resolved(start_bfm, tree, target, shop_env):
    """Rows as a server leaves them that dies together with the database, copied from one that worked."""
    name = base_id(1, "doubt")
    write(tree, 1, "doubt", "CREATE TABLE t (id INT);\nTRUNCATE TABLE effects;\nINSERT INTO effects VALUES ('last')")
    bfm = start_bfm(shop_env, tree=tree)
    model = target.schema("model", effects=True)
    assert up(bfm.client, "shop", schemas=[model]).status == 200
    for decision, done, wanted in (("applied", "done 2", ["before", "last"]), ("not_applied", "done 1", ["last"])):
        schema = target.schema(decision, effects=True)
        target.ask("INSERT INTO `%s`.effects VALUES ('before')" % schema)
        target.ask("INSERT INTO `{0}`.journal SELECT %s, migration_id, checksum, 'started', 2, applied_at, 'run-gone', 1 "
                   "FROM `{0}`.journal WHERE schema_name = %s".format(target.journal_schema), (schema, model))
        assert "/resolve" in str(up(bfm.client, "shop", schemas=[schema]).json["errors"])
        answer = resolve(bfm, name, schema, decision)
        assert answer.status == 200, answer
        assert target.journal()[(schema, name)] == done
        again = resolve(bfm, name, schema, decision)
        assert again.status == 200 and "already decided" in again.json["message"], again
        other = "not_applied" if decision == "applied" else "applied"
        assert resolve(bfm, name, schema, other).status == 409
        answer = up(bfm.client, "shop", schemas=[schema])
        assert answer.status == 200 and len(answer.json["applied"]) == 1, answer
        assert target.effects(schema) == wanted


def test_two_servers(make_bfm, tree, target, shop_env, tmp_path):
    write(tree, 1, "data", DATA_UP)
    write(tree, 2, "ddl", DDL_UP)
    servers = [make_bfm(dict(shop_env, BFM_STATE_DB_PATH=str(tmp_path / ("state%d.db" % n))), tree=tree).start()
               for n in range(2)]
    schemas = [target.schema("s%d" % n, effects=True) for n in range(12)]
    answers = in_threads(2, lambda n: up(servers[n].client, "shop", schemas=schemas[::1 - 2 * n]))
    applied = [name for answer in answers for name in answer.json["applied"]]
    assert all(answer.status == 200 for answer in answers), answers
    assert len(applied) == len(set(applied)) == 2 * len(schemas), applied
    for schema in schemas:
        assert target.effects(schema) == ["data up 1", "data up 2", "ddl up 2", "ddl up 5"]


def test_bfm_killed_at_random(start_bfm, tree, target, shop_env):
    """Killed at any moment, and asked again: every statement took effect once, everywhere."""
    write(tree, 1, "data", DATA_UP)
    write(tree, 2, "ddl", DDL_UP)
    bfm = start_bfm(shop_env, tree=tree)
    begin = time.monotonic()
    assert up(bfm.client, "shop", schemas=[target.schema("w%d" % n, effects=True) for n in range(10)]).status == 200
    full = time.monotonic() - begin
    dice = random.Random(4)
    for number in range(5):
        schemas = [target.schema("r%d_%d" % (number, n), effects=True) for n in range(10)]
        run = Background(lambda schemas=schemas: up(bfm.client, "shop", schemas=schemas))
        time.sleep(full * dice.random())  # the moment of the crash, not a wait for anything
        bfm.kill()
        try:
            run.result()
        except LOST:
            pass
        bfm.start()
        answer = up(bfm.client, "shop", schemas=schemas)
        assert answer.status == 200, answer
        for schema in schemas:
            assert target.effects(schema) == ["data up 1", "data up 2", "ddl up 2", "ddl up 5"]


def test_generated_script_goes_on(start_bfm, tree, target, shop_env):
    """Hundreds of statements, one of which fails at first."""
    count = 300
    lines = ["CREATE TABLE t (id INT PRIMARY KEY)"]
    lines += ["INSERT INTO %s VALUES (%d)" % ("later" if n == 200 else "t", n) for n in range(count)]
    write(tree, 1, "long", lines)
    bfm = start_bfm(shop_env, tree=tree)
    schema = target.schema("long")
    answer = up(bfm.client, "shop", schemas=[schema])
    assert "statement 202" in str(answer.json["errors"]), answer
    assert target.journal() == {(schema, base_id(1, "long")): "done 201"}
    target.ask("CREATE TABLE `%s`.later (id INT)" % schema)
    answer = up(bfm.client, "shop", schemas=[schema])
    assert answer.status == 200, answer
    assert target.ask("SELECT count(*) FROM `%s`.t" % schema) == [(count - 1,)]


def test_password_stays_secret(start_bfm, tree, target, shop_env):
    write(tree, 1, "bad", "SELECT * FROM mysql.nothing_here")
    bfm = start_bfm(shop_env, tree=tree)
    answer = up(bfm.client, "shop", schemas=[target.schema("a")])
    assert answer.json["errors"], answer
    assert "canary" not in answer.text
    assert not any("canary" in str(line) for line in bfm.log())
