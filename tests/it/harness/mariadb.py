"""A private MariaDB: own data folder, own port, gone afterwards."""
import atexit
import itertools
import os
import signal
import socket
import subprocess

import pymysql

from . import processes
from .ports import free_port
from .postgres import PASSWORD, ROLE

_fresh = []  # data folder of a server that never ran


def find_program(name):
    for folder in ("/usr/sbin", "/usr/bin", "/usr/libexec", "/usr/local/bin"):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return path
    raise RuntimeError("MariaDB is not installed: apt-get install mariadb-server")


class MariaDB:
    """start() makes the data folder at first; kill() and start() again keep the data and the port. With `tls` it
    offers TLS: `.ca` is the file of its authority, and its certificate is for localhost and no address."""

    host = "127.0.0.1"
    user = ROLE
    password = PASSWORD

    def __init__(self, settings=None, tls=False):
        self.program = find_program("mariadbd")
        self.os_user = processes.unprivileged_user()
        self.folder = processes.temp_folder("bfm-maria-", self.os_user)
        self.data = os.path.join(self.folder, "data")
        self.log_path = os.path.join(self.folder, "log")
        self.socket = os.path.join(self.folder, "socket")
        self.port = free_port()
        self.ca = os.path.join(self.folder, "ca.pem") if tls else None
        self.settings = {
            "bind-address": self.host, "port": self.port, "socket": self.socket,
            "pid-file": os.path.join(self.folder, "pid"), "tmpdir": self.folder, "max-connections": 300,
            "skip-name-resolve": None, "innodb-buffer-pool-size": "32M", "innodb-flush-log-at-trx-commit": 0,
            "innodb-log-file-size": "32M", "innodb-flush-method": "nosync", "sync-binlog": 0,
            "performance-schema": "off", "aria-pagecache-buffer-size": "8M", "key-buffer-size": "8M",
            "character-set-server": "utf8mb4", "collation-server": "utf8mb4_bin",
        }
        if tls:
            self.settings.update({"ssl-ca": self.ca, "ssl-cert": os.path.join(self.folder, "server.pem"),
                                  "ssl-key": os.path.join(self.folder, "server.key")})
        self.settings.update(settings or {})
        self.process = None
        self._names = itertools.count(1)

    def _init(self):
        """The first data folder of this test process is kept as it was made; the others are copies. A server that starts
        removes what temporary tables it finds in its folder for them, so that must not be everybody's."""
        if not _fresh:
            folder = processes.temp_folder("bfm-maria-fresh-", self.os_user)
            atexit.register(processes.remove_folder, folder)
            processes.run([find_program("mariadb-install-db"), "--no-defaults", "--datadir=" + os.path.join(folder, "data"),
                           "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve",
                           "--innodb-flush-method=nosync", "--innodb-log-file-size=32M",
                           "--tmpdir=" + folder], self.os_user, cwd=folder)
            _fresh.append(os.path.join(folder, "data"))
        processes.run(["cp", "-a", _fresh[0], self.data], self.os_user)

    def _make_certificates(self):
        """An authority, and a certificate of it for the name localhost."""
        steps = [
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem",
            "req -newkey rsa:2048 -nodes -subj /CN=server -addext subjectAltName=DNS:localhost -keyout server.key "
            "-out server.csr",
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy "
            "-out server.pem",
        ]
        for step in steps:
            processes.run(["openssl"] + step.split(), self.os_user, cwd=self.folder)

    def start(self):
        fresh = not os.path.isdir(self.data)
        if fresh:
            self._init()
            if self.ca is not None:
                self._make_certificates()
        options = ["--%s" % key if value is None else "--%s=%s" % (key, value) for key, value in self.settings.items()]
        self.process = processes.start([self.program, "--no-defaults", "--datadir=" + self.data] + options,
                                       self.log_path, self.os_user, cwd=self.folder)
        processes.wait_until(self.is_ready, 120, "MariaDB to start")
        if fresh:
            self.query(None, "CREATE USER %s@'%%%%' IDENTIFIED BY %%s" % ROLE, (PASSWORD,))
            self.query(None, "GRANT ALL PRIVILEGES ON *.* TO %s@'%%' WITH GRANT OPTION" % ROLE)
        return self

    def is_ready(self):
        if self.process.poll() is not None:
            raise RuntimeError("MariaDB did not start:\n" + processes.read_text(self.log_path))
        try:
            self.connect(None).close()
        except pymysql.err.OperationalError:
            return False
        with socket.socket() as probe:  # the port may open behind the socket
            return probe.connect_ex((self.host, self.port)) == 0

    def connect(self, database, **kwargs):
        """A pymysql connection in autocommit mode, as `root` by the socket, without a password."""
        options = {"unix_socket": self.socket, "user": "root", "database": database, "connect_timeout": 10,
                   "charset": "utf8mb4", "autocommit": True, "read_default_file": None}
        options.update(kwargs)
        if isinstance(options.get("password"), str):
            options["password"] = options["password"].encode()  # else pymysql would make Latin-1 of it
        return pymysql.connect(**options)

    def query(self, database, sql, params=None):
        """All rows of one statement as a list of tuples ([] if it returns none)."""
        connection = self.connect(database)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, params)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def create_database(self):
        name = "t%d_%d" % (os.getpid(), next(self._names))
        self.query(None, "CREATE DATABASE `%s`" % name)
        return name

    def drop_database(self, name):
        self.query(None, "DROP DATABASE IF EXISTS `%s`" % name)

    def kill(self):
        """As a crash."""
        self._end(signal.SIGKILL)

    def stop(self):
        """The server ends, and the data are gone."""
        if self.process is not None:
            self._end(signal.SIGKILL)
        processes.remove_folder(self.folder)

    def shut_down(self):
        """Orderly; the data stay for start()."""
        self._end(signal.SIGTERM)

    def pause(self):
        """The server stops answering until resume(); the kernel still accepts connections for it."""
        processes.pause(self.process.pid)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

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
