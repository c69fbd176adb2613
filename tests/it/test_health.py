"""What /health and /readyz say of the targets, of every kind: at once, whoever is away (README.md, "Health")."""
import socket
import time

import pytest
from api_helpers import up
from harness.processes import wait_until
from once_helpers import durable_postgres, make_effects, write_steps  # noqa: F401

PATHS = ("/health", "/api/v1/health", "/readyz")


@pytest.fixture
def hole():
    """It takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


@pytest.fixture
def holes(hole):
    """A connection of each kind that leads nowhere, and one of each kind without an address."""
    env = {}
    for kind in ("postgresql", "mysql", "greptimedb", "etcd"):
        name = "HOLE_%s_" % kind.upper()
        env.update({name + "BACKEND": kind, name + "DB_HOST": "127.0.0.1", name + "DB_PORT": str(hole),
                    name + "DB_USERNAME": "u", name + "DB_PASSWORD": "canary-p", name + "CONNECT_TIMEOUT": "8s"})
        env["NONE_%s_BACKEND" % kind.upper()] = kind
    return env


def targets(bfm, path="/health"):
    """{connection: (backend, status)}; the answer takes no longer than it would without targets, one of which would
    make it wait for 8 s."""
    begin = time.monotonic()
    answer = bfm.client.get(path)
    assert time.monotonic() - begin < 4, "somebody waited for a target"
    assert answer.status == 200, answer
    assert "canary" not in answer.text and "127.0.0.1" not in answer.text, answer
    names = [target["connection"] for target in answer.json["targets"]]
    assert names == sorted(names)
    return {target["connection"]: (target["backend"], target["status"]) for target in answer.json["targets"]}


def test_every_kind_out_of_reach(start_bfm, tree, holes, connection_env, postgres, database):
    make_effects(postgres, database)
    write_steps(tree, 1)
    bfm = start_bfm({**holes, **connection_env("tenants", postgres, database)}, tree=tree)
    begin = time.monotonic()
    assert up(bfm.client, "tenants", schemas=["a", "b"]).status == 200
    assert time.monotonic() - begin < 7
    for path in PATHS:
        seen = targets(bfm, path)
        assert len(seen) == 9
        assert seen["tenants"] == ("postgresql", "up")
        for kind in ("postgresql", "mysql", "greptimedb", "etcd"):
            assert seen["hole_" + kind][0] == kind and seen["hole_" + kind][1] in ("unknown", "down"), seen
            assert seen["none_" + kind] == (kind, "unusable"), seen
    wait_until(lambda: all(status == "down" for name, (_, status) in targets(bfm).items() if name.startswith("hole_")),
               90, "the targets to be known to be down")
    assert targets(bfm)["tenants"] == ("postgresql", "up")
    assert bfm.client.get("/readyz").json["status"] == "ready"


def test_a_target_that_goes_and_comes(start_bfm, tree, connection_env, durable_postgres):
    """Who asks has it asked again, a while after the last time."""
    make_effects(durable_postgres, "postgres")
    write_steps(tree, 1)
    bfm = start_bfm(connection_env("tenants", durable_postgres, "postgres"), tree=tree)
    wait_until(lambda: targets(bfm)["tenants"] == ("postgresql", "up"), 60, "the target to be up")
    assert bfm.client.get("/health").json["targets"][0]["last_contact"].startswith("20")
    durable_postgres.kill()
    assert up(bfm.client, "tenants", schemas=["a"]).status == 206
    assert targets(bfm)["tenants"] == ("postgresql", "down")
    durable_postgres.start()
    assert up(bfm.client, "tenants", schemas=["a"]).status == 200
    assert targets(bfm)["tenants"] == ("postgresql", "up")


@pytest.mark.parametrize("kind", ["etcd", "greptimedb", "mysql"])
def test_a_target_of_this_kind_is_up(start_bfm, request, kind):
    fixtures = {"etcd": ("etcd_env", "etcd"), "greptimedb": ("greptimedb_env", "greptimedb"),
                "mysql": ("mysql_env", "mariadb")}
    make, server = (request.getfixturevalue(name) for name in fixtures[kind])
    bfm = start_bfm(make("one", server))
    wait_until(lambda: targets(bfm) == {"one": (kind, "up")}, 60, "the target to be up")
