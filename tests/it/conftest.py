"""Fixtures of the black-box tests; README.md says how to use them."""
import pytest

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
def database(make_database):
    """A new empty database of `postgres`."""
    return make_database()


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
def state_env():
    """state_env(postgres, database) keeps the state in PostgreSQL instead of SQLite."""

    def make(server, database):
        return {"BFM_STATE_BACKEND": "postgresql", "BFM_STATE_DB_PATH": None, "BFM_STATE_DB_HOST": server.host,
                "BFM_STATE_DB_PORT": str(server.port), "BFM_STATE_DB_USERNAME": "bfm",
                "BFM_STATE_DB_PASSWORD": Postgres.password, "BFM_STATE_DB_NAME": database}

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
