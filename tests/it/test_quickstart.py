"""tools/quickstart, from a first start to a second one."""
import os
import subprocess

import pytest

from harness import processes
from harness.ports import free_port
from harness.server import SANITIZER, TOP, base_environment, find_binary


@pytest.fixture
def reachable_folder():
    """One that PostgreSQL's user can get to."""
    folder = processes.temp_folder("bfm-quickstart-test-")
    os.chmod(folder, 0o755)
    yield folder
    processes.remove_folder(folder)


def quickstart(folder, cwd="/"):
    env = base_environment()
    env.update({"BFM_BIN": find_binary(), "BUILD_DIR": folder, "HTTP_PORT": str(free_port()), "PG_PORT": str(free_port()),
                "TMPDIR": folder})
    return subprocess.run([os.path.join(TOP, "tools", "quickstart"), "--once"], env=env, cwd=cwd,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=180, check=False)


def left_behind(folder):
    """Processes that have the folder in their command line."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as file:
                line = file.read().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if folder in line and int(pid) != os.getpid() and "pytest" not in line:
            found.append(line)
    return found


def test_twice(reachable_folder):
    first = quickstart(reachable_folder)
    assert first.returncode == 0, first.stdout
    assert '"applied":["core_users_20250101120000_create_users"' in first.stdout, first.stdout
    assert 'Table "core.users"' in first.stdout
    for tenant in ("acme", "globex", "initech"):
        assert '"%s_' % tenant in first.stdout
    assert first.stdout.count('"success":true') == 3
    assert not left_behind(reachable_folder)
    with open(os.path.join(reachable_folder, "quickstart", "bfm.log"), encoding="utf-8") as log:
        assert not SANITIZER.search(log.read())
    second = quickstart(reachable_folder, cwd=reachable_folder)
    assert second.returncode == 0, second.stdout
    assert second.stdout.count('"applied":[]') == 3, second.stdout
    assert "Making a PostgreSQL" not in second.stdout
    assert not left_behind(reachable_folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_folder_that_postgresql_cannot_reach(reachable_folder):
    hidden = os.path.join(reachable_folder, "hidden")
    os.mkdir(hidden, 0o700)
    elsewhere = os.path.join(reachable_folder, "elsewhere")
    os.mkdir(elsewhere, 0o755)
    env = base_environment()
    env.update({"BFM_BIN": find_binary(), "BUILD_DIR": hidden, "HTTP_PORT": str(free_port()),
                "PG_PORT": str(free_port()), "TMPDIR": elsewhere})
    done = subprocess.run([os.path.join(TOP, "tools", "quickstart"), "--once"], env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout
    assert "cannot reach" in done.stdout
    assert os.listdir(elsewhere)


def test_wrong_argument():
    done = subprocess.run([os.path.join(TOP, "tools", "quickstart"), "--frob"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "--help" in done.stderr
