"""A private PostgreSQL: own data folder, own port, gone afterwards."""
import atexit
import glob
import itertools
import os
import signal
import socket
import subprocess

import psycopg2

from . import processes
from .ports import free_port

# Role and password that BfM connects with. The password is a canary: it must work as it is (blanks, quotes,
# backslashes) and must never appear in a log line or an answer.
ROLE = "bfm"
PASSWORD = "canary 'pass\" \\ word$% ä"

_fresh = []  # data folder of a cluster that never ran


def find_binaries():
    folders = glob.glob("/usr/lib/postgresql/*/bin")
    if not folders:
        raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
    return max(folders, key=lambda path: int(path.split("/")[-2]))


class Postgres:
    """start() makes the cluster at first; kill() and start() again keep the data and the port."""

    host = "127.0.0.1"
    user = ROLE
    password = PASSWORD

    def __init__(self, settings=None):
        self.binaries = find_binaries()
        self.os_user = processes.unprivileged_user()
        self.folder = processes.temp_folder("bfm-pg-", self.os_user)
        self.data = os.path.join(self.folder, "data")
        self.log_path = os.path.join(self.folder, "log")
        self.port = free_port()
        self.settings = {
            "listen_addresses": self.host, "port": self.port, "unix_socket_directories": self.folder,
            "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": 300,
            "shared_buffers": "64MB", "autovacuum": "off", "log_min_messages": "warning",
        }
        self.settings.update(settings or {})
        self.process = None
        self._names = itertools.count(1)

    def _init(self):
        """The first cluster of this test process is kept as it was made; the others are copies."""
        if not _fresh:
            folder = processes.temp_folder("bfm-pg-fresh-", self.os_user)
            atexit.register(processes.remove_folder, folder)
            processes.run([os.path.join(self.binaries, "initdb"), "-D", os.path.join(folder, "data"), "-U", "postgres",
                           "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"],
                          self.os_user, cwd=folder)
            _fresh.append(os.path.join(folder, "data"))
        processes.run(["cp", "-a", _fresh[0], self.data], self.os_user)
        with open(os.path.join(self.data, "pg_hba.conf"), "r+", encoding="ascii") as hba:
            rest = hba.read()
            hba.seek(0)
            hba.write("host all %s 127.0.0.1/32 scram-sha-256\n%s" % (ROLE, rest))

    def start(self):
        fresh = not os.path.isdir(self.data)
        if fresh:
            self._init()
        options = [part for item in self.settings.items() for part in ("-c", "%s=%s" % item)]
        self.process = processes.start([os.path.join(self.binaries, "postgres"), "-D", self.data] + options,
                                       self.log_path, self.os_user, cwd=self.folder)
        processes.wait_until(self.is_ready, 120, "PostgreSQL to start")
        if fresh:
            with self.connect("postgres") as connection, connection.cursor() as cursor:
                cursor.execute("CREATE ROLE %s SUPERUSER LOGIN PASSWORD %%s" % ROLE, (PASSWORD,))
            connection.close()
        return self

    def is_ready(self):
        if self.process.poll() is not None:
            raise RuntimeError("PostgreSQL did not start:\n" + processes.read_text(self.log_path))
        try:
            self.connect("postgres").close()
        except psycopg2.OperationalError:
            return False
        return True

    def connect(self, database, **kwargs):
        """A psycopg2 connection in autocommit mode, as the superuser `postgres` without a password."""
        options = {"host": self.host, "port": self.port, "user": "postgres", "dbname": database,
                   "connect_timeout": 10}
        options.update(kwargs)
        connection = psycopg2.connect(**options)
        connection.autocommit = True
        return connection

    def query(self, database, sql, params=None):
        """All rows of one statement ([] if it returns none)."""
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, params)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def create_database(self):
        name = "t%d_%d" % (os.getpid(), next(self._names))
        self.query("postgres", "CREATE DATABASE %s" % name)
        return name

    def drop_database(self, name):
        self.query("postgres", "DROP DATABASE IF EXISTS %s WITH (FORCE)" % name)

    def kill(self):
        """As a crash: every process of the cluster dies at once."""
        self._end(signal.SIGQUIT)

    def stop(self):
        """Fast shutdown, and the data are gone."""
        if self.process is not None:
            self._end(signal.SIGINT)
        processes.remove_folder(self.folder)

    def pause(self):
        """The postmaster and its children stop answering until resume()."""
        self._for_all(processes.pause)

    def resume(self):
        self._for_all(lambda pid: os.kill(pid, signal.SIGCONT))

    def _for_all(self, work):
        work(self.process.pid)  # from now on it makes no more children when it is paused
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], stdout=subprocess.PIPE,
                                  text=True, check=False).stdout.split()
        for pid in map(int, children):
            try:
                work(pid)
            except ProcessLookupError:
                pass

    def _end(self, signum):
        self.process.send_signal(signum)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process = None
        with socket.socket() as probe:  # nothing of it may answer any more
            assert probe.connect_ex((self.host, self.port)) != 0
