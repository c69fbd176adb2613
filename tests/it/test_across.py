"""One run over connections of every kind: PostgreSQL, MySQL, GreptimeDB and etcd (bfm-api.md §6.4, DESIGN.md §1)."""
import json
import socket

import pytest

from api_helpers import up
from once_helpers import Background, Holder, wait_for_waiting

KINDS = ("postgresql", "mysql", "greptimedb", "etcd")
CONNECTIONS = {"postgresql": "core", "mysql": "app", "greptimedb": "metrics", "etcd": "config"}


def script(kind, thing, requires=(), before=""):
    """The text of a migration that makes `thing` and requires what the dicts say."""
    if kind == "etcd":
        return json.dumps({"bfm": {"requires": list(requires)}, "operations": [{"key": thing, "value": "there"}]})
    lines = ["-- bfm-requires: %s\n" % " ".join("%s=%s" % pair for pair in one.items()) for one in requires]
    column = "ts TIMESTAMP TIME INDEX" if kind == "greptimedb" else "id int"
    return "".join(lines) + before + "CREATE TABLE %s (%s);\n" % (thing, column)


def migration_id(kind, number, name):
    return "202505%02d000000_%s_%s_%s" % (number, name, kind, CONNECTIONS[kind])


class World:
    """A database of each kind, the tree, and what is there."""

    def __init__(self, tree, postgres, database, mariadb, greptimedb, etcd):
        self.tree, self.postgres, self.database = tree, postgres, database
        self.mariadb, self.greptimedb, self.etcd = mariadb, greptimedb, etcd
        self.tag = greptimedb.new_name("a")  # schemas of this test begin with it, as servers are shared

    def schema(self, name):
        return self.tag + name

    def write(self, kind, number, name, text):
        end = ".json" if kind == "etcd" else ".sql"
        self.tree.write("%s/%s/202505%02d000000_%s.up%s" % (kind, CONNECTIONS[kind], number, name, end), text)

    def make(self, kind, schema, thing):
        """By hand, past bfm."""
        if kind == "etcd":
            self.etcd.put("/%s/%s/here" % (schema, thing), "by hand")
        elif kind == "postgresql":
            self.postgres.query(self.database, 'CREATE SCHEMA IF NOT EXISTS "%s"' % schema)
            self.postgres.query(self.database, 'CREATE TABLE "%s".%s (id int)' % (schema, thing))
        elif kind == "mysql":
            self.mariadb.query(None, "CREATE DATABASE IF NOT EXISTS `%s`" % schema)
            self.mariadb.query(None, "CREATE TABLE `%s`.%s (id int)" % (schema, thing))
        else:
            self.greptimedb.execute('CREATE DATABASE IF NOT EXISTS "%s"' % schema)
            self.greptimedb.execute("CREATE TABLE %s (ts TIMESTAMP TIME INDEX)" % thing, schema)

    def has(self, kind, schema, thing):
        if kind == "etcd":
            return self.etcd.get("/%s/%s" % (schema, thing)) is not None
        if kind == "postgresql":
            return bool(self.postgres.query(self.database, "SELECT 1 FROM pg_tables WHERE schemaname = %s AND "
                                            "tablename = %s", (schema, thing)))
        if kind == "mysql":
            return bool(self.mariadb.query(None, "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND "
                                           "table_name = %s", (schema, thing)))
        return thing in self.greptimedb.tables(schema)

    def clean(self):
        self.greptimedb.drop_databases(self.tag)
        for name, in self.mariadb.query(None, "SHOW DATABASES LIKE '%s%%'" % self.tag):
            self.mariadb.drop_database(name)


@pytest.fixture
def world(tree, postgres, database, mariadb, greptimedb, etcd):
    world = World(tree, postgres, database, mariadb, greptimedb, etcd)
    yield world
    world.clean()


@pytest.fixture
def env(world, connection_env, mysql_env, greptimedb_env, etcd_env):
    return {**connection_env("core", world.postgres, world.database, LOCK_TIMEOUT="60s"),
            **mysql_env("app", world.mariadb, JOURNAL_SCHEMA=world.tag + "journal"),
            **greptimedb_env("metrics", world.greptimedb), **etcd_env("config", world.etcd)}


def write_chain(world, order=("postgresql", "etcd", "greptimedb", "mysql"), first=""):
    """Each waits for the one before it; by version they would run the other way round."""
    for at, kind in enumerate(order):
        requires = [{"connection": CONNECTIONS[order[at - 1]], "target": "step_" + order[at - 1]}] if at else []
        world.write(kind, 10 - at, "step_" + kind, script(kind, "made_" + kind, requires, "" if at else first))
    return [migration_id(kind, 10 - at, "step_" + kind) for at, kind in enumerate(order)]


# --- order ---

ORDERS = [("postgresql", "etcd", "greptimedb", "mysql"), ("mysql", "greptimedb", "etcd", "postgresql"),
          ("etcd", "mysql", "postgresql", "greptimedb")]


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_a_chain_over_every_kind(start_bfm, tree, world, env, order):
    ids = write_chain(world, order)
    bfm = start_bfm(env, tree=tree)
    schemas = [world.schema(name) for name in "ab"]
    plan = bfm.client.get("/api/v1/plan?connection=%s&schema=%s" % (CONNECTIONS[order[-1]], schemas[0]))
    assert [step["migration_id"] for step in plan.json["schemas"][0]["steps"]] == ids, plan
    answer = up(bfm.client, CONNECTIONS[order[-1]], schemas=schemas)
    assert answer.status == 200 and answer.json["errors"] == [], answer
    for schema in schemas:
        assert [one for one in answer.json["applied"] if one.startswith(schema)] == [
            "%s_%s" % (schema, one) for one in ids]
        assert all(world.has(kind, schema, "made_" + kind) for kind in KINDS)
    again = up(bfm.client, CONNECTIONS[order[-1]], schemas=schemas)
    assert again.status == 200 and again.json["applied"] == [], again


def test_who_waits_has_not_begun(start_bfm, tree, world, env):
    """While the first of one tenant is held up, nothing of what follows is there; the other tenant is done."""
    slow, quick = world.schema("slow"), world.schema("quick")
    write_chain(world, first="SELECT pg_advisory_xact_lock(7) WHERE current_schema() = '%s';\n" % slow)
    bfm = start_bfm(env, tree=tree)
    with Holder(world.postgres, world.database, "SELECT pg_advisory_lock(7)") as holder:
        running = Background(lambda: up(bfm.client, "app", schemas=[slow, quick]))
        wait_for_waiting(world.postgres, world.database)
        again = up(bfm.client, "app", schemas=[quick])
        assert again.status == 200, again
        assert all(world.has(kind, quick, "made_" + kind) for kind in KINDS)
        assert not any(world.has(kind, slow, "made_" + kind) for kind in KINDS)
        assert not running.is_done
        holder.release()
        answer = running.result()
    assert answer.status == 200, answer
    assert all(world.has(kind, slow, "made_" + kind) for kind in KINDS)


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_a_failure_stops_what_depends_on_it(start_bfm, tree, world, env, order):
    """In its schema only. The first makes a table that is there already in one of them; with etcd it is the second."""
    ids = write_chain(world, order)
    bad, good = world.schema("bad"), world.schema("good")
    at = 1 if order[0] == "etcd" else 0
    world.make(order[at], bad, "made_" + order[at])
    bfm = start_bfm(env, tree=tree)
    answer = up(bfm.client, CONNECTIONS[order[-1]], schemas=[bad, good])
    assert answer.status == 206, answer
    assert answer.json["applied"] and {one for one in answer.json["applied"]} == {
        "%s_%s" % (good, one) for one in ids} | {"%s_%s" % (bad, one) for one in ids[:at]}, answer
    errors = answer.json["errors"]
    assert len(errors) == len(order) - at and all(error.startswith(bad + "_") for error in errors), answer
    assert errors[0].startswith("%s_%s: " % (bad, ids[at])), answer
    for kind in order[at + 1:]:
        assert not world.has(kind, bad, "made_" + kind) and world.has(kind, good, "made_" + kind)


def test_a_cycle_over_connections(start_bfm, tree, world, env):
    for at, kind in enumerate(KINDS):
        requires = [{"connection": CONNECTIONS[KINDS[at - 1]], "target": "step_" + KINDS[at - 1]}]
        world.write(kind, at + 1, "step_" + kind, script(kind, "made_" + kind, requires))
    bfm = start_bfm(env, tree=tree)
    schema = world.schema("a")
    for kind in KINDS:
        answer = up(bfm.client, CONNECTIONS[kind], schemas=[schema])
        assert answer.status == 206 and answer.json["applied"] == [], answer
        assert "circular" in answer.json["errors"][0] and "step_" + kind in answer.json["errors"][0], answer
    assert not any(world.has(kind, schema, "made_" + kind) for kind in KINDS)


def test_a_target_that_is_not_there(start_bfm, tree, world, env):
    missing = [{"connection": "metrics", "target": "nosuch"}]
    world.write("etcd", 1, "alone", script("etcd", "x", missing))
    answer = up(start_bfm(env, tree=tree).client, "config", schemas=[world.schema("a")])
    assert answer.status == 206 and "nosuch" in answer.json["errors"][0], answer
    assert not world.has("etcd", world.schema("a"), "x")


# --- what must be there ---

@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ["table", "schema and table"])
def test_required_tables_are_looked_for_where_the_dependency_is(start_bfm, tree, world, env, kind, what):
    """A table of that name on every other connection does not help."""
    dependent = "mysql" if kind == "postgresql" else "postgresql"
    schema, other = world.schema("a"), world.schema("b")
    requires = {"connection": CONNECTIONS[kind], "target": "base", "table": "thing"}
    if what != "table":
        requires["requires_schema"] = other
    where = schema if what == "table" else other
    world.write(kind, 1, "base", script(kind, "base"))
    world.write(dependent, 2, "needs", script(dependent, "needed", [requires]))
    bfm = start_bfm(env, tree=tree)
    assert up(bfm.client, CONNECTIONS[kind], schemas=[schema]).status == 200
    for wrong in KINDS:
        if wrong != kind:
            world.make(wrong, where, "thing")
    answer = up(bfm.client, CONNECTIONS[dependent], schemas=[schema])
    assert answer.status == 206 and answer.json["applied"] == [], answer
    assert where in answer.json["errors"][0], answer
    assert not world.has(dependent, schema, "needed")
    world.make(kind, where, "thing")
    answer = up(bfm.client, CONNECTIONS[dependent], schemas=[schema])
    assert answer.status == 200 and answer.json["applied"] == [
        "%s_%s" % (schema, migration_id(dependent, 2, "needs"))], answer


@pytest.mark.parametrize("kind", KINDS)
def test_required_schemas_are_looked_for_where_the_dependency_is(start_bfm, tree, world, env, kind):
    dependent = "etcd" if kind != "etcd" else "greptimedb"
    schema, other = world.schema("a"), world.schema("b")
    world.write(kind, 1, "base", script(kind, "base"))
    world.write(dependent, 2, "needs", script(dependent, "needed", [
        {"connection": CONNECTIONS[kind], "target": "base", "requires_schema": other}]))
    bfm = start_bfm(env, tree=tree)
    assert up(bfm.client, CONNECTIONS[kind], schemas=[schema]).status == 200
    for wrong in KINDS:
        if wrong != kind:
            world.make(wrong, other, "thing")
    answer = up(bfm.client, CONNECTIONS[dependent], schemas=[schema])
    assert answer.status == 206 and other in answer.json["errors"][0], answer
    assert not world.has(dependent, schema, "needed")
    world.make(kind, other, "thing")
    answer = up(bfm.client, CONNECTIONS[dependent], schemas=[schema])
    assert answer.status == 200 and len(answer.json["applied"]) == 1, answer
    assert world.has(dependent, schema, "needed")


# --- targets that are away ---

class Hole:
    """A socket that takes connections and never says a word, until close()."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.taken = []

    def wait_for_somebody(self):
        self.listener.settimeout(30)
        self.taken.append(self.listener.accept()[0])

    def close(self):
        self.listener.close()
        for one in self.taken:
            one.close()


@pytest.fixture
def hole():
    hole = Hole()
    yield hole
    hole.close()


def away_env(kind, name, port):
    prefix = name.upper() + "_"
    return {prefix + "BACKEND": kind, prefix + "DB_HOST": "127.0.0.1", prefix + "DB_PORT": str(port),
            prefix + "DB_USERNAME": "u", prefix + "DB_PASSWORD": "canary-p", prefix + "DB_NAME": "d",
            prefix + "CONNECT_TIMEOUT": "60s", prefix + "TIMEOUT": "60s"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_black_hole_holds_up_nobody_else(start_bfm, tree, world, env, hole, kind):
    """Every live target finishes many tenants while the run on the hole still waits."""
    ids = write_chain(world)
    end = "json" if kind == "etcd" else "sql"
    tree.write("%s/hole/20250501000000_lost.up.%s" % (kind, end), script(kind, "lost"))
    env.update(away_env(kind, "hole", hole.port))
    bfm = start_bfm(env, tree=tree)
    hole.wait_for_somebody()  # it may be the look at its journal that every start takes
    stuck = Background(lambda: up(bfm.client, "hole", schemas=["x", "y"]))
    schemas = [world.schema("s%d" % number) for number in range(5)]
    answer = up(bfm.client, "app", schemas=schemas)
    assert answer.status == 200 and len(answer.json["applied"]) == len(ids) * len(schemas), answer
    assert not stuck.is_done
    for path in ("/health", "/readyz", "/api/v1/health"):
        answer = bfm.client.get(path)
        assert answer.status == 200 and "127.0.0.1" not in answer.text, answer
        names = {target["connection"]: target["backend"] for target in answer.json["targets"]}
        assert names == {"hole": kind, **{name: of for of, name in CONNECTIONS.items()}}, answer
    assert not stuck.is_done
    hole.close()
    answer = stuck.result(120)
    assert answer.status == 206 and answer.json["applied"] == [] and "canary" not in answer.text, answer


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_that_refuses_fails_only_what_needs_it(start_bfm, tree, world, env, hole, kind):
    """A run over it and a live one: what does not depend on it is applied."""
    hole.close()  # nobody listens there any more
    end = "json" if kind == "etcd" else "sql"
    tree.write("%s/gone/20250501000000_lost.up.%s" % (kind, end), script(kind, "lost"))
    other = "mysql" if kind == "postgresql" else "postgresql"
    world.write(other, 1, "base", script(other, "base"))
    world.write(other, 2, "needs", script(other, "needed", [{"connection": "gone", "target": "lost"}]))
    env.update(away_env(kind, "gone", hole.port))
    bfm = start_bfm(env, tree=tree)
    schema = world.schema("a")
    answer = up(bfm.client, CONNECTIONS[other], schemas=[schema])
    assert answer.status == 206 and "127.0.0.1" not in answer.text and "canary" not in answer.text, answer
    assert "gone" in answer.json["errors"][0], answer  # whose target it is that cannot be reached
    assert not world.has(other, schema, "needed")
    answer = up(bfm.client, CONNECTIONS[other], schemas=[schema], target={"version": "20250501000000"})
    assert answer.status == 200 and world.has(other, schema, "base"), answer
