"""The program under test."""
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

from . import processes
from .client import Client
from .ports import free_port

TOKEN = "canary-token-7f3a"
SANITIZER = re.compile(r"(ERROR: \w+Sanitizer|runtime error:|SUMMARY: \w+Sanitizer|DEADLYSIGNAL|^==\d+== )",
                       re.MULTILINE)
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def find_binary():
    """BFM_BIN, else the program of build-test/ or build/ (the newer one)."""
    if os.environ.get("BFM_BIN"):
        return os.path.abspath(os.environ["BFM_BIN"])
    found = [path for path in (os.path.join(TOP, folder, "bfm") for folder in ("build-test", "build"))
             if os.path.exists(path)]
    if not found:
        raise RuntimeError("no program to test: build it with tools/test, or name it in BFM_BIN")
    return max(found, key=os.path.getmtime)


def command_of(path):
    """The command line that a program's arguments are added to: under valgrind if BFM_VALGRIND is set."""
    if not os.environ.get("BFM_VALGRIND"):
        return [path]
    return ["valgrind", "-q", "--error-exitcode=98", "--leak-check=full", "--show-leak-kinds=definite",
            "--errors-for-leak-kinds=definite", "--num-callers=30", "--child-silent-after-fork=yes",
            "--suppressions=" + os.path.join(TOP, "tests", "valgrind.supp"), path]


def base_environment():
    """What every bfm process gets, and nothing of the caller's environment."""
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:detect_stack_use_after_return=0",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
    }


def run_bfm(*args, env=None, timeout=120, cwd=None):
    """Runs `bfm ARGS` to its end; the result has returncode, stdout, stderr. Only `env` is set."""
    full = base_environment()
    full.update(env or {})
    return subprocess.run([*command_of(find_binary()), *args], env=full, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=timeout, cwd=cwd, check=False)


class BfmServer:
    """
    `bfm serve` with exactly the environment given (a value of None removes a default), on a free port.

    .client, .url, .port   where it listens
    .log()                 its JSON log lines so far, as dicts; .stdout and .stderr the raw texts
    .wait_log(predicate)   the first line so far or later for which predicate(dict) is true
    """

    def __init__(self, folder, env=None, args=(), command=None):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.port = free_port()
        self.env = base_environment()
        self.env.update({
            "BFM_HTTP_HOST": "127.0.0.1", "BFM_HTTP_PORT": str(self.port), "BFM_GRPC_PORT": str(free_port()),
            "BFM_API_TOKEN": TOKEN, "BFM_LOG_LEVEL": "DEBUG", "BFM_STATE_BACKEND": "sqlite",
            "BFM_STATE_DB_PATH": os.path.join(self.folder, "state.db"),
        })
        self.set_env(env or {})
        self.args = list(args)
        self.command = command or [*command_of(find_binary()), "serve"]
        self.url = "http://127.0.0.1:%d" % self.port
        self.client = Client("127.0.0.1", self.port, self.env.get("BFM_API_TOKEN"))
        self.process = None
        self.lines = []
        self._changed = threading.Condition()
        self._readers = []
        self.stderr = ""

    def set_env(self, env):
        for key, value in env.items():
            if value is None:
                self.env.pop(key, None)
            else:
                self.env[key] = str(value)

    # --- starting ---

    def start(self, ready=True):
        """Returns once it listens and, with `ready`, once /health is 200 (the state database is there)."""
        self._spawn(subprocess.PIPE)
        processes.wait_until(self._listens, what="bfm to listen")
        if ready:
            self.wait_healthy()
        return self

    def start_with_stdout(self, descriptor):
        """As start(), with its log going where the caller says."""
        self._spawn(descriptor)
        processes.wait_until(self._listens, what="bfm to listen")
        self.wait_healthy()

    def _spawn(self, stdout):
        assert self.process is None or self.process.poll() is not None, "started already"
        self.process = subprocess.Popen(processes.command(self.command + self.args), env=self.env, cwd=self.folder,
                                        stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE)
        self._readers = [threading.Thread(target=self._read_stderr, args=(self.process.stderr,), daemon=True)]
        if self.process.stdout is not None:
            self._readers.append(threading.Thread(target=self._read_stdout, args=(self.process.stdout,), daemon=True))
        for reader in self._readers:
            reader.start()

    def wait_healthy(self, timeout=120.0):
        processes.wait_until(self.is_healthy, timeout, "/health to be 200")

    def is_healthy(self):
        self.check_alive()
        try:
            return self.client.get("/health").status == 200
        except OSError:
            return False

    def check_alive(self):
        if self.process.poll() is not None:
            raise AssertionError("bfm ended with %d\n%s" % (self.process.returncode, self.describe()))

    def _listens(self):
        self.check_alive()
        with socket.socket() as probe:
            probe.settimeout(5)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    # --- what it says ---

    def _read_stdout(self, stream):
        for line in stream:
            with self._changed:
                self.lines.append(line.decode("utf-8", "replace"))
                self._changed.notify_all()

    def _read_stderr(self, stream):
        for line in stream:
            self.stderr += line.decode("utf-8", "replace")

    @property
    def stdout(self):
        with self._changed:
            return "".join(self.lines)

    @staticmethod
    def _parse(line):
        try:
            return json.loads(line)
        except ValueError:
            return {"msg": line}

    def log(self):
        with self._changed:
            return [self._parse(line) for line in self.lines]

    def wait_log(self, predicate, timeout=60.0, what="a log line"):
        end = time.monotonic() + timeout * processes.SLOWER
        seen = 0
        with self._changed:
            while True:
                for line in self.lines[seen:]:
                    parsed = self._parse(line)
                    if predicate(parsed):
                        return parsed
                seen = len(self.lines)
                if not self._changed.wait(min(0.2, max(0.0, end - time.monotonic()))) and time.monotonic() >= end:
                    raise AssertionError("no %s within %g s\n%s" % (what, timeout, "".join(self.lines[-50:])))

    def describe(self):
        return "--- stdout (end) ---\n%s\n--- stderr ---\n%s" % (self.stdout[-8000:], self.stderr[-16000:])

    # --- ending ---

    def signal(self, signum):
        self.process.send_signal(signum)

    def wait_exit(self, timeout=60.0):
        """The exit status, once everything it said was read."""
        try:
            self.process.wait(timeout * processes.SLOWER)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait(30)
            raise AssertionError("bfm did not end within %g s\n%s" % (timeout, self.describe())) from None
        for reader in self._readers:
            reader.join(30)
        return self.process.returncode

    def stop(self, timeout=60.0):
        """SIGTERM; asserts a clean end: exit 0, no sanitizer report, no secret in what it said."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.wait_exit(timeout)
        self.check_output()
        assert status == 0, "bfm ended with %d\n%s" % (status, self.describe())

    def kill(self):
        """SIGKILL, as a crash. start() again uses the same folder, port and environment."""
        self.process.kill()
        self.wait_exit(30)
        self.check_output()

    def check_output(self):
        said = self.stdout + self.stderr
        assert not SANITIZER.search(said), self.describe()
        for name, value in self.env.items():
            if name.endswith(("_PASSWORD", "_TOKEN")) and len(value) >= 6:
                assert value not in said, "%s was printed\n%s" % (name, self.describe())

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def reap(self):
        """For fixtures: no process is left, whatever the test did."""
        if self.is_running():
            self.process.kill()
            self.process.wait(30)
