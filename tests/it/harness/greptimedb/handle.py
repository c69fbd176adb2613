"""What tests hold of a GreptimeDB: the double's process, or a real server somewhere."""
import base64
import itertools
import json
import os
import signal
import socket
import sys
from urllib.parse import unquote, urlencode, urlsplit

from .. import processes
from ..client import Client
from ..ports import free_port
from . import events

# As the password of harness/postgres.py: it must work as it is and never be seen.
USER = "bfm"
PASSWORD = "canary 'grep\" \\ time: ä"
FOLDER_OF_TESTS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class SqlFailed(Exception):
    def __init__(self, answer):
        super().__init__("%d %s" % (answer.status, answer.text))
        self.answer = answer


class Asker:
    """Speaks to a GreptimeDB. Needs host, port, user, password; `ssl_context` if it is behind TLS."""

    user = USER
    password = PASSWORD
    _names = itertools.count(1)

    def post(self, sql, db="public", headers=None):
        """The raw answer to one request."""
        sent = {"Content-Type": "application/x-www-form-urlencoded"}
        if self.user:
            pair = "%s:%s" % (self.user, self.password)
            sent["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        sent.update(headers or {})
        return Client(self.host, self.port).post("/v1/sql?" + urlencode({"db": db}), urlencode({"sql": sql}), sent)

    def execute(self, sql, db="public"):
        """The only element of the output."""
        answer = self.post(sql, db)
        if answer.status != 200 or "error" in answer.json:
            raise SqlFailed(answer)
        return answer.json["output"][0]

    def query(self, sql, db="public"):
        return [tuple(row) for row in self.execute(sql, db)["records"]["rows"]]

    def databases(self):
        return {row[0] for row in self.query("SHOW DATABASES")}

    def tables(self, database):
        return sorted(row[0] for row in self.query(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = '%s'" % database))

    def new_name(self, prefix="t"):
        """A name that no database had."""
        return "%s%dn%d" % (prefix, os.getpid(), next(self._names))

    def drop_databases(self, prefix):
        for name in self.databases():
            if name.startswith(prefix):
                self.execute('DROP DATABASE IF EXISTS "%s"' % name)


class RealGreptimeDB(Asker):
    """The server of BFM_TEST_GREPTIMEDB_URL, http://user:password@host:port, percent-encoded."""

    def __init__(self, url):
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port or 4000
        self.user, self.password = unquote(parts.username or ""), unquote(parts.password or "")


class GreptimeDB(Asker):
    """The double. kill() and start() again keep the data and the port; faults do not outlive a kill.

    users         {name: [role, password]}, role "rw", "ro" or "wo"; default: the one of `.user`. {}: no authentication
    tls           {"cert": path, "key": path}
    http_timeout  seconds, 0: none;  body_limit  bytes
    """

    host = "127.0.0.1"

    def __init__(self, **settings):
        self.settings = {"users": {USER: ["rw", PASSWORD]}, **settings}
        self.folder = processes.temp_folder("bfm-greptimedb-")
        self.port = self.settings["port"] = free_port()
        self.process = None

    # --- the process ---

    def start(self):
        with open(self._path("settings.json"), "w", encoding="utf-8") as file:
            json.dump(self.settings, file)
        self.process = processes.start([sys.executable, "-m", "harness.greptimedb", self.folder], self._path("log"),
                                       cwd=FOLDER_OF_TESTS)
        processes.wait_until(self._listens, 30, "the double of GreptimeDB to start")
        return self

    def _path(self, name):
        return os.path.join(self.folder, name)

    def _listens(self):
        if self.process.poll() is not None:
            raise RuntimeError("the double did not start:\n" + processes.read_text(self._path("log")))
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def forget(self):
        """Not running: the next start finds no data."""
        if os.path.exists(self._path("data")):
            os.unlink(self._path("data"))

    def pause(self):
        processes.pause(self.process.pid)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        """Nothing of it is left. What went wrong inside of it is shown."""
        self.kill()
        said = processes.read_text(self._path("log")) if os.path.exists(self._path("log")) else ""
        processes.remove_folder(self.folder)
        assert "Traceback" not in said, said

    # --- control ---

    def _control(self, **asked):
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(20)
            control.connect(self._path("control"))
            control.sendall(json.dumps(asked).encode() + b"\n")
            with control.makefile("rb") as answer:
                return json.loads(answer.readline())

    def fault(self, match="", **settings):
        """See faults.py; the first fault that fits befalls a request."""
        return FaultHandle(self, self._control(do="fault", fault={"match": match, **settings}))

    def hold(self, match, when="before", **settings):
        """Requests that fit wait, before or after they are executed, for .release()."""
        return self.fault(match, **{when: "hold"}, **settings)

    def clear_faults(self):
        self._control(do="clear")

    def change(self, **settings):
        """Of users, http_timeout and body_limit, while it runs."""
        self.settings.update(settings)
        self._control(do="settings", settings=settings)

    def release(self, number):
        self._control(do="release", number=number)

    def stats(self):
        return self._control(do="stats")

    def reset_most(self):
        self._control(do="reset_most")

    # --- what happened ---

    def events(self, kind=None):
        return [event for event in events.read(self._path("events")) if kind in (None, event["kind"])]

    def mark(self):
        """A place in what happened, for `since`."""
        return len(self.events())

    def requests(self, pattern="", since=0):
        """Requests to /v1/sql whose SQL contains `pattern`, in order of arrival."""
        return [event for event in self.events()[since:] if event["kind"] == "request" and event["path"] == "/v1/sql"
                and pattern in (event["sql"] or "")]

    def sent(self, pattern="", since=0):
        """The SQL of these."""
        return [event["sql"] for event in self.requests(pattern, since)]

    def executed(self, pattern="", since=0):
        """Statements that took effect and contain `pattern`."""
        return [event["sql"] for event in self.events()[since:]
                if event["kind"] == "executed" and pattern in event["sql"]]


class FaultHandle:
    def __init__(self, server, number):
        self.server, self.number = server, number

    def hits(self):
        return sum(event["fault"] == self.number for event in self.server.events("fault"))

    def wait(self, hits=1, timeout=30):
        processes.wait_until(lambda: self.hits() >= hits, timeout, "a request that the fault befalls")

    def release(self):
        """It befalls nobody any more, and those that wait go on."""
        self.server.release(self.number)
