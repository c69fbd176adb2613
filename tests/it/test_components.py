"""The C tests that need real servers: the state stores, and the PostgreSQL target."""
import glob
import os
import subprocess

import pytest

from harness.processes import SLOWER
from harness.server import SANITIZER, base_environment, command_of, find_binary


def run_component(name, args, env, tmp_path):
    path = os.path.join(os.path.dirname(find_binary()), "tests", name)
    assert os.path.exists(path), "%s is not built; configure with -DTESTS=ON" % path
    full = base_environment()
    full.update(env)
    done = subprocess.run(command_of(path) + args, env=full, cwd=tmp_path, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          timeout=300 * SLOWER, check=False)
    assert done.returncode == 0, done.stdout[-20000:]
    assert not SANITIZER.search(done.stdout), done.stdout[-20000:]
    assert "PASSED" in done.stdout  # a program that ran no test proves nothing


def servers(postgres, database, pgbouncer=None):
    env = {"BFM_TEST_PG_HOST": postgres.host, "BFM_TEST_PG_PORT": str(postgres.port), "BFM_TEST_PG_USER": "postgres",
           "BFM_TEST_PG_DATABASE": database}
    if pgbouncer is not None:
        env["BFM_TEST_PGBOUNCER_PORT"] = str(pgbouncer.port)
    return env


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_store(kind, postgres, database, tmp_path):
    run_component("component_store", [kind], servers(postgres, database), tmp_path)


@pytest.mark.parametrize("name", sorted(
    os.path.basename(path)[:-2] for path in glob.glob(os.path.join(os.path.dirname(__file__), "component_pg*.c"))))
def test_pg(name, postgres, database, pgbouncer, tmp_path):
    run_component(name, [], servers(postgres, database, pgbouncer), tmp_path)
