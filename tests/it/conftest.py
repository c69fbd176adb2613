"""Fixtures of the black-box tests; README.md says how to use them."""
import os

import pytest

from harness.greptimedb import GreptimeDB, RealGreptimeDB
from harness.mariadb import MariaDB
from harness.etcd import Etcd
from harness.pgbouncer import PgBouncer
from harness.postgres import Postgres
from harness.server import BfmServer
from harness.tree import Tree


@pytest.fixture(scope="session")
def postgres():
    """One PostgreSQL per test process, shared by its tests: never stop it, use private_postgres for that."""
    server = Postgres()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def private_postgres():
    """A PostgreSQL of this test's own, which it may kill, pause and start again."""
    server = Postgres()
    try:
        yield server.start()
    finally:
        if server.process is not None:
            server.resume()
        server.stop()


@pytest.fixture(scope="session")
def mariadb():
    """One MariaDB per test process, shared by its tests: never stop it, use private_mariadb for that."""
    server = MariaDB()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def private_mariadb():
    """A MariaDB of this test's own, which it may kill, pause and start again."""
    server = MariaDB()
    try:
        yield server.start()
    finally:
        if server.process is not None:
            server.resume()
        server.stop()


@pytest.fixture(scope="session")
def pgbouncer(postgres):
    """PgBouncer in transaction mode in front of `postgres`: same databases, other port."""
    server = PgBouncer(postgres)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def make_database(postgres):
    """make_database() is a new empty database of `postgres`; all are dropped after the test."""
    names = []

    def make():
        names.append(postgres.create_database())
        return names[-1]

    yield make
    for name in names:
        postgres.drop_database(name)


@pytest.fixture
def make_mysql_database(mariadb):
    """make_mysql_database() is a new empty database of `mariadb`; all are dropped after the test."""
    names = []

    def make():
        names.append(mariadb.create_database())
        return names[-1]

    yield make
    for name in names:
        mariadb.drop_database(name)


@pytest.fixture
def database(make_database):
    """A new empty database of `postgres`."""
    return make_database()


@pytest.fixture(scope="session")
def greptimedb():
    """The real server of BFM_TEST_GREPTIMEDB_URL, else a double that the tests of this process share: tests use names
    of their own and never stop it."""
    if os.environ.get("BFM_TEST_GREPTIMEDB_URL"):
        yield RealGreptimeDB(os.environ["BFM_TEST_GREPTIMEDB_URL"])
        return
    server = GreptimeDB()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def make_greptimedb():
    """make_greptimedb(users={}) is a double of this test's own, which takes faults, kills and settings."""
    servers = []

    def make(**settings):
        servers.append(GreptimeDB(**settings))
        return servers[-1].start()

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def private_greptimedb(make_greptimedb):
    return make_greptimedb()


@pytest.fixture
def greptimedb_name(greptimedb):
    """The beginning of the names of this test's databases in `greptimedb`; they are dropped afterwards."""
    prefix = greptimedb.new_name("bfm") + "x"
    yield prefix
    greptimedb.drop_databases(prefix)


@pytest.fixture
def greptimedb_env():
    """greptimedb_env("metrics", greptimedb, SCHEMA="x") is the environment of one connection."""

    def make(name, server, **extra):
        prefix = name.upper() + "_"
        env = {prefix + "BACKEND": "greptimedb", prefix + "DB_HOST": server.host, prefix + "DB_PORT": str(server.port)}
        if server.user:
            env.update({prefix + "DB_USERNAME": server.user, prefix + "DB_PASSWORD": server.password})
        env.update({prefix + key: str(value) for key, value in extra.items()})
        return env

    return make


@pytest.fixture
def tree(tmp_path):
    """An empty migration tree."""
    return Tree(tmp_path / "tree")


@pytest.fixture
def connection_env():
    """connection_env("core", postgres, database, SCHEMA="x") is the environment of one connection."""

    def make(name, server, database, **extra):
        prefix = name.upper() + "_"
        env = {prefix + "BACKEND": "postgresql", prefix + "DB_HOST": server.host, prefix + "DB_PORT": str(server.port),
               prefix + "DB_USERNAME": "bfm", prefix + "DB_PASSWORD": Postgres.password, prefix + "DB_NAME": database}
        env.update({prefix + key: str(value) for key, value in extra.items()})
        return env

    return make


@pytest.fixture
def mysql_env():
    """mysql_env("shop", mariadb, database, SCHEMA="x") is the environment of one connection."""

    def make(name, server, database=None, **extra):
        prefix = name.upper() + "_"
        env = {prefix + "BACKEND": "mysql", prefix + "DB_HOST": server.host, prefix + "DB_PORT": str(server.port),
               prefix + "DB_USERNAME": server.user, prefix + "DB_PASSWORD": server.password}
        if database is not None:
            env[prefix + "DB_NAME"] = database
        env.update({prefix + key: str(value) for key, value in extra.items()})
        return env

    return make


@pytest.fixture
def etcd_env():
    """etcd_env("settings", etcd, PREFIX="/app") is the environment of one connection."""

    def make(name, server, **extra):
        prefix = name.upper() + "_"
        env = {prefix + "BACKEND": "etcd", prefix + "ENDPOINTS": server.endpoints}
        env.update({prefix + key: str(value) for key, value in extra.items()})
        return env

    return make


@pytest.fixture
def mysql_state_env():
    """mysql_state_env(mariadb, database) keeps the state in MariaDB instead of SQLite."""

    def make(server, database):
        return {"BFM_STATE_BACKEND": "mysql", "BFM_STATE_DB_PATH": None, "BFM_STATE_DB_HOST": server.host,
                "BFM_STATE_DB_PORT": str(server.port), "BFM_STATE_DB_USERNAME": server.user,
                "BFM_STATE_DB_PASSWORD": server.password, "BFM_STATE_DB_NAME": database}

    return make


@pytest.fixture
def state_env():
    """state_env(postgres, database) keeps the state in PostgreSQL instead of SQLite."""

    def make(server, database):
        return {"BFM_STATE_BACKEND": "postgresql", "BFM_STATE_DB_PATH": None, "BFM_STATE_DB_HOST": server.host,
                "BFM_STATE_DB_PORT": str(server.port), "BFM_STATE_DB_USERNAME": "bfm",
                "BFM_STATE_DB_PASSWORD": Postgres.password, "BFM_STATE_DB_NAME": database}

    return make


@pytest.fixture
def shared_state(request, tmp_path):
    """shared_state("sqlite", "postgresql" or "mysql") keeps the state in a new place that several servers may use."""

    def make(kind):
        if kind == "sqlite":
            return {"BFM_STATE_DB_PATH": str(tmp_path / "shared.db")}
        if kind == "postgresql":
            server, database = request.getfixturevalue("postgres"), request.getfixturevalue("make_database")()
            return request.getfixturevalue("state_env")(server, database)
        server, database = request.getfixturevalue("mariadb"), request.getfixturevalue("make_mysql_database")()
        return request.getfixturevalue("mysql_state_env")(server, database)

    return make


@pytest.fixture
def make_bfm(tmp_path):
    """make_bfm({...env...}, tree=tree) is a BfmServer that is not started yet. Servers still running after the test
    are stopped and must end cleanly."""
    servers = []

    def make(env=None, tree=None, **kwargs):
        full = {} if tree is None else {"BFM_SFM_PATH": tree.root}
        full.update(env or {})
        servers.append(BfmServer(tmp_path / ("bfm%d" % (len(servers) + 1)), full, **kwargs))
        return servers[-1]

    try:
        yield make
        for server in servers:
            if server.is_running():
                server.stop()
    finally:
        for server in servers:
            server.reap()


@pytest.fixture
def start_bfm(make_bfm):
    """The same, started and healthy: server = start_bfm(env, tree=tree)."""

    def start(env=None, tree=None, ready=True, **kwargs):
        return make_bfm(env, tree, **kwargs).start(ready=ready)

    return start


@pytest.fixture(scope="session")
def etcd_server():
    """One etcd per test process; tests take `etcd`."""
    server = Etcd()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def etcd(etcd_server):
    """The etcd of this test process, empty: never stop it or turn its authentication on, use make_etcd for that."""
    etcd_server.delete()
    return etcd_server


@pytest.fixture
def make_etcd():
    """make_etcd(size=1, options={...}, tls=...) is a started etcd of this test's own; etcd.py has the arguments."""
    servers = []

    def make(**kwargs):
        servers.append(Etcd(**kwargs))
        return servers[-1].start()

    try:
        yield make
    finally:
        for server in servers:
            server.stop()


@pytest.fixture
def private_etcd(make_etcd):
    """An etcd of this test's own, which it may kill, pause and start again."""
    return make_etcd()


@pytest.fixture
def etcd_cluster(make_etcd):
    """Three members of this test's own: .members[i].kill(), .leader(), .followers()."""
    return make_etcd(size=3)
