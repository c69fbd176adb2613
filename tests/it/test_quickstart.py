"""tools/quickstart, from a first start to a second one."""
import os
import subprocess

import pytest

from harness import processes
from harness.ports import free_port
from harness.server import SANITIZER, TOP, base_environment, find_binary

QUICKSTART = os.path.join(TOP, "tools", "quickstart")


@pytest.fixture
def reachable_folder():
    """One that PostgreSQL's user can get to."""
    folder = processes.temp_folder("bfm-quickstart-test-")
    os.chmod(folder, 0o755)
    yield folder
    processes.remove_folder(folder)


def environment(folder, **changes):
    env = base_environment()
    env.update({"BFM_BIN": find_binary(), "BUILD_DIR": folder, "HTTP_PORT": str(free_port()),
                "GRPC_PORT": str(free_port()), "PG_PORT": str(free_port()), "ETCD_PORT": str(free_port()), "TMPDIR": folder})
    env.update(changes)
    return env


def quickstart(folder, cwd="/", **changes):
    return subprocess.run([QUICKSTART, "--once"], env=environment(folder, **changes), cwd=cwd,
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
    assert first.stdout.count('"success":true') == 4
    for applied in ('"20250301080000_set_defaults_etcd_config"', '"20250302080000_set_rate_limits_etcd_config"'):
        assert applied in first.stdout, first.stdout
    assert '\n/app/features/signup\n{"enabled":true,"rollout":100}\n' in first.stdout, first.stdout
    assert "details" not in first.stdout
    assert "\033" not in first.stdout
    assert not left_behind(reachable_folder)
    with open(os.path.join(reachable_folder, "quickstart", "bfm.log"), encoding="utf-8") as log:
        assert not SANITIZER.search(log.read())
    second = quickstart(reachable_folder, cwd=reachable_folder)
    assert second.returncode == 0, second.stdout
    assert second.stdout.count('"applied":[]') == 4, second.stdout
    assert "\n/app/features/signup\n" in second.stdout
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
                "GRPC_PORT": str(free_port()), "PG_PORT": str(free_port()), "ETCD_PORT": str(free_port()), "TMPDIR": elsewhere})
    done = subprocess.run([QUICKSTART, "--once"], env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout
    assert "cannot reach" in done.stdout
    assert os.listdir(elsewhere)


def test_wrong_argument():
    done = subprocess.run([QUICKSTART, "--frob"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "--help" in done.stderr


@pytest.mark.parametrize("tool", ["quickstart", "test", "dev", "install-deps"])
def test_help(tool):
    done = subprocess.run([os.path.join(TOP, "tools", tool), "--help"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
    assert done.returncode == 0
    assert "tools/%s" % tool in done.stdout
    assert len(done.stdout.splitlines()) < 20


@pytest.mark.parametrize("variable,value,text", [
    ("BFM_BIN", "/nope", "BFM_BIN: /nope is not a program"), ("HTTP_PORT", "abc", "HTTP_PORT: expected a port"),
    ("PG_PORT", "65536", "PG_PORT: expected a port"), ("ETCD_PORT", "0", "ETCD_PORT: expected a port"),
    ("GRPC_PORT", "x", "GRPC_PORT: expected a port")])
def test_wrong_settings_are_refused_before_anything_starts(reachable_folder, variable, value, text):
    done = quickstart(reachable_folder, **{variable: value})
    assert done.returncode == 1
    assert text in done.stdout
    assert os.listdir(reachable_folder) == []


def test_one_at_a_time(reachable_folder):
    env = environment(reachable_folder)
    kept = [os.path.join(reachable_folder, "quickstart", name)
            for name in ("bfm.log", "postgresql.log", "env", "etcd.log")]
    with subprocess.Popen([QUICKSTART], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as first:
        try:
            lines = []
            for line in first.stdout:
                lines.append(line)
                if line.startswith("Ctrl-C"):
                    break
            assert first.poll() is None, "".join(lines)
            before = [os.stat(path).st_ino for path in kept]
            written = os.stat(kept[2]).st_mtime_ns
            second = quickstart(reachable_folder)
            assert second.returncode == 1
            assert "already running (process %d)" % first.pid in second.stdout
            assert [os.stat(path).st_ino for path in kept] == before
            assert os.stat(kept[2]).st_mtime_ns == written
            pasted = [line for line in lines if line.startswith(("TOKEN=", "curl "))]
            assert len(pasted) == 5
            done = subprocess.run(["bash", "-euc", "".join(pasted)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, timeout=60, check=False)
            assert done.stdout.count('"success":true') == 4, done.stdout + done.stderr
        finally:
            first.terminate()
            first.wait(60)
    assert not left_behind(reachable_folder)
